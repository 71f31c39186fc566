"""The overview: what it says first, and its pictures over an hour, a day or a week."""

import fakeredis
import pytest

from riskline.ingest.console.overview.alerts import alerts_of, all_well
from riskline.ingest.console.overview.charts import actions_of, doors_of, scores_of
from riskline.ingest.console.overview.intervals import Interval
from riskline.ingest.console.overview.periods import MOST_SPANS, PERIODS, Periods, period_named, spans_of, thinned
from riskline.shared.domain.policy import Thresholds
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.keys import Keys
from riskline.shared.store.status.counts import Counts
from riskline.shared.store.status.minute_counts import KEPT_QUARTERS, RedisMinuteCounts, Snapshot
from tests.support.console_pages import Open

NOON = 1_764_072_000.0


def snapshots(number: int, *, apart: float = 60.0, start: float = NOON) -> list[Snapshot]:
    """One after the other, with so many decisions of each kind between two."""
    return [
        Snapshot(
            start + apart * each,
            {
                "accepted": 10.0 * each,
                "decided": 10.0 * each,
                "recorded": 0.0,
                "sync APPROVE number": 60.0 * each,
                "queue DECLINE number": 6.0 * each,
                "sync_score  0.05": 65.0 * each,
                "sync_score  1.0": 1.0 * each,
            },
        )
        for each in range(number)
    ]


def test_where_all_is_well_one_line_says_so() -> None:
    counts = Counts(workers=2)

    assert alerts_of(counts) == []
    assert all_well(counts) == "All well: 2 workers, nothing waits, nothing failed."


@pytest.mark.parametrize(
    ("counts", "text", "page"),
    [
        (Counts(), "No worker lives, and what is submitted to the queue waits: start one by “riskline worker”.", ""),
        (
            Counts(accepted=3, undecided=3, waiting=3),
            "No worker lives, and 3 transactions wait: start one by “riskline worker”.",
            "",
        ),
        (Counts(workers=1, accepted=6, failed=6, failed_now=6), "6 transactions failed.", "/failed#s-transactions"),
        (
            Counts(workers=1, callbacks_announced=1, callbacks_dead=1, callbacks_dead_now=1),
            "1 callback was given up.",
            "/failed#s-callbacks",
        ),
    ],
)
def test_what_is_not_well_is_said_with_the_way_there(counts: Counts, text: str, page: str) -> None:
    (found,) = alerts_of(counts)

    assert (found.text, found.page) == (text, page)


def test_the_overview_says_first_what_is_wrong_and_follows_its_period() -> None:
    console = Open()

    page = console.get("?period=24h").text
    assert "1 thing to look at</h2>\n<ul><li>No worker lives, " in page
    assert 'hx-get="/console/live?period=24h&amp;by_itself=1"' in page
    assert 'href="/console?period=24h" aria-current="true">24 hours' in page
    assert 'href="/console?period=1h" aria-current="true">1 hour' in console.get("?period=evil").text


def test_a_bar_of_the_actions_is_as_high_as_their_decisions_a_minute() -> None:
    spans = spans_of(snapshots(4))
    assert spans is not None

    picture = actions_of(spans)

    assert [(box.kind, box.words.partition(": ")[2]) for box in picture.boxes[:2]] == [
        ("decline", "6.0 DECLINE a minute"),
        ("approve", "60.0 APPROVE a minute"),
    ]
    decline, approve = picture.boxes[:2]
    assert decline.y == pytest.approx(approve.y + approve.height, abs=0.11)
    assert approve.height == pytest.approx(10 * decline.height, rel=0.03)
    assert len(picture.boxes) == 6


def test_a_young_installation_fills_the_picture() -> None:
    spans = spans_of(snapshots(3))
    assert spans is not None

    picture = doors_of(spans)

    assert (picture.x_ticks[0].at, picture.x_ticks[-1].at) == (52, 408)
    assert picture.lines[0].startswith("M230.0 ")
    assert picture.x_ticks[0].text == "12:00:00"


