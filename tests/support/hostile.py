"""Bundles by somebody who knows the format: whatever their files say, their hashes and their name are right.

As a program (`python -m tests.support.hostile DIRECTORY SEED FIRST LAST`) it makes such bundles, one a case, and does
with each what the API does with a version. It prints each case's number before it begins, and what came of it.
"""

import hashlib
import io
import random
import resource
import shutil
import signal
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from riskline.shared.domain.transaction import Transaction
from riskline.shared.errors import BundleError
from riskline.shared.model.bundle import MANIFEST, REFERENCE, TREES, TWIN, ServingModel, load_model

FEATURES = Transaction.feature_names()
CASE_CPU_SECONDS = 5.0
MEMORY_BYTES = 3 * 1024**3
ROWS = 1_000

NUMBERS = (0, -1, 1, 2, 5, 127, 2**31 - 1, -(2**31), 2**63, 1e-320, 0.5, 1e16, 1e300, 1.7976931348623157e308, -1e308)
STRANGE = (None, True, "x", "\x1b[2J\n", "y" * 1_000, [], {}, [[[[]]]], [0] * 3_000, {"a": [1]}, *NUMBERS)
DTYPES = ("<i4", ">i4", "<i8", "<u4", "<f4", "<f8", ">f8", "<f2", "<c16", "|b1", "|u1", "<U3", "<M8[s]")


def signed(bundle: Path, **changes: Any) -> Path:
    """Makes the hashes and the name right for what is there, with these changes of what the manifest says."""
    said = {**orjson.loads((bundle / MANIFEST).read_bytes()), **changes}
    if "sha256" not in changes:
        there = [name for name in (TREES, TWIN, REFERENCE) if (bundle / name).exists()]
        hashes = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in there}
        said["sha256"] = hashes
    digest = hashlib.sha256(orjson.dumps({**said, "version": ""})).hexdigest()[:8]
    named = bundle.with_name(f"20261124T031500-{digest}")
    (bundle / MANIFEST).write_bytes(orjson.dumps({**said, "version": changes.get("version", named.name)}))
    return bundle.rename(named)


def grown(chance: random.Random) -> dict[str, Any]:
    """Random trees that are all right."""
    feature, left, right, roots = [], [], [], []
    for _ in range(chance.randint(1, 40)):
        roots.append(len(feature))
        waiting = [chance.randint(0, 7)]
        while waiting:
            depth, here = waiting.pop(0), len(feature)
            split = depth > 0 and chance.random() < 0.8
            feature.append(chance.randrange(len(FEATURES)) if split else -1)
            # the queue is first in, first out: its children come after all that wait
            left.append(here + len(waiting) + 1 if split else -1)
            right.append(here + len(waiting) + 2 if split else -1)
            waiting += [depth - 1] * 2 * split
    size = range(len(feature))
    arrays = {name: np.array(each, np.int32) for name, each in zip(KEYS, (feature, left, right, roots), strict=True)}
    arrays["threshold"] = np.array([chance.choice((0.5, 24.0, 100.0, 5411.0, chance.uniform(0, 999))) for _ in size])
    arrays["value"] = np.array([chance.random() for _ in size])
    return arrays


KEYS = ("feature", "left", "right", "roots")


def _one_value(chance: random.Random, arrays: dict[str, Any]) -> None:
    name = chance.choice(sorted(arrays))
    values, at = arrays[name], chance.randrange(len(arrays[name]))
    if values.dtype == np.int32:
        values[at] = chance.choice((-(2**31), 2**31 - 1, -2, -1, 0, at, at - 1, at + 1, len(values), len(values) - 1))
    else:
        extremes = (np.nan, np.inf, -np.inf, 1.7976931348623157e308, -1.7e308, 5e-324, -0.0, 1.0000001, -1e-9)
        values[at : chance.choice((at + 1, None))] = chance.choice(extremes)


def _shared_or_in_a_circle(chance: random.Random, arrays: dict[str, Any]) -> None:
    name, other = chance.choice(("left", "right")), chance.choice(("left", "right", "roots"))
    inner = np.flatnonzero(arrays["feature"] != -1)
    if len(inner):
        arrays[name][chance.choice(inner)] = chance.choice((chance.choice(inner), chance.choice(arrays[other])))


