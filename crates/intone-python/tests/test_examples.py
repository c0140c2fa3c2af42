"""The examples run, and find what is there to be found."""

import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SAMPLES, read

DATA = Path(os.environ.get("INTONE_DATA", ROOT / "../shared/data"))


def run(example, *arguments, cwd):
    # The picture is drawn without a screen, and what matplotlib keeps lies where the test does.
    environment = {**os.environ, "MPLCONFIGDIR": str(cwd), "PYTHONWARNINGS": "error"}
    command = [sys.executable, ROOT / "examples" / example, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


def write(path, samples, rate):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype(np.int16).tobytes())


@pytest.fixture
def clips(tmp_path):
    """Five clips of each emotion, of validation speakers of CREMA-D."""
    pytest.importorskip("matplotlib")
    folder = DATA / "CREMA-D/AudioWAV"
    if not folder.is_dir():
        assert not os.environ.get("CI"), f"no speech data in {DATA}"
        pytest.skip(f"there is no speech data in {DATA}")
    speakers = (1049, 1053)
    for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
        found = sorted(path for speaker in speakers for path in folder.glob(f"{speaker}_*_{emotion}_*"))
        for path in found[:: max(1, len(found) // 5)][:5]:
            (tmp_path / "clips").mkdir(exist_ok=True)
            (tmp_path / "clips" / path.name).symlink_to(path.resolve())
    return tmp_path / "clips"


def test_a_confusion_matrix(clips, tmp_path):
    (clips / "1001_DFA_ANG_X.wav").write_bytes(b"no audio")
    done = run("confusion_matrix.py", clips, tmp_path / "matrix.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^left out: .*1001_DFA_ANG_X.wav: ", done.stdout), done.stdout
    recall = re.search(r"^30 recordings, unweighted average recall (0\.\d+|1\.0+), accuracy (?:0\.\d+|1\.0+)$", done.stdout, re.M)
    assert recall and float(recall[1]) > 0.4, done.stdout
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_a_confusion_matrix_of_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    write(tmp_path / "clips/one.wav", *read(SAMPLES[0]))
    done = run("confusion_matrix.py", tmp_path / "clips", tmp_path / "matrix.png", cwd=tmp_path)
    assert done.returncode == 1 and "no recording has an emotion in its name" in done.stderr


def test_a_classifier_of_ones_own(tmp_path):
    """Two voices of a synthesiser each way: the vectors tell the voice of a woman from that of a man."""
    pytest.importorskip("sklearn")
    for path in SAMPLES:
        voice = "woman" if path.stem in ("hello", "rain") else "man"
        samples, rate = read(path)
        for place, start in enumerate(range(0, len(samples) - rate, rate // 2)):
            write(tmp_path / "voices" / voice / f"{path.stem}-{place}.wav", samples[start : start + rate], rate)
    done = run("embeddings.py", tmp_path / "voices", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    recall = re.search(r"^unweighted average recall ([01]\.\d+), by chance 0.500$", done.stdout, re.M)
    assert recall and float(recall[1]) > 0.7, done.stdout
    assert done.stdout.rstrip().endswith((": man", ": woman"))
