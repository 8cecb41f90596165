"""The rows of a comparison: baselines, primitives, ensembles and trained networks, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchprim.ensemble.find_preset import find_any_preset
from torchprim.ensemble.four import StemPreset
from torchprim.ensemble.presets import PRESETS, PRIMITIVES
from torchprim.errors import PresetError, memory_errors
from torchprim.evaluation.songs import Song
from torchprim.metrics.baselines import FOUR_NULLS, baseline_estimates, stem_baseline
from torchprim.metrics.scale import sd_sdr
from torchprim.separators.base import Separation
from torchprim.separators.load import load
from torchprim.separators.primitive import METHODS, PrimitiveSeparator
from torchprim.separators.separation import StemSeparation
from torchprim.separators.stems import StemSeparator
from torchprim.sources import FOUR, TWO
from torchprim.version import __version__

# name of a method -> name of `baseline_estimates`
BASELINES = {"mixture": "mixture", "null": "null", "irm": "ideal mask"}
# All methods without a checkpoint, from the mixture to the ideal mask; of the ensembles the best is last.
BUILT_IN = (
    "mixture",
    "null",
    *PRIMITIVES,
    *(f"pcl:{preset}" for preset in sorted(PRESETS, key=lambda name: name == "best")),
    "irm",
)


class Method(NamedTuple):
    """One row of a comparison.

    Args:
        name: as on the command line.
        identity: part of the cache key of its results; changes with weights and settings.
        separator: None for a baseline.
    """

    name: str
    identity: str
    separator: nn.Module | None

    @torch.no_grad()
    def separate(self, song: Song, keep_masks: bool | None = None) -> Separation | StemSeparation | None:
        """Separate a song's mixture `(C, T)`, with one mask for all channels; None for a baseline."""
        if self.separator is None:
            return None
        with memory_errors():
            return self.separator(song.mixture, song.sample_rate, channels=True, keep_masks=keep_masks)

    @torch.no_grad()
    def estimate(self, song: Song, mono: bool = False) -> Tensor:
        """Estimate a song's sources `(S, C, T)`, in its order; with `mono` the means of the channels, C = 1.

        A separator gets the channels all the same; a baseline is made from the means of the true sources.
        """
        if self.separator is None:
            song = song.to_mono() if mono else song
            name = BASELINES[self.name]
            if song.names == TWO:
                return torch.stack(baseline_estimates(*song.sources, song.sample_rate)[name])
            nulls = [FOUR_NULLS[source] for source in song.names] if name == "null" else []
            channels = song.sources.transpose(0, 1)  # (C, S, T)
            return stem_baseline(name, channels, song.sample_rate, nulls).transpose(0, 1)
        return stems(self.separate(song), mono, song.names)


def stems(separation: Separation | StemSeparation, mono: bool = False, names: Sequence[str] = TWO) -> Tensor:
    """Return estimated sources `(S, C, T)` in the order of names; with `mono` the mean of channels, C = 1."""
    estimates = torch.stack([separation.stems[name] for name in names])
    return estimates.mean(1, keepdim=True) if mono else estimates


class Score(NamedTuple):
    """SD-SDR of a method on one song, in dB; a baseline has no confidence."""

    name: str
    vocals: float
    accompaniment: float
    confidence: float | None = None

    @property
    def mean(self) -> float:
        """Mean of both sources."""
        return (self.vocals + self.accompaniment) / 2


def score_methods(methods: Iterable[Method], song: Song) -> Iterator[tuple[Score, Separation | None]]:
    """Score methods on a song of two sources in memory: SD-SDR of the mean of the channels, whole song.

    A separator gets the channels, and the mean of its estimates is scored; a baseline is made from the mean
    of the true channels.

    Args:
        methods: on the song's device; may be made lazily.
        song: with any number of channels.

    Yields:
        score and separation of each method; a baseline has no separation.

    Example:
        >>> import torch
        >>> from torchprim.evaluation.methods import find_methods, score_methods
        >>> from torchprim.evaluation.songs import Song
        >>> song = Song("noise", torch.randn(2, 1, 44100), 44100)
        >>> for score, separation in score_methods(find_methods(["null", "pcl"]), song):
        ...     print(score.name, separation is None)
        null True
        pcl False
    """
    sources = song.to_mono().sources
    for method in methods:
        separation = method.separate(song)
        estimates = method.estimate(song, mono=True) if separation is None else stems(separation, mono=True)
        # Source by source: a batch is summed in another order.
        pairs = zip(sources.squeeze(1), estimates.squeeze(1), strict=True)
        values = (sd_sdr(source, estimate).item() for source, estimate in pairs)
        confidence = None if separation is None else separation.confidence.item()
        yield Score(method.name, *values, confidence), separation


