"""The ablation of configs/whisper-tiny.toml: what each ingredient of the recipe is worth, on the validation speakers.

    cargo build --release
    python reference/ablation.py --data DIR --out runs/ablation    # trains what is missing; goes on where it was cut
    python reference/ablation.py --out runs/ablation --record      # keeps what the finished runs say; writes the table

Every run is `intone train configs/whisper-tiny.toml SETTINGS --no-test`: nobody looks at the test speakers. Some are then heard on
changed sounds: `intone evaluate RUN/best.safetensors --part validation --robustness=300 --out RUN/changed`. Names on the
command line choose single runs; `larger` begins with Whisper base, imported like tiny.en as `whisper-base.safetensors`. The
record of a run is `models/ablation/NAME.json`: its configuration, its epochs and its scores on the validation speakers;
`models/ABLATION.md` is the table of all records, also of runs whose folders are gone. Needs nothing but Python 3.11.
"""

import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
INTONE = ROOT / "target/release/intone"
CONFIG = "configs/whisper-tiny.toml"
RECORDS = ROOT / "models/ablation"

# Training hears whole clips, soft noise and one voice at a time.
QUIET = ["augment.cut_share=0", "augment.babble_share=0", "augment.noise_snr_db=[10.0, 40.0]"]

# And the model is that of the best epoch, as training left it: so all runs but those on changed sounds.
PLAIN = [*QUIET, "model.extrapolation=1", "training.keep=best"]

# Runs that are about changed sounds, and how many clips of the validation speakers they are changed of.
ON_CHANGED = ("recipe", "recipe-seed-2", "recipe-seed-3", "softer-noise", "twice", "quiet",
              "recipe-short", "ends", "pitch", "filter", "layers", "distilled", "student",
              "student-of-one", "smoother")
N_CHANGED = 300

# Ten epochs of head and encoder together, in place of 24: at this length the ingredients are compared.
SHORT = "training.max_epochs=18"

# What the three seeds of the recipe say of the training clips, on average: what `distilled` learns from besides the labels.
SEEDS = ("recipe", "recipe-seed-2", "recipe-seed-3")
SEEDS_SAY = "runs/seeds.csv"
# What the recipe's own run says of them.
RECIPE_SAYS = "runs/recipe.csv"

