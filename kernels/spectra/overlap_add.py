"""Windowed overlap-add of the frames of an inverse transform, normalised and cut to a length."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save

# Sums of squared windows below it count as 0: no frame reaches that sample.
SMALLEST_NORM = 1e-11


def summed(frames: Tensor, hop: int) -> Tensor:
    """Add up overlapping frames `(B, N, W)` from the first sample of the first: `(B, rows, hop)`."""
    count, size = frames.shape[1:]
    hops = -(-size // hop)  # that a frame spans
    if hops * hop > size:
        frames = torch.nn.functional.pad(frames, (0, hops * hop - size))
    total = frames.new_zeros(len(frames), count + hops - 1, hop)
    for i in range(hops):
        total[:, i : i + count] += frames[..., i * hop : (i + 1) * hop]
    return total


def _norm(window: Tensor, hop: int, count: int) -> Tensor:
    """Sum the squared windows, 1 where there are none, times W: `(rows, hop)`."""
    norm = summed(window.square().expand(1, count, -1), hop)[0]
    return torch.where(norm > SMALLEST_NORM, norm, 1) * len(window)


def reference(frames: Tensor, window: Tensor, hop: int, length: int) -> Tensor:
    """Compute the overlap-add hop by hop."""
    count, size = frames.shape[1:]
    audio = summed(frames * window, hop) / _norm(window, hop, count)
    audio = audio.flatten(1)[:, size // 2 :][:, :length]
    return torch.nn.functional.pad(audio, (0, length - audio.shape[-1]))


_overlap_add = register_operator(
    "overlap_add",
    reference,
    kernel="overlap_add_triton.forward",
    fake=lambda frames, length: frames.new_empty(frames.shape[0], length),
)


def _setup_context(ctx, inputs, output) -> None:
    frames, window, hop, _ = inputs
    save(ctx, (window, hop, frames.shape[1]))


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Cut the gradient, over the norm, into frames and window them: the transpose."""
    window, hop, count = load(ctx)
    size = len(window)
    span = (count - 1) * hop + size  # samples that frames reach, from W // 2 before the first
    gradient = gradient[:, : span - size // 2]
    gradient = torch.nn.functional.pad(gradient, (size // 2, span - size // 2 - gradient.shape[-1]))
    gradient = gradient / _norm(window, hop, count).flatten()[:span]
    return gradient.unfold(-1, size, hop) * window, None, None, None


_overlap_add.register_autograd(_gradients, setup_context=_setup_context)


def overlap_add(frames: Tensor, window: Tensor, hop: int, length: int) -> Tensor:
    """Compute y[t] = sum over n of w[k] x[n, k] / (W · sum over n of w[k]²), with k = t + W // 2 - n hop.

    Least squares (Griffin and Lim 1984), for frames centred on multiples of the hop. Both sums go over the
    frames that reach t; where none does, y is 0. `torch.istft` checks on the host that this is nowhere so,
    and synchronises for it.

    Args:
        frames: x `(B, N, W)`, of an inverse transform without its factor 1 / W (`norm="forward"`), which on
            a GPU would be a pass of its own.
        window: w `(W,)`, a constant.
        hop: samples from one frame to the next.
        length: samples of the result.

    Returns:
        `(B, length)`. Gradients flow to the frames.

    Raises:
        ValueError: for frames or a window of another shape, hop or length < 1.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.overlap_add import overlap_add
        >>> overlap_add(4 * torch.ones(1, 3, 4), torch.ones(4), 2, 5)
        tensor([[1., 1., 1., 1., 1.]])
    """
    if frames.dim() != 3 or window.shape != frames.shape[2:]:
        shapes = f"{tuple(frames.shape)}, {tuple(window.shape)}"
        raise ValueError(f"frames and window must have shapes (B, N, W), (W,), got {shapes}")
    if hop < 1 or length < 1:
        raise ValueError(f"hop and length must be at least 1, got {hop}, {length}")
    return _overlap_add(frames, window, hop, length)
