"""What the Kubernetes manifests say of Riskline is what Riskline is: ports, paths, commands, users, times, settings."""

import json
import re
import textwrap
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from riskline.cli.main import app
from riskline.ingest.auth.scopes import ACCESS, OPEN, READ
from riskline.ingest.lifespan import FINISH_SECONDS
from riskline.ingest.main import SHUTDOWN_SECONDS
from riskline.shared.settings import Settings, load_settings, variable_name
from riskline.shared.store.connect.url import parse_sentinel_url
from riskline.shared.store.status.redis_safety import WANTED_REDIS
from riskline.shared.telemetry import metrics
from riskline.shared.webhooks.url import PUBLIC_PORTS
from riskline.worker.rq_worker import STOP_SECONDS
from tests.support.api_memory import largest_api_bytes
from tests.support.manifests import KUBERNETES, ROOT, containers, documents, every, literals, named, of_kind, pods

BASE, DEV, PRODUCTION = KUBERNETES / "base", KUBERNETES / "overlays" / "dev", KUBERNETES / "overlays" / "production"
TRACES = KUBERNETES / "components" / "traces"
MONITORING = ROOT / "deploy" / "monitoring"
HOW_TO = ROOT / "docs" / "how-to" / "run-on-kubernetes.md"

OURS = {"riskline-api": "Dockerfile.api", "riskline-worker": "Dockerfile.worker", "riskline-train": "Dockerfile.worker"}
OTHERS = {"riskline-model", "redis:7-bookworm"}

SPARE_SECONDS = 2
"""Between the end of a process and the kubelet's patience."""

WORKERS = ("riskline-worker", "riskline-callbacks")


def dockerfile(image: str) -> str:
    return (ROOT / OURS[image]).read_text()


def pod(name: str) -> dict[str, Any]:
    return named("Deployment", name)["spec"]["template"]["spec"]


def container(name: str) -> dict[str, Any]:
    [only] = pod(name)["containers"]
    return only


def variables() -> set[str]:
    in_containers = {each["name"] for spec in every("env") for each in spec["env"]}
    return in_containers | {name for directory in (BASE, DEV, PRODUCTION) for name in literals(directory)}


def test_every_image_is_one_that_we_build_or_one_that_is_named_here() -> None:
    assert {each["image"] for each in containers()} == {*OURS, *OTHERS}
    assert "AS train\n" in dockerfile("riskline-train")
    for directory in (DEV, PRODUCTION):
        images = yaml.safe_load((directory / "kustomization.yaml").read_text())["images"]
        assert {*OURS} <= {each["name"] for each in images}


def test_production_runs_the_version_of_this_checkout() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = yaml.safe_load((PRODUCTION / "kustomization.yaml").read_text())["images"]

    assert {each["newTag"] for each in images if each["name"] in OURS} == {version}


def test_the_port_is_that_of_the_image_and_of_the_settings() -> None:
    [port] = container("riskline-api")["ports"]
    [service] = named("Service", "riskline-api")["spec"]["ports"]

    assert port["containerPort"] == service["port"] == Settings.model_fields["port"].default
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile("riskline-api")
    assert port["name"] == service["targetPort"] == service["name"]
    [allowed] = named("NetworkPolicy", "riskline-api")["spec"]["ingress"]
    assert [each["port"] for each in allowed["ports"]] == [port["name"]]


def test_every_probe_asks_a_path_that_is_open_to_all() -> None:
    probes = [each["httpGet"] for each in every("httpGet")]

    assert {each["path"] for each in probes} == {"/health", "/health/live", "/health/ready"}
    assert all(ACCESS["GET", each["path"]] is OPEN for each in probes)
    assert {each["port"] for each in probes} == {"http"}


def test_readiness_does_not_take_the_whole_api_away_when_redis_is() -> None:
    """POST /score-transaction answers without Redis, and /health/ready does not say so."""
    api = container("riskline-api")

    assert api["readinessProbe"]["httpGet"]["path"] == "/health"
    assert api["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert api["startupProbe"]["httpGet"]["path"] == "/health/ready"


@pytest.mark.parametrize("each", [each for each in containers() if "args" in each], ids=lambda each: each["name"])
def test_every_command_is_one_that_riskline_has(each: dict[str, Any]) -> None:
    program, *words = each["args"]
    if program == "sleep":
        return
    assert program == "riskline"
    group = typer.main.get_command(app)
    name, command, rest = group.resolve_command(typer.Context(group), words)
    # parses the options, and complains of those that are not there
    assert command.make_context(name, rest) is not None


def test_every_container_of_ours_runs_as_the_user_of_its_image_and_writes_to_its_own_volumes_only() -> None:
    for spec in pods():
        context = spec["securityContext"]
        images = {each["image"] for each in spec["containers"]}
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for image in images & OURS.keys():
            assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile(image)
    for each in containers():
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, each["name"]


def test_no_service_of_kubernetes_becomes_a_setting() -> None:
    """A Service called `riskline` gives its pods RISKLINE_PORT=tcp://…, and the API does not start."""
    assert all(spec["enableServiceLinks"] is False for spec in pods())


def test_every_container_says_what_it_needs_and_has_a_bound_on_memory() -> None:
    for each in containers():
        assert {"cpu", "memory"} <= each["resources"]["requests"].keys(), each["name"]
        assert each["resources"]["limits"].keys() == {"memory"}, each["name"]


def test_the_api_gets_the_memory_that_its_connections_may_take() -> None:
    limit = container("riskline-api")["resources"]["limits"]["memory"]

    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) * 1024**2 >= largest_api_bytes(load_settings())


