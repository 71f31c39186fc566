"""Trains the peers' forest with the scikit-learn of the environment that runs it: FEATURES_AND_LABEL.csv OUT.joblib."""

import sys

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier


def main(training: str, out: str) -> None:
    """The same forest as `riskline train` makes of the same rows."""
    data = np.loadtxt(training, delimiter=",")
    forest = RandomForestClassifier(100, max_depth=10, random_state=0, n_jobs=-1).fit(data[:, :-1], data[:, -1])
    # one row at a time is slower on several threads than on one
    joblib.dump(forest.set_params(n_jobs=None), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
