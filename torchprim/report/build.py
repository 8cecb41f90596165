"""The report of one song: mixture, masks, embedding, confidence and stems on an HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.ensemble.presets import Preset
from torchprim.primitives.pitch.track_pitch import track_pitch
from torchprim.report.page import Meter, Player, Table, render_page
from torchprim.report.pictures import chosen_cues, draw_pictures
from torchprim.report.players import audio_source, bit_rate
from torchprim.separators.base import Separation
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture

_PITCH_RATE = 2200  # Hz; twice the highest pitch of the search range
EXCERPT = 30.0  # seconds that pictures show of a longer song


def loudest_start(audio: Tensor, sample_rate: float, seconds: float = EXCERPT) -> float:
    """Find the start of the excerpt with the most energy, in whole seconds.

    Args:
        audio: `(..., T)`; energies are summed over the leading dimensions.
        sample_rate: in Hz.
        seconds: length of the excerpt.

    Returns:
        a time in s; 0 for audio that is no longer than the excerpt.

    Raises:
        ValueError: for audio that is not real and finite, or numbers that are not positive.

    Example:
        >>> import torch
        >>> from torchprim.report.build import loudest_start
        >>> audio = torch.zeros(100 * 1000)
        >>> audio[50_000:80_000] = 1.0
        >>> loudest_start(audio, 1000)
        50.0
    """
    checks.audio(audio)
    checks.positive(seconds, "seconds")
    step = max(1, round(checks.positive(sample_rate, "sample_rate")))
    power = audio.detach().double().square().reshape(-1, audio.shape[-1]).sum(0)
    energy = torch.stack([part.sum() for part in power.split(step)])
    windows = audio.shape[-1] // step - math.ceil(seconds) + 1
    if windows <= 1:
        return 0.0
    return float(energy.unfold(0, math.ceil(seconds), 1)[:windows].sum(-1).argmax())


def _facts(audio: Tensor, sample_rate: float, preset: Preset) -> str:
    seconds = audio.shape[-1] / sample_rate
    minutes, rest = divmod(round(seconds), 60)
    duration = f"{minutes} min {rest} s" if seconds >= 60 else f"{seconds:.1f} s"
    channels = {1: "mono", 2: "stereo"}.get(audio.shape[0], f"{audio.shape[0]} channels")
    return f"{duration} · {channels} · {sample_rate / 1000:g} kHz · preset {preset.name}"


def _meters(separation: Separation) -> list[Meter]:
    return [
        Meter("Confidence", separation.confidence.item(), "Silhouette times posterior strength; 1 at best."),
        Meter("Silhouette", separation.silhouette.item(), "Do the loud bins form two clusters? −1 to 1."),
        Meter("Posterior strength", separation.posterior.item(), "Are bins assigned firmly? 0 to 1."),
    ]


def _players(audio: Tensor, separation: Separation, sample_rate: float) -> list[Player]:
    stems = {"Mixture": audio, "Vocals": separation.vocals, "Accompaniment": separation.accompaniment}
    # One gain for all: comparable levels without clipping.
    gain = 1 / max(1.0, *(stem.abs().max().item() for stem in stems.values()))
    rate = bit_rate(audio.shape[-1] / sample_rate, len(stems))
    return [Player(name, audio_source(gain * stem, sample_rate, rate)) for name, stem in stems.items()]


def make_report(
    title: str,
    audio: Tensor,
    sample_rate: float,
    separator: PrimitiveSeparator,
    *,
    separation: Separation | None = None,
    cues: Sequence[str] | None = None,
    start: float | None = None,
    table: Table | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Separate a song and make a self-contained HTML page of the result.

    A song of more than 30 s is separated whole for the players; pictures show an excerpt of 30 s.

    Args:
        title: of the page.
        audio: `(C, T)`, in [-1, 1].
        sample_rate: in Hz.
        separator: with the preset's settings, on the device of `audio`.
        separation: of the whole song by this separator; by default it is computed.
        cues: two primitives for the embedding; repetition and melody by default.
        start: of the pictures' excerpt in s; by default where the vocals estimate is loudest.
        table: scores to show, where true stems are known.
        progress: called with the number of pieces done and in total.

    Returns:
        the page, HTML.

    Raises:
        ValueError: for audio that is not `(C, T)`, unknown cues, or a start outside the song.
        ImportError: without matplotlib or soundfile.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.report.build import make_report
        >>> page = make_report("Noise", torch.randn(1, 22050) / 9, 44100, tp.PrimitiveSeparator("paper"))
        >>> page.count("<audio"), page.count("<figure")
        (3, 7)
    """
    checks.audio(audio, rank=2)
    if audio.dim() != 2:
        raise ValueError(f"audio must have shape (C, T), got {tuple(audio.shape)}")
    preset = separator.preset
    chosen_cues(list(preset.weights), cues)  # before the long work
    seconds = audio.shape[-1] / checks.positive(sample_rate, "sample_rate")
    if start is not None and not 0 <= start < seconds:
        raise ValueError(f"start must lie in [0, {seconds:.2f}) s, got {start!r}")
    with torch.no_grad():
        if separation is None:
            separation = separator(audio, sample_rate, channels=True, progress=progress)
        shown, excerpt, first = separation, audio, 0.0
        if separation.mask is None or start is not None:
            first = loudest_start(separation.vocals, sample_rate, EXCERPT) if start is None else start
            begin = round(first * sample_rate)
            excerpt = audio[..., begin : begin + round(EXCERPT * sample_rate)]
            shown = separator(excerpt, sample_rate, channels=True, keep_masks=True)
        mono = downmix(excerpt)
        magnitude = Mixture(mono, sample_rate, preset.geometry).magnitude()
        highest = min(sample_rate, preset.geometry.sample_rate) / 2
        # No pitch at a rate too low for the range of the voice.
        pitch = track_pitch(mono, sample_rate) if sample_rate > _PITCH_RATE else None
        pictures = draw_pictures(magnitude, shown, preset, cues, start=first, highest=highest, pitch=pitch)
        players = _players(audio, separation, sample_rate)
    note = ""
    if excerpt.shape[-1] < audio.shape[-1]:
        last = first + excerpt.shape[-1] / sample_rate
        note = f"Pictures show {first:.0f} s to {last:.0f} s of the song; players and confidence all of it."
    return render_page(
        title,
        _facts(audio, sample_rate, preset),
        players,
        _meters(separation),
        pictures,
        note=note,
        table=table,
    )
