"""Files that teams have and that are no model: one line says what each is and what to do instead."""

import bz2
import gzip
import io
import json
import pickle
import struct
import sys
import tarfile
import types
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from riskline.shared.errors import BundleError
from riskline.worker.training.imports import unpickle
from riskline.worker.training.imports.dialects import xgboost_trees
from riskline.worker.training.imports.file_kinds import BEGINNING_BYTES, obstacle
from riskline.worker.training.imports.model_file import copy_checked
from tests.support.fitted import labelled
from tests.support.foreign_models import dumped, forest, imported


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return content.getvalue()


def tarred() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.joblib"))
    return content.getvalue()


XGBOOST_2_CATEGORICAL = (
    '{"learner": {"gradient_booster": {"name": "gbtree", "model": {"trees": [{"categories_nodes": [0], '
    '"split_conditions": [NaN, 0.1, 0.2]}]}}, "learner_model_param": {"base_score": "5E-1"}, '
    '"objective": {"name": "binary:logistic"}}}'
)
OLD_XGBOOST = struct.pack("<fI", 0.5, 5) + bytes(128) + struct.pack("<Q", 15) + b"binary:logistic"
OLD_XGBOOST += struct.pack("<Q", 6) + b"gbtree" + bytes(200)

FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("team.joblib", b"", "is empty: copy it again"),
    "LFS": ("team.joblib", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "run `git lfs pull`"),
    "DVC": ("team.joblib", b"outs:\n- md5: a304\n  path: team.joblib\n", "run `dvc pull`"),
    "HTML": ("team.joblib", b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page"),
    "XML": ("team.joblib", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a server's error"),
    "PMML": ("team.pmml", b'<?xml version="1.0"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4">', "is PMML: import the"),
    "Keras .h5": ("team.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "is HDF5, as Keras writes neural networks"),
    "Keras .keras": ("team.keras", zipped("config.json", "model.weights.h5"), "is a Keras model"),
    "ONNX": ("team.onnx", b"\x08\x0a\x12\x08skl2onnx", "is ONNX: import the estimator that it was made of"),
    "ONNX of another name": ("model", b"\x08\x0a\x12\x08skl2onnx", "is ONNX"),
    "CatBoost": ("team.cbm", b"CBM1" + bytes(99), "is a CatBoost model"),
    "CatBoost's JSON": ("team.json", b'{"features_info": {}, "oblivious_trees": []}', "is a CatBoost model"),
    "CatBoost's pickle": ("team.pkl", pickle.dumps("catboost.core CatBoostClassifier"), "is a pickle of catboost"),
    "PyTorch": ("team.pt", zipped("team/data.pkl", "team/data/0"), "is a PyTorch model"),
    "PyTorch, old": ("team.pt", pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), "is a PyTorch model"),
    "R": ("team.rds", gzip.compress(b"X\n\x00\x00\x00\x03" + bytes(50)), "is a file of R's"),
    "skops": ("team.skops", zipped("schema.json", "1.npy"), "load it by skops.io.load"),
    "zip": ("team.zip", zipped("fraud.joblib"), "is a zip archive: unpack it"),
    "tar": ("team.tar", tarred(), "is a tar archive: unpack it"),
    "tar.gz": ("team.tar.gz", gzip.compress(tarred()), "is a tar archive: unpack it"),
    "npz": ("team.npz", zipped("a.npy"), r"is an \.npz of numpy"),
    "Parquet": ("team.parquet", b"PAR1" + bytes(99), "is a Parquet file"),
    "XGBoost's old binary": ("team.model", OLD_XGBOOST, r"old binary format: save it again as JSON .*save_model"),
    "XGBoost's old binary, named": ("team.bin", b"binf" + OLD_XGBOOST, "old binary format"),
    "XGBoost's dump": ("dump.txt", b"booster[0]:\n0:[f3<106.1] yes=1,no=2,missing=2\n", "is XGBoost's dump_model"),
    "XGBoost's JSON dump": ("dump.json", b'[\n  { "nodeid": 0, "depth": 0, "split": "f3"}]', "is XGBoost's dump_model"),
    "LightGBM's JSON dump": (
        "dump.json",
        json.dumps({"name": "tree", "version": "v4", "num_tree_per_iteration": 1, "tree_info": []}).encode(),
        r"is LightGBM's dump_model, .*: save the model by booster.save_model\('team.txt'\)",
    ),
    "LightGBM on Windows": ("team.txt", b"tree\r\nversion=v4\r\n", "line ends of Windows"),
    "LightGBM, packed": ("team.txt.gz", gzip.compress(b"tree\nversion=v4\n"), "is LightGBM's text, packed: unpack it"),
    "XGBoost, packed": ("team.json.bz2", bz2.compress(b'{"learner":{}}'), "is XGBoost's own format, packed: unpack it"),
    "other JSON": ("team.json", b'{"message": "Not Found"}', "is JSON, but no model of XGBoost's"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_kind_is_named_with_the_way_and_never_opened(kind: str, tmp_path: Path) -> None:
    name, content, said = FILES[kind]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BundleError, match=said) as refused:
        copy_checked(tmp_path / name, tmp_path / "copy")

    assert str(refused.value).isprintable()


def test_models_of_the_supported_kinds_are_not_taken_for_others(tmp_path: Path) -> None:
    texts = [b"tree\nversion=v4\n", b'{"version":[3,2,0],"learner":{}}', b"{L\0\0\0\0\0\0\0\7learner{"]
    dumps = [
        dumped(forest(), tmp_path / str(at), **options).read_bytes()[:BEGINNING_BYTES]
        for at, options in enumerate(({}, {"protocol": 2}, {"compress": 3}, {"compress": ("gzip", 3)}))
    ]

    assert [obstacle("team", each) for each in (*texts, *dumps)] == [None] * 7


def test_a_directory_is_told_with_a_model_file_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "MLmodel").write_text("flavors:")
    (tmp_path / "mlflow" / "model.pkl").write_bytes(b"")

    with pytest.raises(BundleError, match=r"mlflow is a directory: name the model file .*mlflow/model\.pkl"):
        copy_checked(tmp_path / "mlflow", tmp_path / "copy")


def test_a_categorical_model_of_xgboost_2_is_not_called_damaged() -> None:
    with pytest.raises(BundleError, match=r"it has splits by categories, .*: train it with columns of numbers"):
        xgboost_trees(XGBOOST_2_CATEGORICAL.encode())


class Smote(BaseEstimator):
    """As imbalanced-learn's: it has rows in training only."""

    def fit_resample(self, rows: Any, labels: Any) -> Any:
        return rows, labels


def test_a_sampler_in_a_pipeline_does_nothing_when_the_model_scores_and_so_nothing_here() -> None:
    facts, arrays = unpickle.describe(Pipeline([("smote", Smote()), ("forest", forest())]))

    plain_facts, plain = unpickle.describe(forest())
    assert facts == plain_facts
    assert all(np.array_equal(arrays[name], plain[name]) for name in plain)


def test_a_search_is_the_model_that_it_found() -> None:
    rows, labels = labelled().rows[:600], labelled().labels[:600]
    search = GridSearchCV(RandomForestClassifier(2, random_state=0), {"max_depth": [2]}, cv=2).fit(rows, labels)

    assert unpickle.describe(search)[0]["estimator"] == "RandomForestClassifier"
    with pytest.raises(unpickle.Unsupported, match="fit it with refit=True"):
        unpickle.describe(GridSearchCV(RandomForestClassifier(2), {}))


OBJECTS: dict[str, tuple[Any, str]] = {
    "a dict": ({"model": 1, "scaler": 2}, r"is a dict with 'model' .int., 'scaler' .int., no model: name .* by --key"),
    "a list": ([1, "a"], r"is a list with '0' .int., '1' .str., no model: name .* by --key"),
    "rows": (np.zeros(3), "holds rows .ndarray., no model"),
    "a scaler": (StandardScaler(), r"is a StandardScaler, which comes before a model: dump make_pipeline"),
    "another scaler": (
        make_pipeline(QuantileTransformer(), forest()),
        "QuantileTransformer.*trees need no scaling, so train without",
    ),
    "a curve before weights": (
        make_pipeline(QuantileTransformer(), LogisticRegression()),
        "QuantileTransformer.*let your transaction class have",
    ),
    "an encoder": (make_pipeline(OneHotEncoder(), forest()), "OneHotEncoder.*let your transaction class have"),
    "a threshold": (FixedThresholdClassifier(forest(), threshold=0.3), r"whose threshold .0\.3.*--decline-threshold"),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_that_is_no_model_itself_is_refused_with_the_way_to_one(kind: str) -> None:
    made, said = OBJECTS[kind]

    with pytest.raises(unpickle.Unsupported, match=said) as refused:
        unpickle.describe(made)

    assert kind != "an encoder" or "scaling" not in str(refused.value)


def test_a_class_of_the_script_that_dumped_a_model_is_named_and_nothing_is_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = types.ModuleType("__main__")
    kind = type("MyScaler", (BaseEstimator,), {"__module__": "__main__"})
    script.MyScaler = kind  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", script)
        file = Path(joblib.dump(Pipeline([("own", kind()), ("forest", forest())]), tmp_path / "team.joblib")[0])

    with pytest.raises(BundleError, match=r"needs MyScaler, .*__main__.*: dump the estimator alone") as refused:
        imported(file)

    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("imblearn.pipeline", r"`pip install imbalanced-learn` .*a sampler \(SMOTE\) does nothing when it scores"),
        ("acme_features", "`pip install acme_features` .*your own code, dump the estimator alone"),
    ],
)
def test_a_package_that_is_not_there_is_named_as_pip_knows_it(module: str, said: str, tmp_path: Path) -> None:
    content = pickle.dumps(forest())
    named = f"c{module}\nPipeline\n".encode()
    file = tmp_path / "team.pkl"
    file.write_bytes(content[:2] + named + b"0" + content[2:])

    with pytest.raises(BundleError, match=said):
        imported(file)
