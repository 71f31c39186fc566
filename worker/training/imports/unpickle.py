"""Reads an estimator as arrays and numbers; also as a program in a child process, for untrusted files.

As a program it runs in any Python that has the libraries of the file, with no other module of Riskline: it
takes a directory with `request.json` and the file, answers one line of JSON for each request, and hands back arrays
as .npy and .npz, never a pickle. So nothing here is newer than Python 3.8.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

LONE_TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier")
FORESTS = ("RandomForestClassifier", "ExtraTreesClassifier", "BaggingClassifier", *LONE_TREES)
LINEAR = ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier", "LinearSVC")
TREES = (*FORESTS, "GradientBoostingClassifier", "HistGradientBoostingClassifier", "IsolationForest")
SKLEARN = (*TREES, *LINEAR)
OTHERS = {"xgboost": ("XGBClassifier", "XGBRFClassifier", "Booster"), "lightgbm": ("LGBMClassifier", "Booster")}
SCALERS = ("StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler")
SUPPORTED = (
    f"supported are {', '.join(SKLEARN)}, XGBClassifier and LGBMClassifier, a Pipeline of {', '.join(SCALERS)} before "
    "one of them, and a CalibratedClassifierCV(ensemble=False) around one"
)
SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
CALIBRATE = "fit a CalibratedClassifierCV(ensemble=False)"
OWN_THRESHOLD = {
    "TunedThresholdClassifierCV": ("estimator_", "best_threshold_"),
    "FixedThresholdClassifier": ("estimator_", "threshold"),
}
OTHER_SCALERS = ("QuantileTransformer", "PowerTransformer")
RESCALED = "trees need no scaling, so train without it"
RESHAPED = "let your transaction class have (or compute) the columns that the model sees, and train on those"
COMMITTEES = ("VotingClassifier", "StackingClassifier")
PROPORTIONS_SINCE = (1, 4)
"""The first scikit-learn whose forests hold shares instead of counts at their nodes."""


class Unsupported(Exception):  # noqa: N818  # it is no error of the program
    """The estimator cannot become a bundle; the message has the reason and the remedy."""


def describe(model: Any, fraud_class: str | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts of an estimator, fit for JSON, and the nodes of its trees one behind the other."""
    around, final, curve = unwrapped(model)
    library, name = type(final).__module__.partition(".")[0], type(final).__name__
    told = _no_model(model)
    if told is not None:
        raise Unsupported(told)
    if name in COMMITTEES:
        raise Unsupported(
            f"is a {name} of several models, whose votes have no exact reasons: import the best of them (one of its "
            "estimators_) alone"
        )
    if name not in (SKLEARN if library == "sklearn" else OTHERS.get(library, ())):
        raise Unsupported(f"is a {library}.{name}: {SUPPORTED}; train one of these, and import that")
    if not _fitted(final, library):
        raise Unsupported(f"is a {name} that was never fitted: fit it, dump it again, and import that")
    column, first_of_two = fraud_column(model, fraud_class)
    if name in LINEAR:
        facts, arrays = _linear(final, name, calibrated=curve is not None)
    elif library == "sklearn":
        facts, arrays = _sklearn(final, name, column)
    else:
        facts, arrays = (_xgboost if library == "xgboost" else _lightgbm)(final)
    facts["first_of_two"] = first_of_two
    # the other libraries' estimators have names even where none were given
    candidates = (*around, final) if library == "sklearn" else around
    named = next((each for each in candidates if hasattr(each, "feature_names_in_")), None)
    if named is not None:
        facts["names"] = [str(each) for each in named.feature_names_in_]
    scalers = [each for each in around if type(each).__name__ in SCALERS]
    facts.update(estimator=name, library=library, scaling=[_scaling(each) for each in scalers], calibration=curve)
    facts.setdefault("names", None)
    return facts, arrays


