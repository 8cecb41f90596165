"""Short-time Fourier transform and its inverse on a grid, `Geometry`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.spectra.masked_frames import masked_frames
from torchprim.kernels.spectra.overlap_add import overlap_add
from torchprim.kernels.spectra.windowed_frames import windowed_frames
from torchprim.kernels.tables import constant_table


@dataclass(frozen=True)
class Geometry:
    """Time-frequency grid of an STFT. The default is the paper's.

    Args:
        sample_rate: in Hz.
        window_length: W in samples, the length of the transform, too.
        hop_length: samples from one frame to the next, at most W / 2.
        window: `hann` (periodic), or `sqrt_hann`, its square root.

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
        object.__setattr__(self, "sample_rate", checks.rate(self.sample_rate, "sample_rate"))
        checks.integer(self.window_length, "window_length", 2)
        checks.integer(self.hop_length, "hop_length", 1, self.window_length // 2)
        if self.window not in ("hann", "sqrt_hann"):
            raise ValueError(f"window must be 'hann' or 'sqrt_hann', got {checks.described(self.window)}")

    @property
    def bins(self) -> int:
        """Number of frequency bins F: 1 + W // 2."""
        return self.window_length // 2 + 1

    @property
    def bin_width(self) -> float:
        """Spacing of the bins in Hz."""
        return self.sample_rate / self.window_length

    def frames(self, samples: int) -> int:
        """Return the number of frames N of a signal of T samples: 1 + T // hop."""
        return 1 + samples // self.hop_length

    def window_tensor(self, like: Tensor) -> Tensor:
        """Return the window `(W,)` in the dtype and on the device of `like`; cached, not to be written to."""
        return _window(self.window, self.window_length, like.dtype, like.device)[0]


def find_geometry(geometry: Geometry | None) -> Geometry:
    """Check the argument `geometry`; return the paper's for None.

    Raises:
        ValueError: for anything else.
    """
    if geometry is None:
        return Geometry()
    if not isinstance(geometry, Geometry):
        raise ValueError(f"geometry must be a Geometry, got {checks.described(geometry)}")
    return geometry


@constant_table
def _window(name: str, length: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    hann = torch.hann_window(length, dtype=dtype, device=device)
    return [hann if name == "hann" else hann.sqrt()]


def stft(audio: checks.Audio, geometry: Geometry | None = None) -> Tensor:
    """Compute the short-time Fourier transform, frames centred, the ends padded with zeros.

    X[k, n] = sum over t of w[t] x[n hop + t - W / 2] exp(-2πi k t / W)  (Allen and Rabiner 1977).
    Zero padding, unlike reflection, works for signals of any length.

    Args:
        audio: `(..., T)`, real; half precision is computed in float32.
        geometry: the grid; the paper's by default. Its sample rate plays no part.

    Returns:
        `(..., F, N)`, complex, F = W // 2 + 1 and N = 1 + T // hop.

    Raises:
        ValueError: for audio that is complex, empty or not finite.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.stft(torch.randn(2, 44100)).shape
        torch.Size([2, 1025, 87])
    """
    geometry = find_geometry(geometry)
    audio = checks.audio(audio)
    batch = audio.reshape(-1, audio.shape[-1])
    frames = windowed_frames(batch, geometry.window_tensor(audio), geometry.hop_length)
    # MKL refuses a batch of none.
    spectrum = torch.fft.rfft(frames) if len(frames) else frames[..., : geometry.bins] + 0j
    spectrum = spectrum.mT
    return spectrum.reshape(*audio.shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: Tensor, geometry: Geometry | None = None, length: int | None = None) -> Tensor:
    """Compute the inverse of `stft` by windowed overlap-add (least squares; Griffin and Lim 1984).

    Args:
        spectrum: `(..., F, N)`, complex.
        geometry: the grid of the spectrum; the paper's by default.
        length: samples of the result; by default (N - 1) hop.

    Returns:
        `(..., length)`, real.

    Raises:
        ValueError: for a spectrum that is empty, not complex or without the grid's bins, or length < 1.

    Example:
        >>> import torch, torchprim as tp
        >>> x = torch.randn(3, 5000)
        >>> torch.allclose(tp.istft(tp.stft(x), length=5000), x, atol=1e-5)
        True
    """
    geometry = find_geometry(geometry)
    if not (isinstance(spectrum, Tensor) and spectrum.is_complex()):
        raise ValueError(
            f"spectrum must be a complex tensor, got {getattr(spectrum, 'dtype', type(spectrum))}"
        )
    if spectrum.dim() < 2 or spectrum.shape[-2] != geometry.bins:
        raise ValueError(f"spectrum must have shape (..., {geometry.bins}, N), got {tuple(spectrum.shape)}")
    if 0 in spectrum.shape[-2:]:
        raise ValueError(f"spectrum must not be empty, got shape {tuple(spectrum.shape)}")
    length = (spectrum.shape[-1] - 1) * geometry.hop_length if length is None else length
    checks.integer(length, "length", 1)
    # The factor 1 / W, on a GPU a pass of its own, is left to the overlap-add.
    if spectrum.numel():
        frames = torch.fft.irfft(spectrum.mT, n=geometry.window_length, norm="forward")
    else:
        frames = spectrum.real.new_empty(*spectrum.mT.shape[:-1], geometry.window_length)
    return _overlap_add(frames, geometry, length)


def masked_istft(
    mask: Tensor, spectrum: Tensor, geometry: Geometry, length: int, residual: bool = False
) -> Tensor:
    """Compute `istft(mask * spectrum, geometry, length)`; on a GPU the product is not stored.

    Args:
        mask: `(..., F, N)`, real.
        spectrum: `(..., F, N)`, or `(..., C, F, N)`, whose channels all have the same mask; complex.
        geometry: the grid of both.
        length: samples of the result.
        residual: whether to take what the mask leaves, (1 - mask) times the spectrum.

    Returns:
        `(..., length)`, or `(..., C, length)`, real.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.spectra.stft import masked_istft
        >>> stereo, mask = torch.randn(2, 5000), torch.ones(1025, 10)
        >>> torch.allclose(masked_istft(mask, tp.stft(stereo), tp.Geometry(), 5000), stereo, atol=1e-5)
        True
    """
    channels = spectrum.shape[-3] if spectrum.dim() > mask.dim() else 1
    masks = mask.to(spectrum.real.dtype).reshape(-1, *mask.shape[-2:])
    batch = spectrum.reshape(len(masks), channels, *spectrum.shape[-2:])
    frames = masked_frames(masks, batch, geometry.window_length, residual)
    return _overlap_add(frames, geometry, length).reshape(*spectrum.shape[:-2], length)


def _overlap_add(frames: Tensor, geometry: Geometry, length: int) -> Tensor:
    """Overlap-add frames `(..., N, W)` into audio `(..., length)`."""
    batch = frames.reshape(-1, *frames.shape[-2:])
    audio = overlap_add(batch, geometry.window_tensor(frames), geometry.hop_length, length)
    return audio.reshape(*frames.shape[:-2], length)
