"""Train a network of your own in a loop of your own, on remixes that are made while it learns.

    python -m examples.own_network MUSIC song.mp3 --out STEMS     # a folder of songs; separate one at the end
    python -m examples.own_network MUSIC song.mp3 --steps 5000 --device cuda

Everything that is torchprim's is in `remixes`; the rest is plain torch. The network is a Conv-TasNet (Luo and
Mesgarani 2019) in a few lines: mixture `(B, C, T)` in, sources `(B, 2, C, T)` out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

import torchprim as tp


class TasNet(nn.Module):
    """Learnt filters, a stack of dilated convolutions that makes a mask of each source, filters back."""

    def __init__(self, channels: int = 2, filters: int = 256, width: int = 64, layers: int = 8) -> None:
        super().__init__()
        self.encode = nn.Conv1d(channels, filters, 64, stride=32, padding=32)
        self.narrow = nn.Conv1d(filters, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, 2 * width, 1), nn.PReLU(), nn.GroupNorm(1, 2 * width),
                nn.Conv1d(2 * width, 2 * width, 3, padding=2**i, dilation=2**i, groups=2 * width),
                nn.PReLU(), nn.GroupNorm(1, 2 * width), nn.Conv1d(2 * width, width, 1),
            )
            for i in range(layers)
        )  # fmt: skip
        self.mask = nn.Conv1d(width, 2 * filters, 1)
        self.decode = nn.ConvTranspose1d(filters, channels, 64, stride=32, padding=32)

    def forward(self, mixture: Tensor) -> Tensor:
        sound = torch.relu(self.encode(mixture))
        x = self.narrow(sound)
        for block in self.blocks:
            x = x + block(x)
        masks = torch.sigmoid(self.mask(x)).unflatten(1, (2, -1))  # (B, 2, filters, frames)
        sources = self.decode((masks * sound[:, None]).flatten(0, 1)).unflatten(0, (-1, 2))
        return nn.functional.pad(sources, (0, mixture.shape[-1] - sources.shape[-1]))


def remixes(music: str, device: str, **settings) -> tp.RemixStream:
    """Return stereo remixes of the primitives' estimates of a folder, without the least confident quarter."""
    bank = tp.Bank([music], channels=2, device=device)
    teacher = tp.PrimitiveSeparator("best").to(device).eval()
    return tp.RemixStream(bank, teacher, labels=tp.label(bank, teacher), **settings)


def train(network: nn.Module, stream: tp.RemixStream, steps: int) -> list[float]:
    """Minimise the L1 distance of both sources' samples, as Demucs does; return the loss of each step."""
    loader = torch.utils.data.DataLoader(stream.dataset(steps), batch_size=None)
    optimiser, losses = torch.optim.Adam(network.parameters(), lr=1e-3), []
    for mixture, sources in (bar := tqdm(loader, "train", unit="batch")):
        loss = nn.functional.l1_loss(network(mixture), sources)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.4f}")
    return losses


def main(argv: list[str] | None = None) -> None:
    """Train, then write the stems of a song."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("music", help="folder of songs")
    parser.add_argument("song", help="to separate at the end")
    parser.add_argument("--out", default="stems", help="folder of its stems (stems)")
    parser.add_argument("--steps", type=int, default=1000, help="of Adam (1000)")
    parser.add_argument("--device", default="cpu", help="(cpu)")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    network = TasNet().to(args.device)
    train(network, remixes(args.music, args.device, batch_size=4, frames=200), args.steps)

    audio, rate = tp.load_audio(args.song, 44100)
    with torch.inference_mode():
        stems = network(audio.expand(2, -1)[None].to(args.device))[0].cpu()
    out = Path(args.out)
    for name, stem in zip(("vocals", "accompaniment"), stems, strict=True):
        tp.save(out / f"{name}.wav", stem, rate)


if __name__ == "__main__":
    main()
