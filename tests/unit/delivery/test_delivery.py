"""What becomes of each answer that a receiver may give, and of a delivery worker's attempts when things go wrong."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from riskline.shared.domain.lifecycle import CallbackEvent
from riskline.shared.errors import StoreUnavailableError
from riskline.shared.store.callbacks import AttemptOutcome, Due, TakenCallbacks
from riskline.shared.webhooks.schedule import Schedule
from riskline.shared.webhooks.signing import Signer, new_secret
from riskline.shared.webhooks.url import Allowed, CallbackUrl
from riskline.worker.delivery import deliverer as module
from riskline.worker.delivery.attempt import MOST_LOSSES, Courier
from riskline.worker.delivery.deliverer import Deliverer
from riskline.worker.delivery.delivery_errors import DeliveryError, RefusedAddressError
from riskline.worker.delivery.outbound import ReceiverResponse

SECRET = new_secret()
IDLE_SECONDS = 0.03
BODY = '{"type":"transaction.scored","timestamp":"…","data":{"transaction_id":"ä"}}'


def a_due(number: int = 0, **changes: Any) -> Due:
    event = {"type": "transaction.scored", "url": "https://shop.example/hook", "body": BODY}
    values = {"transaction_id": f"t{number}", "host": "shop.example", "message_id": f"msg_{number}", "event": event}
    return Due(**{**values, "step": 0, "claim": 1, "losses": 0, "held": False, **changes})


class Queue:
    """Gives out callbacks in the order given, and keeps what became of them."""

    def __init__(self, *due: Due) -> None:
        self.due = list(due)
        self.finished: list[AttemptOutcome] = []
        self.away = 0
        self.calls: list[dict[str, Any]] = []

    async def take(
        self,
        *,
        room: int,
        host_limit: int,
        busy: Mapping[str, int],
        reserve: int = 0,
        finished: Sequence[AttemptOutcome] = (),
    ) -> TakenCallbacks:
        self._reach()
        self.finished += finished
        self.calls.append({"room": room, "busy": dict(busy)})
        given, self.due = self.due[:room], self.due[room:]
        return TakenCallbacks(given, 0.0 if self.due else None)

    async def finish(self, attempted: Sequence[AttemptOutcome]) -> None:
        self._reach()
        self.finished += attempted

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _reach(self) -> None:
        if self.away:
            self.away -= 1
            raise StoreUnavailableError("Redis: away")


class Receiver:
    """Answers, or fails to, and keeps what it was sent."""

    def __init__(self, answer: ReceiverResponse | Exception, *, seconds: float = 0.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.requests: list[tuple[CallbackUrl, dict[str, str], bytes]] = []
        self.at_once = self.most_at_once = 0

    async def post(self, target: CallbackUrl, *, headers: dict[str, str], body: bytes) -> ReceiverResponse:
        self.requests.append((target, dict(headers), body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_once -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def an_answer(status: int = 204, retry_after: str | None = None) -> ReceiverResponse:
    return ReceiverResponse(status=status, head="so it is", latency_seconds=0.1, retry_after=retry_after)


async def deliver(
    queue: Queue, receiver: Receiver, *, schedule: str = "0,5,300", limit: int = 500, stopping: Any = bool
) -> list[AttemptOutcome]:
    deliverer = Deliverer(
        queue,
        Courier(
            sender=receiver,
            signer=Signer([SECRET]),
            allowed=Allowed.parse(""),
            schedule=Schedule.parse(schedule),
        ),
        host_limit=100,
        limit=limit,
    )

    def nothing_is_left() -> bool:
        return not queue.due and deliverer.idle_seconds > IDLE_SECONDS

    await deliverer.run(active=lambda: True, stopping=lambda: stopping() or nothing_is_left())
    return queue.finished


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.002)
    for name in ("LOOK_SECONDS", "STOP_SECONDS", "REDIS_PAUSE_SECONDS"):
        monkeypatch.setattr(module, name, 0.02)


@pytest.mark.parametrize(
    ("answer", "event", "host_works"),
    [
        (an_answer(200), CallbackEvent.DELIVER, True),
        (an_answer(204), CallbackEvent.DELIVER, True),
        (an_answer(299), CallbackEvent.DELIVER, True),
        (an_answer(301), CallbackEvent.RETRY, True),
        (an_answer(308), CallbackEvent.RETRY, True),
        (an_answer(400), CallbackEvent.RETRY, True),
        (an_answer(404), CallbackEvent.RETRY, True),
        (an_answer(410), CallbackEvent.GIVE_UP, True),
        (an_answer(429), CallbackEvent.RETRY, True),
        (an_answer(500), CallbackEvent.RETRY, True),
        (an_answer(502), CallbackEvent.RETRY, True),
        (DeliveryError("did not answer within 10 s"), CallbackEvent.RETRY, False),
        (RefusedAddressError("its address 10.1.2.3 is private"), CallbackEvent.GIVE_UP, None),
        (ValueError("a mistake of ours"), CallbackEvent.RETRY, None),
    ],
)
async def test_each_answer_has_its_next_state(
    answer: ReceiverResponse | Exception, event: CallbackEvent, host_works: bool | None
) -> None:
    [attempted] = await deliver(Queue(a_due()), Receiver(answer))

    assert (attempted.event, attempted.host_works) == (event, host_works)
    status = answer.status if isinstance(answer, ReceiverResponse) else None
    assert attempted.attempt["status"] == status
    assert (attempted.attempt["error"] is None) == (status is not None)


async def test_an_attempt_is_signed_as_the_official_library_wants_it_each_time_anew() -> None:
    receiver = Receiver(an_answer())

    await deliver(Queue(a_due(), a_due()), receiver)

    assert len(receiver.requests) == 2
    for target, headers, body in receiver.requests:
        assert (target.host, target.target) == ("shop.example", "/hook")
        assert headers["webhook-id"] == "msg_0"
        assert headers["content-type"] == "application/json"
        assert Webhook(SECRET).verify(body, headers) == orjson.loads(BODY)


@pytest.mark.parametrize(("step", "least", "most"), [(0, 4, 6), (1, 240, 360)])
async def test_the_next_attempt_is_when_the_schedule_says_so_give_or_take_a_fifth(
    step: int, least: float, most: float
) -> None:
    [attempted] = await deliver(Queue(a_due(step=step)), Receiver(an_answer(500)))

    assert least <= attempted.wait_seconds <= most


async def test_after_the_last_attempt_it_is_given_up_with_the_reason() -> None:
    [attempted] = await deliver(Queue(a_due(step=2)), Receiver(an_answer(500)))

    assert attempted.event is CallbackEvent.GIVE_UP
    assert attempted.reason == "the last of 3 attempts failed: status 500"


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("120", 120, 120),
        (" 60 ", 60, 60),
        ("1", 4, 6),
        ("99999999999", 86_400, 86_400),
        ("soon", 4, 6),
        ("Fri, 31 Dec 9999 23:59:59 -2300", 4, 6),
        ("Mon, 1 Jan 99999999999999999999 00:00:00", 4, 6),
        ("-5", 4, 6),
        ("in 500 s", 480, 500),
    ],
)
async def test_a_receiver_that_says_when_to_come_again_is_not_met_before(
    retry_after: str, least: float, most: float
) -> None:
    if retry_after.startswith("in "):
        retry_after = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)

    [attempted] = await deliver(Queue(a_due()), Receiver(an_answer(429, retry_after)))

    assert least <= attempted.wait_seconds <= most


async def test_what_was_kept_for_too_long_for_a_host_that_is_left_alone_counts_as_an_attempt_and_is_not_sent() -> None:
    receiver = Receiver(an_answer())

    [attempted] = await deliver(Queue(a_due(held=True)), receiver)

    assert (attempted.event, attempted.host_works, receiver.requests) == (CallbackEvent.RETRY, None, [])
    assert "not tried" in attempted.attempt["error"]


async def test_the_last_attempt_is_made_also_where_a_host_is_left_alone() -> None:
    receiver = Receiver(an_answer())

    [attempted] = await deliver(Queue(a_due(held=True, step=2)), receiver)

    assert (attempted.event, len(receiver.requests)) == (CallbackEvent.DELIVER, 1)


async def test_what_cannot_be_read_is_given_up_alone() -> None:
    attempted = await deliver(Queue(a_due(1, event={}), a_due(2)), Receiver(an_answer()))

    assert {each.due.message_id: each.event for each in attempted} == {
        "msg_1": CallbackEvent.GIVE_UP,
        "msg_2": CallbackEvent.DELIVER,
    }


async def test_a_callback_that_many_workers_were_lost_with_is_given_up() -> None:
    receiver = Receiver(an_answer())

    [attempted] = await deliver(Queue(a_due(losses=MOST_LOSSES)), receiver)

    assert (attempted.event, receiver.requests) == (CallbackEvent.GIVE_UP, [])
    assert attempted.reason == f"{MOST_LOSSES} workers were lost while they delivered it"


async def test_a_url_that_may_not_be_called_any_more_is_given_up_and_not_called() -> None:
    receiver = Receiver(an_answer())
    event = {"type": "transaction.scored", "url": "http://127.0.0.1:9000/hook", "body": BODY}

    [attempted] = await deliver(Queue(a_due(event=event)), receiver)

    assert (attempted.event, receiver.requests) == (CallbackEvent.GIVE_UP, [])


async def test_many_are_under_way_at_a_time_and_never_more_than_the_limit() -> None:
    receiver = Receiver(an_answer(), seconds=0.05)

    finished = await deliver(Queue(*(a_due(i) for i in range(100))), receiver, limit=40)

    assert len(finished) == 100
    assert receiver.most_at_once == 40


async def test_what_became_of_attempts_is_kept_once_redis_is_back() -> None:
    queue = Queue(*(a_due(i) for i in range(10)))

    class LosesRedis(Receiver):
        async def post(self, target: CallbackUrl, *, headers: dict[str, str], body: bytes) -> ReceiverResponse:
            if len(self.requests) == 9:
                # all attempts are begun, and none has ended
                queue.away = 3
            return await super().post(target, headers=headers, body=body)

    receiver = LosesRedis(an_answer(), seconds=0.01)

    finished = await deliver(queue, receiver)

    assert sorted(each.due.message_id for each in finished) == sorted(f"msg_{i}" for i in range(10))


async def test_who_is_told_to_stop_takes_no_more_and_gives_back_what_takes_too_long() -> None:
    queue = Queue(*(a_due(i) for i in range(10)))
    receiver = Receiver(an_answer(), seconds=30)

    finished = await deliver(queue, receiver, limit=5, stopping=lambda: len(receiver.requests) >= 5)

    assert [each.event for each in finished] == [None] * 5
    assert len(queue.due) == 5
