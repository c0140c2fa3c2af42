"""Both networks under every protocol: each fold trained anew and tested on the speakers it has not heard.

    cargo build --release
    python reference/protocols.py --data DIR --out runs/protocols    # trains what is missing; goes on where it was cut
    python reference/protocols.py --data DIR --out runs/protocols --kept    # the same; folds that are kept are not trained again
    python reference/protocols.py --out runs/protocols --record      # keeps what the finished ones say; writes the table

Names on the command line choose some: `head` (all protocols of that network), `head:emobox`, `encoder:by-speaker/5`. Each is
`intone cross-validate CONFIG SETTINGS --protocol PROTOCOL`, with `--partial` where the data lack speakers of it. The record of
each is a file in `docs/results/`; the table in `docs/results.md` is made of all records, also of runs whose folders are gone.
Beside it lies a folder with the outcome and the predictions of each fold, also of folds whose cross-validation is not finished:
of these `--kept` makes the reports again, or goes on, without training. Needs nothing but Python 3.11.
"""

import argparse
import csv
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

from ablation import PLAIN, QUIET

ROOT = pathlib.Path(__file__).resolve().parent.parent
INTONE = ROOT / "target/release/intone"
RECORDS = ROOT / "docs/results"
PAGE = ROOT / "docs/results.md"
BEGIN, END = "<!-- protocols: written by reference/protocols.py -->\n", "<!-- end of protocols -->\n"

# What is kept of a fold: that it is done and with what, and its test clips' probabilities.
OF_FOLD = ("fold.json", "predictions.csv")

# A quarter of the reference CNN's epochs, for folds with thousands of training clips. With the few hundred of RAVDESS they would
# be too few steps.
SHORT = ["training.learning_rate=4e-4", "training.schedule=cosine", "training.max_epochs=24", "training.patience=24"]

# name: (what it is, configuration, settings over it)
NETWORKS = {
    "encoder": ("Whisper's encoder, fine-tuned with its head", "configs/whisper-tiny.toml", []),
    "quiet": ("Whisper's encoder, fine-tuned without stretches of clips, other voices and loud noise", "configs/whisper-tiny.toml", QUIET),
    "plain": ("likewise: the best epoch's model, no further than training came", "configs/whisper-tiny.toml", PLAIN),
    "head": ("Whisper's encoder, its head alone trained", "configs/whisper-tiny.toml",
             ["model.frozen_epochs=8", "training.max_epochs=8", "training.keep=best"]),
    "cnn": ("the reference CNN", "configs/vgg.toml", []),
    "cnn-short": ("the reference CNN, 24 epochs at a higher rate", "configs/vgg.toml", SHORT),
}
# protocol: (what it tests, whether it goes on without the speakers that are kept from this project)
PROTOCOLS = {
    "by-speaker/5": ("both corpora, five folds of speakers", False),
    "sentence-and-speaker/5": ("both corpora, five folds of speakers and sentences", False),
    "cross-corpus": ("one corpus against the other, both ways", False),
    "emobox": ("RAVDESS, five of six folds", True),
    "luna-jimenez": ("RAVDESS, five folds without 4 of 24 actors", True),
    "tfds": ("CREMA-D, TensorFlow Datasets' test actors without 5 of them", True),
}


def name_of(network, protocol):
    return f"{network}-{protocol.replace('/', '-')}"


def record_of(network, protocol):
    return RECORDS / f"{name_of(network, protocol)}.json"


def chosen(words):
    """The pairs of network and protocol that the words on the command line name; all without words."""
    pairs = [(network, protocol) for network in NETWORKS for protocol in PROTOCOLS]
    unknown = [word for word in words if not any(word in (network, f"{network}:{protocol}") for network, protocol in pairs)]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; networks: {', '.join(NETWORKS)}; protocols: {', '.join(PROTOCOLS)}")
    return [pair for pair in pairs if not words or pair[0] in words or ":".join(pair) in words]


def copy_folds(source, target, replace):
    """What is kept of each finished fold; of those that are there already, too, if they are to be replaced."""
    for done in sorted(source.glob("fold-*/fold.json")):
        fold = target / done.parent.name
        if replace or not (fold / "fold.json").exists():
            fold.mkdir(parents=True, exist_ok=True)
            # The file that says that all is there comes last.
            for name in reversed(OF_FOLD):
                shutil.copyfile(done.parent / name, fold / name)


