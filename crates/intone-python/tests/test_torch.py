"""`reference/load_in_torch.py` gives the answers of `intone predict`.

PyTorch is larger than all that the tests need otherwise, and is no part of it: the script runs in the Python that `INTONE_TORCH`
names, which has `reference/requirements-torch.txt` installed, else in that of the tests.
"""

import json
import os
import subprocess
import sys

import pytest
from conftest import RATE, ROOT, babble
from test_examples import write

PYTHON = os.environ.get("INTONE_TORCH", sys.executable)
SCRIPT = ROOT / "reference/load_in_torch.py"
MODELS = [ROOT / "crates/intone/models/default.safetensors", ROOT / "models/vgg.safetensors"]


@pytest.fixture(scope="session", autouse=True)
def needs_torch():
    done = subprocess.run([PYTHON, "-c", "import numpy, safetensors, torch"], capture_output=True)
    if done.returncode != 0:
        assert "INTONE_TORCH" not in os.environ, done.stderr.decode()
        pytest.skip(f"{PYTHON} has no PyTorch: INTONE_TORCH can name another")


@pytest.fixture
def recordings(tmp_path):
    """Of one window each, for both networks."""
    seconds = {"half": 0.5, "short": 1.5, "long": 2.5}
    for name, length in seconds.items():
        write(tmp_path / f"{name}.wav", 32_768 * babble(length, 100.0 + 40.0 * length), RATE)
    return [tmp_path / f"{name}.wav" for name in seconds]


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_scores_are_those_of_the_program(cli, recordings, tmp_path, model, precision):
    converted = tmp_path / "model.safetensors"
    cli("model", "convert", "--precision", precision, model, converted)
    # The same numbers in single precision: from int8 the program computes with integers.
    single = tmp_path / "f32.safetensors"
    cli("model", "convert", "--precision", "f32", converted, single)
    cli("features", "--model", converted, "--out", tmp_path / "features", *recordings)
    predicted = cli("predict", "--format", "jsonl", "--model", single, *recordings).splitlines()
    features = [tmp_path / f"features/{recording.stem}.npy" for recording in recordings]
    done = subprocess.run([PYTHON, SCRIPT, converted, *features], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line)["scores"] for line in done.stdout.splitlines()]
    for recording, row, answer in zip(recordings, map(json.loads, predicted), answers, strict=True):
        assert row["windows"] == 1 and not row["silence"], recording
        assert answer == pytest.approx(row["scores"], abs=1e-5, rel=0), recording


def test_another_network_is_an_error(cli, tmp_path):
    keras = ROOT / "crates/intone-keras/tests/goldens/reference.keras"
    cli("model", "import", "keras", keras, "--out", tmp_path / "chain.safetensors")
    done = subprocess.run([PYTHON, SCRIPT, tmp_path / "chain.safetensors"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'chain.safetensors'}: expected one of ['vgg', 'encoder'], got chain\n"
