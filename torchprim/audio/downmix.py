"""Downmix of channels to one: their mean, or the loudest channel where they cancel in it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Power of the sum of the channels over that which it would have if they were independent: 1 for independent
# channels or a single one that sounds, C for equal ones. Two channels of one level come below at a
# correlation under -0.9, which no mix for loudspeakers has: one of them is inverted.
_CANCELLED = 0.1
_ROUNDING = 1e-4  # relative energy below which a signal is a constant but for rounding


def cancels(audio: Tensor) -> Tensor:
    """Check whether channels cancel: P(Σ x) < 0.1 Σ P(x), where P is the power about the mean over time.

    Args:
        audio: `(..., C, T)`.

    Returns:
        `(...)`, bool; false for one channel and for silence.

    Example:
        >>> import torch
        >>> from torchprim.audio.downmix import cancels
        >>> left = torch.randn(44100)
        >>> cancels(torch.stack([left, -left])).item(), cancels(torch.stack([left, left])).item()
        (True, False)
    """
    return _compare(audio, audio.mean(-2))[0]


def cancels_in(blocks: Iterable[Tensor]) -> bool:
    """Check whether channels cancel, as `cancels` does, in a recording that comes in blocks `(C, n)`.

    Example:
        >>> import torch
        >>> from torchprim.audio.downmix import cancels_in
        >>> left = torch.randn(44100)
        >>> cancels_in(torch.stack([left, -left]).split(1000, -1))
        True
    """
    length, sums, raw = 0, torch.zeros(()), torch.zeros(())
    for block in blocks:
        block = torch.cat([block, block.mean(-2, keepdim=True)]).double()  # the mean is the last row
        length += block.shape[-1]
        sums, raw = sums + block.sum(-1), raw + torch.linalg.vector_norm(block, dim=-1).square()
    energies = raw - sums.square() / length
    return bool(_decide(energies[:-1], raw[:-1], energies[-1]))


def _compare(audio: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether channels cancel in their mean `(...)`, and the energy of each `(..., C)`."""
    with torch.no_grad():
        energies, raw = _energy(audio)
        return _decide(energies, raw, _energy(mean)[0]), energies


def _decide(energies: Tensor, raw: Tensor, of_mean: Tensor) -> Tensor:
    """Decide from the energies of channels `(..., C)`, about their mean and about 0, and of their mean."""
    total = energies.sum(-1)
    cancelled = energies.shape[-1] ** 2 * of_mean < _CANCELLED * total
    # Beside a large constant what is left is rounding.
    return cancelled & (total > _ROUNDING * raw.sum(-1))


def _energy(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the energy over time about the mean, and about 0; NaN and infinity where they overflow."""
    raw = torch.linalg.vector_norm(audio, dim=-1).square()  # several times as fast as the variance
    return raw - audio.shape[-1] * audio.mean(-1).square(), raw


def downmix(audio: Tensor, like: Tensor | None = None) -> Tensor:
    """Mix channels to one: their mean; the loudest of them where they cancel, as with one inverted.

    The mean of such channels is silence, or what differs between them, and no mask can be estimated from
    it. The decision is made on the device of the audio, without a synchronisation, for each item by itself.
    Gradients flow to the channels that were taken.

    Args:
        audio: `(..., C, T)`.
        like: `(..., C, T)`, decides in place of the audio: the mixture, so that stems are mixed alike.

    Returns:
        `(..., T)`.

    Example:
        >>> import torch
        >>> from torchprim.audio.downmix import downmix
        >>> left = torch.randn(44100)
        >>> torch.equal(downmix(torch.stack([left, -left])), left)
        True
    """
    mean = audio.mean(-2)
    if audio.shape[-2] == 1:
        return mean
    cancelled, energies = _compare(audio, mean) if like is None else _compare(like, like.mean(-2))
    index = energies.argmax(-1)[..., None, None].expand(*audio.shape[:-2], 1, 1)
    loudest = audio.take_along_dim(index, -2).squeeze(-2)
    return torch.where(cancelled[..., None], loudest, mean)
