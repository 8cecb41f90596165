"""What a network makes of a held-out mixture, to look at and to listen to while it learns."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from torchprim.bootstrap.batch import RemixBatch
from torchprim.networks.run import run_network
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry, istft


def write_example(folder: Path, network: nn.Module, batch: RemixBatch, geometry: Geometry) -> None:
    """Write the first item of a batch: mixture, target and estimate of the vocals, and a picture of them.

    A network without a mask head is shown by the projection of its embedding on the first principal axis.
    Where the library that writes sound is missing, the picture alone is written.
    """
    network.eval()
    with torch.no_grad():
        mixture = Mixture(batch.mixture[:1], geometry.sample_rate, geometry)
        output = run_network(network, batch.magnitude[:1], mixture)
    network.train()
    mask = output.mask[0] if output.mask is not None else _principal(output.embedding[0])
    spectrum = batch.spectra[0].sum(0)
    folder.mkdir(parents=True, exist_ok=True)
    _picture(folder / "example.png", spectrum.abs(), batch.spectra[0, 1].abs(), mask, geometry)
    try:
        from torchprim.audio.write import save
    except ImportError:
        return
    length = batch.mixture.shape[-1]
    estimate = istft(spectrum * mask, geometry, length)
    sounds = {"mixture": batch.mixture[0], "vocals_target": batch.vocals[0], "vocals_estimate": estimate}
    for name, sound in sounds.items():
        save(folder / f"{name}.wav", sound.float().cpu()[None], round(geometry.sample_rate))


def _principal(embedding: Tensor) -> Tensor:
    """(F, N, D) -> (F, N) in [0, 1]."""
    flat = embedding.flatten(0, 1)
    centred = flat - flat.mean(0)
    axis = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    along = centred @ axis
    spread = along.abs().max().clamp(min=1e-12)
    return (0.5 + 0.5 * along / spread).reshape(embedding.shape[:2])


def _picture(path: Path, mixture: Tensor, vocals: Tensor, mask: Tensor, geometry: Geometry) -> None:
    from torchprim.plots.figure import new_figure
    from torchprim.plots.time_frequency import draw_mask, draw_spectrogram

    figure, (left, middle, right) = new_figure(11, 3, columns=3)
    draw_spectrogram(left, mixture.cpu(), geometry)
    draw_spectrogram(middle, vocals.cpu(), geometry)
    draw_mask(right, mask.cpu(), geometry)
    for axes, title in ((left, "mixture"), (middle, "vocals, as remixed"), (right, "mask of the network")):
        axes.set_title(title)
    figure.savefig(path)
