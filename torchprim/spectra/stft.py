"""The geometry of a short-time Fourier transform as one value, and the transform both ways."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprim import checks


@dataclass(frozen=True)
class Geometry:
    """Sample rate (Hz), window and hop (samples) of an STFT: what fixes the grid of a spectrogram.

    The default is the paper's: 44.1 kHz, periodic Hann window of 2048, hop 512.

    Raises:
        ValueError: for a rate, length or hop out of range, or an unknown window.

    Example:
        >>> import torchprim as tp
        >>> g = tp.Geometry()
        >>> g.bins, g.frames(30 * 44100), round(g.bin_width, 2)
        (1025, 2584, 21.53)
    """

    sample_rate: float = 44100
    window_length: int = 2048
    hop_length: int = 512
    window: str = "hann"

    def __post_init__(self) -> None:
        checks.positive(self.sample_rate, "sample_rate")
        checks.integer(self.window_length, "window_length", 2)
        checks.integer(self.hop_length, "hop_length", 1, self.window_length // 2)
        if self.window not in ("hann", "sqrt_hann"):
            raise ValueError(f"window must be 'hann' or 'sqrt_hann', got {self.window!r}")

    @property
    def bins(self) -> int:
        """Number of frequency bins F."""
        return self.window_length // 2 + 1

    @property
    def bin_width(self) -> float:
        """Distance of two bins in Hz."""
        return self.sample_rate / self.window_length

    def frames(self, samples: int) -> int:
        """Number of frames N of a signal of `samples` samples: 1 + T // hop."""
        return 1 + samples // self.hop_length

    def window_tensor(self, like: Tensor) -> Tensor:
        """The window, in the precision and on the device of `like`."""
        hann = torch.hann_window(self.window_length, dtype=like.dtype, device=like.device)
        return hann if self.window == "hann" else hann.sqrt()


def stft(audio: Tensor, geometry: Geometry | None = None) -> Tensor:
    """Short-time Fourier transform, centred, the ends padded with zeros.

    X[k, n] = sum over t of w[t] x[n hop + t - W / 2] exp(-2πi k t / W)  (Allen and Rabiner 1977).
    Zero padding, unlike reflection, takes signals of any length.

    Args:
        audio: `(..., T)`, real; half precision is computed in float32.
        geometry: the grid; the paper's by default.

    Returns:
        `(..., F, N)`, complex, F = W // 2 + 1 and N = 1 + T // hop.

    Raises:
        ValueError: for audio that is complex, empty or not finite.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.stft(torch.randn(2, 44100)).shape
        torch.Size([2, 1025, 87])
    """
    geometry = geometry or Geometry()
    audio = checks.audio(audio)
    spectrum = torch.stft(
        audio.reshape(-1, audio.shape[-1]),
        geometry.window_length,
        geometry.hop_length,
        window=geometry.window_tensor(audio),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: Tensor, geometry: Geometry | None = None, length: int | None = None) -> Tensor:
    """Inverse of `stft` by windowed overlap-add (least squares; Griffin and Lim 1984).

    Args:
        spectrum: `(..., F, N)`, complex.
        geometry: the grid that it was made with.
        length: samples of the result; by default (N - 1) hop.

    Returns:
        `(..., length)`, real.

    Raises:
        ValueError: for a spectrum that is not complex or not of this geometry.

    Example:
        >>> import torch, torchprim as tp
        >>> x = torch.randn(3, 5000)
        >>> torch.allclose(tp.istft(tp.stft(x), length=5000), x, atol=1e-5)
        True
    """
    geometry = geometry or Geometry()
    if not (isinstance(spectrum, Tensor) and spectrum.is_complex()):
        raise ValueError(
            f"spectrum must be a complex tensor, got {getattr(spectrum, 'dtype', type(spectrum))}"
        )
    if spectrum.dim() < 2 or spectrum.shape[-2] != geometry.bins:
        raise ValueError(f"spectrum must have shape (..., {geometry.bins}, N), got {tuple(spectrum.shape)}")
    length = (spectrum.shape[-1] - 1) * geometry.hop_length if length is None else length
    checks.integer(length, "length", 1)
    audio = _overlap_add(spectrum.reshape(-1, *spectrum.shape[-2:]), geometry)
    audio = audio[:, geometry.window_length // 2 :][:, :length]
    audio = torch.nn.functional.pad(audio, (0, length - audio.shape[-1]))
    return audio.reshape(*spectrum.shape[:-2], length)


def _overlap_add(spectrum: Tensor, geometry: Geometry) -> Tensor:
    """`(B, F, N)` -> `(B, T)`: windowed frames added up, over the sum of the squared windows.

    `torch.istft` asks the device whether that sum is ever 0, and waits for the answer.
    """
    window, hop = geometry.window_tensor(spectrum.real), geometry.hop_length
    frames = torch.fft.irfft(spectrum.mT, n=geometry.window_length) * window  # (B, N, W)
    parts = -(-geometry.window_length // hop)  # of a frame, each of one hop
    missing = parts * hop - geometry.window_length
    frames, power = (torch.nn.functional.pad(x, (0, missing)) for x in (frames, window.square()))
    count = frames.shape[1]
    audio = frames.new_zeros(len(frames), count + parts - 1, hop)
    weight = frames.new_zeros(count + parts - 1, hop)
    for part in range(parts):
        taken = slice(part * hop, (part + 1) * hop)
        audio[:, part : part + count] += frames[..., taken]
        weight[part : part + count] += power[taken]
    return (audio / torch.where(weight > 1e-11, weight, 1)).flatten(1)