def test_the_api_gets_the_time_that_it_takes_to_stop() -> None:
    # until every proxy has heard that the pod is no endpoint any more
    assert load_settings().stop_delay >= 5

    needed = load_settings().stop_delay + SHUTDOWN_SECONDS + FINISH_SECONDS + SPARE_SECONDS
    assert pod("riskline-api")["terminationGracePeriodSeconds"] >= needed


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_gets_the_time_that_it_takes_to_stop(name: str) -> None:
    assert pod(name)["terminationGracePeriodSeconds"] >= STOP_SECONDS + SPARE_SECONDS


def test_every_volume_is_mounted_where_riskline_looks() -> None:
    mounts = {(each["name"], mount["name"]): mount for each in containers() for mount in each["volumeMounts"]}
    for image in OURS:
        [data] = set(re.findall(r"\bRISKLINE_DATA=(\S+)", dockerfile(image)))
        models = str(load_settings(data=Path(data)).models_dir)
        names = {each["name"] for each in containers() if each["image"] == image}
        where = {mount["mountPath"] for (name, volume), mount in mounts.items() if name in names and volume == "models"}
        assert where == {models}
        assert all((name, "tmp") in mounts for name in names)
    assert mounts["api", "models"]["readOnly"] is True
    assert mounts["worker", "models"]["readOnly"] is True
    assert mounts["models", "models"]["mountPath"] == mounts["worker", "models"]["mountPath"]
    keys_file = Path(literals(PRODUCTION)["RISKLINE_API_KEYS_FILE"])
    assert str(keys_file.parent) == mounts["api", "api-keys"]["mountPath"]
    assert keys_file.name == "api_keys"


def test_every_variable_is_a_setting() -> None:
    assert variables() - {"HOME"} <= {variable_name(field) for field in Settings.model_fields}


