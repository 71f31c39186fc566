"""Recognises files that are no importable model, with the way to an importable one."""

import re

BEGINNING_BYTES = 1 << 16
"""The bytes by which a file is recognised; a JSON's top names are among them."""

NO_TREES = "which Riskline cannot hold: train a model of scikit-learn, XGBoost or LightGBM on the same columns"
DOWNLOAD_AGAIN = "download the model file itself"

XGBOOST_DUMP = "is XGBoost's dump_model, which nothing reads back: save the model by save_model('team.json')"
LIGHTGBM_DUMP = "is LightGBM's dump_model, which nothing reads back: save the model by booster.save_model('team.txt')"
XGBOOST_BINARY = (
    "is in XGBoost's old binary format: save it again as JSON with one of the releases 1.0 to 3.0, by "
    "xgboost.Booster(model_file=FILE).save_model('team.json'), and import that"
)

R_DATA = f"is a file of R's, {NO_TREES}; R's xgboost and lightgbm save theirs by xgb.save and lgb.save"
TORCH = f"is a PyTorch model, {NO_TREES}"

BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the model: run `git lfs pull`, then this command again"),
    (b"outs:", "is a pointer of DVC, not the model: run `dvc pull`, then this command again"),
    (b"\x89HDF\r\n\x1a\n", f"is HDF5, as Keras writes neural networks, {NO_TREES}"),
    (b"CBM1", f"is a CatBoost model, {NO_TREES}"),
    (b"\x93NUMPY", "is an array of numpy, no model: dump the estimator with joblib.dump"),
    (b"PAR1", "is a Parquet file, no model: give transactions by --reference"),
    (b"ARROW1", "is an Arrow file, no model"),
    (b"SQLite format 3", "is an SQLite database, no model"),
    (b"%PDF", "is a PDF, no model"),
    (b"booster[0]:", XGBOOST_DUMP),
    (b"tree\r\n", "is LightGBM's text with line ends of Windows: copy it as binary, or undo that by dos2unix"),
    *((start, R_DATA) for start in (b"X\n\x00\x00\x00", b"A\n", b"RDX2\n", b"RDX3\n", b"RDA3\n")),
    # the number that PyTorch's older files begin with, as a pickle
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", TORCH),
    (b"Tree=", "is LightGBM's text without its beginning: save it again by save_model('team.txt')"),
)
"""The beginnings of files, and their kinds."""

PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

OLD_XGBOOST = re.compile(rb"(?:binary|reg|rank|multi|survival|count):.{1,60}gb(?:tree|linear)", re.DOTALL)
"""After the parameters, the names of the objective and of the booster."""

ZIPPED: tuple[tuple[bytes, str], ...] = (
    (b"data.pkl", TORCH),
    (b"model.weights.h5", f"is a Keras model, {NO_TREES}"),
    (b"schema.json", "is a skops file: load it by skops.io.load, dump that by joblib.dump, and import the result"),
    (b"model.ini", f"is a MOJO of H2O, {NO_TREES}"),
    (b".npy", "is an .npz of numpy, no model: dump the estimator with joblib.dump"),
    (b"xl/", "is an Excel file, no model"),
)
"""Names in a zip archive, and the archive's kind."""

FOREIGN_PICKLES = (b"catboost", b"torch", b"keras", b"tensorflow", b"h2o", b"pyspark", b"statsmodels", b"fastai")


def obstacle(name: str, beginning: bytes) -> str | None:
    """The reason that a file of this name and beginning is no importable model, and the remedy; None where it may be.

    `beginning` is `BEGINNING_BYTES` long, or the whole file.
    """
    if not beginning:
        return "is empty: copy it again"
    told = next((told for start, told in BEGINNINGS if beginning.startswith(start)), None) or _archive(beginning)
    if told is not None or beginning.startswith(PICKLES):
        return told
    if beginning.startswith(b"{"):
        return _json(beginning)
    if beginning.startswith((b"binf", b"bs64")) or OLD_XGBOOST.search(beginning[:600]):
        return XGBOOST_BINARY
    return _text(name, beginning)


def pickled_elsewhere(beginning: bytes) -> str | None:
    """The content of a pickle that names no supported library; None where it is unknown."""
    found = next((each.decode() for each in FOREIGN_PICKLES if each in beginning), None)
    return None if found is None else f"is a pickle of {found}, {NO_TREES}"


def packed(beginning: bytes) -> str | None:
    """The format that is packed in place of joblib's pickle; None where it is no library's own format."""
    if beginning.startswith(b"tree\n"):
        return "is LightGBM's text, packed: unpack it (gunzip, bunzip2, unxz), and import that"
    if beginning.startswith(b"{"):
        return _json(beginning) or "is XGBoost's own format, packed: unpack it (gunzip, bunzip2, unxz), and import that"
    return None


def _json(beginning: bytes) -> str | None:
    if b"learner" in beginning:
        return None
    if b'"tree_info"' in beginning or b'"num_tree_per_iteration"' in beginning:
        return LIGHTGBM_DUMP
    if b'"oblivious_trees"' in beginning or b'"model_info"' in beginning:
        return f"is a CatBoost model, {NO_TREES}"
    return "is JSON, but no model of XGBoost's (it has no learner): save the model by save_model('team.json')"


def _archive(beginning: bytes) -> str | None:
    if beginning.startswith(b"PK\x03\x04"):
        found = (told for part, told in ZIPPED if part in beginning)
        return next(found, "is a zip archive: unpack it, and import the model file that is in it")
    if beginning[257:262] == b"ustar":
        return "is a tar archive: unpack it, and import the model file that is in it"
    return None


def _text(name: str, beginning: bytes) -> str | None:
    words = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if words.startswith((b"<!doctype html", b"<html")):
        return f"is a web page (of a sign-in or an error, often), not the model: {DOWNLOAD_AGAIN}"
    if words.startswith((b"<?xml", b"<pmml")):
        if b"<pmml" in words:
            return "is PMML: import the estimator that it was made of, as joblib.dump wrote it"
        return f"is XML (a server's error, often), not the model: {DOWNLOAD_AGAIN}"
    if words.startswith(b"[") and b'"nodeid"' in words:
        return XGBOOST_DUMP
    if name.endswith(".onnx") or (beginning[:1] == b"\x08" and re.search(rb"onnx|pytorch", beginning[:400])):
        return "is ONNX: import the estimator that it was made of, as joblib.dump wrote it"
    return None
