"""Gated loudness (ITU-R BS.1770-4) from block powers, so that any segment is measured without its audio."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim import checks

BLOCK_SECONDS = 0.1
_GATE_BLOCKS = 4  # a gating block of 400 ms, every 100 ms
_OFFSET = -0.691
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0


def block_powers(audio: Tensor, sample_rate: float) -> Tensor:
    """Compute the mean square of K-weighted audio in blocks of 100 ms.

    K-weighting is a shelf of +4 dB above 1.5 kHz and a high-pass at 38 Hz (BS.1770-4, annex 1).

    Args:
        audio: `(..., T)`, one channel each.
        sample_rate: in Hz.

    Returns:
        `(..., blocks)`, at least one block; an incomplete last block is left out.

    Raises:
        ImportError: without torchaudio, whose recursive filters are used.

    Example:
        >>> import torch
        >>> from torchprim.audio.loudness import block_powers
        >>> block_powers(torch.randn(44100), 44100).shape
        torch.Size([10])
    """
    try:
        from torchaudio.functional import highpass_biquad, treble_biquad
    except ImportError as error:
        raise ImportError("measuring loudness needs torchaudio: pip install torchaudio") from error
    audio = checks.audio(audio)
    # torchaudio's filters clip at 1: filter a quarter of the level.
    shelf = treble_biquad(audio / 4, round(sample_rate), 4.0, 1500.0, 1 / math.sqrt(2))
    weighted = highpass_biquad(shelf, round(sample_rate), 38.0, 0.5) * 4
    size = max(1, round(BLOCK_SECONDS * sample_rate))
    count = audio.shape[-1] // size
    if count == 0:
        return weighted.square().mean(-1, keepdim=True)
    return weighted[..., : count * size].unflatten(-1, (count, size)).square().mean(-1)


def gated_loudness(powers: Tensor) -> float:
    """Compute the integrated loudness of one signal in LUFS from its block powers.

    Gating blocks of 400 ms every 100 ms; those under -70 LUFS are left out, then those 10 LU under the mean
    of the rest (BS.1770-4, annex 1). One channel; silence is minus infinity.

    Args:
        powers: `(blocks,)`, from `block_powers`.

    Example:
        >>> import torch
        >>> from torchprim.audio.loudness import block_powers, gated_loudness
        >>> tone = torch.sin(2 * torch.pi * 997 * torch.arange(5 * 48000) / 48000)
        >>> abs(gated_loudness(block_powers(tone, 48000)) + 3.01) < 0.1
        True
    """
    width = min(_GATE_BLOCKS, len(powers))
    blocks = powers.double().unfold(0, width, 1).mean(-1)
    loudness = _OFFSET + 10 * torch.log10(blocks)
    audible = blocks[loudness > _ABSOLUTE_GATE]
    if not len(audible):
        return -math.inf
    gate = _OFFSET + 10 * torch.log10(audible.mean()) + _RELATIVE_GATE
    gated = blocks[loudness > torch.clamp(gate, min=_ABSOLUTE_GATE)]
    return _OFFSET + 10 * math.log10(gated.mean().item())
