"""What the tests share: the recogniser, recordings, and the program whose answers must be the same."""

import json
import os
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

import intone

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted((ROOT / "samples").glob("*.wav"))
FIXTURES = ROOT / "crates/intone/tests/fixtures"
RATE = 16_000


@pytest.fixture(scope="session")
def recognizer():
    return intone.Recognizer()


@pytest.fixture(scope="session")
def cli():
    """Runs `intone` with the arguments and gives its standard output. The program is `INTONE`, or the one of the Rust tests."""
    program = Path(os.environ.get("INTONE", ROOT / "target/debug/intone"))
    if not program.is_file():
        assert not os.environ.get("CI"), f"no program at {program}"
        pytest.skip(f"there is no program at {program}: cargo test --workspace --no-run")

    def run(*arguments, code=0):
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def predicted(cli):
    """What `intone predict` says, with all the digits that it has."""

    def predict(*paths, **options):
        lines = cli("predict", "--format", "jsonl", "--embedding", *paths, **options).splitlines()
        return [json.loads(line) for line in lines]

    return predict


def read(path):
    """int16 samples of a mono file, and their rate."""
    with wave.open(str(path)) as file:
        assert (file.getsampwidth(), file.getnchannels()) == (2, 1)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()


def babble(seconds, pitch_hz=120.0):
    """Something with the rough shape of speech, float64: harmonics in syllables, and a little noise."""
    t = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 12))
    return 0.2 * np.abs(np.sin(3 * np.pi * t)) * voice + 0.01 * np.random.default_rng(1).uniform(-1, 1, len(t))