# name: (settings over the recipe and, but for those of ON_CHANGED, over PLAIN, what it asks)
RUNS = {
    "recipe": ([], "the recipe"),
    "recipe-seed-2": (["seed=2"], "another seed"),
    "recipe-seed-3": (["seed=3"], "another seed"),
    "softer-noise": (["augment.noise_snr_db=[10.0, 40.0]"], "the recipe, its noise no louder than 10 dB below the speech"),
    "twice": (["augment.cut_share=0.2", "augment.cut_s=[0.3, 1.5]", "augment.babble_share=0.2", "augment.babble_snr_db=[-5.0, 20.0]",
               "augment.noise_snr_db=[10.0, 40.0]"], "the same, stretches and babble twice as often, shorter and louder"),
    "recipe-short": ([SHORT], "the recipe for 10 epochs of head and encoder together; the seven below change this one"),
    "ends": ([SHORT, "augment.ends_share=0.5"], "half of the clips with up to a second of their silent ends, under noise and voices too"),
    "pitch": ([SHORT, "augment.pitch_share=0.5", "augment.pitch_semitones=3"], "half of the clips higher or lower, at the same speed"),
    "filter": ([SHORT, "augment.filter_share=0.5", "augment.band_limit_share=0.05"],
               "half of the clips through a random filter, one of twenty over a telephone"),
    "layers": ([SHORT, "model.mix_learning_rate=0.02"], "the weights of the layers at a step size of their own"),
    "distilled": ([SHORT, f"training.soft_targets={SEEDS_SAY}", "training.soft_share=0.7"],
                  "targets are mostly what the three seeds of the recipe say of the training clips, on average"),
    "student-of-one": ([SHORT, f"training.soft_targets={RECIPE_SAYS}", "training.soft_share=0.7"],
                       "likewise, but what the first seed says alone"),
    "smoother": ([SHORT, "training.label_smoothing=0.15"],
                 "three times as much of each target is spread over all classes: about as much as what the first seed says"),
    "student": ([f"training.soft_targets={SEEDS_SAY}", "training.soft_share=0.7"], "learns from the three seeds as `distilled`, at the recipe's length"),
    "quiet": (QUIET, "the recipe without stretches, babble and loud noise"),
    "plain": ([], "of `quiet` the best epoch's model, no further than training came; the runs below change this one"),
    "plain-seed-2": (["seed=2"], "another seed"),
    "plain-seed-3": (["seed=3"], "another seed"),
    "longer-steps": (["model.encoder_learning_rate=4e-5", "model.layer_decay=1.0"], "the encoder at a higher rate, all blocks alike"),
    "frozen": (["model.frozen_epochs=8", "training.max_epochs=8"], "the head alone: the encoder as it was published"),
    "short": ([SHORT], "both together for 10 epochs in place of 24; the runs below change this one"),
    "larger-steps": ([SHORT, "model.encoder_learning_rate=3e-5", "model.layer_decay=1.0"], "the encoder at a higher rate, all blocks alike"),
    "wide-speed": ([SHORT, "augment.speed=0.2"], "faster and slower by up to 20 %: voices of men and women come closer"),
    "noisier": ([SHORT, "augment.noise_share=0.3", "augment.noise_snr_db=[0.0, 30.0]",
                 "augment.babble_share=0.3", "augment.babble_snr_db=[0.0, 30.0]"],
                "more and louder noise, and the babble of others"),
    "mixup": ([SHORT, "augment.mixup_alpha=0.2"], "with mixup"),
    "no-masks": ([SHORT, "augment.time_masks=0", "augment.frequency_masks=0"], "no SpecAugment"),
    "hard-labels": ([SHORT, "training.label_smoothing=0", "training.vote_share=0"], "targets are the actors' intention alone"),
    "own-speed": ([SHORT, "augment.speed=0"], "no change of speed"),
    "own-level": ([SHORT, "augment.gain_db=0", "augment.noise_share=0"], "no gain, no noise"),
    "as-they-come": ([SHORT, "training.corpus_balance=0"], "each clip once an epoch, whatever its corpus"),
    "no-average": ([SHORT, "training.ema_decay=0"], "the weights of the last step, not their average"),
    "head-not-first": ([SHORT, "model.frozen_epochs=0"], "head and encoder from the first step on"),
    "upper-half": ([SHORT, "model.frozen_blocks=2"], "the lower half stays as published"),
    "one-rate": ([SHORT, "model.layer_decay=1.0"], "the same step size for all blocks"),
    "three-blocks": ([SHORT, "model.n_blocks=3"], "without the last block"),
    "each-layer": ([SHORT, "model.n_blocks=3", "model.pooled_layers=[1, 2, 3]"],
                   "without the last block; the others are pooled one by one, not their weighted sum"),
    "larger": ([SHORT, "model.init=whisper-base.safetensors", "model.width=512", "model.n_heads=8", "model.hidden=2048",
                "model.n_blocks=6"], "the encoder of Whisper base, with 2.6 times as many weights"),
    "single-precision": ([SHORT, "model.products=f32"], "matrix products in single precision"),
}


def settings(name):
    """All that a run has over the configuration; of two values for a key its own."""
    over = [] if name in ON_CHANGED else PLAIN
    return [f"{key}={value}" for key, value in dict(setting.split("=", 1) for setting in over + RUNS[name][0]).items()]


def teach(seeds, target, data, out):
    """Writes what these runs say, on average, of the clips that they were trained on."""
    answers = [out / seed / "train/predictions.csv" for seed in seeds]
    for seed, path in zip(seeds, answers):
        if not path.exists():
            command = [INTONE, "evaluate", out / seed / "best.safetensors", "--data", *data, "--part", "train", "--out", path.parent]
            subprocess.run(command, cwd=ROOT, check=True)
    (ROOT / target).parent.mkdir(exist_ok=True)
    with open(ROOT / target, "w") as file:
        subprocess.run([sys.executable, "reference/average.py", *answers], cwd=ROOT, stdout=file, check=True)


