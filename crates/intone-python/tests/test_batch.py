"""Many recordings: their order, their errors, threads, processes and Ctrl-C."""

import multiprocessing
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from conftest import RATE, SAMPLES, babble, read

import intone


def recordings():
    """Ten recordings of every kind, and the exceptions at the places of the bad ones."""
    items = [
        SAMPLES[0],
        SAMPLES[1].read_bytes(),
        "missing.wav",
        read(SAMPLES[2]),
        b"no audio",
        (np.zeros(8, np.int32), RATE),
        None,
        (np.zeros(8, np.float32), 0),
        str(SAMPLES[3]),
        (np.array([0.0, np.nan]), RATE),
    ]
    errors = {
        2: intone.FileError,
        4: intone.AudioError,
        5: intone.AudioError,
        6: intone.ArgumentError,
        7: intone.IntoneError,
        9: intone.AudioError,
    }
    return items, errors


@pytest.mark.parametrize("workers", [None, 1, 2, 16])
def test_a_bad_recording_is_an_error_in_its_place(recognizer, workers):
    items, errors = recordings()
    answers = recognizer.recognize_batch(items, workers=workers)
    assert len(answers) == len(items)
    for place, (item, answer) in enumerate(zip(items, answers)):
        if place in errors:
            assert type(answer) is errors[place], answer
            with pytest.raises(type(answer)) as error:
                recognizer.recognize(item)
            assert str(error.value) == str(answer)
        else:
            assert answer == recognizer.recognize(item)


def test_a_batch_gives_what_the_program_gives(recognizer, predicted):
    paths = SAMPLES * 5
    rows = predicted(*paths)
    for answer, row in zip(recognizer.recognize_batch(paths, workers=2), rows, strict=True):
        assert np.array_equal(np.float32(list(answer.scores.values())), np.float32(list(row["scores"].values())))


def test_recordings_come_from_anything_that_can_be_walked_through(recognizer):
    expected = [recognizer.recognize(path) for path in SAMPLES]
    for collection in (tuple(SAMPLES), iter(SAMPLES), (path for path in SAMPLES), np.array([str(p) for p in SAMPLES])):
        assert recognizer.recognize_batch(collection) == expected
    assert recognizer.recognize_batch([]) == []
    assert recognizer.recognize_batch([None], workers=3)[0].args


def test_an_error_of_the_iterator_is_raised(recognizer):
    def broken():
        yield SAMPLES[0]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        recognizer.recognize_batch(broken())


@pytest.mark.parametrize("collection", ["call.wav", b"RIFF", 5, None, SAMPLES[0]], ids=lambda c: type(c).__name__)
def test_one_recording_is_no_list(recognizer, collection):
    with pytest.raises(intone.ArgumentError, match="recordings: expected a list of recordings, got "):
        recognizer.recognize_batch(collection)


@pytest.mark.parametrize("workers", [0, -1, 1025, 2**40])
def test_workers_that_cannot_be(recognizer, workers):
    with pytest.raises(intone.IntoneError, match=rf"^workers: expected 1 to 1024, got {workers}$"):
        recognizer.recognize_batch([], workers=workers)


def test_classes_hold_for_the_whole_batch(recognizer):
    for answer in recognizer.recognize_batch(SAMPLES, classes=["angry", "sad"]):
        assert list(answer.scores) == ["angry", "sad"]
    with pytest.raises(intone.IntoneError, match="no class `bored`"):
        recognizer.recognize_batch(SAMPLES, classes=["bored"])


def test_other_threads_run_meanwhile(recognizer):
    turns, done = 0, threading.Event()

    def count():
        nonlocal turns
        while not done.wait(0.0005):
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = turns
        # One recording: nothing is handed over before its end.
        recognizer.recognize((babble(60), RATE))
        recognizer.recognize_batch([(babble(60), RATE)], workers=1)
        assert turns > before + 10
    finally:
        done.set()
        thread.join()


def test_one_recognizer_serves_many_threads(recognizer):
    expected = [recognizer.recognize(path) for path in SAMPLES]
    results = [None] * 8

    def work(place):
        results[place] = [recognizer.recognize(path) for path in SAMPLES]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also in jobs that a shell started in the background, which ignore it otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers of the system")
@pytest.mark.parametrize("call", ["recognize", "recognize_batch", "timeline"])
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_waiting(recognizer, call):
    items = [(np.tile(babble(10).astype(np.float32), 12), RATE)] * 50
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        if call == "recognize_batch":
            recognizer.recognize_batch(items)
        else:
            for item in items:
                getattr(recognizer, call)(item)
    timer.join()
    # And everything goes on as before.
    assert recognizer.recognize(SAMPLES[0]).label in recognizer.labels


def recognized(recognizer, path):
    return recognizer.recognize(path), recognizer.timeline(path), recognizer.recognize_batch([path])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_go_on(recognizer):
    expected = [recognized(recognizer, path) for path in SAMPLES]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.starmap_async(recognized, [(recognizer, path) for path in SAMPLES]).get(timeout=120)
    assert results == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_in_the_midst_of_work_can_go_on(recognizer):
    expected, over = recognizer.recognize(SAMPLES[0]), threading.Event()

    def work():
        while not over.is_set():
            recognizer.recognize_batch(SAMPLES)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        # Each at another moment of the work.
        for _ in range(40):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                wrong = True
                try:
                    wrong = recognizer.recognize(SAMPLES[0]) != expected
                finally:
                    os._exit(wrong)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        thread.join()


def test_errors_can_be_pickled():
    error = intone.FileError("gone")
    error.errno, error.filename = 2, "gone.wav"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.errno, again.filename) == ("gone", 2, "gone.wav")