def chosen(opened: Any, key: str | None) -> Any:
    """What a key names in an opened dict, or a position in a list or tuple; without a key what was opened."""
    if key is None:
        return opened
    members = _members(opened)
    if not members:
        raise Unsupported(f"is a {type(opened).__name__}, which has no members: leave --key out")
    if key not in members:
        raise Unsupported(f"has no {key!r} in it: it has {_shown(members)}")
    return members[key]


def _members(opened: Any) -> dict[str, Any]:
    if isinstance(opened, dict):
        return {str(name): value for name, value in opened.items()}
    return {str(at): value for at, value in enumerate(opened)} if isinstance(opened, (list, tuple)) else {}


def _shown(members: dict[str, Any]) -> str:
    return ", ".join(f"{name!r} ({_kind(value)})" for name, value in list(members.items())[:10])


def _kind(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, str) for each in value):
        return f"{type(value).__name__}: {', '.join(value[:10])}{', ...' if len(value) > 10 else ''}"  # noqa: PLR2004  # enough to know them by
    return type(value).__name__


def fraud_column(model: Any, fraud_class: str | None) -> tuple[int, bool]:
    """The column of the fraud class among the estimator's probabilities, and whether its score must be turned round.

    It must where an estimator gives one score, which is that of the second class, and the first is fraud. A forest's
    nodes hold each class's share.
    """
    _, final, curve = unwrapped(model)
    classes = getattr(final, "classes_", None)
    if classes is None:
        if fraud_class is not None:
            raise Unsupported("knows no classes, as its labels were 0 and 1: leave --fraud-class out")
        return 1, False
    labels = np.asarray(classes).tolist()
    shown = ", ".join(map(str, labels[:5]))
    if len(labels) < 2:  # noqa: PLR2004  # a classifier's least
        raise Unsupported(f"has the one class {shown}: train it with fraud and with what is none")
    if fraud_class is None:
        if labels != [0, 1]:
            raise Unsupported(f"has the classes {shown}: say by --fraud-class which of them is fraud")
        return 1, False
    at = next((place for place, label in enumerate(labels) if is_label(label, fraud_class)), None)
    if at is None:
        raise Unsupported(f"has no class {fraud_class!r}: it has {shown}")
    if type(final).__name__ in FORESTS and curve is None:
        return at, False
    if len(labels) > 2:  # noqa: PLR2004  # two have one score
        raise Unsupported(
            f"has {len(labels)} classes, and of several only a forest without a calibration can be held: train it with "
            "two, fraud and what is none"
        )
    return 1, at == 0


def is_label(label: Any, text: str) -> bool:
    """True where the text names the label: 1 is also 1.0, and True is also true."""
    try:
        return float(label) == float(text)
    except ValueError:
        return str(label).lower() == text.lower() if isinstance(label, bool) else str(label) == text


def _no_model(model: Any) -> str | None:
    """The remedy for an object that contains a model, or is none; None where it may be one."""
    name = type(model).__name__
    library = type(model).__module__.partition(".")[0]
    if isinstance(model, (dict, list, tuple)):
        return (
            f"is a {name} with {_shown(_members(model))}, no model: name the one that is the model by --key. If it "
            "needs a scaler that is beside it, dump make_pipeline(scaler, model) instead"
        )
    if isinstance(model, np.ndarray) or name in ("DataFrame", "Series"):
        return f"holds rows ({name}), no model: dump the estimator itself"
    if hasattr(model, "transform") and not hasattr(model, "predict"):
        return f"is a {name}, which comes before a model: dump make_pipeline({name}, model) as one, and import that"
    if name.endswith("Regressor"):
        return f"is a {library}.{name}: train the classifier of its kind, whose labels are 0 and 1"
    return None


def _fitted(model: Any, library: str) -> bool:
    told = getattr(model, "__sklearn_is_fitted__", None)
    if told is not None:
        return bool(told())
    # scikit-learn's own criterion
    return library != "sklearn" or any(name.endswith("_") and not name.startswith("__") for name in vars(model))


