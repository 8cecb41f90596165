"""A trained network in the place of the primitives, and as one more cue beside them."""

from __future__ import annotations

import hashlib
import os

import torch
from torch import Tensor, nn

from torchprim import checks
from torchprim.ensemble.confidence import Confidence, confidence_measure, loudest
from torchprim.ensemble.kmeans import assign_to_centres, refine_centres
from torchprim.ensemble.presets import Preset
from torchprim.errors import CheckpointError
from torchprim.networks.checkpoint import read_checkpoint
from torchprim.networks.config import NetworkConfig
from torchprim.networks.run import run_network
from torchprim.separators.base import Estimate, Separator
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.regrid import regrid
from torchprim.version import __version__

USES = ("auto", "embedding", "mask", "both")
# k-means looks at the bins that carry a mixture.
LOUD_SHARE = 0.1
ITERATIONS = 10
PRIOR = 1.0  # within 0.05 dB of any other; the most that keeps a cluster from wandering off
# A mask as an embedding of one dimension: the paper's hardness.
_MASK_BETA = 5.0


class NetworkSeparator(Separator):
    """Separation with a trained network: the interface of `PrimitiveSeparator`.

    The embedding: k-means on the loudest bins, weighted by magnitude, from the anchors of the checkpoint
    and held back to them; the cluster that began at the vocals' anchor is the vocals; every bin is then
    assigned softly by equation 1. No ground truth is asked. The mask head: its mask. The confidence is
    the paper's measure in that clustering; of a mask alone, in the mask as an embedding of one dimension.

    Args:
        network: from `build_network`, trained.
        anchors: `(2, D)`, mean embedding of accompaniment and of vocals in training.
        use: `embedding`, `mask`, `both` (the mean of the two), or `auto`: the mask where there is
            one (of a small network with both it was better by 0.5 dB than the embedding, by 0.15 than both).
        beta: hardness of the assignment; the network's setting by default.
        n_points: bins drawn for the silhouette; None takes all of the loudest 1 %.
        name: what the masks were made by, for labels that are kept; a digest of the weights by default.

    Raises:
        ValueError: for a use that the network or the anchors do not allow, or a number out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> separator = tp.NetworkSeparator(tp.build_network("unet").eval())
        >>> with torch.inference_mode():
        ...     stems = separator(torch.randn(44100), 44100)
        >>> stems.vocals.shape, stems.mask.shape, list(stems.masks)
        (torch.Size([44100]), torch.Size([1025, 87]), ['mask'])
    """

    def __init__(
        self,
        network: nn.Module,
        anchors: Tensor | None = None,
        use: str = "auto",
        beta: float | None = None,
        n_points: int | None = 1000,
        name: str | None = None,
    ) -> None:
        config: NetworkConfig = network.config
        super().__init__(config.geometry)
        if use not in USES:
            raise ValueError(f"use must be one of {', '.join(USES)}, got {use!r}")
        if n_points is not None:
            checks.integer(n_points, "n_points", 2)
        if anchors is not None and anchors.shape != (2, config.dimensions):
            raise ValueError(f"anchors must have shape (2, {config.dimensions}), got {tuple(anchors.shape)}")
        can_cluster = "embedding" in config.heads and anchors is not None
        if use == "auto":
            use = "mask" if "mask" in config.heads else "embedding"
        if use != "mask" and not can_cluster:
            lacks = "embedding head" if "embedding" not in config.heads else "anchors"
            raise ValueError(f"use={use!r} needs an embedding with anchors; the network has no {lacks}")
        if use != "embedding" and "mask" not in config.heads:
            raise ValueError(f"use={use!r} needs a mask head; the network has none")
        self.network, self.config, self.use = network, config, use
        self.beta = checks.positive(config.beta if beta is None else beta, "beta")
        self.n_points = n_points
        self.name = name
        self.clusters = can_cluster
        self.register_buffer("anchors", anchors)

    @property
    def identity(self) -> str:
        """The network's name, and a digest of its weights and of all settings."""
        name = self.name or digest(self)
        settings = repr(
            (__version__, name, self.use, self.beta, self.n_points, LOUD_SHARE, ITERATIONS, PRIOR)
        )
        return f"network {self.config.name} {hashlib.sha256(settings.encode()).hexdigest()[:12]}"

    def estimate(self, mixture: Mixture, generator: torch.Generator | None = None) -> Estimate:
        """The network's mask, 0 where the mixture is silent; each head's; the confidence."""
        magnitude = mixture.magnitude()
        flat = magnitude.reshape(-1, *magnitude.shape[-2:])
        weight = next(self.network.parameters())
        output = run_network(self.network, flat.to(weight.dtype), mixture)
        masks: dict[str, Tensor] = {}
        measure: Confidence | None = None
        if output.embedding is not None and self.clusters:
            points, loudness = self._loud(output.embedding, flat)
            centres = refine_centres(points, self.anchors, loudness, ITERATIONS, PRIOR)
            if self.use != "mask":
                masks["embedding"] = assign_to_centres(output.embedding, centres, self.beta)
            measure = confidence_measure(
                output.embedding, flat, None, self.beta, self.n_points, centres=centres, generator=generator
            )
        if self.use != "embedding":
            masks["mask"] = output.mask
        if measure is None:
            measure = confidence_measure(
                [output.mask], flat, None, _MASK_BETA, self.n_points, generator=generator
            )
        masks = {
            name: torch.where(magnitude > 0, mask.reshape(magnitude.shape).to(magnitude.dtype), 0)
            for name, mask in masks.items()
        }
        mask = sum(masks.values()) / len(masks)
        shape = magnitude.shape[:-2]
        sound = (flat.detach().amax((-2, -1)) > 0).reshape(shape)
        # Silence has an embedding, too; nothing can be said about it.
        values = (torch.where(sound, value.reshape(shape).to(magnitude.dtype), 0) for value in measure)
        return Estimate(mask, masks, Confidence(*values))

    def _loud(self, embedding: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """The loudest bins' embeddings `(B, P, D)` and magnitudes `(B, P)`."""
        points = loudest(embedding, magnitude, LOUD_SHARE)
        # The same bins in the same order: which that is, only `loudest` knows.
        loudness = loudest([magnitude.detach()], magnitude, LOUD_SHARE)
        return points, loudness.squeeze(-1)

    def mask_of(self, mixture: Mixture) -> Tensor:
        """The mask on the grid of a mixture made for another separator, with the same audio."""
        if mixture.geometry == self.geometry:
            return self.estimate(mixture).mask
        own = Mixture(mixture.audio, mixture.geometry.sample_rate, self.geometry)
        mask = regrid(self.estimate(own).mask, self.geometry, mixture.geometry, mixture.magnitude().shape[-1])
        return torch.where(mixture.magnitude() > 0, mask, 0)

    def with_primitives(
        self, preset: str | Preset = "best", weight: float | None = None, **changes
    ) -> EnsembleSeparator:
        """This network as one more cue beside a preset's primitives: see `EnsembleSeparator`."""
        return EnsembleSeparator(self, preset, weight, **changes)


class EnsembleSeparator(PrimitiveSeparator):
    """The ensemble of primitives with a network's mask as one more cue in equation 1.

    Args:
        network: a `NetworkSeparator`.
        preset: of the primitives.
        weight: of the network's mask; by default an eighth of the primitives' together, see docs/training.md.
            The better the network, the more it bears.
        n_points: bins drawn for the silhouette; None takes all of the loudest 1 %.
        changes: fields of the preset to replace.

    Raises:
        ValueError: for an unknown preset, or a weight that is not positive.

    Example:
        >>> import torch, torchprim as tp
        >>> network = tp.NetworkSeparator(tp.build_network("unet").eval())
        >>> separator = network.with_primitives("paper")
        >>> with torch.inference_mode():
        ...     list(separator(torch.randn(44100), 44100).masks)
        ['2dft-r', '2dft-m', 'melody', 'hpss', 'network']
    """

    def __init__(
        self,
        network: NetworkSeparator,
        preset: str | Preset = "best",
        weight: float | None = None,
        n_points: int | None = 1000,
        **changes,
    ) -> None:
        super().__init__(preset, "pcl", n_points, **changes)
        weight = sum(super().cue_weights()) / 8 if weight is None else weight
        self.weight = checks.positive(weight, "weight")
        self.network = network

    @property
    def identity(self) -> str:
        """The primitives' identity and the network's, with its weight."""
        return f"{super().identity} + {self.weight:g} {self.network.identity}"

    def cue_weights(self) -> list[float]:
        """The weights of equation 1, in the order of the masks."""
        return [*super().cue_weights(), self.weight]

    def cue_masks(self, mixture: Mixture) -> dict[str, Tensor]:
        """The primitives' masks, and the network's."""
        return {**super().cue_masks(mixture), "network": self.network.mask_of(mixture)}


def digest(module: nn.Module) -> str:
    """A word for a module's weights: the same for the same numbers, on any device.

    Example:
        >>> import torch
        >>> from torchprim.separators.network import digest
        >>> one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> digest(one) == digest(one), digest(one) == digest(other)
        (True, False)
    """
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:12]


def load(path: str | os.PathLike, device: str | torch.device = "cpu", **settings) -> NetworkSeparator:
    """A trained network from a checkpoint, ready to separate.

    Args:
        path: of a file that `train.py` wrote, such as `RUN/best.pt`.
        device: where it computes.
        settings: of the `NetworkSeparator`: use, beta, n_points.

    Returns:
        A `NetworkSeparator` in evaluation mode, whose weights take no gradient.

    Raises:
        CheckpointError: one line that names the file, where it cannot be used.

    Example:
        >>> import tempfile, torch, torchprim as tp
        >>> from torchprim.networks.checkpoint import save_checkpoint
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     save_checkpoint(file.name, tp.build_network("unet"))
        ...     separator = tp.load(file.name)
        >>> separator(torch.randn(2, 44100), 44100).vocals.shape
        torch.Size([2, 44100])
    """
    read = read_checkpoint(path, device)
    network = read.network.requires_grad_(False)
    try:
        return NetworkSeparator(network, read.anchors, **settings).to(device).eval()
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error
