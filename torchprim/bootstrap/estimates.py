"""Estimates of a bank's sources, of which remixes are made: by a teacher, or the true stems."""

from __future__ import annotations

import torch

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.bootstrap.store import Estimate
from torchprim.sources import TWO, check_sources, class_names


class Estimator:
    """Estimate whole segments, a batch at a time; arguments and errors are those of `RemixStream`.

    Args:
        bank: the music.
        teacher: a separator, or None for the true stems of a `StemBank`.
        batch_size: segments at a time.
        keep_masks: whether to return the teacher's masks.
    """

    def __init__(
        self,
        bank: Bank,
        teacher: torch.nn.Module | None,
        batch_size: int,
        keep_masks: bool,
    ) -> None:
        if teacher is None and not isinstance(bank, StemBank):
            raise ValueError(f"teacher must be a separator, or bank a StemBank, got None and {bank!r}")
        self.bank, self.teacher, self.batch_size, self.keep_masks = bank, teacher, batch_size, keep_masks
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

    def _estimate(self, batch: list[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Return the stems of segments of one length by name, and the masks where they are kept."""
        if self.teacher is None:
            return dict(zip(self.sources, self.bank.stems(batch), strict=True)), None
        options = self.bank.teacher_options
        # A separator of this package, known by its grid, else keeps the mask of every cue.
        if self.keep_masks or hasattr(self.teacher, "geometry"):
            options["keep_masks"] = self.keep_masks
        separation = self.teacher(self.bank.audio(batch), self.bank.sample_rate, **options)
        two = self.sources == TWO
        stems = {name: getattr(separation, name) for name in TWO} if two else separation.stems
        return stems, separation.mask if self.keep_masks else None
