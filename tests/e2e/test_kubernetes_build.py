"""The overlays as the real kustomize builds them: valid for Kubernetes, and whole (`make test-kubernetes`)."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import KUBERNETES

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="`make test-kubernetes` installs it")

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KUBECTL = Path(sys.executable).with_name("kubectl")

VERSIONS = ("1.29", "1.37")
"""The oldest that the how-to names, and the newest whose schemas are here."""

CUSTOM = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
"""Of KEDA and of the Prometheus operator; the manifests' own tests look into them."""

OPTIONAL = ("model-image", "monitoring", "traces")

MADE_BY_HAND = {"riskline-redis", "riskline-keys", "riskline-callbacks", "riskline-history", "riskline-scaler"}


def variants() -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "dev", ()
    for chosen in chain.from_iterable(combinations(OPTIONAL, size) for size in range(len(OPTIONAL) + 1)):
        yield "production", chosen


@pytest.fixture(params=variants(), ids=lambda variant: "+".join((variant[0], *variant[1])))
def built(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    """The resources of an overlay, with optional components taken in as its comments say."""
    overlay, chosen = request.param
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    kustomization = tmp_path / "kubernetes" / "overlays" / overlay / "kustomization.yaml"
    text = kustomization.read_text()
    for component in chosen:
        line = f"  # - ../../components/{component}\n"
        assert line in text
        text = text.replace(line, line.replace("# ", ""))
    kustomization.write_text(text)
    done = subprocess.run([KUBECTL, "kustomize", kustomization.parent], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def by_kind(built: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in built if each["kind"] == kind}


def pod_templates(built: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in built
        if each["kind"] in ("Deployment", "StatefulSet")
    }


def is_selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_valid(built: list[dict[str, Any]], version: str) -> None:
    for each in built:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_every_selector_finds_its_pods(built: list[dict[str, Any]]) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(built).items()}
    selectors = {
        f"{each['kind']} {each['metadata']['name']}": each["spec"].get("podSelector", each["spec"].get("selector"))
        for each in built
        if each["kind"] in ("NetworkPolicy", "PodDisruptionBudget", "Deployment", "StatefulSet")
    }
    selectors |= {
        f"Service {name}": {"matchLabels": each["spec"]["selector"]} for name, each in by_kind(built, "Service").items()
    }

    for name, selector in selectors.items():
        found = [each for each, own in labels.items() if is_selected(selector, own)]
        # the policy of a deployment that an overlay leaves out
        assert found or name == "NetworkPolicy riskline-callbacks", name
        if name.split()[0] in ("Deployment", "StatefulSet", "PodDisruptionBudget", "Service"):
            assert found == [name.split()[1]]


def test_every_autoscaler_has_its_deployment_and_nobody_else_sets_its_replicas(built: list[dict[str, Any]]) -> None:
    deployments = by_kind(built, "Deployment")
    scalers = [*by_kind(built, "HorizontalPodAutoscaler").values(), *by_kind(built, "ScaledObject").values()]

    assert scalers
    for scaler in scalers:
        assert "replicas" not in deployments[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]


def test_everything_that_a_pod_names_is_there_or_made_by_hand(built: list[dict[str, Any]]) -> None:
    settings, secrets = by_kind(built, "ConfigMap"), by_kind(built, "Secret")
    for template in pod_templates(built).values():
        spec = template["spec"]
        volumes = {each["name"]: each for each in spec["volumes"]} if "volumes" in spec else {"data": {}}
        for each in (*spec["containers"], *spec.get("initContainers", ())):
            for source in each.get("envFrom", ()):
                assert source["configMapRef"]["name"] in settings
            for variable in each.get("env", ()):
                if "valueFrom" in variable:
                    assert variable["valueFrom"]["secretKeyRef"]["name"] in secrets.keys() | MADE_BY_HAND
            assert {mount["name"] for mount in each["volumeMounts"]} <= volumes.keys()
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in by_kind(built, "PersistentVolumeClaim")


def test_the_service_has_the_label_that_the_monitor_takes_the_job_from(built: list[dict[str, Any]]) -> None:
    labels = by_kind(built, "Service")["riskline-api"]["metadata"]["labels"]

    for monitor in by_kind(built, "ServiceMonitor").values():
        assert labels[monitor["spec"]["jobLabel"]] == "riskline"


def test_everything_is_in_the_namespace_of_the_overlay(built: list[dict[str, Any]]) -> None:
    [namespace] = by_kind(built, "Namespace")

    assert namespace.startswith("riskline")
    assert {each["metadata"].get("namespace") for each in built if each["kind"] != "Namespace"} == {namespace}
