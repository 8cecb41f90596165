"""2-D transforms of real planes on a GPU, as complex ones of half the rates, unpacked or packed in one pass.

A row x[t] of even length N = 2 M is read as z[m] = x[2 m] + i x[2 m + 1]. With Z the transform of z, Y the
conjugate of Z[-k, M - n] and T = -i exp(-pi i n / M) (Z - Y), that of x is S[k, n] = (Z + Y + T) / 2, and
S[-k, M - n] the conjugate of (Z + Y - T) / 2. Back, without factors, with R the conjugate of S[-k, M - n]
and D = i exp(pi i n / M) (S - R): Z[k, n] = S + R + D, and Z[-k, M - n] is the conjugate of S + R - D. A
program has the entries (k, n) and (-k, M - n), n = 0, ..., M / 2, so that each is read once. 16 x 1024 x 2584
bins are 170 MB in and 170 out, 0.08 ms at 4.3 TB/s; the complex transform, in two passes, moves 0.68 GB.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration
from torchprim.kernels.spectra.magnitude import paired
from torchprim.kernels.spectra.magnitude_triton import pack, tile, unpack
from torchprim.kernels.spectra.masked_frames_triton import twiddles

# Pairs of rates, innermost in memory, and scales of a program.
TILE = {"F": 64, "N": 16}
WARPS = 4


@triton.jit
def _places(bins, half, F: tl.constexpr, N: tl.constexpr):
    """Return a program's item, its rates, its scales and these mirrored, and where it has an entry."""
    item, n, k = tile(half // 2 + 1, bins, F, N)
    inside = (2 * n <= half) & (k < bins)
    return item, n, k, tl.where(k == 0, 0, bins - k), inside


@triton.jit
def _turned(real, imaginary, twiddles_ptr, n, half):
    """Multiply by i exp(pi i n / M)."""
    cosine = tl.load(twiddles_ptr + 2 * n, mask=2 * n <= half, other=0.0)
    sine = tl.load(twiddles_ptr + 2 * n + 1, mask=2 * n <= half, other=0.0)
    return -(cosine * imaginary + sine * real), cosine * real - sine * imaginary


@triton.jit
def _unpack(z_ptr, twiddles_ptr, out_ptr, bins, half, F: tl.constexpr, N: tl.constexpr):
    item, n, k, mirror, inside = _places(bins, half, F, N)
    z_ptr += item * bins * half
    a, b = unpack(tl.load(z_ptr + (k * half + n), mask=inside, other=0))
    place = mirror * half + tl.where(n == 0, 0, half - n)
    c, d = unpack(tl.load(z_ptr + place, mask=inside, other=0))
    # -i exp(-pi i n / M) w is the conjugate of i exp(pi i n / M) conj w.
    turned_real, turned_imaginary = _turned(0.5 * (a - c), -0.5 * (b + d), twiddles_ptr, n, half)
    sum_real, sum_imaginary = 0.5 * (a + c), 0.5 * (b - d)
    out_ptr += item * bins * (half + 1)
    word = pack(sum_real + turned_real, sum_imaginary - turned_imaginary)
    tl.store(out_ptr + (k * (half + 1) + n), word, mask=inside)
    word = pack(sum_real - turned_real, -sum_imaginary - turned_imaginary)
    tl.store(out_ptr + (mirror * (half + 1) + half - n), word, mask=inside & (2 * n < half))


@triton.jit
def _pack(spectrum_ptr, twiddles_ptr, out_ptr, bins, half, F: tl.constexpr, N: tl.constexpr):
    item, n, k, mirror, inside = _places(bins, half, F, N)
    spectrum_ptr += item * bins * (half + 1)
    a, b = unpack(tl.load(spectrum_ptr + (k * (half + 1) + n), mask=inside, other=0))
    c, d = unpack(tl.load(spectrum_ptr + (mirror * (half + 1) + half - n), mask=inside, other=0))
    sum_real, sum_imaginary = a + c, b - d
    turned_real, turned_imaginary = _turned(a - c, b + d, twiddles_ptr, n, half)
    out_ptr += item * bins * half
    word = pack(sum_real + turned_real, sum_imaginary + turned_imaginary)
    tl.store(out_ptr + (k * half + n), word, mask=inside)
    word = pack(sum_real - turned_real, turned_imaginary - sum_imaginary)
    tl.store(out_ptr + (mirror * half + half - n), word, mask=inside & (n > 0) & (2 * n < half))


def _launch(kernel, x: Tensor, columns: int, half: int) -> Tensor:
    """Send a kernel over pairs `(..., F, C, 2)`; return its result, of other columns."""
    *items, bins, _, _ = x.shape
    out = torch.empty(*items, bins, columns, 2, dtype=x.dtype, device=x.device)
    count = x.shape[:-3].numel() * triton.cdiv(half // 2 + 1, TILE["F"]) * triton.cdiv(bins, TILE["N"])
    words = x.view(torch.int64), *twiddles(half, x.device), out.view(torch.int64)
    kernel[(count,)](*words, bins, half, **TILE, num_warps=WARPS)
    return out


def forward(x: Tensor) -> Tensor:
    """Compute `real_fft2.reference` by a kernel."""
    half = x.shape[-1] // 2
    if not x.numel():
        return torch.empty(*x.shape[:-1], half + 1, 2, dtype=torch.float32, device=x.device)
    pairs = x.unflatten(-1, (half, 2))
    aligned = paired(pairs) and pairs.storage_offset() % 2 == 0
    z = torch.fft.fft2(torch.view_as_complex(pairs if aligned else pairs.contiguous()))
    return _launch(_unpack, torch.view_as_real(z).contiguous(), half + 1, half)


def inverse(spectrum: Tensor, frames: int) -> Tensor:
    """Compute `real_fft2.reference_inverse` by a kernel."""
    if not spectrum.numel():
        return torch.empty(*spectrum.shape[:-2], frames, dtype=torch.float32, device=spectrum.device)
    z = _launch(_pack, spectrum.contiguous(), frames // 2, frames // 2)
    return torch.view_as_real(torch.fft.ifft2(torch.view_as_complex(z), norm="forward")).flatten(-2)


def configurations() -> Iterator[Configuration]:
    """List all launches."""
    types = dict.fromkeys(("z_ptr", "spectrum_ptr", "out_ptr"), "*i64") | {"twiddles_ptr": "*fp32"}
    types |= {"bins": "i32", "half": "i32"}
    for kernel in (_unpack, _pack):
        yield Configuration.of(kernel, types, TILE, WARPS)
