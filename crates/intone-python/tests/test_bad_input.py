"""Bad input of every kind: one exception of ours, with what was expected and what came."""

import errno
from pathlib import Path

import numpy as np
import pytest
from conftest import RATE, SAMPLES

import intone

ONES = np.ones(100, np.float32)

NOT_A_RECORDING = "recording: expected a path, bytes, or a tuple (samples, rate), got "
DTYPE = "samples: expected dtype float32, float64 or int16, got "
SHAPE = "samples: expected shape [n] or [n, channels] with at most 256 channels, got "
RATES = "sample rate: expected 1000 to 768000 Hz"

CASES = {
    "nothing": (None, intone.ArgumentError, NOT_A_RECORDING + "NoneType"),
    "a number": (5, intone.ArgumentError, NOT_A_RECORDING + "int"),
    "an array without rate": (ONES, intone.ArgumentError, NOT_A_RECORDING + "ndarray"),
    "a list": ([0.0, 1.0], intone.ArgumentError, NOT_A_RECORDING + "list"),
    "a tuple of one": ((ONES,), intone.ArgumentError, NOT_A_RECORDING + "a tuple of 1"),
    "a tuple of three": ((ONES, RATE, 1), intone.ArgumentError, NOT_A_RECORDING + "a tuple of 3"),
    "the rate first": ((RATE, ONES), intone.ArgumentError, "sample rate: expected a whole number of Hz, got ndarray"),
    "a list of samples": (([0.0], RATE), intone.ArgumentError, "samples: expected a numpy array, got list"),
    "int32": ((ONES.astype(np.int32), RATE), intone.AudioError, DTYPE + "int32"),
    "uint8": ((ONES.astype(np.uint8), RATE), intone.AudioError, DTYPE + "uint8"),
    "float16": ((ONES.astype(np.float16), RATE), intone.AudioError, DTYPE + "float16"),
    "complex": ((ONES.astype(np.complex64), RATE), intone.AudioError, DTYPE + "complex64"),
    "bool": ((ONES.astype(bool), RATE), intone.AudioError, DTYPE + "bool"),
    "text": ((np.array(["a"]), RATE), intone.AudioError, DTYPE + "<U1"),
    "objects": ((np.array([None]), RATE), intone.AudioError, DTYPE + "object"),
    "the other byte order": ((ONES.astype(">f4"), RATE), intone.AudioError, DTYPE + ">f4"),
    "records": ((np.zeros(4, [("x", "f4")]), RATE), intone.AudioError, DTYPE + "[('x', '<f4')]"),
    "no dimension": ((np.float32(1) * np.ones(()), RATE), intone.ArgumentError, "samples: expected a numpy array, got float64"),
    "an array of no dimension": ((np.array(1.0), RATE), intone.AudioError, SHAPE + "[]"),
    "three dimensions": ((np.ones((2, 3, 4)), RATE), intone.AudioError, SHAPE + "[2, 3, 4]"),
    "channels in rows": ((np.ones((2, 48_000)), RATE), intone.AudioError, SHAPE + "[2, 48000]; transpose it"),
    "empty": ((ONES[:0], RATE), intone.AudioError, "the audio holds no samples"),
    "no rows": ((np.ones((0, 2)), RATE), intone.AudioError, "the audio holds no samples"),
    "no channels": ((np.ones((2, 0)), RATE), intone.AudioError, "the audio holds no samples"),
    "NaN": ((np.array([0, np.nan]), RATE), intone.AudioError, "sample 1 is not a finite number (NaN)"),
    "infinite": ((np.array([-np.inf, 0]), RATE), intone.AudioError, "sample 0 is not a finite number (-inf)"),
    "huge": (
        (np.array([0, 0, 1e30]), RATE),
        intone.AudioError,
        "sample 2 is 1e30, and more than 1e10 in magnitude is taken for damage (full scale is 1)",
    ),
    "rate 0": ((ONES, 0), intone.IntoneError, f"{RATES}, got 0 Hz"),
    "a negative rate": ((ONES, -1), intone.IntoneError, f"{RATES}, got -1 Hz"),
    "a huge rate": ((ONES, 10**30), intone.IntoneError, f"{RATES}, got {10**30} Hz"),
    "a rate beyond all floats": ((ONES, 10**400), intone.IntoneError, f"{RATES}, got inf Hz"),
    "a broken rate": ((ONES, 22_050.5), intone.IntoneError, f"{RATES}, a whole number, got 22050.5 Hz"),
    "no rate": ((ONES, float("nan")), intone.IntoneError, f"{RATES}, got NaN Hz"),
    "a rate in words": ((ONES, "16 kHz"), intone.ArgumentError, "sample rate: expected a whole number of Hz, got str"),
    "bytes that are no audio": (b"What a day!", intone.AudioError, None),
    "no bytes": (b"", intone.AudioError, None),
    "a header alone": (SAMPLES[0].read_bytes()[:44], intone.AudioError, "the audio holds no samples"),
    "a page": (b"<!doctype html><title>404</title>" * 50, intone.AudioError, None),
    "a missing file": ("missing.wav", intone.FileError, "missing.wav: No such file or directory (os error 2)"),
    "a folder": (Path("/"), intone.FileError, "/: Is a directory (os error 21)"),
    "a name with a zero": ("a\0b.wav", intone.FileError, None),
    "an empty name": ("", intone.FileError, None),
    "another file": (__file__, intone.AudioError, None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_recording_that_is_none(recognizer, name):
    recording, kind, message = CASES[name]
    for call in (recognizer.recognize, recognizer.timeline, recognizer.embed):
        with pytest.raises(intone.IntoneError) as error:
            call(recording)
        assert type(error.value) is kind, repr(error.value)
        assert str(error.value) == message or message is None and len(str(error.value)) > 10


@pytest.mark.parametrize("name", [name for name, (case, *_) in CASES.items() if isinstance(case, tuple) and len(case) == 2])
def test_samples_of_no_use_for_a_spectrogram(name):
    (samples, rate), kind, message = CASES[name]
    with pytest.raises(kind) as error:
        intone.log_mel(samples, rate)
    assert str(error.value) == message


def test_errors_are_those_that_python_users_catch(recognizer):
    with pytest.raises(OSError) as error:
        recognizer.recognize("missing.wav")
    assert error.value.errno == errno.ENOENT and error.value.filename == "missing.wav"
    with pytest.raises(ValueError):
        recognizer.recognize(b"What a day!")
    with pytest.raises(TypeError):
        recognizer.recognize(5)


def broken_models():
    model = (SAMPLES[0].parents[1] / "crates/intone/models/default.safetensors").read_bytes()
    n_header = int.from_bytes(model[:8], "little")
    return {
        "nothing": b"",
        "no model": b"What a day!" * 10,
        "a recording": SAMPLES[0].read_bytes(),
        "half of one": model[: len(model) // 2],
        "a byte too many": model + b"\0",
        "a header that lies": (2**60).to_bytes(8, "little") + model[8:],
        "a damaged header": model[:100] + b"\xff" * 50 + model[150:],
        "a header without end": model[: 8 + n_header // 2],
    }


@pytest.mark.parametrize("name", broken_models())
def test_a_model_that_is_none(tmp_path, name):
    content = broken_models()[name]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(intone.ModelError) as from_bytes:
        intone.Recognizer(content)
    with pytest.raises(intone.ModelError) as from_file:
        intone.Recognizer(path)
    assert str(from_bytes.value).startswith("not a usable model: ")
    assert str(from_file.value) == f"{path}: {from_bytes.value}"


def test_a_model_that_is_not_there():
    with pytest.raises(intone.FileError, match=r"^missing.safetensors: No such file"):
        intone.Recognizer("missing.safetensors")
    for nonsense in (5, ONES, ("a", "b")):
        with pytest.raises(intone.ArgumentError, match="^model: expected a path or bytes, got "):
            intone.Recognizer(nonsense)


def test_the_last_byte_of_a_file_is_no_danger(recognizer):
    """Files that end anywhere have an answer or an error of ours."""
    content = SAMPLES[0].read_bytes()[:4_000]
    answers = recognizer.recognize_batch([content[:n] for n in range(0, 4_000, 7)])
    assert {type(answer) for answer in answers} <= {intone.Recognition, intone.AudioError}


@pytest.mark.parametrize("call, message", [
    (lambda r: r.recognize_batch([], workers=2.0), "workers: expected a whole number, got float"),
    (lambda r: r.recognize_batch([], workers="2"), "workers: expected a whole number, got str"),
    (lambda r: r.timeline(SAMPLES[0], window_s="3"), "a time: expected a number of seconds, got str"),
    (lambda r: r.timeline(SAMPLES[0], smoothing_s=None), "a time: expected a number of seconds, got NoneType"),
    (lambda r: r.timeline(SAMPLES[0], spans="yes"), "spans: expected True or False, got str"),
    (lambda r: r.stream(RATE, hop_s=[1]), "a time: expected a number of seconds, got list"),
    (lambda r: intone.log_mel(ONES, RATE, front_end=None), "front_end: expected reference or whisper, got NoneType"),
    (lambda r: intone.log_mel(ONES, RATE, trim_db="30"), "trim_db: expected a number of dB, got str"),
])
def test_arguments_of_another_type(recognizer, call, message):
    with pytest.raises(intone.ArgumentError) as error:
        call(recognizer)
    assert str(error.value) == message


@pytest.mark.parametrize("workers", [2**70, -(2**70), 0])
def test_numbers_of_workers_that_cannot_be(recognizer, workers):
    with pytest.raises(intone.IntoneError, match="^workers: expected 1 to 1024, got "):
        recognizer.recognize_batch([], workers=workers)
