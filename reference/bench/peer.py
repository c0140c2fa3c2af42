"""One peer's side of the comparison: prepares its work, then does it once for each line on standard input and answers
with the milliseconds it took. `compare.py` starts it.

usage: peer.py torch|torch-channels-last|keras|onnxruntime|librosa train|infer|infer32|train-encoder|train-encoder-bf16|encoder|encoder-int8|front-end
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

from network import N_CLASSES, N_FRAMES, N_MELS, keras_network, torch_encoder, torch_network

THREADS = 2


def inputs(n):
    rng = np.random.default_rng(1)
    return rng.random((n, N_MELS, N_FRAMES), dtype=np.float32), np.arange(n) % N_CLASSES


def torch_step(network, x, y, optimizer, clip_norm=None, bf16=False):
    import torch

    loss_of = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(network(x), y)
        loss.backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        return loss.item()

    return step


def torch_inference(network, x):
    import torch

    network.eval()

    def infer():
        with torch.inference_mode():
            return network(x)

    return infer


def torch_work(what, channels_last):
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    n = 1 if what == "infer" else 32
    x, y = inputs(n)
    x, y = torch.from_numpy(x)[:, None], torch.from_numpy(y)
    network = torch_network()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    if what == "train":
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=channels_last)
        return torch_step(network, x, y, optimizer)
    return torch_inference(network, x)


def torch_encoder_work(what):
    """3 s a clip, as the front end gives them: 300 frames."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    train = what.startswith("train-encoder")
    n = 16 if train else 1
    x, y = torch.randn(n, 80, 300), torch.arange(n) % N_CLASSES
    network = torch_encoder()
    if train:
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-5)
        return torch_step(network, x, y, optimizer, clip_norm=1.0, bf16=what.endswith("bf16"))
    return torch_inference(network, x)


def keras_work(what):
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    n = 1 if what == "infer" else 32
    x, y = inputs(n)
    x = tf.constant(x[..., None])
    network = keras_network()
    if what == "train":
        network.compile(optimizer=keras.optimizers.Adam(1e-4), loss="sparse_categorical_crossentropy")
        y = tf.constant(y)
        return lambda: network.train_on_batch(x, y)
    infer = tf.function(lambda x: network(x, training=False))
    return lambda: infer(x).numpy()


def onnxruntime_work(what):
    import tempfile

    import onnxruntime
    import torch

    n = 1 if what == "infer" else 32
    x, _ = inputs(n)
    x = x[:, None]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        torch.onnx.export(torch_network().eval(), (torch.from_numpy(x),), path, dynamo=False, input_names=["x"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def librosa_work(resample):
    import librosa

    rng = np.random.default_rng(1)
    rate = 16_000 if resample else 22_050
    y = (0.2 * (rng.random(3 * rate) - 0.5)).astype(np.float32)

    def front_end():
        z = librosa.resample(y, orig_sr=rate, target_sr=22_050) if resample else y
        s = librosa.feature.melspectrogram(y=z, sr=22_050, n_fft=2048, hop_length=512, n_mels=128)
        return librosa.power_to_db(s, ref=np.max, top_db=80)

    return front_end


def main():
    peer, what = sys.argv[1:]
    work = {
        "torch": lambda: torch_encoder_work(what) if "encoder" in what else torch_work(what, channels_last=False),
        "torch-channels-last": lambda: torch_work(what, channels_last=True),
        "keras": lambda: keras_work(what),
        "onnxruntime": lambda: onnxruntime_work(what),
        "librosa": lambda: librosa_work(resample=True),
        "librosa-same-rate": lambda: librosa_work(resample=False),
    }[peer]()
    for line in sys.stdin:
        repeats = int(line)
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        print((time.perf_counter() - started) * 1e3 / repeats, flush=True)


if __name__ == "__main__":
    main()
