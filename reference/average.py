"""The mean of several systems' probabilities, clip by clip: what an ensemble of them would answer.

    python reference/average.py RUN/validation.csv OTHER/validation.csv ... > mean.csv
    intone report mean.csv --out mean

The files are predictions as `intone train` and `intone evaluate` write them, all of the same clips. Needs nothing but Python 3.11.
"""

import csv
import sys

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad"]


def read(path):
    with open(path, newline="") as file:
        return {row["clip"]: row for row in csv.DictReader(file)}


def main(paths):
    if not paths:
        sys.exit("expected files with predictions, got none")
    first, *others = systems = [read(path) for path in paths]
    for path, system in zip(paths[1:], others):
        if system.keys() != first.keys():
            sys.exit(f"{path}: expected the {len(first)} clips of {paths[0]}, got {len(system)}, and not the same")
    writer = csv.DictWriter(sys.stdout, next(iter(first.values())).keys(), lineterminator="\n")
    writer.writeheader()
    for clip, row in first.items():
        mean = {label: sum(float(system[clip][label]) for system in systems) / len(systems) for label in LABELS}
        writer.writerow(row | mean)


if __name__ == "__main__":
    main(sys.argv[1:])
