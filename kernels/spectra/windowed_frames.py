"""Windowed frames of a signal, the input of a short-time Fourier transform."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import load, register_operator, save


def reference(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Pad, and multiply the frames as views."""
    reach = len(window) // 2
    padded = torch.nn.functional.pad(audio, (reach, len(window) - reach))
    return padded.unfold(-1, len(window), hop)[:, : 1 + audio.shape[-1] // hop] * window


_windowed_frames = register_operator(
    "windowed_frames",
    reference,
    kernel="windowed_frames_triton.forward",
    fake=lambda audio, window, hop: audio.new_empty(len(audio), 1 + audio.shape[-1] // hop, len(window)),
)


def _setup_context(ctx, inputs, output) -> None:
    audio, window, hop = inputs
    save(ctx, (window, hop, audio.shape[-1]))


def _gradients(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """Window the gradient and add its frames where they overlap: the transpose."""
    window, hop, length = load(ctx)
    count, size = gradient.shape[1:]
    hops = -(-size // hop)  # that a frame spans
    frames = torch.nn.functional.pad(gradient * window, (0, hops * hop - size))
    audio = frames.new_zeros(len(frames), count + hops - 1, hop)
    for i in range(hops):
        audio[:, i : i + count] += frames[..., i * hop : (i + 1) * hop]
    audio = audio.flatten(1)[:, size // 2 :][:, :length]
    return torch.nn.functional.pad(audio, (0, length - audio.shape[-1])), None, None


_windowed_frames.register_autograd(_gradients, setup_context=_setup_context)


def windowed_frames(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Cut x[n, k] = w[k] y[n hop + k - W // 2], frames centred on multiples of the hop, y = 0 outside.

    Args:
        audio: y `(B, T)`.
        window: w `(W,)`, a constant.
        hop: samples from one frame to the next.

    Returns:
        `(B, N, W)`, N = 1 + T // hop. Gradients flow to the audio.

    Raises:
        ValueError: for audio or a window of another shape, or a hop < 1.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spectra.windowed_frames import windowed_frames
        >>> windowed_frames(torch.arange(1.0, 5.0)[None], torch.ones(4), 2)
        tensor([[[0., 0., 1., 2.],
                 [1., 2., 3., 4.],
                 [3., 4., 0., 0.]]])
    """
    if audio.dim() != 2 or window.dim() != 1:
        shapes = f"{tuple(audio.shape)}, {tuple(window.shape)}"
        raise ValueError(f"audio and window must have shapes (B, T), (W,), got {shapes}")
    if hop < 1:
        raise ValueError(f"hop must be at least 1, got {hop}")
    return _windowed_frames(audio, window, hop)