def find_method(
    name: str,
    preset: str = "best",
    device: str | torch.device = "cpu",
    sources: tuple[str, ...] = TWO,
) -> Method:
    """Return a method by its name on the command line.

    Args:
        name: `mixture`, `null`, `irm`; `pcl`, a primitive or another cue of the preset, with the settings of
            `preset`, or of the one after a colon (`pcl:paper`, `pcl:mine.toml`, `pan:my_cues.py:stereo`); a
            checkpoint `RUN/best.pt`; or `pcl+RUN/best.pt`, the ensemble with the network as one more cue.
            Of drums, bass, other and vocals `pcl` is a `StemSeparator`, and so is `pcl:my_presets.py:three`
            of a `StemPreset`.
        preset: of the primitives, see `find_preset`; for two sources.
        device: of the separator.
        sources: that the method separates; there is a null of vocals and accompaniment, and of the four.

    Raises:
        ValueError: for a name that is none of these, or a method of other sources.
        CheckpointError: for a checkpoint that cannot be used.

    Example:
        >>> from torchprim.evaluation.methods import find_method
        >>> find_method("pcl:paper").separator.preset.name
        'paper'
    """
    if name in BASELINES:
        if name == "null" and not has_null(sources):
            known = f"{', '.join(TWO)} and of {', '.join(FOUR)}"
            raise ValueError(f"there is a null of {known}, not of {', '.join(sources)}")
        return Method(name, f"{name} {__version__}", None)
    if name.endswith(".pt"):
        separator: nn.Module = load(name.removeprefix("pcl+"))
        _check_sources(name, separator, sources)
        if name.startswith("pcl+"):
            separator = separator.with_primitives(preset)
    else:
        method, _, own_preset = name.partition(":")
        if not own_preset and set(sources) == set(FOUR):
            preset = "four"
        elif not own_preset and method == "pcl" and tuple(sources) != TWO:
            own = "pcl:package.module:name or pcl:FILE.py:name of a tp.StemPreset"
            raise ValueError(f"there is no ensemble of {', '.join(sources)} but one's own: {own}")
        separator = _primitives(name, method, own_preset or preset)
    _check_sources(name, separator, sources)
    return Method(name, separator.identity, separator.to(device).eval())


def has_null(sources: Sequence[str]) -> bool:
    """Return whether sources have a null, and an ensemble of primitives: two and the four of MUSDB18 have."""
    return tuple(sources) == TWO or set(sources) == set(FOUR)


def _check_sources(name: str, separator: nn.Module, wanted: Sequence[str]) -> None:
    """Raise a ValueError where a method separates other sources."""
    own = getattr(separator, "sources", TWO)
    if set(own) != set(wanted):
        raise ValueError(f"method {name!r} separates {', '.join(own)}, not {', '.join(wanted)}")


def _primitives(name: str, method: str, preset: str) -> PrimitiveSeparator | StemSeparator:
    """Return the separator of a preset, or of one of its cues.

    Raises:
        ValueError: for an unknown cue or preset, with all that there are.
    """
    try:
        ensemble = find_any_preset(preset)
        if isinstance(ensemble, StemPreset):
            if method == "pcl":
                return StemSeparator(ensemble)
            ensemble = PRESETS["best"]
        cues = tuple(ensemble.cues)
    except PresetError:
        raise
    except ValueError:
        cues = ()
    else:
        if method in (*METHODS, *cues):
            return PrimitiveSeparator(ensemble, method)
    raise ValueError(
        f"unknown method {name!r}; there are {', '.join((*BASELINES, *METHODS, *cues))}, METHOD:PRESET with "
        f"{', '.join(sorted(PRESETS))}, FILE.toml or MODULE:NAME, a checkpoint FILE.pt, and pcl+FILE.pt"
    )


def find_methods(
    names: Sequence[str],
    preset: str = "best",
    device: str | torch.device = "cpu",
    sources: tuple[str, ...] = TWO,
) -> list[Method]:
    """Return methods in the given order, duplicates removed; arguments and errors as for `find_method`.

    Raises:
        ValueError: for none.
        CheckpointError: for a checkpoint that cannot be used.
    """
    names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not names:
        raise ValueError("methods must name at least one, got none")
    return [find_method(name, preset, device, sources) for name in names]


def row_title(name: str, ensemble: str = "ensemble `{}`") -> str:
    """Return a method's name in prose: `irm` in full, `pcl:PRESET` by the format `ensemble`.

    Example:
        >>> from torchprim.evaluation.methods import row_title
        >>> [row_title(name, "ensemble, {}") for name in ("irm", "hpss", "pcl:best")]
        ['ideal mask', 'hpss', 'ensemble, best']
    """
    method, _, preset = name.partition(":")
    return ensemble.format(preset) if method == "pcl" and preset else BASELINES.get(name, name)
