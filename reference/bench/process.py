"""One prediction as a whole process: wall-clock time and peak memory of `intone predict` and of the same in Python.

    cargo build --release
    python reference/bench/process.py samples/hello.wav

Interleaved; medians of all rounds after one that is not counted. Needs requirements.txt. This process itself imports next to
nothing: what a new process inherits before it becomes another program counts towards its peak.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ROUNDS = 7
SAVE_WEIGHTS = "import sys, torch; from network import torch_network; torch.save(torch_network().state_dict(), sys.argv[1])"


def run(command):
    """Seconds and peak MiB of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command[0]} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main():
    clip = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "network.pt")
        subprocess.run([sys.executable, "-c", SAVE_WEIGHTS, weights], cwd=HERE, check=True)
        commands = {
            "intone predict": [f"{ROOT}/target/release/intone", "predict", clip],
            "librosa + PyTorch": [sys.executable, f"{HERE}/predict.py", weights, clip],
        }
        figures = {name: [] for name in commands}
        for round_ in range(ROUNDS + 1):
            for name, command in commands.items():
                figure = run(command)
                if round_ > 0:
                    figures[name].append(figure)
    median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
    print("| one prediction, whole process | seconds | peak memory, MiB |\n|---|---|---|")
    for name, (seconds, memory) in median.items():
        print(f"| {name} | {seconds:.3f} | {memory:.0f} |")
    print(f"\nratio of the times: {median['librosa + PyTorch'][0] / median['intone predict'][0]:.0f}")


if __name__ == "__main__":
    main()
