"""Writes what scikit-learn says of random predictions, for the tests of the metrics.

    python -m venv .venv && .venv/bin/pip install -r requirements-metrics.txt
    .venv/bin/python metrics_goldens.py ../crates/intone-train/tests/goldens/metrics.json

Each case has the truths, the probabilities of six classes, and the figures. The calibration error is not part of
scikit-learn: it is computed here from the definition of Naeini et al. (2015). `resamples` are draws of speakers, of which
the figures and their percentiles are given too.
"""

import json
import platform
import sys

import numpy as np
import sklearn
from sklearn import metrics

CLASSES = list(range(6))
N_BINS = 15
N_RESAMPLES = 40

# Clips, the classes that occur as truths, how much better than chance, and the decimals that are kept.
CASES = {
    "even": (300, CLASSES, 0.8, None),
    "skewed": (120, [0, 0, 0, 0, 0, 1, 2, 3, 4, 5], 0.5, None),
    "two classes are absent": (90, [0, 2, 3, 5], 0.6, None),
    "chance": (200, CLASSES, 0.0, None),
    "always right": (36, CLASSES, 50.0, None),
    "few": (7, CLASSES, 0.3, None),
    "ties": (60, CLASSES, 0.3, 1),
}


def main(path):
    rng = np.random.default_rng(20_260_101)
    cases = [case(name, rng, *settings) for name, settings in CASES.items()]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    with open(path, "w") as file:
        json.dump({"versions": versions, "cases": cases}, file)
        file.write("\n")


def case(name, rng, n, classes, skill, decimals):
    truths = rng.choice(classes, n)
    logits = rng.normal(size=(n, 6)) + skill * 2 * np.eye(6)[truths]
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if decimals is not None:
        # The sum stays 1: what rounding took goes to the last class, unless that is less than nothing.
        probabilities = np.maximum(np.floor(probabilities * 10**decimals) / 10**decimals, 0)
        probabilities[:, 5] += 1 - probabilities.sum(axis=1)
    speakers = rng.integers(0, max(3, n // 12), n)
    names = np.unique(speakers)
    resamples = [rng.choice(names, len(names)) for _ in range(N_RESAMPLES)]
    drawn = []
    for resample in resamples:
        rows = np.concatenate([np.flatnonzero(speakers == speaker) for speaker in resample])
        drawn.append(figures(truths[rows], probabilities[rows]))
    intervals = {
        key: np.percentile([figure[key] for figure in drawn], [2.5, 97.5]).tolist()
        for key in ["accuracy", "uar", "macro_f1", "ece", "brier", "log_loss"]
    }
    return {
        "name": name,
        "truths": truths.tolist(),
        "probabilities": probabilities.tolist(),
        "speakers": speakers.tolist(),
        "figures": figures(truths, probabilities),
        "resamples": [resample.tolist() for resample in resamples],
        "intervals": intervals,
    }


def figures(truths, probabilities):
    answers = probabilities.argmax(axis=1)
    per_class = {"labels": CLASSES, "average": None, "zero_division": np.nan}
    occurring = np.unique(truths)
    return {
        "accuracy": metrics.accuracy_score(truths, answers),
        "uar": metrics.recall_score(truths, answers, labels=occurring, average="macro"),
        "macro_f1": metrics.f1_score(truths, answers, average="macro", zero_division=0),
        "precision": none_for_nan(metrics.precision_score(truths, answers, **per_class)),
        "recall": none_for_nan(metrics.recall_score(truths, answers, **per_class)),
        "f1": none_for_nan(metrics.f1_score(truths, answers, **per_class)),
        "confusion": metrics.confusion_matrix(truths, answers, labels=CLASSES).tolist(),
        "brier": metrics.brier_score_loss(truths, probabilities, labels=CLASSES, scale_by_half=False),
        "log_loss": metrics.log_loss(truths, probabilities, labels=CLASSES),
        "ece": calibration_error(truths, probabilities),
    }


def calibration_error(truths, probabilities):
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truths
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    error = 0.0
    for number in range(N_BINS):
        inside = bins == number
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def none_for_nan(values):
    return [None if np.isnan(value) else float(value) for value in values]


if __name__ == "__main__":
    main(sys.argv[1])
