"""The console in a real browser: each page, what it does, by mouse, by keyboard, and without JavaScript."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from riskline.shared.store.keys import Keys
from riskline.worker.training.data.simulate import simulate
from tests.e2e.browsing import FAILED, PAGES, Site, chromium, shown_number, signed_in, site
from tests.integration.conftest import clean_environment
from tests.integration.running import PATIENCE_SECONDS, eventually, riskline
from tests.support.factories import transaction_json

pytestmark = pytest.mark.e2e

ACCESSIBILITY = Path(__file__).with_name("accessibility")
MAX_BYTES, MAX_REQUESTS, SERVER_MS = 150_000, 10, 20
FIGURES = 4
"""A field each, but a code: these models come without a reference, so that no usual ones are known."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("console"), clean_environment()) as found:
        found.fill()
        yield found


@pytest.fixture(scope="module")
def signed(running: Site, browser: Browser) -> Iterator[BrowserContext]:
    """One session for all tests that do not end it: attempts to sign in are counted."""
    context = signed_in(browser, running)
    yield context
    context.close()


@pytest.fixture
def page(signed: BrowserContext) -> Iterator[Page]:
    """A page that fails the test where a script of ours fails, or the policy stops anything."""
    problems: list[str] = []
    found = signed.new_page()
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield found
    found.close()
    assert problems == []


def test_who_signs_in_sees_a_decision_without_a_reload_and_signs_out(running: Site, browser: Browser) -> None:
    context = signed_in(browser, running)
    page = context.new_page()
    page.goto("/console")
    before = shown_number(page, "#decided")

    running.score(f"live-{time.time_ns()}")
    page.wait_for_function(
        "before => Number(document.querySelector('#decided').textContent.replace(/\\D/g, '')) > before", arg=before
    )
    page.click("text=Sign out")
    assert page.url.endswith("/console/sign-in")
    page.goto("/console/decisions")
    assert page.url.startswith(f"{running.url}/console/sign-in")
    context.close()


@pytest.mark.slow
def test_an_overview_that_has_become_old_says_so(running: Site, page: Page) -> None:
    page.goto("/console")
    page.wait_for_timeout(2000)
    assert page.locator("#silent").is_hidden()
    api = running.up.state["children"]["API"]

    os.kill(api, signal.SIGSTOP)
    try:
        page.wait_for_selector("#silent:visible")
        assert page.locator("#live.old").count() == 1
        assert "No answer from the API since" in page.inner_text("#silent")
    finally:
        os.kill(api, signal.SIGCONT)

    page.wait_for_selector("#silent", state="hidden")
    assert page.locator("#live.old").count() == 0


@pytest.mark.slow
def test_a_filter_is_in_the_url_and_a_reload_shows_the_same(page: Page) -> None:
    page.goto("/console/decisions")
    action = page.inner_text("tbody tr:last-child .badge")
    page.select_option("#action", action)
    page.click("text=Time, fields of the transaction, columns")
    page.fill('[name="f.amount.max"]', "1000")
    page.click("text=Show")
    rows = page.locator("tbody tr").all_text_contents()

    assert f"action={action}" in page.url
    assert "f.amount.max=1000" in page.url
    assert "version" not in page.url
    assert rows
    page.reload()
    assert page.locator("tbody tr").all_text_contents() == rows
    assert page.input_value('[name="f.amount.max"]') == "1000"


@pytest.mark.slow
def test_an_export_shows_how_far_it_is_and_saves_all(running: Site, page: Page) -> None:
    page.goto("/console/decisions")
    with page.expect_download() as download:
        page.click("text=Export as CSV")

    lines = download.value.path().read_text().splitlines()
    assert len(lines) - 1 == running.redis.xlen(Keys().feed)
    assert f"{len(lines) - 1} decisions, all of them" in page.inner_text("#export")
    assert page.evaluate("document.querySelector('#export progress').value") == 1
    assert download.value.suggested_filename == "decisions.csv"


