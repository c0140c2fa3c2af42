"""Writes the golden values of Whisper's front end and encoder, made by transformers.

    python -m venv .venv && .venv/bin/pip install -r requirements-whisper.txt
    .venv/bin/python whisper_goldens.py ../crates/intone/tests/goldens

Two files:

    whisper_features.safetensors   NAME.samples int16 [n] (to be divided by 32,768), NAME.log_mel float32 [80, frames]
    whisper_encoder.safetensors    a small encoder with random weights under the published names (model.encoder.*), one
                                   input "input" [80, frames], and the rows "rows.I" [frames / 2, width] that go into
                                   block I and out of the last one

Whisper fills every clip up to 30 s with silence. Here the frames of the clip alone are kept, and the encoder sees nothing
else: that is how Intone uses it.
"""

import json
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

RATE = 16_000


def signals():
    """Name -> samples in [-1, 1]."""
    rng = np.random.default_rng(7)
    t = np.arange(2 * RATE) / RATE
    glide = 120 + 60 * np.sin(2 * np.pi * 1.3 * t)
    voice = sum(np.sin(2 * np.pi * k * np.cumsum(glide) / RATE) / k for k in range(1, 25))
    voice *= 0.1 * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * t))
    quiet_then_loud = np.concatenate([1e-3 * voice[:RATE], voice[:RATE]])
    return {
        "voice": voice,
        "noise": 0.3 * rng.standard_normal(RATE // 2).clip(-3, 3),
        "loud_at_the_start": np.concatenate([0.9 * np.ones(50), 0.01 * rng.standard_normal(3_333)]),
        "quiet_then_loud": quiet_then_loud,
        "very_short": voice[4_000:4_100],
        "silence": np.zeros(1_600),
    }


def about():
    versions = {"transformers": transformers.__version__, "numpy": np.__version__, "torch": torch.__version__}
    return {"about": json.dumps({"made_by": "reference/whisper_goldens.py", **versions})}


def features(path):
    extractor = WhisperFeatureExtractor()
    tensors = {}
    for name, signal in signals().items():
        samples = np.round(signal * 32_767).astype(np.int16)
        y = samples.astype(np.float32) / 32_768
        log_mel = extractor(y, sampling_rate=RATE, return_tensors="np").input_features[0]
        n_frames = -(-len(y) // 160)
        tensors[f"{name}.samples"] = samples
        tensors[f"{name}.log_mel"] = np.ascontiguousarray(log_mel[:, :n_frames], dtype=np.float32)
    save_file(tensors, path, about())


def encoder(path):
    torch.manual_seed(5)
    n_frames = 74
    config = WhisperConfig(
        d_model=128, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=96, num_mel_bins=80,
        max_source_positions=n_frames // 2,
    )
    model = WhisperEncoder(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Livelier than the initial values, so that no part of the network is without effect. Half precision, as
            # published weights are, keeps the file small.
            if "embed_positions" not in name:
                parameter.add_(0.08 * torch.randn_like(parameter))
                parameter.copy_(parameter.half().float())
    x = torch.randn(1, 80, n_frames)
    rows = {}
    for i, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda _, inputs, output, i=i: rows.update({i: inputs[0], i + 1: first(output)}))
    with torch.no_grad():
        model(x)
    tensors = {f"model.encoder.{name}": value.numpy().astype(np.float16) for name, value in model.state_dict().items()}
    tensors["model.encoder.embed_positions.weight"] = model.embed_positions.weight.detach().numpy()
    tensors["input"] = x[0].numpy()
    tensors |= {f"rows.{i}": value[0].numpy() for i, value in rows.items()}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, about())


def first(output):
    return output[0] if isinstance(output, tuple) else output


if __name__ == "__main__":
    features(f"{sys.argv[1]}/whisper_features.safetensors")
    encoder(f"{sys.argv[1]}/whisper_encoder.safetensors")
