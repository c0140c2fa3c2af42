"""Writes models, label encoders and parameters as Keras, scikit-learn and pickle write them, and what Keras answers.

    python -m venv .venv && .venv/bin/pip install -r requirements-keras.txt
    .venv/bin/python keras_goldens.py ../crates/intone-keras/tests/goldens

The models are small and their weights random, with statistics of batch normalisation that are none of the defaults. The
folder gets, beside them, `answers.safetensors`:

    NAME.input     float32 [2, height, width]   for each model
    NAME.output    float32 [2, 6]               its probabilities
    CLIP.samples   int16 [n]                    synthetic recordings at 22,050 Hz, full scale 32768
    short.picture  float32 [128, 130]           what the reference project makes of one, see `picture`
    CLIP.output    float32 [6]                  the probabilities of "reference.keras" for it

Files are the same each time but for dates that Keras and h5py put into them.
"""

import json
import os
import pickle
import platform
import sys
import zipfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import h5py
import keras
import librosa
import numpy as np
import sklearn
import tf_keras
from safetensors.numpy import save_file
from sklearn.preprocessing import LabelEncoder

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad"]

# What the reference project pickles as `audio_params.pkl`.
REFERENCE_PARAMETERS = {
    "SR": 22050,
    "DURATION": 3.0,
    "N_MELS": 128,
    "N_FFT": 2048,
    "HOP_LENGTH": 512,
    "MAX_TIME_FRAMES": 130,
    "emotion_classes": LABELS,
}


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    answers = {}
    models = {
        "flatten.keras": flatten(keras),
        "mean.keras": mean(keras),
        "valid.h5": valid(keras),
        "functions.keras": functions(keras),
        "double.keras": double(keras),
        "keras2.h5": mean(tf_keras),
        "keras2_flatten.keras": flatten(tf_keras),
        "reference.keras": reference(keras),
    }
    for seed, (name, model) in enumerate(models.items()):
        rng = np.random.default_rng(seed)
        randomise(model, rng)
        x = pictures(rng, *model.input_shape[1:3])
        y = np.asarray(model(x[..., np.newaxis], training=False), dtype=np.float32)
        assert y.min() > 1e-4 and np.abs(y[0] - y[1]).max() > 1e-3, f"{name} says too little: {y}"
        answers[f"{name}.input"], answers[f"{name}.output"] = x, y
        save(model, folder / name)

    for source, name, options in [
        ("flatten.keras", "chunked.keras", {"chunked": True}),
        ("double.keras", "latest.keras", {"libver": "latest"}),
    ]:
        rewrite(folder / source, folder / name, **options)
        for kind in ("input", "output"):
            answers[f"{name}.{kind}"] = answers[f"{source}.{kind}"]

    for clip, samples in clips().items():
        shown = picture(samples.astype(np.float32) / np.float32(32768))
        answers[f"{clip}.samples"] = samples
        if clip == "short":
            answers[f"{clip}.picture"] = shown
        y = models["reference.keras"](shown[np.newaxis, ..., np.newaxis], training=False)
        answers[f"{clip}.output"] = np.asarray(y, dtype=np.float32)[0]

    for protocol in range(2, 6):
        # As many characters as the longest needs; and as pandas has them.
        dump(LabelEncoder().fit(np.array(LABELS)), folder / f"labels_text_{protocol}.pkl", protocol)
        dump(LabelEncoder().fit(np.array(LABELS, dtype=object)), folder / f"labels_object_{protocol}.pkl", protocol)
        dump(REFERENCE_PARAMETERS, folder / f"parameters_{protocol}.pkl", protocol)
        numpy_values = {"sr": np.int64(16000), "fmax": np.float32(7600), "hop_length": np.int32(256), "n_fft": 1024,
                        "n_mels": np.uint8(64), "max_len": np.int64(94), "shape": np.array([64, 94]), "note": None,
                        "big": 2**40, "nested": {"a": [1, (2, 3.5), True]}, "text": "h\u00f6ren", "raw": b"\x00\xff"}
        dump(numpy_values, folder / f"numpy_{protocol}.pkl", protocol)

    # One string, because the order of several is not kept.
    about = {
        "made_by": "reference/keras_goldens.py",
        "h5py": h5py.__version__,
        "keras": keras.__version__,
        "librosa": librosa.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "sklearn": sklearn.__version__,
        "tf_keras": tf_keras.__version__,
    }
    answers = {name: np.ascontiguousarray(tensor) for name, tensor in answers.items()}
    save_file(answers, folder / "answers.safetensors", {"about": json.dumps(about)})