@pytest.mark.slow
def test_values_are_hidden_until_they_are_asked_for_and_that_is_kept(page: Page) -> None:
    page.goto(PAGES["transaction"])
    assert "500.0" not in page.content()

    page.click("button:text('Show the values')")

    assert "500.0" in page.inner_text("#values ~ .scroll tr:has-text('amount')")
    page.click("text=The record as it is stored")
    assert '"amount": 500' in page.inner_text("pre")
    page.click("text=Try with these values")
    assert page.url.endswith("/console/try?of=queue-1")
    assert page.input_value("#in-amount") == "500.0"
    assert "fraud probability" in page.inner_text("#result")
    page.goto("/console/changes")
    assert "queue-1" in page.inner_text("tbody tr:first-child")


@pytest.mark.slow
def test_what_is_typed_in_is_scored_while_one_types_with_a_curve_a_field(page: Page) -> None:
    page.goto("/console/try")
    assert page.locator("#result figure").count() == FIGURES
    page.fill("#in-amount", "-1")
    page.wait_for_selector("text=Not valid")

    page.fill("#in-amount", "700")
    page.wait_for_selector("text=What would change it")

    assert page.locator("#result figure").count() == FIGURES
    assert page.locator("#result figure path.mark").count() >= FIGURES
    assert float(page.inner_text("#result tfoot td")) == pytest.approx(
        float(page.inner_text("#result p > strong")), abs=1e-4
    )


@pytest.mark.slow
def test_what_would_change_a_decision_does_when_it_is_typed_in(running: Site, browser: Browser) -> None:
    # each answer is a page then, so that there is nothing to wait for
    context = signed_in(browser, running, java_script_enabled=False)
    page = context.new_page()
    page.goto("/console/try")
    told = ""
    # the trees are small, and not every transaction is near another action
    for amount in ("20", "200", "700", "2000"):
        page.fill("#in-amount", amount)
        page.click("main form button")
        lines = page.locator("#result .changes li").all_inner_texts()
        told = next((line for line in lines if " or more (" in line or " or less (" in line), told)
        if told:
            break

    name, value = told.split()[:2]
    page.fill(f"#in-{name}", value.replace(",", ""))
    page.click("main form button")

    assert page.locator("#result .badge").first.inner_text() == told.partition("): ")[2].partition(";")[0].strip()
    context.close()


@pytest.mark.slow
def test_pictures_stand_beside_each_other_where_there_is_room(signed: BrowserContext, running: Site) -> None:
    page = signed.new_page()
    across = {}
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("/console/try")
        lefts = page.evaluate("[...document.querySelectorAll('.curves figure')].map(each => each.offsetLeft)")
        across[width] = len(set(lefts))
    page.close()

    assert across == {1440: 3, 390: 1}


@pytest.mark.slow
def test_what_failed_is_tried_again_one_and_all_with_a_question_before(running: Site, page: Page) -> None:
    page.goto("/console/failed?reason=processes")
    page.click('button[aria-label="Try failed-1 again"]')
    assert "1 transaction is tried again: failed-1" in page.inner_text("[role=status]")

    page.goto("/console/failed")
    page.click("text=Try all again… >> nth=0")
    assert running.redis.zcard(Keys().failed) == FAILED - 1
    page.click("button.danger")

    eventually(lambda: running.redis.zcard(Keys().failed) == 0)
    state = orjson.loads(running.call("GET", "/transactions/failed-2?wait=10"))
    assert state["status"] == "scored"


