"""Passes over memory that cuFFT is likely to make, as PyTorch calls it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from benchmarks.predict import rates
from benchmarks.predict.ledger import Ledger

_SHARED = 8192  # complex numbers of one transform that fit the shared memory


def factors(n: int) -> list[int]:
    """Return the prime factors of n.

    >>> factors(2584)
    [2, 2, 2, 17, 19]
    """
    found, p = [], 2
    while n > 1:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found


def passes(n: int, real: bool = False) -> int:
    """Return how often all data of a transform of length n are read and written.

    Radices above 7 are kernels of their own; between real numbers and complex ones of half the length there
    is one pass more, except for powers of two up to 4096.
    """
    work = n // 2 if real and n % 2 == 0 else n
    count = 1 if max(factors(work), default=1) <= 7 and work <= _SHARED else 2
    return count + (1 if real and not (n & (n - 1) == 0 and n <= 4096) else 0)


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def add_fft(ledger: Ledger, name: str, x: Tensor, dims: Sequence[int], out: Tensor) -> None:
    """Add the rows of `_fft_r2c`, `_fft_c2r` or `_fft_c2c`."""
    real = out if name == "_fft_c2r" else x
    spectrum = x if name == "_fft_c2r" else out
    count = x.numel() // math.prod(x.shape[d] for d in dims)
    if name == "_fft_c2r":  # cuFFT may write over its input
        crossed = 0 if x.is_contiguous() else 32 * x.numel()
        ledger.add("_fft_c2r: ATen's clone of the input", "copy", _bytes(x), _bytes(x), crossed=crossed)
    n = real.shape[dims[-1]]
    times = passes(n, real=name != "_fft_c2c")
    moved = (_bytes(real) + _bytes(spectrum)) / 2 + (times - 1) * _bytes(spectrum)
    operations = 2.5 * real.numel() * math.log2(max(2, n))
    seconds = operations / rates.FFT_FLOAT32
    ledger.add(f"{name} along {n}, {count} x", "fft", moved, moved, launches=times, arithmetic=seconds)
    for d in dims[:-1]:
        length = x.shape[d]
        times = passes(length)
        moved = times * _bytes(spectrum)
        # A generic radix p takes p operations a point.
        seconds = spectrum.numel() * sum(8 * p for p in factors(length)) / rates.FFT_FLOAT32
        ledger.add(f"{name}: c2c along {length}", "fft", moved, moved, launches=times, arithmetic=seconds)
