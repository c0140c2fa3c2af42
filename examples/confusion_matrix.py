"""How often the model hears what was meant: a confusion matrix of a folder of recordings.

    python examples/confusion_matrix.py FOLDER confusion.png

What was meant stands in the name of a file, as in `1001_DFA_ANG_XX.wav` or `angry-07.flac`, or of the folder that it lies in.
Needs matplotlib. In an editor that knows cells (`# %%`), set `folder` and `picture` by hand.
"""

# %% What there is, and what was meant
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import intone

ENDINGS = {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".aiff", ".mkv"}
WORDS = {
    "angry": {"angry", "anger", "ang"},
    "disgust": {"disgust", "disgusted", "dis"},
    "fear": {"fear", "fearful", "fea"},
    "happy": {"happy", "happiness", "hap"},
    "neutral": {"neutral", "neu"},
    "sad": {"sad", "sadness"},
}


def meant(path):
    """The emotion in the name of a file, else in that of its folder; None where there is none, or more than one."""
    for name in (path.stem, path.parent.name):
        words = set(re.split(r"[^a-z]+", name.lower()))
        found = [label for label, names in WORDS.items() if names & words]
        if len(found) == 1:
            return found[0]
    return None


folder, picture = sys.argv[1:]
paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in ENDINGS)
paths = [path for path in paths if meant(path)]
if not paths:
    raise SystemExit(f"{folder}: no recording has an emotion in its name")

# %% What the model hears
recognizer = intone.Recognizer()
answers = recognizer.recognize_batch(paths)

for path, answer in zip(paths, answers):
    if isinstance(answer, intone.IntoneError):
        print(f"left out: {answer if str(path) in str(answer) else f'{path}: {answer}'}")
    elif answer.silence:
        print(f"left out: {path}: silence")
pairs = [(meant(path), answer.label) for path, answer in zip(paths, answers) if getattr(answer, "label", None)]
if not pairs:
    raise SystemExit(f"{folder}: no recording could be recognised")

# %% The matrix: rows are what was meant, columns what was heard
labels = recognizer.labels
counts = np.zeros((len(labels), len(labels)), int)
for truth, heard in pairs:
    counts[labels.index(truth), labels.index(heard)] += 1
n_meant = counts.sum(axis=1)
shares = counts / np.maximum(n_meant, 1)[:, None]
recalls = shares.diagonal()[n_meant > 0]
print(f"{len(pairs)} recordings, unweighted average recall {recalls.mean():.3f}, accuracy {counts.trace() / len(pairs):.3f}")

# %% The picture
figure, axes = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
for (row, column), share in np.ndenumerate(shares):
    if counts[row, column]:
        ink = "white" if share > 0.55 else "black"
        axes.text(column, row, f"{100 * share:.0f} %", ha="center", va="bottom", color=ink)
        axes.text(column, row + 0.08, counts[row, column], ha="center", va="top", color=ink, fontsize=8, alpha=0.75)
axes.set_xticks(range(len(labels)), labels)
axes.set_yticks(range(len(labels)), [f"{label} ({n})" for label, n in zip(labels, n_meant)])
axes.set_xlabel("heard")
axes.set_ylabel("meant (recordings)")
axes.set_title(f"{len(pairs)} recordings, unweighted average recall {100 * recalls.mean():.1f} %", fontsize=11)
axes.tick_params(length=0)
axes.spines[:].set_visible(False)
figure.colorbar(image, ax=axes, aspect=30, format=lambda share, _: f"{100 * share:.0f} %")
figure.savefig(picture, dpi=150)
