"""The example of a training's report: one excerpt, as the teacher separates it and as the network does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.bootstrap.estimates import named_stems
from torchprim.metrics.scale import sd_sdr
from torchprim.report.build import loudest_start
from torchprim.report.page import Picture, Table, highest
from torchprim.report.players import audio_source, choose_coding
from torchprim.report.strips import mask_picture, spectrogram_picture
from torchprim.report.transport import Choice, Sound, Transport
from torchprim.separators.base import BaseSeparator
from torchprim.sources import TWO, class_names
from torchprim.spectra.mixture import Mixture
from torchprim.spectra.stft import Geometry

SECONDS = 10.0
_BIT_RATE = 96_000  # mono: 160 kB a sound in the page


class Shown(NamedTuple):
    """Sounds and pictures of an example, and its scores where the true stems are known."""

    transport: Transport
    pictures: list[Picture]
    table: Table | None


class Example:
    """An excerpt of 10 s of one segment, the loudest of its last source; the teacher separates it once.

    Of two sources and of four that is the vocals.

    Args:
        bank: with `StemBank`, the true stems are shown, too.
        segments: to choose from: the middle one.
        teacher: a separator, or None for the true stems alone.
    """

    def __init__(self, bank: Bank, segments: Sequence[int], teacher: BaseSeparator | None) -> None:
        index = segments[len(segments) // 2]
        rate = self.sample_rate = bank.sample_rate
        sources = bank.sources if isinstance(bank, StemBank) else getattr(teacher, "sources", TWO)
        self.sources: tuple[str, ...] = tuple(sources)
        self.true: dict[str, Tensor] | None = None
        with torch.inference_mode():
            if isinstance(bank, StemBank):
                stems = dict(zip(self.sources, (stem[0] for stem in bank.stems([index])), strict=True))
                audio = sum(stems.values())
            else:
                audio = bank.audio([index])[0]
                stems = {} if teacher is None else named_stems(teacher(audio, rate), self.sources)
            start = loudest_start(stems.get(class_names(self.sources)[-1], audio).cpu(), rate, SECONDS)
            part = slice(round(start * rate), round((start + SECONDS) * rate))
            self.audio = audio[part]
            if isinstance(bank, StemBank):
                self.true = {name: stem[part] for name, stem in stems.items()}
            self.start = start + bank.segments[index].start / rate
            self.title = f"{Path(bank.names[bank.segments[index].song]).name}, from {self.start:.0f} s"
            self._gain = 1 / max(1.0, self.audio.abs().max().item())
            self._teacher = None if teacher is None else teacher(self.audio, rate, keep_masks=True)
            coding = choose_coding(SECONDS, 3 * len(self.sources), 1, rate)
            self._coding = coding._replace(bits_per_second=min(_BIT_RATE, coding.bits_per_second))
            self._sounds, self._pictures = self._draw_before(teacher)

    def _draw_before(self, teacher: BaseSeparator | None) -> tuple[list[Sound], list[Picture]]:
        """Draw what does not change in training, once."""
        sounds, pictures = self._named("true", self.true) if self.true else [], []
        if teacher is not None:
            pictures.append(self._draw_mixture(teacher.geometry))
            caption = "Before: what the network learnt from."
            pictures += self._draw_masks("teacher", self._teacher.mask, teacher.geometry, caption)
            sounds += self._named("teacher", named_stems(self._teacher, self.sources))
        return sounds, pictures

    def _draw_mixture(self, geometry: Geometry) -> Picture:
        magnitude = Mixture(self.audio, self.sample_rate, geometry).magnitude().cpu()
        grid = {"geometry": geometry, "start": self.start}
        return spectrogram_picture("Mixture", "mixture", magnitude, "Power over time and frequency.", **grid)

    def _draw_masks(self, whose: str, mask: Tensor, geometry: Geometry, caption: str) -> list[Picture]:
        """Draw the mask of two sources, or of each source of more."""
        mask, grid = mask.cpu(), {"geometry": geometry, "start": self.start}
        if mask.dim() == 2:
            caption += " 0 = accompaniment, 1 = vocals."
            return [mask_picture(f"Mask of the {whose}", whose, mask, caption, **grid)]
        return [
            mask_picture(f"{name.capitalize()}, {whose}", f"{whose}-{name}", one, caption, wide=False, **grid)
            for name, one in zip(self.sources, mask, strict=True)
        ]

    def show(self, separator: BaseSeparator) -> Shown:
        """Separate the excerpt with the network; return everything to show of it.

        Args:
            separator: of the network, in evaluation mode.
        """
        with torch.inference_mode():
            separation = separator(self.audio, self.sample_rate, keep_masks=True)
            geometry = separator.geometry
            pictures = self._pictures or [self._draw_mixture(geometry)]
            caption = "After: what the network makes of the same excerpt."
            masks = self._draw_masks("network", separation.mask, geometry, caption)
            stems = named_stems(separation, self.sources)
            transport = self._transport([*self._sounds, *self._named("network", stems)])
            return Shown(transport, [*pictures, *masks], self._scores(stems))

    def _named(self, whose: str, stems: dict[str, Tensor]) -> list[Sound]:
        return [
            Sound(
                f"{name.capitalize()}, {whose}",
                audio_source(self._gain * audio[None], self.sample_rate, self._coding),
            )
            for name, audio in stems.items()
        ]

    def _transport(self, sounds: list[Sound]) -> Transport:
        """Offer the mixture, the sum of the first sound of each source, and each sound alone."""
        count, of_mixture = len(sounds), len(self.sources)
        choices = [Choice("Mixture", [float(i < of_mixture) for i in range(count)])]
        choices += [Choice(s.title, [float(i == k) for i in range(count)]) for k, s in enumerate(sounds)]
        seconds = self.audio.shape[-1] / self.sample_rate
        return Transport(sounds, choices, self._coding.sample_rate, seconds, self.start)

    def _scores(self, stems: dict[str, Tensor]) -> Table | None:
        """Score the estimates of this excerpt, where its stems are known."""
        if self.true is None:
            return None
        estimates = {"mixture": dict.fromkeys(self.sources, self.audio)}
        if self._teacher is not None:
            estimates["teacher"] = named_stems(self._teacher, self.sources)
        estimates["network"] = stems
        rows = [
            (whose, [sd_sdr(true, made[name]).item() for name, true in self.true.items()])
            for whose, made in estimates.items()
        ]
        columns = ("", *self.sources)
        caption = "SD-SDR in dB: higher is better, the best in bold."
        bold = highest(rows, columns, columns[1:])
        return Table("The example in numbers", caption, columns, rows, bold)
