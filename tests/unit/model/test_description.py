"""The name and the note of a model version, beside its bundle."""

from pathlib import Path

import orjson
import pytest

from riskline.shared.errors import BundleError
from riskline.shared.model.description import FILE, Description
from riskline.shared.model.registry import Registry
from tests.support.console_pages import Open
from tests.unit.model.test_registry import add_version


def test_a_version_is_told_by_its_name_and_note(tmp_path: Path) -> None:
    version = add_version(tmp_path, day=1)
    registry = Registry(tmp_path)
    manifest = registry.manifest(version)
    assert registry.description(version) == Description()

    registry.describe(version, Description("Autumn <b>", "With the chargebacks of October."))

    assert registry.manifest(version) == manifest
    page = Open(models_dir=tmp_path).get("/models").text
    assert f'>Autumn &lt;b&gt; <span class="mono">{version}</span>' in page
    assert "<p>With the chargebacks of October.</p>" in page


@pytest.mark.parametrize(
    "description",
    [Description(name="x" * 61), Description(note="x" * 501), Description(name="a\nb"), Description("\x1b[1m")],
)
def test_what_no_list_could_show_is_not_kept(tmp_path: Path, description: Description) -> None:
    version = add_version(tmp_path, day=1)

    with pytest.raises(BundleError, match=r"the (name|note) "):
        Registry(tmp_path).describe(version, description)

    assert Registry(tmp_path).description(version) == Description()


@pytest.mark.parametrize(
    "kept", [b"", b"x", b"[]", b'{"name": 5}', orjson.dumps({"name": "x" * 61}), b'{"name": "a\\nb"}', b"x" * 20_000]
)
def test_what_somebody_else_wrote_there_is_no_description(tmp_path: Path, kept: bytes) -> None:
    version = add_version(tmp_path, day=1)
    (tmp_path / version / FILE).write_bytes(kept)

    assert Registry(tmp_path).description(version) == Description()
    assert Registry(tmp_path).load(version)


def test_a_description_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    version = add_version(tmp_path / "models", day=1)
    (tmp_path / "secret").write_bytes(orjson.dumps({"name": "secret"}))
    (tmp_path / "models" / version / FILE).symlink_to(tmp_path / "secret")

    assert Registry(tmp_path / "models").description(version) == Description()


def test_who_activated_the_active_version_is_told(tmp_path: Path) -> None:
    version = add_version(tmp_path, day=1)
    console = Open(models_dir=tmp_path)
    assert "Activated" not in console.get("/models").text

    console.post("/models/switch", version=version)
    for _ in range(101):
        # looks push no change out
        console.post("/values", shown="1")

    assert "Activated <time" in console.get("/models").text
    assert "by anybody." in console.get("/models").text
