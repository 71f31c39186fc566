"""A worker runs its own function for a ticket, and nothing else, whatever RQ's queue, jobs and registries have."""

import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from rq import Queue
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs

from riskline.shared.log import get_logger
from riskline.shared.outage import Outage
from riskline.shared.process.jobs import CALLBACKS_QUEUE, JOBS, SCORING_QUEUE, Tickets
from riskline.worker.rq_worker import Duties, QueueWorker
from riskline.worker.scoring.pulse import Pulse
from riskline.worker.scoring.rq_job import MOST_BYTES

DRAIN = JOBS[SCORING_QUEUE].path
RAN: list[object] = []


def harm(*arguments: object, **named: object) -> None:
    """What a forged job would have a worker run."""
    RAN.append((arguments, named))


HARM = f"{__name__}.harm"


class Rq:
    """A Redis with a worker of the scoring queue, and what somebody else puts into RQ's keys."""

    def __init__(self) -> None:
        self.redis = fakeredis.FakeRedis()
        self.queue = Queue(SCORING_QUEUE, connection=self.redis, serializer=JSONSerializer)
        self.worked = 0

    def forge(self, data: bytes | None = None, **fields: Any) -> str:
        """Puts a job in line whose hash has these fields; by itself it is a ticket."""
        job = self.queue.enqueue_call(DRAIN, timeout=120, result_ttl=0, failure_ttl=60)
        if data is not None:
            fields["data"] = zlib.compress(data)
        if fields:
            self.redis.hset(job.key, mapping=fields)
        return str(job.id)

    def worker(self) -> QueueWorker:
        """A worker of the queue."""
        duties = Duties(
            job=self._run,
            stopping=threading.Event(),
            pulse=Pulse(),
            outage=Outage(get_logger(__name__), failing="away", back="back"),
            refused=Outage(get_logger(__name__), failing="refused", back="tickets only"),
        )
        return QueueWorker(SCORING_QUEUE, duties, connection=self.redis, worker_ttl_seconds=18)

    def work(self) -> list[str]:
        """Works until nothing is in line; the ids of jobs that were refused."""
        while self.queue.count:
            worker = self.worker()
            with capture_logs() as lines:
                worker.work(burst=True, logging_level="CRITICAL")
        return [line["job"] for line in lines if line["event"] == "refused"]

    def _run(self) -> None:
        self.worked += 1


@pytest.fixture
def rq() -> Iterator[Rq]:
    RAN.clear()
    yield Rq()
    assert RAN == []


@pytest.mark.parametrize("path", ["worker.jobs.drain", "riskline.worker.scoring.jobs.drain"])
def test_a_ticket_of_the_release_before_and_one_of_the_next_are_tickets(rq: Rq, path: str) -> None:
    rq.forge(call(path))

    assert (rq.work(), rq.worked) == ([], 1)


def test_a_new_ticket_asks_by_the_path_that_a_worker_of_the_release_before_looks_up() -> None:
    assert [JOBS[queue].path for queue in (SCORING_QUEUE, CALLBACKS_QUEUE)] == [
        "worker.jobs.drain",
        "worker.delivery.deliver",
    ]


def call(path: str, *arguments: object, **named: object) -> bytes:
    return json.dumps([path, None, arguments, named]).encode()


def test_a_ticket_runs_the_workers_own_function(rq: Rq) -> None:
    Tickets(rq.redis).ensure()

    assert rq.work() == []

    assert rq.worked == 1
    assert rq.redis.keys("rq:job:*") == []


@pytest.mark.parametrize(
    "data",
    [
        call("os.system", "touch /tmp/owned"),
        call(HARM),
        call(HARM, "x", y=1),
        call(DRAIN, "x"),
        call(DRAIN, y=1),
        json.dumps([DRAIN, {"a": 1}, [], {}]).encode(),
        call(JOBS[CALLBACKS_QUEUE].path),
        call(DRAIN + " "),
        call("riskline.worker.scoring.jobs.ScoringJob"),
        b"",
        b"null",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 500,
        b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        json.dumps([DRAIN, None, [], {}]).encode() + b" " * 10 * MOST_BYTES,
    ],
    ids=range(17),
)
def test_a_job_that_asks_for_anything_else_is_removed_unrun_and_said(rq: Rq, data: bytes) -> None:
    forged = rq.forge(data)

    assert rq.work() == [forged]

    assert rq.worked == 0
    assert rq.redis.keys("rq:job:*") == []
    assert rq.redis.llen(rq.queue.intermediate_queue_key) == 0


