"""Example of each validation: audio and a plot of a held-out mixture, its target and the estimate."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from torchprim.bootstrap.batch import RemixBatch
from torchprim.files import replaced
from torchprim.networks.run import run_network
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry, istft


def write_example(folder: Path, network: nn.Module, batch: RemixBatch, geometry: Geometry) -> None:
    """Write the first item of a batch: `.wav` files of mixture, target and estimated vocals, and a plot.

    The mask of a network without a mask head is its embedding's first principal component. Without the
    library that writes audio the plot alone is written.

    Args:
        folder: for the files; created if missing.
        network: put in evaluation mode, and back in training mode.
        batch: held-out remixes.
        geometry: STFT of the batch.
    """
    network.eval()
    with torch.no_grad():
        mixture = Mixture(batch.mixture[:1], geometry.sample_rate, geometry)
        output = run_network(network, batch.magnitude[:1], mixture)
    network.train()
    mask = output.mask[0] if output.mask is not None else _principal_component(output.embedding[0])
    spectrum = batch.spectra[0].sum(0)
    folder.mkdir(parents=True, exist_ok=True)
    _plot(folder / "example.png", spectrum.abs(), batch.spectra[0, 1].abs(), mask, geometry)
    try:
        from torchprim.audio.write import save
    except ImportError:
        return
    length = batch.mixture.shape[-1]
    estimate = istft(spectrum * mask, geometry, length)
    signals = {"mixture": batch.mixture[0], "vocals_target": batch.vocals[0], "vocals_estimate": estimate}
    for name, signal in signals.items():
        save(folder / f"{name}.wav", signal.float().cpu()[None], round(geometry.sample_rate))


def _principal_component(embedding: Tensor) -> Tensor:
    """Project an embedding `(F, N, D)` on its first principal axis: `(F, N)`, scaled to [0, 1]."""
    flat = embedding.flatten(0, 1)
    centred = flat - flat.mean(0)
    axis = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    projection = centred @ axis
    scale = projection.abs().max().clamp(min=1e-12)
    return (0.5 + 0.5 * projection / scale).reshape(embedding.shape[:2])


def _plot(path: Path, mixture: Tensor, vocals: Tensor, mask: Tensor, geometry: Geometry) -> None:
    from torchprim.plots.figure import new_figure
    from torchprim.plots.time_frequency import draw_mask, draw_spectrogram

    figure, (left, middle, right) = new_figure(11, 3, columns=3)
    draw_spectrogram(left, mixture.cpu(), geometry)
    draw_spectrogram(middle, vocals.cpu(), geometry)
    draw_mask(right, mask.cpu(), geometry)
    for axes, title in ((left, "mixture"), (middle, "vocals, as remixed"), (right, "mask of the network")):
        axes.set_title(title)
    with replaced(path) as file:
        figure.savefig(file, format="png")
