"""Runs a model file of Intone in PyTorch: plain functions over the tensors of docs/model-file.md.

    python -m venv .venv && .venv/bin/pip install -r requirements-torch.txt
    intone features --model MODEL --out features RECORDING...
    .venv/bin/python load_in_torch.py MODEL features/*.npy

Prints one JSON object for each recording, as `intone predict --format jsonl` does for recordings of one window.
"""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open


def load(path):
    """The metadata and the tensors in float32: those in int8 have a scale for each row of their first dimension."""
    with safe_open(path, "pt") as file:
        meta, raw = json.loads(file.metadata()["intone"]), {name: file.get_tensor(name) for name in file.keys()}
    tensors = {name: x.float() for name, x in raw.items()}
    for name, x in raw.items():
        if x.dtype == torch.int8:
            tensors[name] *= tensors.pop(f"{name}.scale").view(-1, *[1] * (x.dim() - 1))
    return meta, tensors


def scaled(x, front_end):
    """`[n, n_mels, frames]` as `intone features` writes it, relative to the window's peak."""
    peak, top_db = x.amax((1, 2), keepdim=True), front_end["top_db"]
    if front_end.get("style") == "whisper":
        return torch.maximum(x, peak - top_db / 40)
    return ((x - peak).clamp(min=-top_db) + top_db) / top_db


def vgg(x, t, config):
    def norm(x, name):
        return F.batch_norm(x, *(t[f"{name}.norm.{part}"] for part in ("mean", "var", "gamma", "beta")), eps=1e-5)

    x = x[:, None]
    for block, n in enumerate(config["convs_per_block"]):
        for name in (f"blocks.{block}.convs.{i}" for i in range(n)):
            x = norm(F.conv2d(x, t[f"{name}.weight"], padding=1), name).relu()
        x = F.max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    for name in (f"dense.{i}" for i in range(len(config["dense"]))):
        x = norm(F.linear(x, t[f"{name}.weight"]), name).relu()
    return F.linear(x, t["output.weight"], t["output.bias"])


def encoder(x, t, config):
    c, heads = config["width"], config["n_heads"]

    def linear(x, name):
        return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))

    def layer_norm(x, name):
        return F.layer_norm(x, (c,), t[f"{name}.norm.gamma"], t[f"{name}.norm.beta"])

    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = F.gelu(F.conv1d(x, t[f"{name}.weight"], t[f"{name}.bias"], stride, padding=1))
    angles = torch.arange(x.shape[2])[:, None] * 10_000 ** (-torch.arange(c // 2) / max(c // 2 - 1, 1))
    x = x.mT + torch.cat([angles.sin(), angles.cos()], 1)
    layers = [x]
    for block in (f"blocks.{i}" for i in range(config["n_blocks"])):
        qkv = linear(layer_norm(x, f"{block}.attention"), f"{block}.attention.qkv")
        q, k, v = qkv.unflatten(2, (3, heads, c // heads)).permute(2, 0, 3, 1, 4)
        x = x + linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), f"{block}.attention.out")
        x = x + linear(F.gelu(linear(layer_norm(x, f"{block}.mlp"), f"{block}.mlp.up")), f"{block}.mlp.down")
        layers.append(x)
    x = sum(weight * F.layer_norm(layer, (c,)) for weight, layer in zip(t["mix"].softmax(0), layers))
    share = linear(linear(x, "pooling.hidden").tanh(), "pooling.score").softmax(1)
    mean = (share * x).sum(1)
    deviation = ((share * (x - mean[:, None]) ** 2).sum(1) + 1e-5).sqrt()
    x = (torch.cat([mean, deviation], 1) - t["pooling.mean"]) * t["pooling.scale"]
    for i in range(len(config["dense"])):
        x = F.gelu(linear(x, f"dense.{i}"))
    return linear(x, "output")


@torch.inference_mode()
def main(model, *features):
    meta, tensors = load(model)
    architecture = meta["architecture"]
    network = {"vgg": vgg, "encoder": encoder}.get(architecture["name"])
    if network is None:
        sys.exit(f"{model}: expected vgg or encoder, got {architecture['name']}: `intone model export onnx` writes any network")
    for path in features:
        x = torch.from_numpy(np.load(path))[None]
        logits = network(scaled(x, meta["front_end"]), tensors, architecture)
        scores = dict(zip(meta["labels"], (logits / meta["temperature"]).softmax(1)[0].tolist()))
        print(json.dumps({"path": path, "label": max(scores, key=scores.get), "scores": scores}))


if __name__ == "__main__":
    main(*sys.argv[1:])
