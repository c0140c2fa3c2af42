"""A classifier of one's own: scikit-learn on what the network makes of a recording before it decides.

    python examples/embeddings.py FOLDER

FOLDER has a sub-folder for each class, whatever the classes are, and in them the recordings. Needs scikit-learn.
"""

# %% Recordings and their classes
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import intone

folder = Path(sys.argv[1])
paths = sorted(str(path) for path in folder.glob("*/*") if path.is_file())
classes = [Path(path).parent.name for path in paths]
if len(set(classes)) < 2:
    raise SystemExit(f"{folder}: expected recordings in two sub-folders or more")

# %% The transformer: from paths, bytes or (samples, rate) to vectors
recognizer = intone.Recognizer()
embed = FunctionTransformer(lambda recordings: np.stack([recognizer.embed(recording) for recording in recordings]))
pipeline = make_pipeline(embed, StandardScaler(), LogisticRegression(max_iter=1_000))

# %% How good it is, on recordings that it was not fitted to
# Where speakers are known, use GroupKFold with them: a voice on both sides of a fold makes any figure too good.
folds = StratifiedKFold(5, shuffle=True, random_state=1)
vectors = embed.transform(paths)
predicted = cross_val_predict(pipeline[1:], vectors, classes, cv=folds)
recall = balanced_accuracy_score(classes, predicted)
print(f"{len(paths)} recordings, {vectors.shape[1]} numbers each")
print(f"unweighted average recall {recall:.3f}, by chance {1 / len(set(classes)):.3f}")

# %% The whole of it, from the path to the class
pipeline.fit(paths, classes)
print(f"{paths[0]}: {pipeline.predict(paths[:1])[0]}")
