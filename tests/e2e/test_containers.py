"""The images, and the service as compose runs it: scaled, killed, and nothing lost (`make e2e-containers`)."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.containers import images
from tests.containers.docker import docker, why_not
from tests.containers.load import Load, decision, feed, rows, submit_batch
from tests.containers.project import Project
from tests.integration.running import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.containers, pytest.mark.timeout(1800)]

MOST_MEGABYTES = 250
"""What an image may add to its base."""

POSTED = 10_000
DRAINED = 50_000
BATCH = 10_000
ASKED = 1_000
"""Of the accepted, asked for one by one; the feed shows all."""

SETTLE_SECONDS = 60.0

SERVING = ("api", "worker")


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    if reason := why_not():
        pytest.skip(f"no containers are tested: {reason}")
    begun = time.monotonic()
    images.build()
    print(f"\nimages built in {time.monotonic() - begun:.0f} s from {images.BASE}")


@pytest.fixture(scope="module")
def project(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    begun = time.monotonic()
    with Project(tmp_path_factory.mktemp("project")) as started:
        print(f"\n{started.name} is ready after {time.monotonic() - begun:.0f} s, demo model included")
        yield started


@pytest.mark.parametrize("name", ["riskline-api", "riskline-worker"])
def test_an_image_is_small_and_holds_only_what_serves(name: str) -> None:
    image = images.look_at(name)

    print(
        f"\n{name}: {image.megabytes:.0f} MB, {image.over_base:.0f} MB over its base, {image.packages} packages, "
        f"user {image.uid}"
    )
    assert image.over_base <= MOST_MEGABYTES
    assert image.unwanted == []
    assert (image.uid, image.gid) == (10001, 10001)
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Healthcheck"]["Test"][0] == "CMD"
    wanted = ("title", "version", "revision", "source", "licenses")
    assert not [key for key in wanted if not image.labels.get(f"org.opencontainers.image.{key}")]
    assert image.labels["org.opencontainers.image.version"] != "unknown"


def test_a_change_of_code_leaves_the_packages_in_the_cache(tmp_path: Path) -> None:
    before = images.layers(f"riskline-api:{images.TAG}")
    begun = time.monotonic()
    after = images.layers_after_a_change_of_code(tmp_path)

    print(f"\na change of code: built again in {time.monotonic() - begun:.0f} s, one layer of {len(after)} is new")
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]


def test_every_container_is_healthy_hardened_and_started_as_its_user(project: Project) -> None:
    for service in ("redis", "callbacks", *SERVING):
        for container in project.containers(service):
            eventually(lambda c=container: project.inspect(c)["State"]["Health"]["Status"] == "healthy", seconds=60)
            host = project.inspect(container)["HostConfig"]
            assert host["ReadonlyRootfs"]
            assert host["CapDrop"] == ["ALL"]
            assert "no-new-privileges:true" in host["SecurityOpt"]
            assert host["Memory"] > 0
    for service in SERVING:
        said = project.compose("exec", "-T", service, "sh", "-c", "id -u; touch /opt/x || touch /x || echo read-only")
        assert said.split() == ["10001", "read-only"]
        print(f"\n{service}: user 10001, read-only root file system, no capabilities")


def test_whoever_has_no_key_gets_no_decision_and_no_password_opens_redis(project: Project) -> None:
    with project.client() as http:
        assert http.get("/decisions").status_code == 200
        assert http.get("/decisions", headers={"Authorization": "Bearer none"}).status_code == 401
    asked = project.compose("exec", "-T", "-e", "REDISCLI_AUTH=", "redis", "redis-cli", "dbsize", check=False)
    assert "NOAUTH" in asked


def test_two_workers_and_one_drain_what_waits(project: Project) -> None:
    seconds = {count: drain_seconds(project, count) for count in (1, 2)}

    told = ", ".join(f"{count} worker{'s' * (count > 1)} {each:.2f} s" for count, each in seconds.items())
    print(f"\n{DRAINED:,} waiting transactions are decided by: {told}")


def drain_seconds(project: Project, workers: int) -> float:
    """From the first decision to the last, of what waited while all workers were frozen."""
    project.scale(workers)
    containers = project.running("worker")
    assert len(containers) == workers
    docker("kill", "--signal", "STOP", *containers)
    with project.client() as http:
        waiting = rows(f"drain{workers}", DRAINED)
        ids = [id_ for start in range(0, DRAINED, BATCH) for id_ in submit_batch(http, waiting[start : start + BATCH])]
        docker("kill", "--signal", "CONT", *containers)
        # a client that waits takes nothing from those who work; the batch that came last is not always the last decided
        assert all(decision(http, id_, wait_seconds=30) for id_ in ids[BATCH - 1 :: BATCH])
        eventually(lambda: project.undecided() == 0, seconds=SETTLE_SECONDS)
        known = set(ids)
        times = [datetime.fromisoformat(each["scored_at"]) for each in feed(http) if each["transaction_id"] in known]
    assert len(times) == DRAINED
    return (max(times) - min(times)).total_seconds()


def test_nothing_is_lost_while_workers_come_and_go_and_containers_are_killed(project: Project) -> None:
    project.scale(1)
    with Load(project.client, at_least=POSTED) as load:
        during(load, "one worker")
        project.scale(3)
        during(load, "three workers")

        killed = project.running("worker")[0]
        docker("kill", killed)
        eventually(lambda: project.readiness().get("workers") == 2, seconds=30)
        during(load, "a worker was killed")

        redis = project.running("redis")[0]
        docker("kill", redis)
        assert project.readiness() == {}
        docker("start", redis)
        eventually(project.is_ready, seconds=60)
        during(load, "Redis was killed and started")

        project.redis_cli("SHUTDOWN", "NOSAVE")
        eventually(lambda: project.inspect(redis)["RestartCount"] > 0, seconds=60)
        eventually(project.is_ready, seconds=60)
        during(load, "Redis ended, and its restart policy started it")

        project.scale(1)
        during(load, "one worker again")
    assert load.problems == []
    assert load.count >= POSTED

    eventually(lambda: project.undecided() == 0, seconds=SETTLE_SECONDS)
    content, said = project.audit()
    with project.client() as http:
        fed = Counter(each["transaction_id"] for each in feed(http))
        untold = [id_ for id_ in random.sample(load.accepted, ASKED) if decision(http, id_) is None]
    print(
        f"\n{load.count:,} accepted, {sum(fed[id_] for id_ in set(load.accepted)):,} decided; audit: {said['counts']}"
    )
    assert untold == []
    assert {id_: fed[id_] for id_ in load.accepted if fed[id_] != 1} == {}
    assert content, said


def during(load: Load, what: str) -> None:
    """Lets the load go on for a while in this state."""
    at = load.count
    eventually(lambda: load.count >= at + POSTED // 10 or load.problems, seconds=60)
    print(f"\n{what}: {load.count:,} accepted", end="")
