"""Estimates of a bank's sources, of which remixes are made: by a teacher, or the true stems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.bootstrap.store import Estimate
from torchprim.sources import TWO, check_sources, class_names
from torchprim.spectra.stft import Geometry


def named_stems(separation: Any, sources: Sequence[str]) -> dict[str, Tensor]:
    """Return the stems of a teacher's separation by name: of two sources its fields, else its `stems`.

    Raises:
        ValueError: where it has none of a name.
    """
    two = tuple(sources) == TWO
    fields = {name: getattr(separation, name) for name in TWO if hasattr(separation, name)}
    given = fields if two else getattr(separation, "stems", {})
    missing = [name for name in sources if name not in given]
    if missing:
        where = "its result" if two else "the dict `stems` of its result"
        raise ValueError(f"a teacher of {', '.join(sources)} must give each in {where}, not {missing[0]!r}")
    return {name: given[name] for name in sources}


class Estimator:
    """Estimate whole segments, a batch at a time; arguments and errors are those of `RemixStream`.

    Args:
        bank: the music.
        teacher: a separator, or None for the true stems of a `StemBank`.
        batch_size: segments at a time.
        keep_masks: whether to return the teacher's masks.
        geometry: of the masks.
    """

    def __init__(
        self,
        bank: Bank,
        teacher: torch.nn.Module | None,
        batch_size: int,
        keep_masks: bool,
        geometry: Geometry,
    ) -> None:
        if teacher is None and not isinstance(bank, StemBank):
            raise ValueError(f"teacher must be a separator, or bank a StemBank, got None and {bank!r}")
        self.bank, self.teacher, self.batch_size = bank, teacher, batch_size
        self.keep_masks, self.geometry = keep_masks, geometry
        sources = getattr(bank if teacher is None else teacher, "sources", TWO)
        self.sources: tuple[str, ...] = check_sources(sources)

    def __call__(self, indices: list[int]) -> list[Estimate]:
        """Estimate the sources of segments."""
        estimates: dict[int, Estimate] = {}
        with torch.inference_mode():
            for batch in self.bank.batches(self.batch_size, sorted(set(indices))):
                stems, masks = self._estimate(batch)
                for row, index in enumerate(batch):
                    of_row = [stems[name][row] for name in class_names(self.sources)]
                    estimates[index] = Estimate(of_row, None if masks is None else masks[row])
        return [estimates[index] for index in indices]

    def _estimate(self, batch: list[int]) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the stems of segments of one length by name, and the masks where they are kept."""
        if self.teacher is None:
            return dict(zip(self.sources, self.bank.stems(batch), strict=True)), None
        options = self.bank.teacher_options
        # A separator of this package, known by its grid, else keeps the mask of every cue.
        if self.keep_masks or hasattr(self.teacher, "geometry"):
            options["keep_masks"] = self.keep_masks
        audio = self.bank.audio(batch)
        separation = self.teacher(audio, self.bank.sample_rate, **options)
        stems = named_stems(separation, self.sources)
        for name, stem in stems.items():
            _check_stem(stem, name, audio)
        return {name: stem.float() for name, stem in stems.items()}, self._masks(separation, audio)

    def _masks(self, separation: Any, audio: Tensor) -> Tensor | None:
        """Return the teacher's masks on its grid, where they are kept."""
        if not self.keep_masks:
            return None
        grid: Geometry = self.geometry
        count = () if self.sources == TWO else (len(self.sources),)
        expected = (len(audio), *count, grid.bins, grid.frames(audio.shape[-1]))
        mask = getattr(separation, "mask", None)
        if not isinstance(mask, Tensor) or mask.shape != expected:
            got = tuple(mask.shape) if isinstance(mask, Tensor) else mask
            raise ValueError(f"bin_confidence needs a teacher's mask of shape {expected}, got {got}")
        return mask


def _check_stem(stem: Tensor, name: str, audio: Tensor) -> None:
    """Check a teacher's stem against the audio that it was given; its values on a CPU alone.

    Raises:
        ValueError: naming the stem.
    """
    if not isinstance(stem, Tensor) or stem.shape != audio.shape or stem.device != audio.device:
        same = isinstance(stem, Tensor)
        got = f"{tuple(stem.shape)} on {stem.device}" if same else type(stem).__name__
        expected = f"{tuple(audio.shape)} on {audio.device}"
        raise ValueError(f"a teacher's {name} must be as the audio that it is given, {expected}, got {got}")
    if not stem.is_floating_point():
        raise ValueError(f"a teacher's {name} must be real and floating point, got dtype {stem.dtype}")
    if stem.device.type == "cpu" and not stem.isfinite().all():
        raise ValueError(f"a teacher's {name} must be finite, got NaN or infinity")
