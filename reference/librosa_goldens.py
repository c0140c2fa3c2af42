"""Writes the golden values of the reference front end, made by librosa.

    python -m venv .venv && .venv/bin/pip install -r requirements-librosa.txt
    .venv/bin/python librosa_goldens.py ../crates/intone/tests/goldens/librosa.safetensors

The signals are made here, so that no corpus audio is in the tree, and stored as 16-bit integers times a scale:
both sides compute with the same single-precision samples. Layout of the file:

    NAME.samples   int16 [n]                the signal, to be multiplied by its scale ("scales" in the metadata)
    NAME.log_mel   float32 [128, frames]    power_to_db(melspectrogram(y), ref=np.max, top_db=80)
    NAME.trim      int64 [len(TRIM_DB), 2]  effects.trim(y, top_db)[1] for each "trim_top_db" in the metadata
    NAME.window    float32 [128, 130]       for WINDOWS only: the clip padded to 3 s, scaled to [0, 1]
    mel_filters    float32 [128, 1025]      non-zero weights only, row by row, in order of the bins
    mel_first_bin  int64 [128]              the first bin of each row that is not zero
    mel_n_bins     int64 [128]
"""

import json
import platform
import sys

import librosa
import numpy as np
from safetensors.numpy import save_file

RATE = 22_050
N_SAMPLES = 3 * RATE
TRIM_DB = [10.0, 20.0, 30.0, 40.0, 60.0, 80.0]
WINDOWS = ["speech", "very_short", "silence", "chirp"]


def main(path):
    tensors, scales = {}, {}
    for name, signal in signals().items():
        # Full scale of the integers is the signal's peak, so that quiet signals keep 16 bits of detail.
        scale = np.float32(max(np.abs(signal).max(), 1e-9) / 32767)
        samples = np.round(signal / scale).astype(np.int16)
        y = samples.astype(np.float32) * scale
        tensors[f"{name}.samples"] = samples
        tensors[f"{name}.log_mel"] = log_mel(y)
        tensors[f"{name}.trim"] = np.array([librosa.effects.trim(y, top_db=db)[1] for db in TRIM_DB], dtype=np.int64)
        if name in WINDOWS:
            padded = librosa.util.fix_length(y, size=N_SAMPLES)
            tensors[f"{name}.window"] = (log_mel(padded) + np.float32(80)) / np.float32(80)
        scales[name] = float(scale)

    filters = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=128, htk=False, norm="slaney")
    first = np.array([np.flatnonzero(row)[0] for row in filters], dtype=np.int64)
    count = np.array([np.count_nonzero(row) for row in filters], dtype=np.int64)
    assert all(np.all(row[f : f + n]) for row, f, n in zip(filters, first, count)), "the bins are consecutive"
    tensors["mel_first_bin"], tensors["mel_n_bins"] = first, count
    tensors["mel_filters"] = filters[filters != 0]

    # One string, because the order of several is not kept, and the file should be the same each time.
    about = {
        "made_by": "reference/librosa_goldens.py",
        "librosa": librosa.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "scales": scales,
        "trim_top_db": TRIM_DB,
    }
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path, {"about": json.dumps(about)})


def log_mel(y):
    power = librosa.feature.melspectrogram(
        y=y, sr=RATE, n_fft=2048, hop_length=512, n_mels=128, center=True, pad_mode="constant", power=2.0
    )
    db = librosa.power_to_db(power, ref=np.max, amin=1e-10, top_db=80.0)
    assert db.dtype == np.float32
    return db


def signals():
    """Name -> samples in [-1, 1], in double precision."""
    rng = np.random.default_rng(20_240_229)
    second = np.arange(RATE) / RATE
    voice = speech(rng, N_SAMPLES)
    word = speech(rng, RATE)
    impulse = np.zeros(RATE // 2)
    impulse[5_003] = 1.0
    phase = 2 * np.pi * np.cumsum(np.geomspace(20, RATE / 2, RATE * 3 // 2)) / RATE
    return {
        "speech": voice,
        "sine": 0.5 * np.sin(2 * np.pi * 440 * second),
        "impulse": impulse,
        "noise": np.clip(0.25 * rng.standard_normal(RATE), -1, 1),
        "silence": np.zeros(RATE // 2),
        "clipped": np.clip(20 * word, -1, 1),
        "very_short": 0.3 * np.sin(2 * np.pi * 1_000 * second[: RATE // 100]),
        "one_sample": np.array([0.7]),
        "dc": np.full(RATE // 2, 0.25),
        "chirp": 0.9 * np.sin(phase),
        # -80 dBFS.
        "quiet_noise": 1e-4 * rng.standard_normal(RATE),
        # 75 dB between two tones in the same frames: what rounding in the transform would drown.
        "two_tones": 0.9 * np.sin(2 * np.pi * 97.3 * second) + 1.6e-4 * np.sin(2 * np.pi * 6_543.2 * second),
        # Speech between near-silence, for trimming; dies away by 100 dB, through the clamp at -80.
        "faded": np.concatenate([1e-5 * rng.standard_normal(8_000), word, word[:8_000] * np.geomspace(1, 1e-5, 8_000)]),
    }


def speech(rng, n_samples):
    """A speech-like signal: a glottal pulse train with a moving pitch through four moving formants, cut into
    syllables, with fricative noise and pauses between them (Klatt's cascade, much reduced)."""
    t = np.arange(n_samples) / RATE
    pitch_hz = 140 + 40 * np.sin(2 * np.pi * 0.7 * t) + 12 * np.sin(2 * np.pi * 2.3 * t) + rng.normal(0, 1, n_samples)
    phase = np.cumsum(pitch_hz / RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = lowpass(pulses, 0.95) + 0.003 * rng.standard_normal(n_samples)
    vowels = np.array([[730, 1090, 2440, 3400], [270, 2290, 3010, 3700], [300, 870, 2240, 3300], [530, 1840, 2480, 3500]])
    place = np.linspace(0, 3 * n_samples / N_SAMPLES * 4, n_samples) % len(vowels)
    for k, bandwidth_hz in enumerate([60, 90, 150, 200]):
        formant_hz = np.interp(place, np.arange(len(vowels) + 1), np.append(vowels[:, k], vowels[0, k]))
        source = resonate(source, formant_hz, bandwidth_hz)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t) + 0.35, 0, 1)
    fricatives = np.clip(-np.sin(2 * np.pi * 3.1 * t) - 0.7, 0, 1)
    hiss = np.diff(rng.standard_normal(n_samples), prepend=0.0)
    voice = syllables * source / np.abs(source).max() + 0.05 * fricatives * hiss
    return 0.6 * voice / np.abs(voice).max()


def lowpass(x, pole):
    y = np.empty_like(x)
    state = 0.0
    for n, value in enumerate(x):
        state = value + pole * state
        y[n] = state
    return y


def resonate(x, centre_hz, bandwidth_hz):
    """A two-pole resonator whose centre moves."""
    radius = np.exp(-np.pi * bandwidth_hz / RATE)
    a1 = 2 * radius * np.cos(2 * np.pi * centre_hz / RATE)
    a2 = -radius * radius
    y = np.empty_like(x)
    y1 = y2 = 0.0
    for n in range(len(x)):
        y[n] = (1 - a1[n] - a2) * x[n] + a1[n] * y1 + a2 * y2
        y2, y1 = y1, y[n]
    return y


if __name__ == "__main__":
    main(sys.argv[1])
