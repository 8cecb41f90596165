"""The example of a training's report: one excerpt, as the teacher separates it and as the network does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.metrics.scale import sd_sdr
from torchprim.report.build import loudest_start
from torchprim.report.page import Picture, Table, highest
from torchprim.report.players import audio_source, choose_coding
from torchprim.report.strips import mask_picture, spectrogram_picture
from torchprim.report.transport import Choice, Sound, Transport
from torchprim.separators.base import Separation, Separator
from torchprim.spectra.mixture import Mixture

SECONDS = 10.0
_BIT_RATE = 96_000  # mono: 160 kB a sound in the page


class Shown(NamedTuple):
    """Sounds and pictures of an example, and its scores where the true stems are known."""

    transport: Transport
    pictures: list[Picture]
    table: Table | None


class Example:
    """An excerpt of 10 s of one segment, where the vocals are loudest; the teacher separates it once.

    Args:
        bank: with `StemBank`, the true stems are shown, too.
        segments: to choose from: the middle one.
        teacher: a separator, or None for the true stems alone.
    """

    def __init__(self, bank: Bank, segments: Sequence[int], teacher: Separator | None) -> None:
        index = segments[len(segments) // 2]
        rate = self.sample_rate = bank.sample_rate
        self.true: tuple[Tensor, Tensor] | None = None  # vocals, accompaniment
        with torch.inference_mode():
            if isinstance(bank, StemBank):
                vocals, accompaniment = (stem[0] for stem in bank.stems([index]))
                audio = vocals + accompaniment
            else:
                audio = bank.audio([index])[0]
                vocals = audio if teacher is None else teacher(audio, rate).vocals
            start = loudest_start(vocals.cpu(), rate, SECONDS)
            part = slice(round(start * rate), round((start + SECONDS) * rate))
            self.audio = audio[part]
            if isinstance(bank, StemBank):
                self.true = vocals[part], accompaniment[part]
            self.start = start + bank.segments[index].start / rate
            self.title = f"{Path(bank.names[bank.segments[index].song]).name}, from {self.start:.0f} s"
            self._gain = 1 / max(1.0, self.audio.abs().max().item())
            self._teacher = None if teacher is None else teacher(self.audio, rate, keep_masks=True)
            coding = choose_coding(SECONDS, 6, 1, rate)
            self._coding = coding._replace(bits_per_second=min(_BIT_RATE, coding.bits_per_second))
            self._sounds, self._pictures = self._draw_before(teacher)

    def _draw_before(self, teacher: Separator | None) -> tuple[list[Sound], list[Picture]]:
        """Draw what does not change in training, once."""
        sounds, pictures = self._pair("true", *self.true) if self.true else [], []
        if teacher is not None:
            geometry = teacher.geometry
            magnitude = Mixture(self.audio, self.sample_rate, geometry).magnitude()
            caption = "Power over time and frequency."
            grid = {"geometry": geometry, "start": self.start}
            pictures.append(spectrogram_picture("Mixture", "mixture", magnitude.cpu(), caption, **grid))
            caption = "Before: what the network learnt from. 0 = accompaniment, 1 = vocals."
            mask = self._teacher.mask.cpu()
            pictures.append(mask_picture("Mask of the teacher", "teacher", mask, caption, **grid))
            sounds += self._pair("teacher", self._teacher.vocals, self._teacher.accompaniment)
        return sounds, pictures

    def show(self, separator: Separator) -> Shown:
        """Separate the excerpt with the network; return everything to show of it.

        Args:
            separator: of the network, in evaluation mode.
        """
        with torch.inference_mode():
            separation = separator(self.audio, self.sample_rate, keep_masks=True)
            pictures = self._pictures
            grid = {"geometry": separator.geometry, "start": self.start}
            if not pictures:
                magnitude = Mixture(self.audio, self.sample_rate, separator.geometry).magnitude()
                caption = "Power over time and frequency."
                drawn = spectrogram_picture("Mixture", "mixture", magnitude.cpu(), caption, **grid)
                pictures = [drawn]
            caption = "After: what the network makes of the same excerpt."
            mask = mask_picture("Mask of the network", "network", separation.mask.cpu(), caption, **grid)
            own = self._pair("network", separation.vocals, separation.accompaniment)
            transport = self._transport([*self._sounds, *own])
            return Shown(transport, [*pictures, mask], self._scores(separation))

    def _pair(self, name: str, vocals: Tensor, accompaniment: Tensor) -> list[Sound]:
        stems = {"Vocals": vocals, "Accompaniment": accompaniment}
        return [
            Sound(f"{stem}, {name}", audio_source(self._gain * audio[None], self.sample_rate, self._coding))
            for stem, audio in stems.items()
        ]

    def _transport(self, sounds: list[Sound]) -> Transport:
        """Offer the mixture, the sum of the first two sounds, and each sound alone."""
        count = len(sounds)
        choices = [Choice("Mixture", [float(i < 2) for i in range(count)])]
        choices += [Choice(s.title, [float(i == k) for i in range(count)]) for k, s in enumerate(sounds)]
        seconds = self.audio.shape[-1] / self.sample_rate
        return Transport(sounds, choices, self._coding.sample_rate, seconds, self.start)

    def _scores(self, separation: Separation) -> Table | None:
        """Score the estimates of this excerpt, where its stems are known."""
        if self.true is None:
            return None
        estimates = {"mixture": (self.audio, self.audio)}
        if self._teacher is not None:
            estimates["teacher"] = self._teacher.vocals, self._teacher.accompaniment
        estimates["network"] = separation.vocals, separation.accompaniment
        rows = [
            (name, [sd_sdr(true, made).item() for true, made in zip(self.true, stems, strict=True)])
            for name, stems in estimates.items()
        ]
        columns = ("", "vocals", "accompaniment")
        caption = "SD-SDR in dB: higher is better, the best in bold."
        bold = highest(rows, columns, columns[1:])
        return Table("The example in numbers", caption, columns, rows, bold)
