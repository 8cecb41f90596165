"""The report of one song: what to hear and to see of it, and how far to trust it, on an HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.downmix import downmix
from torchprim.ensemble.presets import PRESETS, Preset
from torchprim.primitives.pitch.track_pitch import track_pitch
from torchprim.report.overview import draw_overview
from torchprim.report.page import Meter, Table, meter_section, picture_section, render_document, table_section
from torchprim.report.pictures import chosen_cues, draw_pictures
from torchprim.report.players import PAGE, audio_source, choose_coding
from torchprim.report.reference import describe, reference, reference_picture
from torchprim.report.transport import Choice, Sound, Transport, transport_section
from torchprim.separators.base import Separation
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.spectra.mixture import Mixture

_PITCH_RATE = 2200  # Hz; twice the highest pitch of the search range
EXCERPT = 30.0  # seconds of a longer song whose masks are shown
_HANDS = "Keys: space plays and stops, 1 to 3 choose, ← and → move by 5 s. A click in a picture goes there."


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
    power = checks.double(audio.detach()).square().reshape(-1, audio.shape[-1]).sum(0)
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


def _trust(separation: Separation, preset: Preset) -> str:
    """Return the section on confidence; it compares with the previews where the preset is as they had it."""
    value = separation.confidence.item()
    known = reference(preset.name) if PRESETS.get(preset.name) == preset else None
    among = "; ticks: the 40 previews" if known else ""
    meters = [
        Meter(
            "Confidence",
            value,
            f"Silhouette times posterior strength; 1 at best{among}.",
            -1.0 if value < 0 else 0.0,
            known.confidence if known else (),
        ),
        Meter("Silhouette", separation.silhouette.item(), "Do the loud bins form two clusters?", -1.0),
        Meter("Posterior strength", separation.posterior.item(), "Are bins assigned firmly?"),
    ]
    if known is None:
        return meter_section("How far to trust it", meters)
    pictures = [reference_picture(known, value)]
    return meter_section("How far to trust it", meters, describe(known, value), pictures)


def _transport(audio: Tensor, separation: Separation, sample_rate: float, size: float) -> Transport:
    """Encode the stems, of which the mixture is the sum, into so many bytes."""
    stems = {"Vocals": separation.vocals, "Accompaniment": separation.accompaniment}
    # One gain for all: comparable levels without clipping.
    gain = 1 / max(1.0, *(signal.abs().max().item() for signal in (audio, *stems.values())))
    seconds = audio.shape[-1] / sample_rate
    coding = choose_coding(seconds, len(stems), audio.shape[0], sample_rate, size)
    sounds = [Sound(name, audio_source(gain * stem, sample_rate, coding)) for name, stem in stems.items()]
    choices = [Choice("Mixture", (1, 1)), Choice("Vocals", (1, 0)), Choice("Accompaniment", (0, 1))]
    return Transport(sounds, choices, coding.sample_rate, seconds)


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

    Mixture and stems play together, at one position, and pictures show the whole song; the masks of a song of
    more than 30 s are those of an excerpt of 30 s.

    Args:
        title: of the page.
        audio: `(C, T)`, in [-1, 1].
        sample_rate: in Hz.
        separator: with the preset's settings, on the device of `audio`.
        separation: of the whole song by this separator; by default it is computed.
        cues: two primitives for the embedding; repetition and melody by default.
        start: of the masks' excerpt in s; by default where the vocals estimate is loudest.
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
        >>> page.count('type="radio"'), page.count("<audio"), page.count("<figure")
        (3, 2, 11)
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
        whole = excerpt.shape[-1] == audio.shape[-1]
        overview = draw_overview(audio, separation, sample_rate, separator, pitch=pitch if whole else None)
        grid = {"start": first, "highest": highest, "pitch": pitch, "mixture": not whole}
        pictures = draw_pictures(magnitude, shown, preset, cues, **grid)
    last = first + excerpt.shape[-1] / sample_rate
    note = "" if whole else f"From {first:.0f} s to {last:.0f} s of the song."
    sections = [
        picture_section("The song", overview),
        _trust(separation, preset),
        *([table_section(table)] if table else []),
        picture_section("How the mask was found", pictures, note),
    ]
    left = max(0.0, PAGE - sum(map(len, sections)))
    transport = transport_section(_transport(audio, separation, sample_rate, left), _HANDS)
    facts = _facts(audio, sample_rate, preset)
    return render_document(title, facts, [transport, *sections], "with no isolated recordings")