def test_a_loss_of_the_counts_is_a_gap_and_the_rest_is_counted() -> None:
    before = snapshots(3)
    spans = spans_of([*before, *snapshots(3, start=NOON + 180)])
    assert spans is not None

    assert [each.numbers is None for each in spans.parts] == [False, False, True, False, False]
    assert spans.whole.count("decided") == 40


def test_rare_scores_are_seen_beside_many_and_the_thresholds_are_drawn() -> None:
    whole = Interval(60, {"sync_score  0.05": 10_000.0, "sync_score  1.0": 1.0})

    picture = scores_of(whole, Thresholds(decline=0.85, review=0.4))

    many, one = picture.boxes
    assert many.words.endswith(": 10,000")
    assert one.height > many.height / 20
    assert [tick.text for tick in picture.y_ticks] == ["1", "10", "100", "1k", "10k"]
    assert [(mark.text, mark.anchor) for mark in picture.marks] == [
        ("review above 0.4", "start"),
        ("decline above 0.85", "end"),
    ]
    assert scores_of(whole, None).marks == []


def test_a_picture_has_no_more_spans_than_it_has_room_for() -> None:
    assert len(thinned(snapshots(700))) <= MOST_SPANS / 0.9 + 2
    assert thinned(snapshots(2)) == snapshots(2)
    assert thinned([]) == []
    assert [each.at for each in thinned(snapshots(61))] == [each.at for each in snapshots(61)]


class Known:
    """A history with these minutes."""

    def __init__(self, minutes: list[Snapshot]) -> None:
        self.minutes, self.looks = minutes, minutes[-1:]


async def test_a_week_is_kept_by_quarters_of_an_hour_and_asked_for_once_a_minute() -> None:
    redis = fakeredis.FakeAsyncRedis()
    history = RedisMinuteCounts(redis)
    for each in snapshots(120):
        await history.keep(each)
    assert await redis.xlen(Keys().history_week) == 8

    found = await history.of_the_week(0, apart_seconds=0)
    assert [each.at for each in found] == [NOON + 900 * each for each in range(8)]
    assert [each.at for each in await history.of_the_week(NOON + 1, apart_seconds=1800)] == [
        NOON + 900 + 1800 * each for each in range(4)
    ]


async def test_the_quarters_of_a_week_are_all_that_is_kept() -> None:
    redis = fakeredis.FakeAsyncRedis()
    history = RedisMinuteCounts(redis)
    for each in snapshots(KEPT_QUARTERS + 5, apart=900):
        await history.keep(each)

    assert await redis.xlen(Keys().history_week) == KEPT_QUARTERS


class Week:
    """Where the quarters are; away on demand."""

    def __init__(self, kept: list[Snapshot]) -> None:
        self.kept, self.asked, self.is_away = kept, 0, False

    async def of_the_week(self, at: float, *, apart_seconds: float) -> list[Snapshot]:
        del apart_seconds
        self.asked += 1
        if self.is_away:
            raise StoreUnavailableError("away")
        return [each for each in self.kept if each.at >= at]


async def test_a_day_goes_on_in_the_minutes_of_the_last_hour_and_outlives_an_outage() -> None:
    day = snapshots(40, apart=900, start=NOON - 36_000)
    minutes = [
        Snapshot(NOON + 60 * each, {name: number + 1 for name, number in day[-1].numbers.items()}) for each in range(5)
    ]
    week = Week(day)
    now = NOON + 250
    periods = Periods(Known(minutes), week, clock=lambda: now)  # type: ignore[arg-type]
    period = period_named("24h")

    spans = await periods.spans(period)
    week.is_away = True
    now += 30
    again = await periods.spans(period)
    now += 60
    away = await periods.spans(period)

    assert spans is not None
    assert (spans.start, spans.end) == (NOON - 36_000, NOON + 240)
    assert again == spans
    assert away is not None
    assert away.start == spans.start
    assert week.asked == 2
    hour = await periods.spans(PERIODS[0])
    assert hour is not None
    assert hour.start == NOON


def test_receivers_that_are_left_alone_are_said_first() -> None:
    (found,) = alerts_of(Counts(workers=1, receivers_paused=1, callbacks_held=2))

    assert found.text == "1 receiver of callbacks fails: 2 callbacks wait, and one is tried now and then."
    assert found.page == "/failed"
