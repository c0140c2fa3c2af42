"""The ablation of configs/whisper-tiny.toml: what each ingredient of the recipe is worth, on the validation speakers.

    cargo build --release
    python reference/ablation.py --data DIR --out runs/ablation                # trains what is missing; goes on where it was cut
    python reference/ablation.py --out runs/ablation --table > models/ABLATION.md   # the table of the runs that are finished

Every run is `intone train configs/whisper-tiny.toml SETTINGS --no-test`: nobody looks at the test speakers. Names on the
command line choose single runs. Needs nothing but Python 3.11.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INTONE = ROOT / "target/release/intone"
CONFIG = "configs/whisper-tiny.toml"

# name: (settings over the recipe, what it asks)
RUNS = {
    "recipe": ([], "the recipe"),
    "recipe-seed-2": (["seed=2"], "the recipe, another seed"),
    "recipe-seed-3": (["seed=3"], "the recipe, another seed"),
    "frozen": (["training.max_epochs=8"], "the head alone: the encoder as it was published"),
    "three-blocks": (["model.n_blocks=3"], "without the last block"),
    "head-not-first": (["model.frozen_epochs=0"], "head and encoder from the first step on"),
    "single-precision": (["model.products=f32"], "matrix products in single precision"),
    "upper-half": (["model.frozen_blocks=2"], "the lower half stays as published"),
    "one-rate": (["model.layer_decay=1.0"], "the same step size for all blocks"),
    "larger-steps": (["model.encoder_learning_rate=3e-5", "model.layer_decay=1.0"], "the encoder at a higher rate, all blocks alike"),
    "no-average": (["training.ema_decay=0"], "the weights of the last step, not their average"),
    "hard-labels": (["training.label_smoothing=0", "training.vote_share=0"], "targets are the actors' intention alone"),
    "as-they-come": (["training.corpus_balance=0"], "each clip once an epoch, whatever its corpus"),
    "own-speed": (["augment.speed=0"], "no change of speed"),
    "wide-speed": (["augment.speed=0.2"], "faster and slower by up to 20 %: voices of men and women come closer"),
    "own-level": (["augment.gain_db=0", "augment.noise_share=0"], "no gain, no noise"),
    "no-masks": (["augment.time_masks=0", "augment.frequency_masks=0"], "no SpecAugment"),
    "mixup": (["augment.mixup_alpha=0.2"], "with mixup"),
}


def train(name, data, out):
    command = [INTONE, "train", CONFIG, *RUNS[name][0], "--data", *data, "--out", out / name, "--no-test"]
    if (out / name / "checkpoint.safetensors").exists():
        command.append("--resume")
    subprocess.run(command, cwd=ROOT, check=True)


def row(name, folder):
    """One line of the table, or None for a run that is not finished."""
    model = folder / "best.safetensors"
    if not model.exists():
        return None
    info = json.loads(subprocess.check_output([INTONE, "model", "info", "--format", "json", model]))
    scores = info["provenance"]["scores"]
    # A run notes how it is calibrated when it is over, and until then a coverage of 1.
    if info["temperature"] == 1.0:
        return None
    with open(folder / "log.csv", newline="") as file:
        best = max(csv.DictReader(file), key=lambda epoch: float(epoch["validation_accuracy"]))["epoch"]
    settings, question = RUNS[name]
    interval = "{:.1f} [{:.1f}, {:.1f}]".format(
        *(100 * scores[f"validation_{key}"] for key in ("accuracy", "accuracy_low", "accuracy_high")))
    cells = [name, question, " ".join(f"`{s}`" for s in settings) or "-", interval,
             f"{100 * scores['validation_uar']:.1f}", f"{scores['validation_ece']:.3f}", best]
    return "| " + " | ".join(cells) + " |"


def table(out):
    rows = {name: row(name, out / name) for name in RUNS}
    print(f"""# What each ingredient is worth

Made by `python reference/ablation.py --out RUNS --table` from runs of `intone train {CONFIG} SETTINGS --no-test`. Figures are
percentages on the 744 clips of the 10 validation speakers, with 95 % intervals over speakers. Each run's epoch was chosen by
these speakers, so the figures flatter, all alike; differences of less than two points between single runs are noise. The test
speakers were not looked at.

| run | what it asks | settings | accuracy | UAR | ECE | best epoch |
|---|---|---|---|---|---|---|""")
    print("\n".join(line for line in rows.values() if line))
    missing = [name for name, line in rows.items() if not line]
    if missing:
        print(f"\nNot finished: {', '.join(missing)}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", help=f"default: all of {', '.join(RUNS)}")
    parser.add_argument("--data", nargs="+", type=pathlib.Path, help="folders with RAVDESS and CREMA-D")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the runs lie")
    parser.add_argument("--table", action="store_true", help="print the table and train nothing")
    args = parser.parse_args()
    unknown = [name for name in args.runs if name not in RUNS]
    if unknown:
        parser.error(f"unknown runs: {', '.join(unknown)}; expected some of {', '.join(RUNS)}")
    out = args.out.resolve()
    if args.table:
        return table(out)
    if not args.data:
        parser.error("--data is needed to train")
    for name in args.runs or RUNS:
        print(f"--- {name}", file=sys.stderr)
        train(name, [path.resolve() for path in args.data], out)


if __name__ == "__main__":
    main()
