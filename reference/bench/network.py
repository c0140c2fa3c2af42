"""The reference CNN in PyTorch and in Keras: 4.81 million parameters, six classes, 128 x 130 inputs."""

CHANNELS = [32, 64, 128, 256]
CONVS = [2, 2, 2, 1]
BLOCK_DROPOUT = 0.25
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