@pytest.mark.slow
def test_after_another_try_the_lists_follow_what_happens_and_leave_the_focus_where_it_is(
    running: Site, page: Page
) -> None:
    running.plant_retrying("waits", query="?token=s3cret")
    page.goto("/console/failed")
    page.click("section:has(#s-callbacks) summary")
    page.click('button[aria-label="Try queue-0 again"]')
    assert "1 callback is tried again: queue-0" in page.inner_text("[role=status]")
    # its receiver refuses it once more: without a reload it is in the list again
    page.wait_for_selector('[id="callbacks-queue-0"]')
    page.focus('button[aria-label="Try now: waits"]')
    before = page.evaluate("(window.same = document.activeElement, window.scrollY)")

    running.plant_retrying("later")
    page.wait_for_selector('[id="retries-later"]')

    assert page.evaluate("document.activeElement === window.same")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Try now: waits"
    assert page.evaluate("window.scrollY") == before
    assert "s3cret" not in page.content()
    page.click("text=Try all now…")
    assert "Try all 2 callbacks now?" in page.inner_text("form .note")
    page.click("text=Cancel")


@pytest.mark.slow
def test_lists_that_cannot_be_refreshed_say_why_and_come_back(running: Site, signed: BrowserContext) -> None:
    page = signed.new_page()
    page.goto("/console/failed?of=callbacks&done=1")
    page.route("**/console/failed*", lambda route: route.fulfill(status=503, body="<main><p>Redis is away</p></main>"))
    page.wait_for_selector("#lists:has-text('Redis is away')")
    assert page.locator("#s-callbacks").count() == 0

    page.unroute_all()

    page.wait_for_selector("#lists #s-callbacks")
    assert "Redis is away" not in page.inner_text("main")
    page.close()


@pytest.mark.slow
def test_many_that_failed_are_seen_page_by_page(running: Site, page: Page) -> None:
    others = running.redis.zcard(Keys().failed)
    for number in range(60):
        running.plant_failed(f"many-{number:02}", "deciding it raised OverflowError")
    page.goto("/console/failed?reason=OverflowError")
    assert page.locator("section:has(#s-transactions) tbody tr[id]").count() == 50

    page.click("text=Older")

    assert page.locator("section:has(#s-transactions) tbody tr[id]").count() == 10
    page.click("text=Try these again… >> nth=0")
    assert "Try 60 transactions again whose reason has “OverflowError”?" in page.inner_text("form .note")
    page.click("button.danger")
    assert "60 transactions are tried again." in page.inner_text("[role=status]")
    eventually(lambda: running.redis.zcard(Keys().failed) == others)


@pytest.mark.slow
def test_what_failed_is_tried_again_on_its_own_page(running: Site, page: Page) -> None:
    running.plant_failed("by-itself", "deciding it raised KeyError")
    page.goto("/console/transactions/by-itself")
    page.click("text=Try again")

    assert page.url.startswith(f"{running.url}/console/transactions/by-itself")
    assert "It waits for a worker again." in page.inner_text("[role=status]")
    eventually(lambda: b"scored" in running.call("GET", "/transactions/by-itself"))
    page.click("text=Refresh")
    assert "decided" in page.inner_text("section:has(#timeline)")


@pytest.mark.slow
def test_another_version_is_activated_and_rolled_back_after_a_question(running: Site, page: Page) -> None:
    page.goto("/console/models")
    other = page.inner_text("section:not(:has(.badge)) h2").strip()
    page.click("text=Activate…")
    page.click("button.danger")
    assert f"{other} is active" in page.inner_text("[role=status]")
    # without a reload
    page.wait_for_selector("text=and every process serves it")
    eventually(lambda: running.score("swapped")["model_version"] == other)

    page.click("text=Roll back to")
    page.click("button.danger")

    assert other not in page.inner_text("section:has(.badge) h2")
    page.goto("/console/changes")
    assert "a model to be activated" in page.inner_text("tbody tr:first-child")


@pytest.mark.slow
def test_who_may_only_look_has_no_way_to_change_anything(running: Site, browser: Browser) -> None:
    context = signed_in(browser, running, scope="read")
    page = context.new_page()

    for path in ("/console/failed", "/console/models"):
        page.goto(path)
        assert page.locator("main form[method=post]").count() == 0
    context.close()


