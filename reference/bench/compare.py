"""Intone and its peers on the same machine, in one interleaved run: medians, and ratios to PyTorch as users run it.

Build our side first, then run this with the Python that has requirements.txt installed:

    cargo bench -p intone-train --bench peer --no-run
    python reference/bench/compare.py            # all; or: compare.py train infer --rounds 15

Every contender is a process of its own that prepares its work and waits. In each round each of them does its work once, in
an order that changes from round to round; the others are stopped, also their threads that would wait actively. `stock` is
glibc's allocator as it comes; `keep` is the same with thresholds that keep freed memory (MALLOC_MMAP_THRESHOLD_,
MALLOC_TRIM_THRESHOLD_), for every contender alike.
"""

import argparse
import glob
import json
import os
import random
import signal
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KEEP = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "67108864"}
TASKS = {
    # name: (peers, allocators, repetitions in a round)
    "train": (["torch", "torch-channels-last", "keras"], ["stock", "keep"], 1),
    "infer": (["torch", "torch-channels-last", "keras", "onnxruntime"], ["stock", "keep"], 20),
    "infer32": (["torch", "torch-channels-last", "keras", "onnxruntime"], ["stock", "keep"], 2),
    "train-encoder": (["torch"], ["stock", "keep"], 1),
    "train-encoder-bf16": (["torch"], ["stock", "keep"], 1),  # PyTorch under autocast
    "encoder": (["torch"], ["stock", "keep"], 20),  # ours from the audio on, PyTorch from the features on
    "encoder-int8": (["torch"], ["stock", "keep"], 20),  # ours with weights in int8, as the embedded model has them
    "front-end": (["librosa"], ["stock"], 200),
}
# Keras and onnxruntime bring allocators of their own; one setting shows them.
OWN_ALLOCATOR = {"keras", "onnxruntime"}


class Contender:
    def __init__(self, name, command, allocator):
        self.name, self.allocator, self.times = name, allocator, []
        env = dict(os.environ, RAYON_NUM_THREADS="2", OMP_NUM_THREADS="2")
        if allocator == "keep":
            env.update(KEEP)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
        )

    def run(self, repeats):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{repeats}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ({self.allocator}) ended without an answer")
        # Its threads may go on waiting actively (OpenBLAS' for tens of milliseconds), at the cost of whoever comes next.
        self.process.send_signal(signal.SIGSTOP)
        return float(answer)

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def our_binary():
    found = [p for p in glob.glob(f"{ROOT}/target/release/deps/peer-*") if os.access(p, os.X_OK) and not p.endswith(".d")]
    if not found:
        raise SystemExit("build our side first: cargo bench -p intone-train --bench peer --no-run")
    return max(found, key=os.path.getmtime)


def measure(task, rounds, peers):
    known, allocators, repeats = TASKS[task]
    contenders = []
    for allocator in allocators:
        contenders.append(Contender("intone", [our_binary(), task], allocator))
        for peer in known:
            if peers and peer not in peers or (peer in OWN_ALLOCATOR and allocator != "stock"):
                continue
            contenders.append(Contender(peer, [sys.executable, f"{HERE}/peer.py", peer, task], allocator))
    for contender in contenders:  # warm-up, not counted
        contender.run(2)
    order = random.Random(1)
    for _ in range(rounds):
        for contender in order.sample(contenders, len(contenders)):
            contender.times.append(contender.run(repeats))
    for contender in contenders:
        contender.close()
    return contenders


def report(task, contenders):
    median = {(c.name, c.allocator): statistics.median(c.times) for c in contenders}
    rows = []
    for c in contenders:
        ours = median["intone", c.allocator]
        rows.append({
            "task": task, "contender": c.name, "allocator": c.allocator, "median_ms": round(median[c.name, c.allocator], 3),
            "min_ms": round(min(c.times), 3), "max_ms": round(max(c.times), 3),
            "intone_is_faster_by": round(median[c.name, c.allocator] / ours, 3),
        })
    print(f"\n| {task} | allocator | median, ms | lowest - highest | Intone is faster by |\n|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['contender']} | {r['allocator']} | {r['median_ms']} | {r['min_ms']} - {r['max_ms']} "
              f"| {r['intone_is_faster_by']} |")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--peers", nargs="*", help="only these")
    parser.add_argument("--json", help="write all figures to this file")
    args = parser.parse_args()
    rows = []
    for task in args.tasks or TASKS:
        rows += report(task, measure(task, args.rounds, args.peers))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
