"""One recording: in whatever form it comes, the answer is that of the program."""

import dataclasses
import pickle
import wave

import numpy as np
import pytest
from conftest import FIXTURES, RATE, SAMPLES, babble, read

import intone


def same(ours, theirs):
    """Whether probabilities are equal to the last bit of a float32."""
    return list(ours) == list(theirs) and np.array_equal(
        np.float32(list(ours.values())), np.float32(list(theirs.values()))
    )


def assert_is_what_the_program_says(answer, row):
    assert same(answer.scores, row["scores"])
    assert (answer.label, answer.silence, answer.uncertain) == (row["label"], row["silence"], row["uncertain"])
    assert (answer.n_windows, answer.n_silent) == (row["windows"], row["silent_windows"])
    assert round(answer.duration_s, 3) == row["duration_s"]
    assert list(answer.warnings) == row.get("warnings", [])
    assert np.array_equal(answer.embedding, np.float32(row["embedding"]))


def test_the_samples_give_what_the_program_gives(recognizer, predicted):
    assert len(SAMPLES) == 4
    for path, row in zip(SAMPLES, predicted(*SAMPLES), strict=True):
        assert_is_what_the_program_says(recognizer.recognize(path), row)


def test_every_format_gives_what_the_program_gives(recognizer, predicted):
    paths = [path for path in sorted(FIXTURES.iterdir()) if path.stem in ("chirp", "stereo", "alac", "vbr-no-tag")]
    paths = [path for path in paths if path.suffix != ".webm"]
    assert len(paths) >= 9
    for path, row in zip(paths, predicted(*paths), strict=True):
        assert_is_what_the_program_says(recognizer.recognize(path), row)
        assert_is_what_the_program_says(recognizer.recognize(path.read_bytes()), row)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_path_bytes_and_samples_are_the_same_recording(recognizer, path):
    expected = recognizer.recognize(path)
    samples, rate = read(path)
    floats = samples / np.float32(32_768)
    both = np.stack([samples, samples], axis=1)
    spread = np.repeat(samples, 3)[::3]
    packed = np.empty(1 + floats.nbytes, np.uint8)
    unaligned = packed[1:].view(np.float32)
    unaligned[:] = floats
    assert not unaligned.flags.aligned and not spread.flags.contiguous
    forms = {
        "str": str(path),
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "int16": (samples, rate),
        "float32": (floats, rate),
        "float64": (floats.astype(np.float64), float(rate)),
        "numpy's integer": (samples, np.int64(rate)),
        "one column": (samples[:, None], rate),
        "two channels": (both, rate),
        "in the order of columns": (np.asfortranarray(both), rate),
        "not contiguous": (spread, rate),
        "not aligned": (unaligned, rate),
        "read only": (floats[:], rate),
    }
    forms["read only"][0].flags.writeable = False
    for name, form in forms.items():
        answer = recognizer.recognize(form)
        assert answer == expected, name
        assert np.array_equal(answer.embedding, expected.embedding), name


def test_channels_become_their_mean(recognizer):
    left, right = babble(2, 120), babble(2, 200)
    stereo = np.stack([left, right], axis=1).astype(np.float32)
    mean = (stereo[:, 0] + stereo[:, 1]) / np.float32(2)
    assert recognizer.recognize((stereo, RATE)) == recognizer.recognize((mean, RATE))
    assert recognizer.recognize((stereo, RATE)) != recognizer.recognize((stereo[:, 0], RATE))


def test_an_answer_is_plain_data(recognizer):
    answer = recognizer.recognize((babble(2), RATE))
    assert list(answer.scores) == recognizer.labels
    assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)
    assert answer.top(1) == [(answer.label, max(answer.scores.values()))]
    assert len(answer.top(100)) == 6 and answer.top(0) == [] and answer.top(-1) == []
    assert answer.duration_s == 2
    assert answer.embedding.dtype == np.float32 and answer.embedding.ndim == 1
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert dataclasses.asdict(answer)["scores"] == answer.scores
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.label = "happy"


def test_silence_is_no_emotion(recognizer):
    answer = recognizer.recognize((np.zeros(RATE, np.float32), RATE))
    assert answer.silence and answer.label is None and not answer.uncertain
    assert set(answer.scores.values()) == {np.float32(1 / 6)}
    assert not answer.embedding.any()


def test_classes_are_chosen_among(recognizer, cli):
    answer = recognizer.recognize(SAMPLES[0], classes=["sad", "angry"])
    assert list(answer.scores) == ["angry", "sad"]
    row = cli("predict", "--format", "csv", "--classes", "angry,sad", SAMPLES[0]).splitlines()[1].split(",")
    assert same(answer.scores, {"angry": float(row[2]), "sad": float(row[3])})
    for classes, message in [
        (["bored"], "no class `bored`; the model knows angry, disgust, fear, happy, neutral, sad"),
        ([], "classes: expected at least one of angry, disgust, fear, happy, neutral, sad, got none"),
        ("sad", "classes: expected a list of labels, got str"),
        ([1], "classes: expected a list of labels, got list"),
    ]:
        with pytest.raises(intone.IntoneError) as error:
            recognizer.recognize(SAMPLES[0], classes=classes)
        assert str(error.value) == message


def test_a_cut_file_has_an_answer_and_a_warning(recognizer):
    whole = SAMPLES[0].read_bytes()
    answer = recognizer.recognize(whole[: len(whole) // 2])
    assert len(answer.warnings) == 1 and "cut short" in answer.warnings[0]


def test_embeddings_are_those_of_the_answers(recognizer):
    embedding = recognizer.embed(SAMPLES[0])
    assert np.array_equal(embedding, recognizer.recognize(SAMPLES[0]).embedding)
    assert np.isfinite(embedding).all() and embedding.any()


def test_a_model_can_be_a_file_or_its_bytes(tmp_path, recognizer):
    model = (SAMPLES[0].parents[1] / "crates/intone/models/default.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(model)
    expected = recognizer.recognize(SAMPLES[0])
    for form in (path, str(path), model, bytearray(model)):
        other = intone.Recognizer(form)
        assert other.recognize(SAMPLES[0]) == expected
        assert pickle.loads(pickle.dumps(other)).recognize(SAMPLES[0]) == expected
    assert repr(intone.Recognizer(model)).startswith(f"Recognizer(<{len(model)} bytes>): angry")


def test_a_recognizer_says_what_it_is(recognizer):
    assert recognizer.labels == ["angry", "disgust", "fear", "happy", "neutral", "sad"]
    assert recognizer.meta["labels"] == recognizer.labels
    assert recognizer.meta["architecture"]["name"] == "encoder"
    assert recognizer.window_range_s == (0.5, 5.0)
    assert repr(recognizer) == "Recognizer(None): angry, disgust, fear, happy, neutral, sad"
    assert recognizer.recognize.__doc__ and intone.Recognizer.__doc__ and intone.log_mel.__doc__


def test_the_version_is_that_of_the_program(cli):
    assert cli("--version").split()[-1] == intone.__version__


def test_a_long_recording_is_decoded_in_a_stream(recognizer, tmp_path):
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((babble(60) * 32_767).astype(np.int16).tobytes())
    answer = recognizer.recognize(path)
    assert answer.duration_s == 60 and answer.n_windows == 23