@pytest.mark.slow
def test_by_keyboard_alone_one_signs_in_filters_and_tries_one(running: Site, browser: Browser) -> None:
    context = browser.new_context(base_url=running.url)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    page = context.new_page()
    page.goto("/console/decisions")
    page.keyboard.type(running.secrets["admin"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/decisions")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "action"
    page.keyboard.press("D")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**action=DECLINE**")

    unreachable = []
    for path in PAGES.values():
        page.goto(path)
        wanted = page.locator("a[href]:visible, button:visible, input:visible, select:visible, summary:visible").count()
        reached = set()
        for _ in range(wanted + 20):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    "[...document.querySelectorAll('a[href], button, input, select, summary')]"
                    ".indexOf(document.activeElement)"
                )
            )
        unreachable += [path] if len(reached - {-1}) < wanted else []
    assert unreachable == []
    context.close()


@pytest.mark.slow
def test_without_javascript_every_page_can_be_read_and_used(running: Site, browser: Browser) -> None:
    context = signed_in(browser, running, java_script_enabled=False)
    page = context.new_page()
    for path in PAGES.values():
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200
        assert len(page.inner_text("main")) > 40

    page.goto("/console/try")
    assert page.locator("#result figure").count() == FIGURES
    page.fill("#in-amount", "1")
    page.click("main form button")
    assert page.locator("#result figure").count() == FIGURES
    assert page.input_value("#in-amount") == "1"
    running.plant_failed("plain-1", "deciding it raised KeyError")
    page.goto("/console/failed")
    page.click("text=Try all again… >> nth=0")
    page.click("button.danger")
    assert "1 transaction is tried again." in page.inner_text("[role=status]")
    page.click("text=Refresh")
    assert "Failed transactions: " in page.inner_text("main")
    page.goto("/console/decisions")
    with page.expect_download() as download:
        page.click("text=Export as CSV")
    assert download.value.path().read_text().startswith("transaction_id,")
    context.close()