def unwrapped(model: Any) -> tuple[list[Any], Any, dict[str, Any] | None]:
    """The scalers before an estimator in their order, the estimator, and its calibration curve or None."""
    name = type(model).__name__
    if name == "FrozenEstimator":
        return unwrapped(model.estimator)
    if name in (*SEARCHES, *OWN_THRESHOLD):
        return unwrapped(_found_best(model, name))
    if name == "CalibratedClassifierCV":
        inner, curve = calibration_of(model)
        around, final, inner_curve = unwrapped(inner)
        if inner_curve is not None:
            raise Unsupported("is calibrated twice: calibrate it once, and import that")
        return [model, *around], final, curve
    if name != "Pipeline":
        return [], model, None
    scalers = []
    for label, step in model.steps[:-1]:
        # a sampler, such as SMOTE, changes the rows of the training and does nothing when the model scores
        if step is None or step == "passthrough" or hasattr(step, "fit_resample"):
            continue
        if type(step).__name__ not in SCALERS:
            kind = type(step).__name__
            needless = kind in OTHER_SCALERS and type(model.steps[-1][1]).__name__ not in LINEAR
            raise Unsupported(
                f"is a Pipeline with the step {label} ({kind}), which cannot be held exactly: only "
                f"{', '.join(SCALERS[:-1])} and {SCALERS[-1]} can; {RESCALED if needless else RESHAPED}"
            )
        scalers.append(step)
    around, final, own_curve = unwrapped(model.steps[-1][1])
    return [*scalers, *around], final, own_curve


def _found_best(model: Any, name: str) -> Any:
    """The estimator that a search found best."""
    if name in OWN_THRESHOLD:
        inner, threshold = OWN_THRESHOLD[name]
        raise Unsupported(
            f"is a {name}, whose threshold ({getattr(model, threshold, 'none')}) is not part of a model here: dump its "
            f"{inner}, import that, and give the threshold by --decline-threshold"
        )
    if not hasattr(model, "best_estimator_"):
        raise Unsupported(f"is a {name} without a model: fit it with refit=True, and dump its best_estimator_")
    return model.best_estimator_


def calibration_of(model: Any) -> tuple[Any, dict[str, Any]]:
    """The estimator inside a CalibratedClassifierCV, and its curve, over the margin where there is one."""
    fitted = getattr(model, "calibrated_classifiers_", ())
    if not fitted:
        raise Unsupported("is a CalibratedClassifierCV that was never fitted: fit it, dump it again, and import that")
    if len(fitted) > 1:
        raise Unsupported(
            f"is a CalibratedClassifierCV of {len(fitted)} models, whose mean has no exact reasons: fit it with "
            "ensemble=False (one model on all rows, one curve), or import one model that it calibrates and have "
            "Riskline calibrate it (--calibration sigmoid or isotonic)"
        )
    (pair,) = fitted
    inner = pair.estimator if hasattr(pair, "estimator") else pair.base_estimator
    # scikit-learn 0.23 and older name them otherwise
    curves = pair.calibrators if hasattr(pair, "calibrators") else pair.calibrators_
    curve: Any = curves[0] if curves else None
    over = "margin" if hasattr(inner, "decision_function") else "score"
    if type(curve).__name__ == "_SigmoidCalibration":
        return inner, {"method": "sigmoid", "over": over, "slope": -float(curve.a_), "intercept": -float(curve.b_)}
    if type(curve).__name__ == "IsotonicRegression":
        # scikit-learn 0.23 and older name them otherwise
        names = (
            ("X_thresholds_", "y_thresholds_")
            if hasattr(curve, "X_thresholds_")
            else ("_necessary_X_", "_necessary_y_")
        )
        x, y = (np.asarray(getattr(curve, each), np.float64).tolist() for each in names)
        return inner, {"method": "isotonic", "over": over, "x": x, "y": y}
    raise Unsupported(
        f"is a CalibratedClassifierCV with method={model.method!r}: fit it with method='sigmoid' or 'isotonic'"
    )


