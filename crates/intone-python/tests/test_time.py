"""Timelines and streams: those of the program, however the signal is divided."""

import itertools
import json

import numpy as np
import pytest
from conftest import RATE, SAMPLES, babble, read

import intone

MEETING = np.concatenate([babble(4, 120), np.zeros(3 * RATE), babble(5, 210)])


def test_a_timeline_is_that_of_the_program(recognizer, cli):
    for path in SAMPLES:
        rows = json.loads(cli("timeline", "--format", "json", "--hop", 0.5, path))
        for reading, row in zip(recognizer.timeline(path, hop_s=0.5), rows, strict=True):
            assert np.array_equal(np.float32(list(reading.scores.values())), np.float32(list(row["scores"].values())))
            assert (round(reading.start_s, 3), round(reading.end_s, 3)) == (row["start_s"], row["end_s"])
            assert (reading.label, reading.silence) == (row["label"], row["silence"])
            assert np.float32(reading.voice) == np.float32(row["voice"])


def test_a_timeline_has_gaps_and_no_holes(recognizer):
    readings = recognizer.timeline((MEETING, RATE), hop_s=0.5)
    assert readings[0].start_s == 0 and readings[-1].end_s == 12
    assert all(a.end_s == b.start_s for a, b in zip(readings, readings[1:]))
    assert any(reading.silence for reading in readings) and not all(reading.silence for reading in readings)


def test_spans_join_neighbours_that_say_the_same(recognizer):
    readings = recognizer.timeline((MEETING, RATE), hop_s=0.5)
    spans = recognizer.timeline((MEETING, RATE), hop_s=0.5, spans=True)
    joined = [list(group) for _, group in itertools.groupby(readings, lambda reading: reading.label)]
    assert 1 < len(joined) < len(readings)
    for span, group in zip(spans, joined, strict=True):
        assert (span.label, span.start_s, span.end_s) == (group[0].label, group[0].start_s, group[-1].end_s)
        lengths = [reading.end_s - reading.start_s for reading in group]
        for label, score in span.scores.items():
            assert score == pytest.approx(np.average([r.scores[label] for r in group], weights=lengths), abs=1e-6)


@pytest.mark.parametrize("n_chunk", [160, 1_000, 48_000, 1_000_000])
def test_any_chunks_give_the_readings_of_the_whole(recognizer, n_chunk):
    stream = recognizer.stream(RATE)
    readings = []
    for start in range(0, len(MEETING), n_chunk):
        readings += stream.push(MEETING[start : start + n_chunk])
        readings += stream.push(np.zeros(0, np.float32))
    readings += stream.finish()
    assert readings == recognizer.timeline((MEETING, RATE))


def test_a_stream_takes_what_a_microphone_gives(recognizer):
    samples, rate = read(SAMPLES[0])
    stream = recognizer.stream(rate, window_s=2, hop_s=0.5, smoothing_s=0)
    assert (stream.rate, stream.window_s, stream.hop_s) == (rate, 2, 0.5)
    assert repr(stream) == "Stream(rate=16000, window_s=2, hop_s=0.5)"
    stereo = np.stack([samples, samples], axis=1)
    readings = [reading for start in range(0, len(stereo), 480) for reading in stream.push(stereo[start : start + 480])]
    readings += stream.finish()
    assert readings == recognizer.timeline((samples, rate), window_s=2, hop_s=0.5, smoothing_s=0)


def test_a_stream_without_audio_has_no_readings(recognizer):
    assert recognizer.stream(48_000).finish() == []


def test_a_finished_stream_is_finished(recognizer):
    stream = recognizer.stream(RATE)
    stream.finish()
    for call in (stream.finish, lambda: stream.push(np.zeros(1))):
        with pytest.raises(intone.IntoneError, match="the stream is finished; begin another"):
            call()


def test_bad_samples_leave_a_stream_as_it_was(recognizer):
    stream = recognizer.stream(RATE)
    readings = stream.push(MEETING[:RATE])
    with pytest.raises(intone.AudioError, match=r"^sample 16001 is not a finite number \(NaN\)$"):
        stream.push(np.array([0, np.nan, 0]))
    for bad in (np.zeros(3, np.uint8), [0.0], None):
        with pytest.raises(intone.IntoneError, match="^samples: expected "):
            stream.push(bad)
    readings += stream.push(MEETING[RATE:]) + stream.finish()
    assert readings == recognizer.timeline((MEETING, RATE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_s": 6}, "window: expected 0.5 to 5.00 s, which this model takes, got 6 s"),
        ({"window_s": float("nan")}, "window: expected 0.5 to 5.00 s, which this model takes, got NaN s"),
        ({"hop_s": 0}, "hop: expected 0.1 to 3 s, got 0 s"),
        ({"smoothing_s": -1}, "smoothing: expected 0 to 60 s, got -1 s"),
    ],
)
def test_windows_that_cannot_be(recognizer, options, message):
    for call in (lambda: recognizer.timeline((MEETING, RATE), **options), lambda: recognizer.stream(RATE, **options)):
        with pytest.raises(intone.IntoneError) as error:
            call()
        assert str(error.value) == message
