"""The front ends: those of `intone features`, and of librosa."""

import numpy as np
import pytest
from conftest import SAMPLES, babble, read

import intone


@pytest.mark.parametrize(("front_end", "n_mels"), [("reference", 128), ("whisper", 80)])
@pytest.mark.parametrize("trim_db", [None, 30])
def test_a_spectrogram_is_that_of_the_program(cli, tmp_path, front_end, n_mels, trim_db):
    trim = [] if trim_db is None else ["--trim", trim_db]
    cli("features", "--front-end", front_end, *trim, "--out", tmp_path, *SAMPLES)
    for path in SAMPLES:
        log_mel = intone.log_mel(*read(path), front_end=front_end, trim_db=trim_db)
        assert log_mel.dtype == np.float32 and log_mel.shape[0] == n_mels and log_mel.flags.c_contiguous
        assert np.array_equal(log_mel, np.load(tmp_path / f"{path.stem}.npy"))


def test_three_seconds_are_130_frames():
    log_mel = intone.log_mel(babble(3)[:48_000], 16_000)
    assert log_mel.shape == (128, 130)
    assert log_mel.max() == 0 and log_mel.min() >= -80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"front_end": "mfcc"}, "front_end: expected reference or whisper, got mfcc"),
        ({"trim_db": -1}, "trim_top_db: expected 0.1 to 1000, got -1"),
        ({"trim_db": float("nan")}, "trim_top_db: expected 0.1 to 1000, got NaN"),
    ],
)
def test_front_ends_that_cannot_be(options, message):
    with pytest.raises(intone.IntoneError) as error:
        intone.log_mel(np.ones(100), 16_000, **options)
    assert str(error.value) == message