def train(name, data, out):
    for seeds, target in ((SEEDS, SEEDS_SAY), (SEEDS[:1], RECIPE_SAYS)):
        if f"training.soft_targets={target}" in settings(name):
            teach(seeds, target, data, out)
    command = [INTONE, "train", CONFIG, *settings(name), "--data", *data, "--out", out / name, "--no-test"]
    if (out / name / "checkpoint.safetensors").exists():
        command.append("--resume")
    subprocess.run(command, cwd=ROOT, check=True)
    if name in ON_CHANGED and not (out / name / "changed/robustness.json").exists():
        command = [INTONE, "evaluate", out / name / "best.safetensors", "--data", *data, "--part", "validation",
                   f"--robustness={N_CHANGED}", "--out", out / name / "changed"]
        subprocess.run(command, cwd=ROOT, check=True)


def value_of(setting):
    """As the program reads it: a value of TOML, or else a word."""
    try:
        return tomllib.loads(f"x = {setting}")["x"]
    except tomllib.TOMLDecodeError:
        return setting


def record(name, folder):
    """What a run says of itself, kept; nothing for a run that is not finished."""
    model, finished = folder / "best.safetensors", False
    if model.exists():
        info = json.loads(subprocess.check_output([INTONE, "model", "info", "--format", "json", model]))
        # A run fits its temperature when it is over; until then it is 1.
        finished = info["temperature"] != 1.0
    if not finished:
        if folder.exists():
            print(f"{name}: not finished", file=sys.stderr)
        return
    with open(folder / "log.csv", newline="") as file:
        epochs = [{key: float(value) for key, value in epoch.items()} for epoch in csv.DictReader(file)]
    provenance = info["provenance"]
    config = tomllib.loads(provenance["config"])
    for setting in settings(name):
        key, value = setting.split("=", 1)
        table = config
        for part in key.split("."):
            table = table.get(part, {})
        if table != value_of(value):
            sys.exit(f"{folder}: expected a run with {setting}, got {key} = {table}")
    kept = {key: provenance[key] for key in ("created", "commit", "config", "split_hash", "scores")}
    kept = {"settings": settings(name), **kept, "epochs": epochs}
    if (folder / "changed/robustness.json").exists():
        kept["changed"] = on_changed(json.loads((folder / "changed/robustness.json").read_text()))
    RECORDS.mkdir(exist_ok=True)
    with open(RECORDS / f"{name}.json", "w") as file:
        json.dump(kept, file, indent=1)
        file.write("\n")


def on_changed(robustness):
    """Of each change and level the UAR, the share of answers that is not `uncertain`, and the share of these that is right."""
    of = lambda level: [level["uar"]["value"], level["certain"]["coverage"], level["certain"]["accuracy"]]
    kinds = {kind["name"]: {str(level["level"]): of(level) for level in kind["levels"]} for kind in robustness["kinds"]}
    return {"n": robustness["n"], "clean": robustness["clean"]["value"], "mean_uar": robustness["mean_uar"], "kinds": kinds}


def kept_of(name):
    """The record of a run; of one without nothing."""
    path = RECORDS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def row(name):
    """One line of the table, or None for a run without a record."""
    kept = kept_of(name)
    if not kept:
        return None
    scores, epochs = kept["scores"], kept["epochs"]
    best = max(epochs, key=lambda epoch: epoch["epoch"] if name in ON_CHANGED else epoch["validation_accuracy"], default=None)
    interval = "{:.1f} [{:.1f}, {:.1f}]".format(
        *(100 * scores[f"validation_{key}"] for key in ("accuracy", "accuracy_low", "accuracy_high")))
    question = RUNS[name][1] + (f" ({kept['note']})" if "note" in kept else "")
    cells = [name, question, " ".join(f"`{s}`" for s in kept["settings"] if name in ON_CHANGED or s not in PLAIN) or "-", interval,
             f"{100 * scores['validation_uar']:.1f}", f"{scores['validation_ece']:.3f}",
             f"{best['epoch']:.0f} of {len(epochs)}" if best else "log not kept"]
    return "| " + " | ".join(cells) + " |"


