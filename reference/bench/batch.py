"""Many short recordings: files per second of the Python package, of `intone predict` and of librosa + PyTorch, all with the
reference CNN and the same weights; of ours also with these weights rounded to int8 (`intone model convert --precision int8`).

    cargo build --release && make wheel
    python reference/bench/batch.py --rounds 5

Needs requirements.txt and the wheel. 500 WAV files of 3 s, 16 kHz, mono, made of the samples of the project, are scored by one
process after the other, interleaved in an order that changes from round to round; medians. The processes of Python have
imported and loaded everything and scored 64 files before the clock starts, `intone predict` has not. PyTorch gets batches of
32, and two threads, or two processes of one thread each, whichever a line says; librosa has one thread in each process.
The time of the wall depends on what else the machine does; the time of the processors, over all threads and processes of a
contender, depends on it less.

`--embedded` measures our side alone with the model that is part of the library. It needs no more than numpy and the wheel.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import wave

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
N_FILES, N_WARM_UP, SECONDS, RATE, BATCH = 500, 64, 3, 16_000, 32
LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad"]


def write_files(folder):
    """Pieces of the samples, each from another place on, and each at another level."""
    import numpy as np

    pieces = []
    for name in ("hello", "leave", "rain", "station"):
        with wave.open(f"{ROOT}/samples/{name}.wav") as file:
            pieces.append(np.frombuffer(file.readframes(file.getnframes()), np.int16))
    speech = np.concatenate(pieces)
    paths = []
    for i in range(N_FILES):
        samples = np.roll(speech, -331 * i)[: SECONDS * RATE] * (0.5 + 0.5 * i / N_FILES)
        paths.append(os.path.join(folder, f"{i:03}.wav"))
        with wave.open(paths[-1], "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(samples.astype(np.int16).tobytes())
    return paths


def write_models(folder):
    """The reference CNN with arbitrary weights, for PyTorch and as a model file."""
    import numpy as np
    import torch

    from network import CHANNELS, CONVS, DENSE, N_CLASSES, N_FRAMES, N_MELS, torch_network

    torch.manual_seed(1)
    network = torch_network().eval()
    for layer in network:
        if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            layer.running_var.uniform_(0.5, 1.5)
            layer.running_mean.normal_(0, 0.1)
    torch.save(network.state_dict(), f"{folder}/network.pt")

    tensors, layers = {}, iter(network)
    names = [f"blocks.{block}.convs.{conv}" for block, n in enumerate(CONVS) for conv in range(n)]
    names += [f"dense.{i}" for i in range(len(DENSE))] + ["output"]
    for name in names:
        layer = next(layer for layer in layers if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)))
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        if name == "dense.0":
            # Flattened as (channel, mel, frame) there, as (mel, frame, channel) here.
            shape = (len(weight), CHANNELS[-1], N_MELS >> len(CHANNELS), N_FRAMES >> len(CHANNELS))
            weight = weight.reshape(shape).transpose(0, 2, 3, 1).reshape(weight.shape)
        tensors[f"{name}.weight"] = weight
        if name == "output":
            tensors[f"{name}.bias"] = bias
            continue
        norm = next(layers)
        tensors[f"{name}.norm.gamma"] = norm.weight.detach().numpy()
        tensors[f"{name}.norm.beta"] = norm.bias.detach().numpy()
        # A bias in front of a normalisation moves its mean.
        tensors[f"{name}.norm.mean"] = norm.running_mean.numpy() - bias
        tensors[f"{name}.norm.var"] = norm.running_var.numpy()
    architecture = {"name": "vgg", "channels": CHANNELS, "convs_per_block": CONVS, "dense": [n for n, _ in DENSE]}
    meta = {
        "format_version": 1,
        "architecture": {**architecture, "n_mels": N_MELS, "n_frames": N_FRAMES, "n_classes": N_CLASSES},
        "front_end": {
            "sample_rate_hz": 22_050, "n_fft": 2_048, "hop_length": 512, "n_mels": N_MELS, "fmin_hz": 0.0,
            "fmax_hz": 11_025.0, "amin": 1e-10, "top_db": 80.0, "n_frames": N_FRAMES,
        },
        "labels": LABELS,
    }
    header, data = {"__metadata__": {"intone": json.dumps(meta)}}, b""
    for name, tensor in sorted(tensors.items()):
        content = np.ascontiguousarray(tensor, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(f"{folder}/network.f32.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header + data)


def model_of(folder, precision):
    """The model file; None for the embedded one."""
    return None if precision == "embedded" else f"{folder}/network.{precision}.safetensors"


def intone_package(folder, n, precision):
    """Scores paths with the package, in n threads."""
    import intone

    recognizer = intone.Recognizer(model_of(folder, precision))
    return lambda paths: ([list(answer.scores.values()) for answer in recognizer.recognize_batch(paths, workers=n)], 0.0)


def torch_scorer(folder, n_threads):
    """Scores paths as a Python user does."""
    import librosa
    import numpy as np
    import torch

    from network import N_FRAMES, torch_network

    torch.set_num_threads(n_threads)
    network = torch_network()
    network.load_state_dict(torch.load(f"{folder}/network.pt"))
    network.eval()

    def picture(path):
        y, _ = librosa.load(path, sr=22_050)
        s = librosa.feature.melspectrogram(y=y, sr=22_050, n_fft=2_048, hop_length=512, n_mels=128)
        return (librosa.power_to_db(s, ref=np.max, top_db=80) + 80)[:, :N_FRAMES] / 80

    def score(paths):
        scores = []
        for start in range(0, len(paths), BATCH):
            x = np.stack([picture(path) for path in paths[start : start + BATCH]])[:, None]
            with torch.inference_mode():
                scores += network(torch.from_numpy(x.astype(np.float32))).softmax(1).tolist()
        return scores

    return score


def prepare(folder):
    global SCORE
    SCORE = torch_scorer(folder, 1)


def score_part(paths):
    """The scores, and the processor's seconds that they took."""
    started = time.process_time()
    return SCORE(paths), time.process_time() - started


