"""`intone model import keras` on a file of the reference project's size: 4.81 million weights, each with Adam's two moments.

    cargo build --release
    python reference/bench/import_keras.py

Keras writes the file, with random weights. Whole processes, after one that is not counted: seconds, and peak memory. Needs
requirements.txt; of PyTorch, TensorFlow and JAX one is enough, which `KERAS_BACKEND` names.
"""

import os
import statistics
import subprocess
import sys
import tempfile

from process import HERE, ROOT, ROUNDS, run

SAVE_MODEL = """
import sys
from network import keras_network
network = keras_network()
network.compile("adam")
network.optimizer.build(network.trainable_variables)
network.save(sys.argv[1])
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.keras")
        subprocess.run([sys.executable, "-c", SAVE_MODEL, model], cwd=HERE, check=True)
        command = [f"{ROOT}/target/release/intone", "model", "import", "keras", model, "--out", f"{folder}/model.safetensors"]
        seconds, peaks = zip(*[run(command) for _ in range(ROUNDS + 1)][1:])
        size = os.path.getsize(model) / 1e6
    print(f"{size:.1f} MB, {ROUNDS} rounds: {statistics.median(seconds):.2f} s ({min(seconds):.2f} - {max(seconds):.2f}), "
          f"{max(peaks):.0f} MiB")


if __name__ == "__main__":
    main()
