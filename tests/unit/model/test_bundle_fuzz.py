"""Bundles that were damaged at random, or made by somebody who wants the process that loads them to fall.

`make test` tries some hundreds of the latter; BUNDLE_FUZZ_CASES=100000 tries more, BUNDLE_FUZZ_SEED others.
"""

import io
import os
import random
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from riskline.shared.domain.inputs import Inputs
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import MANIFEST, REFERENCE, TREES, TWIN, Manifest, load_model
from riskline.shared.model.registry import Registry
from tests.integration.running import PATIENCE_SECONDS
from tests.support.histories import Purchase
from tests.support.hostile import signed
from tests.support.models import small_trees, write_version, write_version_with_history

CASES = int(os.environ.get("BUNDLE_FUZZ_CASES", "400"))
SEED = int(os.environ.get("BUNDLE_FUZZ_SEED", "1"))
FLIPS = 400
MOST_MEGABYTES, MOST_CPU_SECONDS = 150, 10.0
MILLION = 1_000_000

LOAD = """
import re, sys, time
from pathlib import Path
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import load_model
from tests.integration.running import PATIENCE_SECONDS
def peak():
    # not of getrusage: that is at least what the process that started this one had
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before, began = peak(), time.process_time()
try:
    load_model(Path(sys.argv[1]))
    said = "loaded"
except BundleError as error:
    said = str(error)
print((peak() - before) // 1_000, time.process_time() - began, said)
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / write_version(tmp_path).version


def with_history(models_dir: Path) -> Manifest:
    """Writes a version that has a twin."""
    return write_version_with_history(models_dir, Purchase, by_history=("purchases_1h", 4), by_twin=("items", 4))


@pytest.mark.parametrize("file", [TREES, TWIN, MANIFEST, REFERENCE])
def test_a_file_with_any_bit_flipped_or_its_end_cut_off_is_refused_by_name(tmp_path: Path, file: str) -> None:
    bundle = tmp_path / with_history(tmp_path).version
    chance, content = random.Random(SEED), (bundle / file).read_bytes()
    for case in range(FLIPS):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        if case % 4 == 0:
            damaged = damaged[: chance.randrange(len(content))]
        (bundle / file).write_bytes(damaged)

        with pytest.raises(BundleError, match=bundle.name):
            load_model(bundle)


@pytest.mark.timeout(max(900, 10 * CASES))
@pytest.mark.parametrize("made", [write_version, with_history], ids=["alone", "with a twin"])
def test_a_bundle_with_right_hashes_is_refused_in_one_line_or_scores_in_probabilities(
    tmp_path: Path, made: Callable[[Path], Manifest]
) -> None:
    bundle = tmp_path / made(tmp_path).version
    (tmp_path / MANIFEST).write_bytes((bundle / MANIFEST).read_bytes())
    words = [sys.executable, "-m", "tests.support.hostile", str(tmp_path), str(SEED), "0", str(CASES)]

    done = subprocess.run(words, capture_output=True, text=True, check=False)

    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"case {lines[-1]}: exit status {done.returncode}\n{done.stderr[-2_000:]}"
    assert len(lines) == CASES
    # else nothing was tried but the first check
    assert sum(line.endswith("scored") for line in lines) > CASES / 10
    assert len({line.partition("refused: ")[2][:40] for line in lines}) > 10


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [a_pipe, Path.mkdir, a_device], ids=["pipe", "directory", "device"])
@pytest.mark.parametrize("file", [TREES, TWIN, MANIFEST, REFERENCE])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, file: str, make: Callable[[Path], None]) -> None:
    bundle = tmp_path / with_history(tmp_path).version
    (bundle / file).unlink()
    make(bundle / file)

    with pytest.raises(BundleError, match=rf"{bundle.name}: {file} (?:is no file|is a link)"):
        load_model(bundle)


@pytest.mark.parametrize("make", [a_pipe, Path.mkdir, a_device], ids=["pipe", "directory", "device"])
def test_a_pointer_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "active")

    with pytest.raises(BundleError, match="active cannot be read"):
        Registry(tmp_path).active_version()


@pytest.mark.parametrize("name", ["a" * 300, "\0", "x\ny", "\ud800"])
def test_a_pointer_to_what_can_be_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "active").write_bytes(name.encode(errors="surrogatepass"))

    with pytest.raises(BundleError) as refused:
        Registry(tmp_path).load_active(Inputs(("amount",)))

    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["value.npy", "../../value.npy", "/etc/passwd", "value.npy/", "VALUE.npy"])
def test_an_archive_with_a_member_twice_or_one_more_is_refused(bundle: Path, name: str) -> None:
    with zipfile.ZipFile(bundle / TREES, "a") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr(name, b"")

    with pytest.raises(BundleError, match=r"trees\.npz has not the arrays .* each once"):
        load_model(signed(bundle))


def test_an_archive_that_asks_for_a_newer_zip_than_there_is_is_refused(bundle: Path) -> None:
    content = bytearray((bundle / TREES).read_bytes())
    content[content.index(b"PK\1\2") + 6] = 148
    (bundle / TREES).write_bytes(content)

    with pytest.raises(BundleError, match=r"trees\.npz is not a file of arrays .zip file version 14\.8"):
        load_model(signed(bundle))


@cache
def zeros(kind: str, megabytes: int) -> bytes:
    """An array of so many megabytes of zeros, packed; its header is right."""
    facts = {"descr": kind, "fortran_order": False, "shape": (megabytes * MILLION // np.dtype(kind).itemsize,)}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, facts)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = [packer.compress(header.getvalue()), *(packer.compress(bytes(MILLION)) for _ in range(megabytes))]
    return b"".join(packed) + packer.flush()


def archive(path: Path, *, megabytes: int, said: int | None = None) -> None:
    """An archive whose arrays are so large, or only say that they are another size."""
    whole, directory = bytearray(), bytearray()
    arrays = vars(small_trees())
    for name, values in arrays.items():
        content = zeros(values.dtype.str, megabytes)
        size = (megabytes * MILLION + 128 if said is None else said).to_bytes(4, "little")
        facts = b"\0\0\0\0" + b"\0\0\0\0" + len(content).to_bytes(4, "little") + size  # time, CRC, sizes
        facts += len(f"{name}.npy").to_bytes(2, "little") + b"\0\0"
        at = len(whole).to_bytes(4, "little")
        whole += b"PK\3\4\x14\0\0\0\x08\0" + facts + f"{name}.npy".encode() + content
        directory += b"PK\1\2\x14\0\x14\0\0\0\x08\0" + facts + bytes(10) + at + f"{name}.npy".encode()
    ends = b"PK\5\6\0\0\0\0" + len(arrays).to_bytes(2, "little") * 2 + len(directory).to_bytes(4, "little")
    path.write_bytes(whole + directory + ends + len(whole).to_bytes(4, "little") + b"\0\0")


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number}", b"")


def a_header_of_terabytes(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in vars(small_trees()):
            with archive.open(f"{name}.npy", "w") as member:
                shape = {"descr": "<i4", "fortran_order": False, "shape": (1 << 40,)}
                np.lib.format.write_array_header_1_0(member, shape)


def manifest(path: Path, **changes: Any) -> None:
    said = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**said, **changes}))


def calibrated(path: Path, knots: int) -> None:
    rising = (np.arange(knots) / knots).tolist()
    scoring = orjson.loads(path.read_bytes())["scoring"]
    manifest(path, scoring={**scoring, "calibration": {"kind": "isotonic", "x": rising, "y": rising}})


BOMBS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "gigabytes": (TREES, lambda path: archive(path, megabytes=450)),
    "six arrays just below their limit": (TREES, lambda path: archive(path, megabytes=190)),
    "a gigabyte that says it is small": (TREES, lambda path: archive(path, megabytes=190, said=4_000)),
    "a header of terabytes": (TREES, a_header_of_terabytes),
    "many members": (TREES, many_members),
    "a sparse file": (TREES, lambda path: os.truncate(path, 1_000 * MILLION)),
    "many features": (MANIFEST, lambda path: manifest(path, features=[0] * 4 * MILLION)),
    "many libraries": (MANIFEST, lambda path: manifest(path, libraries={str(i): 0 for i in range(800_000)})),
    "a long word": (MANIFEST, lambda path: manifest(path, estimator="x" * 9 * MILLION)),
    "a long key": (MANIFEST, lambda path: manifest(path, scoring={"x" * 9 * MILLION: 0})),
    "deep lists": (MANIFEST, lambda path: path.write_bytes(b"[" * 9 * MILLION)),
    "deep objects": (REFERENCE, lambda path: path.write_bytes(b'{"features":' * 700_000)),
    "many lists": (REFERENCE, lambda path: path.write_bytes(b'{"features": [' + b"[]," * 3 * MILLION + b"0]}")),
    "a long number": (MANIFEST, lambda path: path.write_bytes(b'{"format": ' + b"9" * 9 * MILLION + b"}")),
    "no UTF-8": (MANIFEST, lambda path: path.write_bytes(b"\xff" * 9 * MILLION)),
    "many knots": (MANIFEST, lambda path: calibrated(path, 240_000)),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what memory a process had at most")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bundle_that_would_unpack_to_gigabytes_is_refused_for_little_cpu_and_memory(bundle: Path, bomb: str) -> None:
    file, make = BOMBS[bomb]
    make(bundle / file)
    if file != MANIFEST and bomb != "a sparse file":
        bundle = signed(bundle)

    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(bundle)], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )

    megabytes, cpu_seconds, said = done.stdout.strip().split(maxsplit=2)
    print(f"{bomb}: {megabytes} MB, {float(cpu_seconds):.2f} s of CPU: {said.partition(bundle.name)[2]}")
    assert f"{bundle.name}: {file} " in said
    assert len(said) < 1_000
    assert int(megabytes) < MOST_MEGABYTES
    assert float(cpu_seconds) < MOST_CPU_SECONDS
