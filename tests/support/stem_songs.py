"""Songs of noise with true stems, as folders."""

import torch

from torchprim.audio.write import save

RATE = 8000


def noise(seconds, seed, channels=2):
    g = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, int(seconds * RATE), generator=g)


def write_song(folder, seed, seconds=2.0, rest=("accompaniment",), **stems):
    """Write a folder of vocals and other stems: noise, or the given audio (None: no such file)."""
    parts = {name: noise(seconds, seed + i) for i, name in enumerate(("vocals", *rest))} | stems
    for name, audio in parts.items():
        if audio is not None:
            save(folder / f"{name}.wav", audio, RATE)
