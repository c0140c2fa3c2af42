"""The reference CNN in PyTorch and in Keras (4.81 million parameters, six classes, 128 x 130 inputs), and the Whisper encoder
of configs/whisper-tiny.toml with its head in PyTorch."""

import os
import tomllib

CHANNELS = [32, 64, 128, 256]
CONVS = [2, 2, 2, 1]
BLOCK_DROPOUT = 0.1
DENSE = [(256, 0.5), (128, 0.4)]
N_MELS, N_FRAMES, N_CLASSES = 128, 130, 6


def torch_network():
    from torch import nn

    layers, c_in, h, w = [], 1, N_MELS, N_FRAMES
    for c, n in zip(CHANNELS, CONVS):
        for _ in range(n):
            layers += [nn.Conv2d(c_in, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
            c_in = c
        layers += [nn.MaxPool2d(2), nn.Dropout(BLOCK_DROPOUT)]
        h, w = h // 2, w // 2
    layers.append(nn.Flatten())
    n_in = h * w * c_in
    for n, rate in DENSE:
        layers += [nn.Linear(n_in, n), nn.BatchNorm1d(n), nn.ReLU(), nn.Dropout(rate)]
        n_in = n
    layers.append(nn.Linear(n_in, N_CLASSES))
    return nn.Sequential(*layers)


def keras_network():
    import keras
    from keras import layers as kl

    layers = [keras.Input((N_MELS, N_FRAMES, 1))]
    for c, n in zip(CHANNELS, CONVS):
        for _ in range(n):
            layers += [kl.Conv2D(c, 3, padding="same"), kl.BatchNormalization(), kl.ReLU()]
        layers += [kl.MaxPooling2D(2), kl.Dropout(BLOCK_DROPOUT)]
    layers.append(kl.Flatten())
    for n, rate in DENSE:
        layers += [kl.Dense(n), kl.BatchNormalization(), kl.ReLU(), kl.Dropout(rate)]
    layers.append(kl.Dense(N_CLASSES, activation="softmax"))
    return keras.Sequential(layers)


def encoder_config():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(f"{root}/configs/whisper-tiny.toml", "rb") as file:
        return tomllib.load(file)["model"]


def torch_encoder():
    """Takes `[n, 80, frames]`. Attention is PyTorch's fused one, and so are GELU and layer normalisation."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    config = encoder_config()
    c, heads, hidden, n_blocks = (config[key] for key in ("width", "n_heads", "hidden", "n_blocks"))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(c), nn.LayerNorm(c)
            self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)
            self.up, self.down = nn.Linear(c, hidden), nn.Linear(hidden, c)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(self.norm_1(x)).view(n, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
            x = x + self.out(attended)
            return x + self.down(F.gelu(self.up(self.norm_2(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_1, self.conv_2 = nn.Conv1d(80, c, 3, padding=1), nn.Conv1d(c, c, 3, stride=2, padding=1)
            self.register_buffer("places", torch.randn(1500, c))
            self.blocks = nn.ModuleList(Block() for _ in range(n_blocks))
            self.mix = nn.Parameter(torch.zeros(n_blocks + 1))
            self.hidden, self.score = nn.Linear(c, config["pooling"]), nn.Linear(config["pooling"], 1, bias=False)
            widths = [2 * c, *config["dense"]]
            self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
            self.output = nn.Linear(widths[-1], N_CLASSES)

        def forward(self, x):
            x = F.gelu(self.conv_2(F.gelu(self.conv_1(x)))).transpose(1, 2)
            x = x + self.places[: x.shape[1]]
            weights = self.mix.softmax(0)
            mixed = weights[0] * F.layer_norm(x, (c,))
            for weight, block in zip(weights[1:], self.blocks):
                x = block(x)
                mixed = mixed + weight * F.layer_norm(x, (c,))
            share = self.score(torch.tanh(self.hidden(mixed))).softmax(1)
            mean = (share * mixed).sum(1)
            deviation = ((share * (mixed - mean[:, None]) ** 2).sum(1) + 1e-5).sqrt()
            x = torch.cat([mean, deviation], 1)
            for dense in self.dense:
                x = F.gelu(dense(F.dropout(x, config["dropout"], self.training)))
            return self.output(F.dropout(x, config["dropout"], self.training))

    return Encoder()