def _another_kind(chance: random.Random, arrays: dict[str, Any]) -> None:
    name = chance.choice(sorted(arrays))
    with np.errstate(all="ignore"):
        arrays[name] = arrays[name].astype(chance.choice(DTYPES))


def _another_shape(chance: random.Random, arrays: dict[str, Any]) -> None:
    for name in chance.sample(sorted(arrays), chance.choice((1, 6))):
        values = arrays[name]
        shapes = (values[:-1], values[:0], values[0], np.tile(values, 2), np.asfortranarray(np.stack([values, values])))
        arrays[name] = np.array(chance.choice(shapes))


def _another_order(chance: random.Random, arrays: dict[str, Any]) -> None:
    one, other = chance.sample(sorted(arrays), 2)
    arrays[one], arrays[other] = arrays[other], arrays[one]


def _a_chain(chance: random.Random, arrays: dict[str, Any]) -> None:
    splits = chance.choice((10, 999, 1_001, 300_000))
    every = np.arange(splits, dtype=np.int32)
    ends = np.full(splits + 1, -1, np.int32)
    arrays["feature"] = np.concatenate([every % 5, ends]).astype(np.int32)
    arrays["left"] = np.concatenate([every + 1, ends]).astype(np.int32)
    arrays["right"] = np.concatenate([splits + 1 + every, ends]).astype(np.int32)
    arrays["left"][splits - 1] = splits
    arrays["roots"] = np.zeros(1, np.int32)
    arrays["threshold"] = arrays["value"] = np.full(len(ends) + splits, chance.random())


CHANGES = (_one_value, _shared_or_in_a_circle, _another_kind, _another_shape, _another_order, _a_chain)


def packed(chance: random.Random, arrays: dict[str, Any]) -> bytes:
    """An archive of them, sometimes one that numpy would not write."""
    content = io.BytesIO()
    way = chance.choice((zipfile.ZIP_DEFLATED,) * 30 + (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(content, "w", way) as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(values))
            written = bytearray(member.getvalue())
            if chance.random() < 0.01:
                written[chance.randrange(min(128, len(written)))] ^= 1 << chance.randrange(8)
            archive.writestr(f"{name}.npy", bytes(written))
    damaged = bytearray(content.getvalue())
    if chance.random() < 0.03:
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged[: chance.randrange(len(damaged)) if chance.random() < 0.03 else None])


def curve(chance: random.Random) -> Any:
    """A calibration, right or not."""
    if chance.random() < 0.4:
        return {"kind": "sigmoid", "slope": chance.choice(NUMBERS), "intercept": chance.choice(NUMBERS)}
    count = chance.choice((0, 1, 2, 3, 50))
    x = sorted(chance.choice((chance.uniform(-3, 3), *NUMBERS)) for _ in range(count))
    if chance.random() < 0.5:
        # too far from each other for a difference, and too near for a slope
        x = chance.choice(([-1.7e308, 1.7e308], [0, 5e-324, 1], [-1e-300, 0, 1e-300], sorted(set(x))))
        count = len(x)
    y = sorted(chance.random() for _ in range(chance.choice((count,) * 9 + (count + 1,))))
    if chance.random() < 0.3 and y:
        y[-1] = chance.choice((1.0, *NUMBERS))
    return {"kind": chance.choice(("isotonic",) * 9 + ("spline",)), "x": x, "y": y}


def weights(chance: random.Random) -> Any:
    """The weights of a linear model, right or not."""
    numbers = (chance.uniform(-3, 3), chance.uniform(-3, 3), *NUMBERS) if chance.random() < 0.3 else (0.5, -2.0, 1e59)
    width = chance.choice((len(FEATURES),) * 9 + (0, 1, len(FEATURES) + 1, 3_000))
    made: dict[str, Any] = {name: [chance.choice(numbers) for _ in range(width)] for name in ("weights", "centres")}
    if chance.random() < 0.1:
        made[chance.choice(("weights", "new"))] = chance.choice(STRANGE)
    return made


