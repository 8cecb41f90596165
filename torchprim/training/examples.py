"""Example of each validation: audio and a plot of a held-out mixture, its target and the estimate."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from torchprim.bootstrap.batch import RemixBatch
from torchprim.files import replaced
from torchprim.networks.run import run_network
from torchprim.sources import class_names
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry, istft


def write_example(folder: Path, network: nn.Module, batch: RemixBatch, geometry: Geometry) -> None:
    """Write the first item of a batch: `.wav` files of mixture, targets and estimates, and a plot.

    Of two sources the vocals alone. The mask of a network without a mask head is its embedding's first
    principal component, which is of no source of more than two: then there are targets alone. Without the
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
    classes = class_names(network.config.sources)
    shown = [1] if len(classes) == 2 else range(len(classes))  # of two the vocals
    masks = {classes[k]: mask[k] if mask.dim() == 3 else mask for k in shown}
    if len(classes) > 2 and mask.dim() == 2:
        masks = {"principal component": mask}
    spectra = {classes[k]: batch.spectra[0, k].abs() for k in shown}
    _plot(folder / "example.png", spectrum.abs(), spectra, masks, geometry)
    try:
        from torchprim.audio.write import save
    except ImportError:
        return
    length = batch.mixture.shape[-1]
    signals = {"mixture": batch.mixture[0]}
    signals |= {f"{classes[k]}_target": batch.sources[0, k] for k in shown}
    for name in set(classes) & set(masks):
        signals[f"{name}_estimate"] = istft(spectrum * masks[name], geometry, length)
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


def _plot(
    path: Path, mixture: Tensor, sources: dict[str, Tensor], masks: dict[str, Tensor], geometry: Geometry
) -> None:
    """Draw the mixture, the sources as remixed, and the masks of the network, side by side."""
    from torchprim.plots.figure import new_figure
    from torchprim.plots.time_frequency import draw_mask, draw_spectrogram

    spectrograms = {"mixture": mixture} | {f"{name}, as remixed": one for name, one in sources.items()}
    columns = len(spectrograms) + len(masks)
    figure, panels = new_figure(11 * columns / 3, 3, columns=columns)
    for axes, (title, magnitude) in zip(panels, spectrograms.items(), strict=False):
        draw_spectrogram(axes, magnitude.cpu(), geometry)
        axes.set_title(title)
    for axes, (name, mask) in zip(panels[len(spectrograms) :], masks.items(), strict=True):
        draw_mask(axes, mask.cpu(), geometry)
        axes.set_title("mask of the network" if len(masks) == 1 else f"mask of {name}")
    with replaced(path) as file:
        figure.savefig(file, format="png")