def librosa_torch(folder, n, _):
    """Scores paths in two threads of one process (n = 1), or in n processes of one thread."""
    if n == 1:
        score = torch_scorer(folder, 2)
        return lambda paths: (score(paths), 0.0)
    import multiprocessing

    pool = multiprocessing.get_context("spawn").Pool(n, prepare, (folder,))

    def work(paths):
        parts = pool.map(score_part, [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)], chunksize=1)
        return [scores for part, _ in parts for scores in part], sum(seconds for _, seconds in parts)

    return work


def serve(which, n, folder, precision):
    """Prepares, then scores as many files as each line of standard input says: seconds of the wall and of the processors, the
    number of answers and the first of them."""
    paths = sorted(entry.path for entry in os.scandir(f"{folder}/wav"))
    work = {"intone": intone_package, "torch": librosa_torch}[which](folder, n, precision)
    for line in sys.stdin:
        started, processors = time.perf_counter(), time.process_time()
        scores, elsewhere = work(paths[: int(line)])
        wall, processors = time.perf_counter() - started, time.process_time() - processors + elsewhere
        print(json.dumps([wall, processors, len(scores), scores[:8]]), flush=True)


class Process:
    """A process of Python that waits."""

    def __init__(self, which, n, folder, precision="f32"):
        command = [sys.executable, __file__, "--serve", which, str(n), folder, precision]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, n_files):
        self.process.stdin.write(f"{n_files}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Command:
    """`intone predict` as it is, from its start to its end."""

    def __init__(self, program, n, folder, precision):
        self.command = [program, "predict", "--format", "jsonl", "--jobs", str(n), f"{folder}/wav"]
        if model_of(folder, precision):
            self.command += ["--model", model_of(folder, precision)]
        # As many threads as the others have.
        self.environment = {**os.environ, "RAYON_NUM_THREADS": str(n)}

    def run(self, _):
        started = time.perf_counter()
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment)
        with process.stdout:
            answers = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        wall, process.returncode = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
        scores = [list(json.loads(line)["scores"].values()) for line in answers]
        return wall, usage.ru_utime + usage.ru_stime, len(scores), scores[:8]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=f"{ROOT}/target/release/intone")
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        which, n, folder, precision = args.serve
        return serve(which, int(n), folder, precision)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/wav")
        write_files(f"{folder}/wav")
        precisions = ["embedded"]
        if not args.embedded:
            write_models(folder)
            files = [model_of(folder, precision) for precision in ("f32", "int8")]
            subprocess.run([args.program, "--quiet", "model", "convert", "--precision", "int8", *files], check=True)
            precisions = ["f32", "int8"]
        contenders = {}
        for precision in precisions:
            contenders[f"package, {precision}, 2 workers"] = Process("intone", 2, folder, precision)
            contenders[f"package, {precision}, 1 worker"] = Process("intone", 1, folder, precision)
            contenders[f"`intone predict`, {precision}, 2 jobs"] = Command(args.program, 2, folder, precision)
        if not args.embedded:
            contenders["librosa + PyTorch, 1 process, 2 threads"] = Process("torch", 1, folder)
            contenders["librosa + PyTorch, 2 processes"] = Process("torch", 2, folder)
        for contender in contenders.values():
            contender.run(N_WARM_UP)
        walls, processors = {name: [] for name in contenders}, {name: [] for name in contenders}
        expected, order = None, random.Random(1)
        for round_ in range(args.rounds):
            for name in order.sample(list(contenders), len(contenders)):
                wall, processor, n_scores, scores = contenders[name].run(N_FILES)
                expected = expected or scores
                worst = max(abs(a - b) for ours, theirs in zip(scores, expected) for a, b in zip(ours, theirs))
                if n_scores != N_FILES or worst > (2e-2 if "int8" in name else 2e-3):
                    raise SystemExit(f"{name} says something else: {n_scores} answers, scores differ by {worst}")
                print(f"round {round_}: {name}: {wall:.2f} s, processors {processor:.2f} s", file=sys.stderr)
                walls[name].append(wall)
                processors[name].append(processor)
        model = "the embedded model" if args.embedded else "the reference CNN"
        print(f"| {N_FILES} files of {SECONDS} s, {model} | files per second | lowest - highest "
              "| files per second of a processor |\n|---|---|---|---|")
        for name, taken in walls.items():
            rate, low, high = (N_FILES / f(taken) for f in (statistics.median, max, min))
            print(f"| {name} | {rate:.3g} | {low:.3g} - {high:.3g} | {N_FILES / statistics.median(processors[name]):.3g} |")


if __name__ == "__main__":
    main()