def manifest(chance: random.Random, said: dict[str, Any]) -> None:
    """Changes what it says."""
    if chance.random() < 0.3:
        said["scoring"] |= {"aggregation": "sum", "link": "sigmoid", "linear": weights(chance)}
        said["format"] = 2
    if chance.random() < 0.6:
        said["scoring"] |= {
            "inputs": chance.choice(("float32", "float64")),
            "aggregation": chance.choice(("mean", "sum")),
            "link": chance.choice(("identity", "sigmoid")),
            **{name: chance.choice(NUMBERS) for name in ("initial", "scale", "offset") if chance.random() < 0.3},
        }
    if chance.random() < 0.5:
        said["scoring"]["calibration"] = curve(chance)
    if chance.random() < 0.2:
        members = ("scoring", "thresholds", "libraries", "training", "history", "twin")
        inside = chance.choice(
            [said, *[said[each] for each in members if isinstance(said.get(each), dict) and said[each]]]
        )
        name = chance.choice([*inside, "new"])
        inside[name] = chance.choice(STRANGE)
        if chance.random() < 0.2:
            del inside[name]


def changed(chance: random.Random) -> dict[str, Any]:
    """Random trees, of which some are not all right."""
    arrays = grown(chance)
    for _ in range(chance.choice((0, 1, 1, 1, 2))):
        try:
            chance.choice(CHANGES)(chance, arrays)
        except (IndexError, TypeError, ValueError, OverflowError):
            continue  # the change before it left nothing to change
    return arrays


def quantiles(chance: random.Random) -> dict[str, Any]:
    """A model's part of reference.json, right or not."""
    made: dict[str, Any] = {"features": {"amount": sorted(chance.random() for _ in range(101))}, "score": [0.5]}
    if chance.random() < 0.05:
        made["features"] = chance.choice((*STRANGE, {"amount": [chance.choice(STRANGE)] * 101}))
    return made


def written(directory: Path, chance: random.Random, base: dict[str, Any]) -> Path:
    """A case's bundle."""
    said = orjson.loads(orjson.dumps(base))
    bundle = directory / "unsigned"
    bundle.mkdir()
    # of a model and its twin one is all right: else next to none would pass the first check
    of_model, of_twin = (changed, grown) if "twin" not in said or chance.random() < 0.5 else (grown, changed)
    (bundle / TREES).write_bytes(packed(chance, of_model(chance)))
    reference = quantiles(chance)
    if "twin" in said:
        (bundle / TWIN).write_bytes(packed(chance, of_twin(chance)))
        reference["twin"] = quantiles(chance) if chance.random() < 0.98 else chance.choice(STRANGE)
    (bundle / REFERENCE).write_bytes(orjson.dumps(reference))
    (bundle / MANIFEST).write_bytes(orjson.dumps(said))
    if chance.random() < 0.5:
        manifest(chance, said["twin"] if "twin" in said and chance.random() < 0.4 else said)
    return signed(bundle, **{name: value for name, value in said.items() if name not in ("sha256", "version")})


def outcome(bundle: Path) -> str:
    """What came of it: refused in one line that names the bundle and the file, or scores that are probabilities."""
    try:
        model = load_model(bundle)
    except BundleError as error:
        said = str(error)
        assert bundle.name in said
        assert any(name in said for name in (TREES, TWIN, MANIFEST, REFERENCE)), said
        assert said.isprintable(), said
        assert len(said) < 2_000, said
        return f"refused: {said.partition(bundle.name)[2][2:160]}"
    check(model)
    if model.twin is not None:
        check(model.twin)
    return "scored"


def check(model: ServingModel) -> None:
    """Checks that all scores are probabilities, and the same in all ways."""
    random_rows = np.random.default_rng(0).lognormal(3, 4, (ROWS, len(model.feature_names)))
    random_rows[::7] = 0.0
    random_rows[::11, 0] = 1.7e308
    scores = model.score(random_rows)
    assert np.isfinite(scores).all(), scores
    assert ((scores >= 0) & (scores <= 1)).all(), (scores.min(), scores.max())
    assert model.score_one(random_rows[3].tolist()) == scores[3]
    explained, contributions = model.explain(random_rows)
    assert np.array_equal(explained, scores)
    assert np.isfinite(contributions).all()


def main(directory: str, seed: str, first: str, last: str) -> None:
    """Runs the cases from the first to the last."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    base = orjson.loads((Path(directory) / MANIFEST).read_bytes())
    for case in range(int(first), int(last)):
        print(case, end=" ", flush=True)
        bundle = written(Path(directory), random.Random(f"{seed}-{case}"), base)
        # the default of this signal ends the process
        signal.setitimer(signal.ITIMER_PROF, CASE_CPU_SECONDS)
        print(outcome(bundle), flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        shutil.rmtree(bundle)


if __name__ == "__main__":
    main(*sys.argv[1:])
