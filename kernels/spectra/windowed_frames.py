"""Windowed frames of audio, centred, the ends padded with zeros: what an STFT transforms."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save
from torchprim.kernels.spectra.overlap_add import summed


def reference(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Cut padded audio into overlapping frames, and window them."""
    size = len(window)
    return torch.nn.functional.pad(audio, (size // 2, size // 2)).unfold(-1, size, hop) * window


_frames = register_operator(
    "windowed_frames",
    reference,
    kernel="windowed_frames_triton.forward",
    fake=lambda audio, window, hop: audio.new_empty(
        audio.shape[0], frame_count(audio.shape[1], len(window), hop), len(window)
    ),
)


def _setup_context(ctx, inputs, output) -> None:
    audio, window, hop = inputs
    save(ctx, (window, hop, audio.shape[-1]))


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Add up the overlapping frames of the gradient, windowed: the transpose."""
    window, hop, length = load(ctx)
    audio = summed(gradient * window, hop).flatten(1)[:, len(window) // 2 :][:, :length]
    return torch.nn.functional.pad(audio, (0, length - audio.shape[-1])), None, None


_frames.register_autograd(_gradients, setup_context=_setup_context)


def frame_count(length: int, size: int, hop: int) -> int:
    """Return the number of frames of W samples in audio padded by W // 2 at both ends."""
    return 1 + (length + 2 * (size // 2) - size) // hop


def windowed_frames(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Compute x[n, k] = w[k] y[n hop + k - W // 2], where y is 0 beyond its ends.

    Args:
        audio: y `(B, T)`.
        window: w `(W,)`, a constant.
        hop: samples from one frame to the next.

    Returns:
        `(B, N, W)`, N = 1 + T // hop if W is even. Gradients flow to the audio.

    Raises:
        ValueError: for audio or a window of another shape, or hop < 1.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.windowed_frames import windowed_frames
        >>> windowed_frames(torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(2), 2)
        tensor([[[0., 1.],
                 [2., 3.]]])
    """
    if audio.dim() != 2 or window.dim() != 1:
        shapes = f"{tuple(audio.shape)}, {tuple(window.shape)}"
        raise ValueError(f"audio and window must have shapes (B, T), (W,), got {shapes}")
    if hop < 1:
        raise ValueError(f"hop must be at least 1, got {hop}")
    return _frames(audio, window, hop)
