"""What a Python user runs for one recording: import, load the network, load the file, features, answer."""

import sys

import librosa
import numpy as np
import torch

from network import N_FRAMES, torch_network


def main():
    weights, path = sys.argv[1:]
    network = torch_network()
    network.load_state_dict(torch.load(weights))
    network.eval()
    y, _ = librosa.load(path, sr=22_050, duration=3.0)
    y = np.pad(y, (0, max(0, 66_150 - len(y))))
    s = librosa.feature.melspectrogram(y=y, sr=22_050, n_fft=2048, hop_length=512, n_mels=128)
    x = (librosa.power_to_db(s, ref=np.max, top_db=80) + 80) / 80
    with torch.inference_mode():
        p = network(torch.from_numpy(x[None, None, :, :N_FRAMES].astype(np.float32))).softmax(1)
    print(p.numpy().round(3))


if __name__ == "__main__":
    main()
