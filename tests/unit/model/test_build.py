"""The kernel is compiled once for each source, by whatever compiler the machine has."""

import ctypes
import importlib.util
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from riskline.shared.errors import InstallationError
from riskline.shared.model import build as building
from riskline.shared.model.build import SOURCES, build, compiler

SYMBOLS = ("riskline_score_one", "riskline_score", "riskline_explain", "riskline_history_columns")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "_kernel.so"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a compiler and without the ziglang wheel."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(building, "find_spec", lambda name: None)


def test_the_kernel_compiles_and_can_be_loaded(library: Path) -> None:
    assert build(library=library) is True

    loaded = ctypes.CDLL(str(library))
    assert all(hasattr(loaded, symbol) for symbol in SYMBOLS)
    assert sorted(path.name for path in library.parent.iterdir()) == ["_kernel.sha256", "_kernel.so"]


def test_a_kernel_that_is_up_to_date_is_not_compiled_again(library: Path, no_compiler: None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "compiler", lambda: ["cc"])
        build(library=library)
    before = library.stat()

    assert build(library=library) is False
    assert library.stat() == before


def test_a_changed_source_or_a_missing_library_is_compiled_again(library: Path) -> None:
    sources = [library.with_name(source.name) for source in SOURCES]
    for source, original in zip(sources, SOURCES, strict=True):
        source.write_bytes(original.read_bytes())
    build(sources=sources, library=library)

    for source in sources:
        source.write_bytes(source.read_bytes() + b"\n/* changed */\n")
        assert build(sources=sources, library=library) is True

    library.unlink()
    assert build(sources=sources, library=library) is True
    assert build(sources=sources, library=library) is False


def test_a_source_that_does_not_compile_leaves_the_old_library(library: Path) -> None:
    build(library=library)
    before = library.read_bytes()
    source = library.with_name("kernel.c")
    source.write_text("this is no C")

    with pytest.raises(InstallationError, match=r"(?s)does not compile: .*-ffp-contract=off.*error"):
        build(sources=[source], library=library)

    assert library.read_bytes() == before
    assert sorted(path.name for path in library.parent.iterdir()) == ["_kernel.sha256", "_kernel.so", "kernel.c"]


def test_without_a_compiler_one_is_told_what_to_install(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(building, "find_spec", lambda name: None)

    with pytest.raises(InstallationError, match=r"install gcc or clang, or `pip install ziglang`"):
        build(library=library)
    assert list(library.parent.iterdir()) == []


def test_the_compiler_that_cc_names_comes_first(no_compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "ccache 'my clang' -m64")

    assert compiler() == ["ccache", "my clang", "-m64"]


def test_a_compiler_that_cc_names_and_that_does_not_exist_is_an_error_of_the_installation(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "/no/such/compiler")

    with pytest.raises(InstallationError, match="/no/such/compiler does not start"):
        build(library=library)


@pytest.mark.parametrize("there", ["cc", "gcc", "clang"])
def test_the_systems_compiler_is_taken_by_any_of_its_names(
    no_compiler: None, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == there else None)

    assert compiler() == [f"/usr/bin/{there}"]


def test_without_a_system_compiler_the_one_in_the_ziglang_wheel_is_taken(
    no_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "find_spec", lambda name: ModuleSpec(name, None) if name == "ziglang" else None)

    assert compiler() == [sys.executable, "-m", "ziglang", "cc"]


def test_the_ziglang_wheel_compiles_the_kernel(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed here: its compiler was not tried")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert build(library=library) is True
    assert hasattr(ctypes.CDLL(str(library)), "riskline_score")