def flatten(k):
    """Convolution, normalisation, ReLU, as the reference; with a bias and without; the flattened picture has channels."""
    layers = k.layers
    model = k.Sequential([
        layers.Input((16, 12, 1)),
        layers.Conv2D(3, (3, 3), padding="same"),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Conv2D(4, 3, padding="same", use_bias=False),
        layers.BatchNormalization(epsilon=1e-2, center=False),
        layers.Activation("relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Dropout(0.4),
        layers.Conv2D(5, (3, 3), padding="same", activation="relu"),
        layers.BatchNormalization(scale=False),
        layers.MaxPooling2D((2, 2)),
        layers.Flatten(),
        layers.Dense(7),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Dropout(0.7),
        layers.Dense(6, activation="softmax"),
    ])
    return trained(k, model)


def mean(k):
    """A functional model: ReLU inside of the convolution and normalisation behind it, pooled by the mean."""
    layers = k.layers
    picture = x = layers.Input((17, 13, 1))
    for channels, size in [(3, (5, 3)), (4, (3, 3))]:
        x = layers.Conv2D(channels, size, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(pool_size=2, padding="same")(x)
        x = layers.SpatialDropout2D(0.2)(x)
    x = layers.Conv2D(6, 1)(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5, activation="relu", use_bias=False)(x)
    x = layers.Dense(6)(x)
    x = layers.Softmax()(x)
    return k.Model(picture, x)


def valid(k):
    """Without padding, in strides; what other pools leave over is cut off."""
    layers = k.layers
    model = k.Sequential([
        layers.Input((19, 23, 1)),
        layers.Conv2D(3, (3, 3), activation="relu"),
        layers.Conv2D(4, (3, 3), activation="relu"),
        layers.MaxPooling2D((3, 2), strides=(2, 1)),
        layers.Conv2D(5, (3, 4), strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Flatten(),
        layers.Dense(6, activation="softmax"),
    ])
    return trained(k, model)


def functions(k):
    """Every activation, as a layer, by name, and as a layer of its own class; a normalisation in front."""
    layers = k.layers
    return k.Sequential([
        layers.Input((8, 9, 1)),
        layers.BatchNormalization(),
        layers.Conv2D(3, 3, activation="elu"),
        layers.Conv2D(3, 3, padding="same", activation="tanh"),
        layers.Conv2D(3, 2, activation="swish"),
        layers.Activation("sigmoid"),
        layers.Conv2D(4, 3),
        layers.ELU(),
        layers.GaussianNoise(0.1),
        layers.Flatten(),
        layers.Dense(5, activation="linear"),
        layers.ReLU(),
        layers.Dense(6, activation="softmax"),
    ])


def double(k):
    """In double precision, and with at most eight layers: h5py's newest form of a group has them in one header."""
    layers = k.layers
    return k.Sequential([
        layers.Input((6, 5, 1)),
        layers.Conv2D(2, 3, dtype="float64"),
        layers.Flatten(dtype="float64"),
        layers.Dense(6, activation="softmax", dtype="float64"),
    ])


def reference(k):
    """The reference network's input and order of layers, with few channels."""
    layers = k.layers
    model = k.Sequential([layers.Input((128, 130, 1))])
    for channels in (4, 6):
        model.add(layers.Conv2D(channels, (3, 3), activation="relu", padding="same"))
        model.add(layers.BatchNormalization())
        model.add(layers.MaxPool2D((4, 4)))
        model.add(layers.Dropout(0.4))
    model.add(layers.Flatten())
    model.add(layers.Dense(16, activation="relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dense(6, activation="softmax"))
    return model


def trained(k, model):
    """One step, so that the file has an optimiser's state."""
    model.compile(k.optimizers.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.zeros((1, *model.input_shape[1:]), np.float32), np.eye(6, dtype=np.float32)[:1], verbose=0)
    return model


def pictures(rng, height, width):
    """Two that differ in more than their noise: a bright lower half, and stripes."""
    x = rng.random((2, height, width), dtype=np.float32)
    x[0, : height // 2] += 1
    x[1, :, ::3] -= 1
    return x


def randomise(model, rng):
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            name = weight.name.rsplit("/", 1)[-1].split(":")[0]
            shape = tuple(weight.shape)
            if name in ("gamma", "moving_variance"):
                values.append(rng.uniform(0.5, 1.5, shape))
            elif name == "kernel":
                values.append(rng.normal(0.0, np.sqrt(1.0 / np.prod(shape[:-1])), shape))
            else:
                values.append(rng.normal(0.0, 0.2, shape))
        # Half precision is enough for all, so that a file may have them as halves.
        layer.set_weights([value.astype(np.float16) for value in values])


def save(model, path):
    path.unlink(missing_ok=True)
    model.save(path)


def rewrite(source, target, chunked=False, libver=None):
    """The same model with its weights in another form of HDF5: halves in compressed chunks, or with the newest headers."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if not name.endswith(".h5"):
                new.writestr(name, old.read(name))
        old_path, new_path = Path(f"{target}.old"), Path(f"{target}.new")
        old_path.write_bytes(old.read("model.weights.h5"))
        with h5py.File(old_path) as weights, h5py.File(new_path, "w", libver=libver) as copy:

            def visit(name, item):
                if isinstance(item, h5py.Group):
                    copy.require_group(name)
                elif chunked and item.ndim > 0:
                    chunks = tuple((n + 1) // 2 for n in item.shape)
                    copy.create_dataset(name, data=item[()], dtype="f2", chunks=chunks, compression="gzip", shuffle=True)
                else:
                    copy.create_dataset(name, data=item[()])

            weights.visititems(visit)
        new.write(new_path, "model.weights.h5")
        old_path.unlink()
        new_path.unlink()


def dump(value, path, protocol):
    path.write_bytes(pickle.dumps(value, protocol))


def picture(samples):
    """The reference project's way from (at most) three seconds to its network's input: padded to three seconds, trimmed at
    20 dB, in dB relative to the peak, filled up with 0 dB to 130 frames, less its mean and over its deviation."""
    padded = np.pad(samples[: 3 * 22050], (0, max(0, 3 * 22050 - len(samples))))
    trimmed, _ = librosa.effects.trim(padded, top_db=20)
    power = librosa.feature.melspectrogram(y=trimmed, sr=22050, n_mels=128, n_fft=2048, hop_length=512)
    db = librosa.power_to_db(power, ref=np.max)
    db = np.pad(db, ((0, 0), (0, max(0, 130 - db.shape[1]))))[:, :130]
    return ((db - db.mean()) / (db.std() + 1e-8)).astype(np.float32)


def clips():
    """Voice-like recordings: one of three seconds, shorter ones, one with silent ends, one that stops at its loudest."""
    rng = np.random.default_rng(20_240_229)

    def voice(seconds, f0):
        t = np.arange(int(seconds * 22050)) / 22050
        pitch = f0 * (1 + 0.1 * np.sin(2 * np.pi * 2.3 * t))
        phase = 2 * np.pi * np.cumsum(pitch) / 22050
        tone = sum(np.sin(h * phase) / h for h in range(1, 30) if h * f0 * 1.1 < 11025)
        y = tone * (0.2 + np.abs(np.sin(2 * np.pi * 1.7 * t))) + 0.01 * rng.standard_normal(len(t))
        return y * 0.3 / np.abs(y).max()

    def fade(y):
        n = len(y) // 4
        y[-n:] *= np.linspace(1, 0, n) ** 3
        return y

    silence = np.zeros(9_000)
    whole = {
        "three_seconds": voice(3.0, 140.0),
        "short": fade(voice(1.2, 180.0)),
        "silent_ends": np.concatenate([silence, fade(voice(1.6, 220.0)), silence]),
        "abrupt": voice(0.7, 120.0),
    }
    return {name: np.round(32768 * y).astype(np.int16) for name, y in whole.items()}


if __name__ == "__main__":
    main(sys.argv[1])