@pytest.mark.parametrize("overlay", [DEV, PRODUCTION], ids=lambda path: path.name)
def test_every_value_can_be_used(overlay: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (literals(BASE) | literals(overlay)).items():
        monkeypatch.setenv(name, value)
    for each in container("riskline-api")["env"]:
        if "value" in each:
            monkeypatch.setenv(each["name"], each["value"])

    settings = load_settings()

    assert not settings.is_loopback
    assert settings.auth == ("off" if overlay is DEV else "keys")


def test_the_redis_of_dev_is_one_to_which_doctor_has_no_objection() -> None:
    [redis] = [each for each in containers() if each["name"] == "redis"]
    words = redis["command"]
    said = dict(pairwise(words))

    for name, (wanted, _) in WANTED_REDIS.items():
        assert said[f"--{name}"] == wanted
    [secret] = yaml.safe_load((DEV / "kustomization.yaml").read_text())["secretGenerator"]
    url = urlsplit(secret["literals"][0].removeprefix("url="))
    [service] = [each for each in of_kind("Service", DEV) if each["metadata"]["name"] == url.hostname]
    assert [each["port"] for each in service["spec"]["ports"]] == [url.port]
    assert redis["image"] in (ROOT / "docker-compose.yml").read_text()


def test_the_autoscaler_reads_a_metric_that_the_api_has_with_a_key_that_may() -> None:
    [scaled] = of_kind("ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    overlay = yaml.safe_load((PRODUCTION / "kustomization.yaml").read_text())
    name, label, value = re.fullmatch(r'(\w+)\{(\w+)="(\w+)"\}', trigger["metadata"]["valueLocation"]).groups()

    assert url.hostname == f"riskline-api.{overlay['namespace']}.svc"
    assert url.port == Settings.model_fields["port"].default
    assert ACCESS["GET", url.path] is READ
    assert "--scope read" in HOW_TO.read_text()
    assert metrics.WORKERS_NEEDED._name == name
    assert metrics.WORKERS_NEEDED._labelnames == (label,)
    assert value == "scoring"
    assert scaled["spec"]["scaleTargetRef"]["name"] == "riskline-worker"
    assert (trigger["metricType"], trigger["metadata"]["targetValue"]) == ("AverageValue", "1")
    assert str(scaled["spec"]["maxReplicaCount"]) == literals(PRODUCTION)["RISKLINE_SCALE_MAX"]
    [authentication] = of_kind("TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]


def test_prometheus_scrapes_what_the_api_answers() -> None:
    [monitor] = of_kind("ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]

    assert ACCESS["GET", endpoint["path"]] is READ
    assert endpoint["port"] == "http"
    assert (
        monitor["spec"]["selector"]["matchLabels"].items()
        <= named("Service", "riskline-api")["metadata"]["labels"].items()
    )


def test_the_job_of_what_is_scraped_is_the_one_that_the_rules_ask_for() -> None:
    """Else RisklineDown fires for ever, for want of any target of that job."""
    [monitor] = of_kind("ServiceMonitor")
    base = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    labels = {name: value for each in base["labels"] for name, value in each["pairs"].items()}
    labels |= named("Service", "riskline-api")["metadata"]["labels"]
    asked_for = set(re.findall(r'up{job="(\w+)"}', (MONITORING / "alerts.yml").read_text()))

    assert asked_for == {labels[monitor["spec"]["jobLabel"]]}


def test_the_rules_for_the_operator_are_those_for_prometheus_to_the_byte() -> None:
    rules = "groups:" + (MONITORING / "alerts.yml").read_text().partition("\ngroups:")[2]
    text = (KUBERNETES / "components" / "monitoring" / "prometheus-rule.yaml").read_text()

    assert text.partition("\nspec:\n")[2] == textwrap.indent(rules, "  ")


def test_the_network_lets_through_what_riskline_connects_to() -> None:
    [receivers] = named("NetworkPolicy", "riskline-callbacks")["spec"]["egress"]
    [redis] = named("NetworkPolicy", "riskline-redis-clients")["spec"]["egress"]

    assert {each["port"] for each in receivers["ports"]} == PUBLIC_PORTS
    sentinel = parse_sentinel_url("redis+sentinel://one/mymaster").sentinels[0][1]
    assert {each["port"] for each in redis["ports"]} == {6379, 6380, sentinel}


def test_spans_may_leave_every_pod_that_makes_them_for_the_port_that_they_are_sent_to() -> None:
    traces = literals(TRACES)
    policy = named("NetworkPolicy", "riskline-traces", TRACES)["spec"]
    [way_out] = policy["egress"]
    [pods_that_may] = policy["podSelector"]["matchExpressions"]

    assert traces["RISKLINE_TRACES"] in get_args(Settings.model_fields["traces"].annotation)
    assert {each["port"] for each in way_out["ports"]} == {urlsplit(traces["OTEL_EXPORTER_OTLP_ENDPOINT"]).port}
    assert set(pods_that_may["values"]) == {"riskline-api", *WORKERS}
    assert "components/traces" in (ROOT / "docs" / "how-to" / "trace.md").read_text()


def test_the_how_to_makes_every_secret_that_production_reads() -> None:
    """Name and key, as in `kubectl create secret generic NAME --from-literal=KEY=…`."""
    text = HOW_TO.read_text()
    wanted = {(each["secretKeyRef"]["name"], each["secretKeyRef"]["key"]) for each in every("secretKeyRef")}
    wanted |= {(each["name"], each["key"]) for each in of_kind("TriggerAuthentication")[0]["spec"]["secretTargetRef"]}
    wanted |= {(each["secret"]["secretName"], "api_keys") for each in every("secret", "name")}
    for name, key in wanted:
        assert re.search(rf"secret generic {name} .*--from-(literal|file)={key}=", text.replace("\\\n", "")), name


def test_every_file_of_a_directory_is_in_its_kustomization() -> None:
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        listed = set(yaml.safe_load(kustomization.read_text()).get("resources", ()))
        beside = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside == {each for each in listed if not each.startswith("..")}
    assert documents()


def test_a_worker_is_alive_by_the_file_that_its_image_has_it_touch() -> None:
    probed = {each["name"]: each.get("livenessProbe", {}).get("exec", {}).get("command") for each in containers()}
    healthcheck = next(line for line in dockerfile("riskline-worker").splitlines() if "riskline.worker.alive" in line)

    command = json.loads(healthcheck.partition("CMD ")[2])
    assert probed["worker"] == probed["callbacks"] == command
    assert f"RISKLINE_ALIVE_FILE={command[-1]}\n" in dockerfile("riskline-worker")
