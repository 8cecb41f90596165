"""Configuration of a network, a frozen dataclass of plain values, and the named configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torchprim import checks
from torchprim.ensemble.four import STEM_PRESETS
from torchprim.ensemble.presets import PRESETS
from torchprim.sources import TWO, check_sources, class_names
from torchprim.spectra.stft import Geometry

KINDS = ("blstm", "unet")
HEADS = ("embedding", "mask")
# Lower bounds of the integers.
_LEAST = dict(layers=1, hidden=1, channels=1, fine=0, coarse=1, dimensions=2, mel=0, projection=0)


@dataclass(frozen=True)
class NetworkConfig:
    """Settings of a network, and of the clustering of its embeddings.

    Args:
        name: label of results.
        kind: architecture, `blstm` or `unet`.
        heads: `embedding`, `mask` (mask inference), or both (a chimera; Luo et al. 2017).
        geometry: STFT grid of the input.
        layers: bidirectional LSTM layers, or strided convolutions of the U-Net; at least 1.
        hidden: cells of an LSTM layer in each direction.
        channels: of the U-Net's first layer; they double at each layer, up to four times as many.
        fine: lowest bins at full resolution in the U-Net; 0 for all.
        coarse: bins in a group above them, see `Bands`.
        cues: preset of primitives whose masks are further input channels of the U-Net, which corrects
            the logit of their ensemble's mask; empty for none. Of vocals and accompaniment one of `PRESETS`,
            of drums, bass, other and vocals `four`.
        context: whether the U-Net sees the mean of each channel over all frames, and over all bins, at its
            input and after each layer of its encoder.
        dimensions: D of the embedding.
        dropout: after each LSTM layer, or at the bottleneck of the U-Net; in [0, 1).
        mel: bands of a fixed mel filter bank before the LSTM; 0 for none.
        projection: size of a learnt linear layer before the LSTM; 0 for none.
        beta: hardness of the soft assignment to the embedding's centres (equation 1). Sigmoid and unit
            norm keep embeddings in one orthant, where centres lie close together: the primitives' 2.5
            to 5 is too soft there.
        sources: names of the stems, at least two.

    Raises:
        ValueError: for an unknown kind, head or preset, sources or a geometry that are not the preset's, or a
            number out of range.

    Example:
        >>> import torchprim as tp
        >>> config = tp.NetworkConfig("mine", layers=2, hidden=64, heads=("embedding", "mask"))
        >>> tp.NetworkConfig.from_dict(config.to_dict()) == config
        True
    """

    name: str = "paper"
    kind: str = "blstm"
    heads: tuple[str, ...] = ("embedding",)
    geometry: Geometry = field(default_factory=Geometry)
    layers: int = 4
    hidden: int = 300
    channels: int = 16
    fine: int = 0
    coarse: int = 8
    cues: str = ""
    context: bool = False
    dimensions: int = 20
    dropout: float = 0.3
    mel: int = 0
    projection: int = 0
    beta: float = 10.0
    sources: tuple[str, ...] = TWO

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        for name in ("name", "cues"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a string, got {getattr(self, name)!r}")
        listed = isinstance(self.heads, (tuple, list)) and all(head in HEADS for head in self.heads)
        heads = tuple(head for head in HEADS if listed and head in self.heads)  # one order
        if not heads:
            raise ValueError(f"heads must be one or both of {', '.join(HEADS)}, got {self.heads!r}")
        object.__setattr__(self, "heads", heads)
        for name, least in _LEAST.items():
            checks.integer(getattr(self, name), name, least)
        if self.cues and self.kind != "unet":
            raise ValueError(f"cues are for a unet, got cues={self.cues!r} with kind {self.kind!r}")
        if not isinstance(self.context, bool) or (self.context and self.kind != "unet"):
            raise ValueError(
                f"context is a bool, and for a unet, got {self.context!r} with kind {self.kind!r}"
            )
        object.__setattr__(self, "sources", check_sources(self.sources))
        if self.cues:
            self._check_cues()
        if not (isinstance(self.dropout, (int, float)) and 0 <= self.dropout < 1):
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout!r}")
        if not isinstance(self.beta, (int, float)):  # a learnt one would not be a plain value
            raise ValueError(f"beta must be a number, got {self.beta!r}")
        checks.positive(self.beta, "beta")

    def _check_cues(self) -> None:
        # Built-in presets alone: a checkpoint must not be able to name a file to run.
        presets = {**PRESETS, **STEM_PRESETS}
        if self.cues not in presets:
            raise ValueError(f"unknown preset {self.cues!r}; there are {', '.join(presets)}")
        sources = STEM_PRESETS[self.cues].sources if self.cues in STEM_PRESETS else TWO
        if sources != self.sources:
            raise ValueError(
                f"sources must be those of the preset {self.cues!r}, {sources}, got {self.sources}"
            )
        if presets[self.cues].geometry != self.geometry:
            raise ValueError(f"geometry must be that of the preset {self.cues!r}, got {self.geometry}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the sources in the order of masks, anchors and labels, see `class_names`."""
        return class_names(self.sources)

    @property
    def masks(self) -> int:
        """Number of masks of the mask head: K of K sources, but one of two, that of class 1."""
        return 1 if len(self.sources) == 2 else len(self.sources)

    def to_dict(self) -> dict[str, Any]:
        """Convert to strings, numbers, lists and dicts, for a checkpoint or a JSON file."""
        plain = dataclasses.asdict(self)
        plain["heads"], plain["sources"] = list(self.heads), list(self.sources)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> NetworkConfig:
        """Convert from the output of `to_dict`.

        Raises:
            ValueError: for a field that is unknown or missing, or a value out of range.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if isinstance(plain, Mapping):
            # Absent from checkpoints of 0.1, and from all of two sources.
            plain = {"context": False, "sources": TWO, **plain}
        if not isinstance(plain, Mapping) or set(plain) != known:
            keys = set(plain) if isinstance(plain, Mapping) else set()
            raise ValueError(f"a network's settings have other fields: {', '.join(sorted(keys ^ known))}")
        try:
            geometry = Geometry(**plain["geometry"])
            heads = tuple(plain["heads"])
        except TypeError as error:
            raise ValueError(f"a network's settings cannot be read: {error}") from error
        return cls(**{**plain, "geometry": geometry, "heads": heads})


NETWORKS: Mapping[str, NetworkConfig] = MappingProxyType(
    {
        # The paper gives no hidden size; its authors' configurations use 300 and 600.
        "paper": NetworkConfig("paper", hidden=600),
        # Corrects the ensemble's mask: better than the ensemble after minutes of training on a CPU.
        "small": NetworkConfig(
            "small", "unet", ("mask",), layers=5, fine=256, cues="best", context=True, dropout=0.1
        ),
        "chimera": NetworkConfig("chimera", heads=("embedding", "mask"), hidden=300, mel=300),
        "unet": NetworkConfig("unet", "unet", ("mask",), layers=5, dropout=0.1),
    }
)


def find_network(config: str | NetworkConfig) -> NetworkConfig:
    """Look up a configuration by name; return a `NetworkConfig` as it is.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> from torchprim.networks.config import find_network
        >>> find_network("paper").layers, find_network("paper").dropout
        (4, 0.3)
    """
    if isinstance(config, NetworkConfig):
        return config
    if config not in NETWORKS:
        raise ValueError(f"unknown network {config!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[config]
