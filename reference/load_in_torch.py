"""Runs a model file of Intone in PyTorch: the networks `vgg` and `encoder`, by the tensors of docs/model-file.md.

    python -m venv .venv && .venv/bin/pip install -r requirements-torch.txt
    intone features --model MODEL --out features RECORDING...
    .venv/bin/python load_in_torch.py MODEL features/*.npy

Prints the scores of each recording as a line of JSON, as `intone predict --format jsonl` does for recordings of one window.
"""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open

with safe_open(sys.argv[1], "pt") as file:
    meta, t = json.loads(file.metadata()["intone"]), {name: file.get_tensor(name).float() for name in file.keys()}
for name in [name for name in t if f"{name}.scale" in t]:  # int8, with a factor for each row
    t[name] = torch.einsum("i...,i->i...", t[name], t.pop(f"{name}.scale"))
config, front_end = meta["architecture"], meta["front_end"]


def linear(x, name):
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def vgg(x):
    def norm_relu(x, name):
        return F.batch_norm(x, *(t[f"{name}.norm.{part}"] for part in ("mean", "var", "gamma", "beta"))).relu()

    x = x[:, None]
    for block, n in enumerate(config["convs_per_block"]):
        for name in (f"blocks.{block}.convs.{i}" for i in range(n)):
            x = norm_relu(F.conv2d(x, t[f"{name}.weight"], padding=1), name)
        x = F.max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    for name in (f"dense.{i}" for i in range(len(config["dense"]))):
        x = norm_relu(linear(x, name), name)
    return linear(x, "output")


def encoder(x):
    def norm(x, name):
        return F.layer_norm(x, x.shape[2:], t[f"{name}.norm.gamma"], t[f"{name}.norm.beta"])

    for stride, name in enumerate(("conv1", "conv2"), 1):
        x = F.gelu(F.conv1d(x, t[f"{name}.weight"], t[f"{name}.bias"], stride, padding=1))
    angles = torch.arange(x.shape[2])[:, None] * 10_000 ** -torch.linspace(0, 1, config["width"] // 2)
    layers = [x.mT + torch.cat([angles.sin(), angles.cos()], 1)]
    for attention, mlp in ((f"blocks.{i}.attention", f"blocks.{i}.mlp") for i in range(config["n_blocks"])):
        qkv = linear(norm(layers[-1], attention), f"{attention}.qkv").unflatten(2, (3, config["n_heads"], -1))
        x = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4)).transpose(1, 2).flatten(2)
        x = layers[-1] + linear(x, f"{attention}.out")
        layers.append(x + linear(F.gelu(linear(norm(x, mlp), f"{mlp}.up")), f"{mlp}.down"))
    layers = [F.layer_norm(layer, layer.shape[2:]) for layer in layers]
    mixed = sum(weight * layer for weight, layer in zip(t["mix"].softmax(0), layers))
    share = linear(linear(mixed, "pooling.hidden").tanh(), "pooling.score").softmax(1)
    pooled = []
    for x in [layers[i] for i in config.get("pooled_layers", [])] or [mixed]:
        mean = (share * x).sum(1)
        pooled += [mean, ((share * (x - mean[:, None]) ** 2).sum(1) + 1e-5).sqrt()]
    x = (torch.cat(pooled, 1) - t["pooling.mean"]) * t["pooling.scale"]
    for i in range(len(config["dense"])):
        x = F.gelu(linear(x, f"dense.{i}"))
    return linear(x, "output")


networks = {"vgg": vgg, "encoder": encoder}
network = networks.get(config["name"]) or sys.exit(f"{sys.argv[1]}: expected one of {[*networks]}, got {config['name']}")
for path in sys.argv[2:]:
    x, top_db = torch.from_numpy(np.load(path))[None], front_end["top_db"]
    whisper = front_end.get("style") == "whisper"
    x = x.clamp(min=x.max() - top_db / 40) if whisper else (x - x.max()).clamp(min=-top_db) / top_db + 1
    logits = network(x)[0]
    sound_s = x.shape[-1] * front_end["hop_length"] / front_end["sample_rate_hz"]
    temperature = meta["temperature"] * max(1, meta.get("short_s", 0) / sound_s)
    scores = (-((logits.max() - logits) ** meta.get("gap_exponent", 1)) / temperature).softmax(0)
    print(json.dumps({"path": path, "scores": dict(zip(meta["labels"], scores.tolist()))}))