def train(network, protocol, data, out, kept):
    _, config, settings = NETWORKS[network]
    partial = ["--partial"] if PROTOCOLS[protocol][1] else []
    folder = out / name_of(network, protocol)
    if kept:
        copy_folds(RECORDS / name_of(network, protocol), folder, replace=False)
    command = [INTONE, "cross-validate", config, *settings, "--data", *data, "--protocol", protocol, *partial, "--out", folder]
    subprocess.run(command, cwd=ROOT, check=True)


def record(network, protocol, out):
    """What a cross-validation says, without the parts that need its folder; of one that is not finished, the folds that are."""
    folder = out / name_of(network, protocol)
    copy_folds(folder, RECORDS / name_of(network, protocol), replace=True)
    if not (folder / "report.json").exists():
        if folder.exists():
            print(f"{name_of(network, protocol)}: not finished", file=sys.stderr)
        return
    report = json.loads((folder / "report.json").read_text())
    with open(folder / "folds.csv", newline="") as file:
        folds = list(csv.DictReader(file))
    figures = ("n", "n_speakers", "uar", "accuracy", "macro_f1", "ece", "brier", "classes", "confusion", "groups", "speakers", "spread")
    kept = {"network": network, "protocol": protocol, "config": NETWORKS[network][1], "settings": NETWORKS[network][2]}
    kept |= {"folds": folds} | {figure: report[figure] for figure in figures}
    with open(record_of(network, protocol), "w") as file:
        json.dump(kept, file, indent=1)
        file.write("\n")


def percent(figure):
    return "{value:.1f} [{low:.1f}, {high:.1f}]".format(**{key: 100 * figure[key] for key in ("value", "low", "high")})


def between_folds(folds):
    """Mean of their UAR and standard deviation; nothing of a single fold."""
    values = [100 * float(fold["uar"]) for fold in folds]
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else "-"


def of_sexes(groups):
    """The UAR of women's clips and that of men's."""
    by_sex = {group["name"]: group["uar"]["value"] for groups_by in groups if groups_by["by"] == "sex" for group in groups_by["groups"]}
    return "{:.1f} / {:.1f}".format(*(100 * by_sex[sex] for sex in ("female", "male")))


def rows():
    for network, (what, _, _) in NETWORKS.items():
        for protocol, (of, _) in PROTOCOLS.items():
            path = record_of(network, protocol)
            if not path.exists():
                continue
            kept = json.loads(path.read_text())
            cells = [what, f"`{protocol}`: {of}", f"{kept['n']:,} / {kept['n_speakers']}", percent(kept["uar"]),
                     percent(kept["accuracy"]), between_folds(kept["folds"]), of_sexes(kept["groups"]),
                     f"{100 * kept['spread']['worst_tenth']:.1f}", f"{kept['ece']['value']:.3f}"]
            yield "| " + " | ".join(cells) + " |\n"


def write_page():
    table = [
        "| network | protocol | clips / speakers | UAR | accuracy | UAR, mean over folds ± deviation | UAR, women / men "
        "| worst tenth of speakers, UAR | ECE |\n",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|\n",
        *rows(),
    ]
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(head + BEGIN + "\n" + "".join(table) + "\n" + END + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="network or network:protocol; default: all")
    parser.add_argument("--data", nargs="+", type=pathlib.Path, help="folders with RAVDESS and CREMA-D")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the runs lie")
    parser.add_argument("--kept", action="store_true", help="take the folds that are kept in docs/results as done")
    parser.add_argument("--record", action="store_true", help="keep the records of what is finished, write the table, train nothing")
    args = parser.parse_args()
    pairs, out = chosen(args.which), args.out.resolve()
    if args.record:
        for pair in pairs:
            record(*pair, out)
        return write_page()
    if not args.data:
        parser.error("--data is needed to train")
    for network, protocol in pairs:
        print(f"--- {network}, {protocol}", file=sys.stderr)
        train(network, protocol, [path.resolve() for path in args.data], out, args.kept)


if __name__ == "__main__":
    main()