def changed_row(name):
    """What a run says on changed sounds, or None for one that was not heard on them."""
    changed = kept_of(name).get("changed")
    if not changed:
        return None
    percent = lambda share: f"{100 * share:.1f}"
    levels = lambda kind, *at: [changed["kinds"][kind][level] for level in at]
    uar = lambda kind, *at: ", ".join(percent(level[0]) for level in levels(kind, *at))
    certain = ", ".join(f"{100 * share:.0f} ({100 * right:.0f})" for _, share, right in levels("babble", "10.0", "0.0"))
    cells = [name, percent(changed["clean"]), percent(changed["mean_uar"]), uar("babble", "20.0", "10.0", "0.0"), certain,
             uar("white noise", "20.0", "10.0", "0.0"), uar("truncation", "1.0", "0.5"), uar("narrow band", "3.4"),
             uar("reverberation", "0.6")]
    return "| " + " | ".join(cells) + " |"


def of_seeds(name):
    """Mean and standard deviation of a run and those with other seeds; nothing of one alone."""
    names = [run for run in RUNS if run == name or run.startswith(f"{name}-seed-")]
    seeds = [kept["scores"] for kept in map(kept_of, names) if kept]
    if len(seeds) < 2:
        return []
    values = lambda figure: [100 * scores[f"validation_{figure}"] for scores in seeds]
    accuracy, uar = (f"{statistics.mean(x):.1f} ± {statistics.stdev(x):.1f}" for x in map(values, ("accuracy", "uar")))
    return ["", f"The {len(seeds)} seeds of `{name}`, mean and standard deviation: accuracy {accuracy}, UAR {uar}."]


def table():
    rows = {name: row(name) for name in RUNS}
    lines = [f"""# What each ingredient is worth

Made by `python reference/ablation.py --out RUNS --record` from runs of `intone train {CONFIG} SETTINGS --no-test`, whose
configurations, epochs and scores are kept in `ablation/`; all from `plain` on also have `{" ".join(PLAIN)}`.
Figures are percentages on the 744 clips of the 10 validation speakers, with 95 % intervals over speakers. From `plain` on the epoch
was chosen by these speakers, so their figures flatter, all alike; differences of less than two points between single runs
are noise. The test speakers were not looked at.

| run | what it asks | settings | accuracy | UAR | ECE | epoch kept |
|---|---|---|---|---|---|---|""", *(line for line in rows.values() if line)]
    lines += [line for name in ("recipe", "plain") for line in of_seeds(name)]
    lines += ["", f"""## On changed sounds

UAR of {N_CHANGED} of these clips, as they are and changed, %; of the answers among other voices, the share that is not `uncertain`, and how
many of these are right.

| run | as they are | mean over all changes | other voices, 20, 10, 0 dB | not `uncertain` of it (right), 10, 0 dB | white noise, 20, 10, 0 dB | middle 1 s, 0.5 s | telephone | reverberation of 0.6 s |
|---|---|---|---|---|---|---|---|---|""", *filter(None, map(changed_row, ON_CHANGED))]
    missing = [name for name, line in rows.items() if not line]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    (RECORDS.parent / "ABLATION.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", help=f"default: all of {', '.join(RUNS)}")
    parser.add_argument("--data", nargs="+", type=pathlib.Path, help="folders with RAVDESS and CREMA-D")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the runs lie")
    parser.add_argument("--record", action="store_true", help="keep the records of finished runs, write the table, train nothing")
    args = parser.parse_args()
    unknown = [name for name in args.runs if name not in RUNS]
    if unknown:
        parser.error(f"unknown runs: {', '.join(unknown)}; expected some of {', '.join(RUNS)}")
    out = args.out.resolve()
    if args.record:
        for name in args.runs or RUNS:
            record(name, out / name)
        return table()
    if not args.data:
        parser.error("--data is needed to train")
    for name in args.runs or RUNS:
        print(f"--- {name}", file=sys.stderr)
        train(name, [path.resolve() for path in args.data], out)


if __name__ == "__main__":
    main()