def test_what_unpacks_to_more_than_a_ticket_asks_for_is_never_unpacked(rq: Rq, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []
    unpacking = zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self._inner = unpacking()
            self.unconsumed_tail = b""

        def decompress(self, data: bytes, most: int) -> bytes:
            result = self._inner.decompress(data, most)
            self.unconsumed_tail = self._inner.unconsumed_tail
            unpacked.append(len(result))
            return result

    monkeypatch.setattr("riskline.worker.scoring.rq_job.zlib.decompressobj", Watched)
    forged = rq.forge(b"[" * 900_000)

    assert rq.work() == [forged]
    assert max(unpacked) <= MOST_BYTES


HOOK = json.dumps([{"url": "http://127.0.0.1:1/", "job_status": status} for status in ("finished", "failed")])


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"success_callback_name": HARM, "success_callback_timeout": 5},
        {"failure_callback_name": HARM, "failure_callback_timeout": 5},
        {"stopped_callback_name": HARM, "stopped_callback_timeout": 5},
        {"webhooks": HOOK},
        {"meta": '{"a":1}', "result": '"x"', "exc_info": "x", "description": "\x00"},
        {"repeats_left": 5, "repeat_intervals": "[0]"},
        {"retries_left": 5, "number_of_retries": 1, "retry_intervals": "[0]"},
        {"rate_limit_key": "x", "rate_limit_concurrency": 1, "group_id": "g"},
        {"dependency_ids": '["x"]', "enqueue_at_front": 1, "allow_dependency_failures": 1},
        {"timeout": "garbage", "result_ttl": "garbage", "failure_ttl": "garbage", "ttl": "garbage"},
        {"timeout": -1, "result_ttl": -1, "failure_ttl": -1},
        {"serializer": "rq.serializers.PickleSerializer", "job_class": HARM, "func_name": HARM},
    ],
)
def test_what_else_a_ticket_has_is_not_heeded(
    rq: Rq, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, raises: bool
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("rq.webhook.urlopen", lambda *arguments, **_named: opened.append(arguments))
    if raises:
        monkeypatch.setattr(Rq, "_run", lambda _self: 1 / 0)
    rq.forge(**fields)

    rq.work()

    assert rq.worked == (0 if raises else 1)
    assert rq.queue.count == 0
    assert opened == []
    assert not raises or rq.queue.failed_job_registry.count == 1


def test_an_abandoned_job_has_no_callback_run_by_the_maintenance(rq: Rq) -> None:
    forged = rq.forge(failure_callback_name=HARM, status="started", webhooks=HOOK)
    rq.redis.delete(rq.queue.key)
    registry = StartedJobRegistry(SCORING_QUEUE, connection=rq.redis)
    rq.redis.zadd(registry.key, {f"{forged}:x": 1})
    Tickets(rq.redis).ensure()

    rq.work()

    assert rq.redis.zcard(registry.key) == 0
    assert Job.fetch(forged, connection=rq.redis, serializer=JSONSerializer).get_status() == "failed"


@pytest.mark.parametrize(
    "fields", [{"status": "garbage"}, {"origin": "another"}, {"created_at": "garbage"}, {"started_at": b"\xff"}]
)
def test_a_job_that_cannot_be_read_ends_no_more_than_one_of_rqs_workers(rq: Rq, fields: dict[str, Any]) -> None:
    rq.forge(**fields)
    rq.forge()

    rq.work()

    assert rq.worked == 1


def test_commands_by_rqs_channel_are_not_heard(rq: Rq) -> None:
    rq.worker().subscribe()

    assert rq.redis.pubsub_channels() == []


def test_an_id_that_rq_would_not_give_ends_no_more_than_one_of_rqs_workers(rq: Rq) -> None:
    rq.redis.rpush(rq.queue.key, "no id; at all", b"\xff", "")
    rq.forge()

    rq.work()

    assert rq.worked == 1


def test_a_module_that_a_job_names_is_not_even_imported(
    rq: Rq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_by_a_job.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    rq.forge(call("imported_by_a_job.main"))
    rq.forge(success_callback_name="imported_by_a_job.main")

    rq.work()

    assert not (tmp_path / "ran").exists()