@pytest.mark.slow
def test_the_overview_is_small_and_quick(running: Site, browser: Browser) -> None:
    context = signed_in(browser, running)
    page = context.new_page()
    page.goto("/console", wait_until="load")
    sizes = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(each => each.encodedBodySize)"
    )
    requests, number_of_bytes = len(sizes), sum(sizes)
    times = page.evaluate(
        "async () => { const times = []; for (let i = 0; i < 20; i++) { const start = performance.now();"
        "await (await fetch('/console/live')).text(); times.push(performance.now() - start); }"
        "return times.sort((a, b) => a - b); }"
    )
    context.close()

    assert 3 <= requests <= MAX_REQUESTS
    assert 20_000 < number_of_bytes <= MAX_BYTES
    assert times[len(times) // 2] <= SERVER_MS, times


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    home = tmp_path_factory.mktemp("axe")
    shutil.copytree(ACCESSIBILITY, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    words = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    got = subprocess.run(words, cwd=home, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if got.returncode:
        pytest.skip(f"axe-core cannot be installed here: {(got.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return (home / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def report(running: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that an evaluation kept."""
    rows = tmp_path_factory.mktemp("rows") / "rows.csv"
    simulate(rows=3_000, seed=3).write_csv(rows)
    words = ("evaluate", str(rows), "--keep-report", "--data", str(running.up.data), "--json")
    made = riskline(*words, environment={**clean_environment(), "RISKLINE_MODELS": str(running.up.data / "two")})
    return Path(orjson.loads(made.stdout)["report"])


@pytest.mark.slow
def test_the_report_of_a_version_looks_as_it_does_in_its_file(page: Page, report: Path) -> None:
    page.goto("/console/models")

    page.click(f'a[href="/console/models/{report.parent.name}/report"]')

    assert "How good the model is on rows.csv" in page.inner_text("h1")
    # its style sheet holds, and the colours of its charts
    assert page.locator(".pair").first.evaluate("each => getComputedStyle(each).display") == "grid"
    assert (
        page.locator("figure svg path[stroke='var(--good)']").first.evaluate("each => getComputedStyle(each).stroke")
        == "rgb(31, 100, 173)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_on_any_page_and_no_page_is_wider_than_the_screen(
    running: Site, browser: Browser, axe: str, scheme: str, width: int
) -> None:
    context = signed_in(browser, running, color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    found = {}
    confirmations = {
        "confirm failed": "/console/failed?confirm=transactions",
        "confirm model": "/console/models?confirm=rollback",
        "confirm discard": "/console/failed?confirm=transactions&do=discard",
        "group": "/console/failed?reason=deciding it raised ValueError&whole=1",
        "found": "/console/find?q=queue-",
        "day": "/console?period=24h",
        "confirm some": "/console/failed?reason=connection&confirm=retries",
        "tried again": "/console/failed?of=retries&done=1&id=waits&callbacks=1-x",
        "one that waits": "/console/transactions/queue-2?of=retries&done=1",
        "values": PAGES["transaction"],
    }
    running.plant_failed("seen", "deciding it raised ValueError")
    running.plant_retrying("queue-2", query="?token=s3cret")
    others = {"wrong": "/console/decisions?score_min=x&since=y", "missing": "/console/transactions/none"}

    for name, path in {**PAGES, **confirmations, **others, "signed out": "/console/sign-in?link=old"}.items():
        page.goto(path)
        if name == "try":
            page.click("main form button")
            page.wait_for_selector("text=What would change it")
        if name == "values":
            page.click("button:text('Show the values')")
            page.click("text=The record as it is stored")
        found[name] = violations(page, axe, width)
    context.close()

    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def violations(page: Page, axe: str, width: int) -> list[Any]:
    """What axe finds, each with the elements; and whether one has to scroll sideways."""
    page.evaluate(axe)
    found: list[Any] = page.evaluate(
        "async () => (await axe.run()).violations.map(each => [each.id, ...each.nodes.map(node => node.html)])"
    )
    if page.evaluate("document.documentElement.scrollWidth") > width:
        found.append("wider than the screen")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_in_a_report(
    report: Path, browser: Browser, axe: str, scheme: Literal["light", "dark"], width: int
) -> None:
    # as a file: the console's runs no script, so that axe could not
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    page.goto(report.as_uri())

    assert violations(page, axe, width) == []
    page.close()


PAYLOADS = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "</textarea></title></style><script>alert(1)</script>",
    "{{7*7}}{% print 1 %}",
    '" onfocus=alert(1) autofocus x="',
    "<a href=javascript:alert(1) hx-on:click=alert(1) hx-get=/console data-hx-on-load=alert(1)>x</a>",
    "<div hx-get='/console/static/htmx.min.js' hx-trigger=load hx-on::load='alert(1)'></div>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'><base href=//evil.example>",
)
"""As OWASP's cheat sheet has them, and what htmx would take for its own."""


def planted(site: Site, number: int, payload: str) -> str:
    """Puts it wherever a string of the store can reach a page, as one could who can write there."""
    name = f"{payload}-{number}"
    decision = {
        "transaction_id": name,
        "fraud_probability": 0.99,
        "action": payload,
        "model_version": payload,
        "scored_at": "2026-11-24T03:15:07.123Z",
        "reasons": [{"feature": payload, "value": payload, "contribution": 0.5, "text": payload}],
    }
    record = {
        "v": 1,
        "status": "scored",
        "submitted_at": "2026-11-24T03:15:06.123Z",
        "decision": decision,
        "request_id": payload,
        "traceparent": payload,
        "transaction": transaction_json(transaction_id=payload),
    }
    site.redis.set(Keys().transaction(name), orjson.dumps(record))
    site.redis.xadd(Keys().feed, {"d": orjson.dumps(decision)})
    site.plant_failed(f"failed-{name}", payload)
    attempts = [{"at": decision["scored_at"], "status": None, "error": payload, "latency_ms": 1.0, "answer": payload}]
    callback = {"url": payload, "status": "dead", "error": payload, "attempts": orjson.dumps(attempts)}
    like = next(iter(site.redis.scan_iter(Keys().callback("queue-0"))))
    site.redis.hset(Keys().callback(name), mapping={**site.redis.hgetall(like), **callback})
    site.redis.zadd(Keys().callbacks_dead, {name: time.time()})
    site.redis.xadd(
        Keys().console_changes,
        {"at": decision["scored_at"], "who": payload, "what": payload, "request_id": payload, "about": payload},
    )
    state = {"process": payload, "kind": "worker", "host": payload, "pid": 1, "version": payload, "since": None}
    state |= {"wanted": payload, "problem": payload, "pinned": False}
    until_ms = int(time.time() * 1000) + 60_000
    site.redis.hset(Keys().processes, f"evil-{number}", f"{until_ms} {orjson.dumps(state).decode()}")
    return name


def plant_model(models: Path, payload: str) -> str:
    """A version whose manifest says it, in each word that has no form of its own."""
    source = next(path for path in models.iterdir() if (path / "manifest.json").is_file())
    made = models / f"20261101T000000-{abs(hash(payload)) % 10**8:08d}"
    shutil.copytree(source, made)
    manifest = orjson.loads((made / "manifest.json").read_bytes())
    manifest |= {"version": made.name, "estimator": payload[:60], "libraries": {payload[:60]: payload[:60]}}
    manifest |= {"training": {"rows": payload}, "metrics": {payload: 1.0}}
    (made / "manifest.json").write_bytes(orjson.dumps(manifest))
    # a page as it is, which somebody else may have put there
    (made / "report.html").write_text(f"<style>p {{}}</style><p>{payload}</p>{payload}")
    return made.name


@pytest.mark.slow
def test_no_text_in_the_store_a_manifest_or_a_url_is_ever_run(running: Site, browser: Browser) -> None:
    context = signed_in(browser, running)
    page = context.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(page.url), dialog.dismiss()))
    # what a payload would call, also where the browser shows no dialog
    context.add_init_script("window.alert = () => { document.documentElement.dataset.run = 'yes'; }")
    seen = 0
    for number, payload in enumerate(PAYLOADS):
        name = planted(running, number, payload)
        version = plant_model(running.up.data / "two", payload)
        text = quote(payload, safe="")
        one = f"/console/transactions/{quote(name, safe='')}"
        paths = ["/console", "/console/decisions", one, "/console/failed", "/console/models", "/console/changes"]
        paths += [
            f"/console/decisions?version={text}&score_min={text}&since={text}&action={text}&f.amount={text}&{text}={text}",
            f"/console/failed?reason={text}&confirm=transactions&of={text}&done=1&left=0",
            f"/console/models?confirm={text}&done={text}",
            f"/console/sign-in?next={text}&link={text}",
            f"/console/{text}",
            f"/console/transactions/{text}",
        ]
        for path in paths:
            page.goto(path)
            seen += payload in page.inner_text("body") or payload in page.content()
            # an id with a slash in it has no page of its own
            if path == one and "/" not in name:
                page.click("text=Show the values")
            for closed in page.locator("main summary").all()[:2]:
                closed.click()
            page.wait_for_timeout(50)
            assert page.evaluate("document.documentElement.dataset.run") is None, (path, payload)
            assert page.url.startswith(running.url), (path, payload)
            assert page.locator("main script, main img, main base, [hx-on\\:click], [onfocus]").count() == 0, path
        page.goto(f"/console/models/{version}/report")
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.dataset.run") is None, payload
        assert page.url == f"{running.url}/console/models/{version}/report", payload
    context.close()

    assert dialogs == []
    assert seen > 3 * len(PAYLOADS), seen
