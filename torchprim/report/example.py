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
from torchprim.report.page import Picture, Player, Table
from torchprim.report.pictures import mask_picture, spectrogram_picture
from torchprim.report.players import audio_source
from torchprim.separators.base import Separation, Separator
from torchprim.spectra.mixture import Mixture

SECONDS = 10.0
_BIT_RATE = 96_000  # mono: 160 kB a player in the page


class Shown(NamedTuple):
    """Players and pictures of an example, and its scores where the true stems are known."""

    players: list[Player]
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
            self._before = self._draw_before(teacher)

    def _draw_before(self, teacher: Separator | None) -> Shown:
        """Draw what does not change in training, once."""
        players, pictures = [self._player("Mixture", self.audio)], []
        if self.true is not None:
            players.append(self._player("Vocals, true", self.true[0]))
        if teacher is not None:
            geometry = teacher.geometry
            magnitude = Mixture(self.audio, self.sample_rate, geometry).magnitude()
            caption = "Power over time and frequency."
            grid = {"geometry": geometry, "start": self.start}
            pictures.append(spectrogram_picture("Mixture", "mixture", magnitude.cpu(), caption, **grid))
            caption = "Before: what the network learnt from. 0 = accompaniment, 1 = vocals."
            mask = self._teacher.mask.cpu()
            pictures.append(mask_picture("Mask of the teacher", "teacher", mask, caption, **grid))
            players += self._stems("teacher", self._teacher)
        return Shown(players, pictures, None)

    def show(self, separator: Separator) -> Shown:
        """Separate the excerpt with the network; return everything to show of it.

        Args:
            separator: of the network, in evaluation mode.
        """
        with torch.inference_mode():
            separation = separator(self.audio, self.sample_rate, keep_masks=True)
            players, pictures, _ = self._before
            grid = {"geometry": separator.geometry, "start": self.start}
            if not pictures:
                magnitude = Mixture(self.audio, self.sample_rate, separator.geometry).magnitude()
                caption = "Power over time and frequency."
                drawn = spectrogram_picture("Mixture", "mixture", magnitude.cpu(), caption, **grid)
                pictures = [drawn]
            caption = "After: what the network makes of the same excerpt."
            mask = mask_picture("Mask of the network", "network", separation.mask.cpu(), caption, **grid)
            return Shown(
                [*players, *self._stems("network", separation)],
                [*pictures, mask],
                self._scores(separation),
            )

    def _stems(self, name: str, separation: Separation) -> list[Player]:
        stems = {"Vocals": separation.vocals, "Accompaniment": separation.accompaniment}
        return [self._player(f"{stem}, {name}", audio) for stem, audio in stems.items()]

    def _player(self, title: str, audio: Tensor) -> Player:
        return Player(title, audio_source(self._gain * audio[None], self.sample_rate, _BIT_RATE))

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
        caption = "SD-SDR in dB: higher is better."
        return Table("The example in numbers", caption, ("", "vocals", "accompaniment"), rows, "network")
