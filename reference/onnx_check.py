"""Exports a model as ONNX and compares ONNX Runtime's answers with those of `intone predict` on the same recordings, both in
single precision: the program computes weights in int8 with integers otherwise, where the processor can.

    python -m venv .venv && .venv/bin/pip install -r requirements-onnx.txt
    .venv/bin/python onnx_check.py --intone ../target/debug/intone MODEL RECORDING...

Recordings that are silent or longer than the model's window are left out: the answer for a long one is the mean of several.
Each is answered for alone and, with those of equal length, in a batch. Prints the largest difference between two
probabilities; exit code 1 where it is above the tolerance or nothing was left to compare.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from collections import defaultdict

import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file")
    parser.add_argument("recordings", nargs="+", type=pathlib.Path)
    parser.add_argument("--intone", default="intone", help="the program")
    parser.add_argument("--tolerance", type=float, default=1e-5)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run(args.intone, "model", "export", "onnx", args.model, "--out", folder / "model.onnx")
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        single = folder / "f32.safetensors"
        run(args.intone, "model", "convert", "--precision", "f32", args.model, single)
        compared = predictions(args.intone, single, args.recordings, about["labels"])
        features, ours = [], [expected for _, expected in compared]
        for i, (recording, _) in enumerate(compared):
            run(args.intone, "features", "--model", args.model, recording, "--out", folder / str(i))
            features.append(np.load(folder / str(i) / f"{recording.stem}.npy"))

    worst = 0.0
    for x, expected in zip(features, ours):
        worst = max(worst, np.abs(answers(session, [x])[0] - expected).max())
    together = defaultdict(list)
    for i, x in enumerate(features):
        together[x.shape].append(i)
    for members in together.values():
        got = answers(session, [features[i] for i in members])
        worst = max(worst, np.abs(got - np.stack([ours[i] for i in members])).max())
    largest = max(map(len, together.values()))
    print(f"{about['architecture']['name']}, onnxruntime {onnxruntime.__version__}: {len(ours)} of {len(args.recordings)} "
          f"recordings, alone and in batches of up to {largest}: largest difference {worst:.1e}")
    if not worst <= args.tolerance:
        sys.exit(f"expected at most {args.tolerance:g}")


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def predictions(intone, model, recordings, labels):
    rows = map(json.loads, run(intone, "predict", "--format", "jsonl", "--model", model, *recordings).splitlines())
    compared = []
    for recording, row in zip(recordings, rows, strict=True):
        if row.get("windows") == 1 and not row["silence"]:
            if list(row["scores"]) != labels:
                sys.exit(f"{recording}: expected scores of {labels}, got {list(row['scores'])}")
            compared.append((recording, np.array(list(row["scores"].values()))))
    if not compared:
        sys.exit("expected recordings of one window that are not silent, got none")
    return compared


def answers(session, features):
    return session.run(["probabilities"], {"features": np.stack(features)})[0]


if __name__ == "__main__":
    main()