def _scaling(scaler: Any) -> dict[str, Any]:
    kind = type(scaler).__name__
    if kind == "StandardScaler":
        numbers = {"subtract": scaler.mean_ if scaler.with_mean else None, "divide": scaler.scale_}
    elif kind == "RobustScaler":
        numbers = {"subtract": scaler.center_, "divide": scaler.scale_}
    elif kind == "MaxAbsScaler":
        numbers = {"divide": scaler.scale_}
        if getattr(scaler, "clip", False):  # not before scikit-learn 1.8
            numbers["clip"] = np.array([-1.0, 1.0])
    else:
        numbers = {"multiply": scaler.scale_, "add": scaler.min_}
        if getattr(scaler, "clip", False):  # not in scikit-learn 0.23
            numbers["clip"] = np.array(scaler.feature_range)
    return {key: np.asarray(value, np.float64).tolist() for key, value in numbers.items() if value is not None}


def _sklearn(model: Any, name: str, column: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    facts: dict[str, Any] = {"width": _width(model)}
    if name == "HistGradientBoostingClassifier":
        return _hist_gradient_boosting(model, facts)
    members = _trees_of(model, name)
    trees = [each.tree_ for each in members]
    leaf = _joined([each.children_left for each in trees]) < 0
    feature = _joined([each.feature for each in trees])
    weight = "weighted_n_node_samples"
    if name in ("IsolationForest", "BaggingClassifier"):
        features = model.estimators_features_
        chosen = [own[np.maximum(each.feature, 0)] for own, each in zip(features, trees)]  # noqa: B905  # Python 3.10
        feature = _joined(chosen)
    if name == "IsolationForest":
        weight = "n_node_samples"
        facts["max_samples"] = int(model.max_samples_)
    arrays = {
        "sizes": np.array([each.node_count for each in trees], np.int64),
        "feature": np.where(leaf, -1, feature).astype(np.int64),
        "threshold": _joined([each.threshold for each in trees]),
        "left": _joined([each.children_left for each in trees]).astype(np.int64),
        "right": _joined([each.children_right for each in trees]).astype(np.int64),
        "value": _joined([_values(each, name, column) for each in members]),
        "weight": _joined([getattr(each, weight) for each in trees]).astype(np.float64),
    }
    if name == "GradientBoostingClassifier":
        if model.init not in (None, "zero"):
            raise Unsupported(f"starts from an estimator of its own (init={model.init!r}): train it without init")
        nothing = np.zeros((1, facts["width"]), np.float32)
        facts["initial"] = float(model._raw_predict_init(nothing)[0, 0])  # noqa: SLF001  # shown nowhere else
        facts["scale"] = 2.0 if model.loss == "exponential" else 1.0
        arrays["value"] = float(model.learning_rate) * arrays["value"]
    elif name in FORESTS:
        if name not in LONE_TREES:
            # one thread from here: with several the order of the sum, and so its last bit, may vary
            model.set_params(n_jobs=None)
        if getattr(model, "n_outputs_", 1) != 1:
            raise Unsupported("predicts several outputs: train one for fraud alone")
    return facts, arrays


def _trees_of(model: Any, name: str) -> list[Any]:
    members = [model] if name in LONE_TREES else list(np.ravel(model.estimators_))
    if not all(hasattr(each, "tree_") for each in members):
        raise Unsupported(
            f"is a {name} of {type(members[0]).__name__}s: only one of decision trees can be held; train that, or "
            "import one of its estimators_"
        )
    return members


def _linear(model: Any, name: str, *, calibrated: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The weights, of which a curve makes a probability where the estimator has none of its own."""
    if name == "LinearSVC" and not calibrated:
        raise Unsupported(f"is a LinearSVC, which gives no probability: {CALIBRATE} around it, and import that")
    if name == "SGDClassifier" and not calibrated and model.loss not in ("log_loss", "log"):
        raise Unsupported(
            f"is an SGDClassifier with loss={model.loss!r}, whose scores are no log-odds: train it with "
            f"loss='log_loss', or {CALIBRATE} around it, and import that"
        )
    weights = model.coef_.toarray() if hasattr(model.coef_, "toarray") else np.asarray(model.coef_)
    facts = {"width": int(weights.shape[1]), "initial": float(np.ravel(model.intercept_)[0])}
    if getattr(model, "multi_class", None) == "multinomial":
        # the quotient of two powers, of the sum and of its negative, in scikit-learn before 1.8
        facts["scale"] = 2.0
    return facts, {"weights": np.ravel(weights).astype(np.float64)}


def _width(model: Any) -> int:
    # scikit-learn 0.22 names it otherwise, and differently from one kind to another
    names = ("n_features_in_", "n_features_", "_n_features")
    return int(next(getattr(model, name) for name in names if hasattr(model, name)))


def _values(estimator: Any, name: str, column: int) -> np.ndarray:
    value: np.ndarray = estimator.tree_.value[:, 0, :]
    if name == "BaggingClassifier":
        # each tree knows only the classes of its own rows
        known = estimator.classes_.tolist()
        if column not in known:
            return np.zeros(len(value))
        column = known.index(column)
    share: np.ndarray = value[:, column if name in FORESTS else 0]
    if name in FORESTS and _release("scikit-learn") < PROPORTIONS_SINCE:
        totals = value.sum(axis=1)
        share = share / np.where(totals == 0.0, 1.0, totals)
    return share


def _hist_gradient_boosting(model: Any, facts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    stages = model._predictors  # noqa: SLF001  # scikit-learn shows its trees nowhere else
    nodes = _joined([each.nodes for stage in stages for each in stage])
    if "is_categorical" in (nodes.dtype.names or ()) and nodes["is_categorical"].any():
        raise Unsupported("splits by categories: train it with categorical_features=None on columns of numbers")
    facts["initial"] = float(np.ravel(model._baseline_prediction)[0])  # noqa: SLF001  # same
    leaf = nodes["is_leaf"].astype(bool)
    arrays = {
        "sizes": np.array([len(each.nodes) for stage in stages for each in stage], np.int64),
        "feature": np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
        "threshold": nodes["num_threshold" if "num_threshold" in (nodes.dtype.names or ()) else "threshold"].astype(
            np.float64
        ),
        "left": nodes["left"].astype(np.int64),
        "right": nodes["right"].astype(np.int64),
        "value": nodes["value"].astype(np.float64),
        "weight": nodes["count"].astype(np.float64),
    }
    return facts, arrays


def _xgboost(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    booster = model
    if type(model).__name__ != "Booster":
        if not np.isnan(model.missing):
            raise Unsupported(f"takes {model.missing!r} for a missing value: train it with missing=nan")
        booster = model.get_booster()
    if not hasattr(booster, "num_features"):
        release = ".".join(map(str, _release("xgboost")))
        raise Unsupported(
            f"was opened by XGBoost {release}, which tells too little of it: save it there "
            "by save_model('team.json') (XGBoost 1.0 or later), and import that with a later one"
        )
    best = booster.attributes().get("best_iteration")
    if best is not None and int(best) + 1 < booster.num_boosted_rounds():
        if type(model).__name__ == "Booster" and booster.attr("scikit_learn") is None:
            raise Unsupported(
                "was stopped early, and whether the later trees count is not in the file: save "
                "booster[: booster.best_iteration + 1]"
            )
        booster = booster[: int(best) + 1]
    import xgboost  # noqa: PLC0415  # only where the file is one of its own

    # the base score differs slightly from the file's: some releases clip it
    row = xgboost.DMatrix(np.zeros((1, booster.num_features()), np.float32))
    whole = np.ravel(booster.predict(row, output_margin=True, validate_features=False))
    row.set_base_margin(np.zeros(len(whole), np.float32))
    trees = np.ravel(booster.predict(row, output_margin=True, validate_features=False))
    facts = {"width": booster.num_features(), "names": booster.feature_names, "initial": float(whole[0] - trees[0])}
    return facts, {"text": np.frombuffer(bytes(booster.save_raw("json")), np.uint8)}


def _lightgbm(model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    booster = model if type(model).__name__ == "Booster" else model.booster_
    names = booster.feature_name()
    given = names != ["Column_%d" % i for i in range(len(names))]  # noqa: UP031  # the library's own pattern
    text = booster.model_to_string().encode()
    return {"width": booster.num_feature(), "names": names if given else None}, {"text": np.frombuffer(text, np.uint8)}


def scores(model: Any, rows: np.ndarray, column: int = 1) -> np.ndarray:
    """The estimator's own scores of these rows: probabilities, or an isolation forest's anomaly scores."""
    _, final, _ = unwrapped(model)
    library, name = type(final).__module__.partition(".")[0], type(final).__name__
    if name == "IsolationForest":
        own = model.score_samples(rows)
    elif name == "Booster" and library == "xgboost":
        import xgboost  # noqa: PLC0415  # only where the file is one of its own

        trees = (0, 0)
        if final.attr("scikit_learn") is not None and final.attr("best_iteration") is not None:
            trees = (0, int(final.attr("best_iteration")) + 1)
        own = final.predict(xgboost.DMatrix(rows, feature_names=final.feature_names), iteration_range=trees)
    elif name == "Booster":
        own = final.predict(rows)
    elif library == "xgboost" and model is final:
        own = model.predict_proba(rows, validate_features=False)[:, 1]
    else:
        own = model.predict_proba(rows)[:, column]
    return np.asarray(own, np.float64)


def _joined(parts: list[Any]) -> np.ndarray:
    return np.concatenate(parts)


def _release(package: str) -> tuple[int, ...]:
    return tuple(int(each) for each in importlib.metadata.version(package).split(".")[:2])


def _opened(kind: str, file: str) -> Any:
    if kind == "xgboost":
        import xgboost  # noqa: PLC0415  # only where the file is one of its own

        return xgboost.Booster(model_file=bytearray(Path(file).read_bytes()))
    if kind == "lightgbm":
        import lightgbm  # noqa: PLC0415  # same

        return lightgbm.Booster(model_file=file)
    import joblib  # noqa: PLC0415  # same

    return joblib.load(file)


def _bounded(memory: int, file: int) -> None:
    try:
        import resource  # noqa: PLC0415  # not on every system

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))
    except (ImportError, ValueError, OSError):
        return  # where the system sets no such bounds, there are none


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in ("scikit-learn", "numpy", "xgboost", "lightgbm"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Answers with the file's facts, then with the scores of each requested array of rows."""
    work = Path(sys.argv[1])
    # output of the file's own code must not pass for an answer
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**facts: Any) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    request = json.loads((work / "request.json").read_text())
    versions = _versions()
    wanted = [each for each in request["sklearn"] if each.split(".")[:2] != _major_minor(versions)]
    if wanted:
        answer(version=wanted[0], installed=versions.get("scikit-learn", ""))
        return
    warnings.simplefilter("ignore")
    scoring = False
    try:
        _bounded(request["memory"], request["file"])
        model = chosen(_opened(request["kind"], str(work / "model")), request["key"])
        facts, arrays = describe(model, request["fraud_class"])
        column, _ = fraud_column(model, request["fraud_class"])
        np.savez(work / "arrays.npz", **arrays)  # type: ignore[arg-type]  # its other options are named
        answer(facts={**facts, "libraries": versions})
        scoring = True
        for line in sys.stdin:
            np.save(work / "scores.npy", scores(model, np.load(work / line.strip(), allow_pickle=False), column))
            answer(done=True)
    except Unsupported as problem:
        answer(problem=str(problem))
    except BaseException as error:  # noqa: BLE001  # code of the file may raise anything, an exit among it
        told = {"error": type(error).__name__, "said": str(error)[:300], "scoring": scoring}
        module, number = getattr(error, "name", None), getattr(error, "errno", None)
        answer(
            **told,
            module=module if isinstance(module, str) else None,
            errno=number if isinstance(number, int) else None,
        )


def _major_minor(versions: dict[str, str]) -> list[str]:
    return versions.get("scikit-learn", "").split(".")[:2]


if __name__ == "__main__":
    main()
