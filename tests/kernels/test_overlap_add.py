"""Overlap-add: kernel against reference, reference against `torch.istft`, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spectra import overlap_add as op

# frames (B, N, W), hop, length
CASES = [
    ((1, 1, 2), 1, 1),
    ((2, 1, 8), 4, 5),
    ((3, 6, 8), 2, 11),
    ((2, 5, 9), 3, 40),  # odd, and longer than the frames reach
    ((1, 9, 10), 4, 30),  # the hop is no divisor
    ((2, 70, 16), 1, 69),
    ((1, 4, 2048), 512, 1537),
    ((2, 3, 2048), 700, 1400),
    ((1, 40, 64), 32, 1200),
    ((0, 3, 8), 2, 4),
    ((2, 0, 8), 2, 4),
]


def window(size):
    return torch.hann_window(size, device=DEVICE)


@runs_kernels
@pytest.mark.parametrize(("shape", "hop", "length"), CASES)
def test_kernel_equals_reference(shape, hop, length, monkeypatch, poisoned):
    frames = awkward(*shape, low=-1.0)
    expected = op.reference(frames, window(shape[-1]), hop, length)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.overlap_add(frames, window(shape[-1]), hop, length)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("size", "hop", "length"), [(16, 4, 60), (18, 5, 50), (15, 4, 47)])
def test_reference_equals_torch(size, hop, length):
    audio = torch.randn(2, length, dtype=torch.float64)
    hann = torch.hann_window(size, dtype=torch.float64)
    x = torch.stft(audio, size, hop, window=hann, pad_mode="constant", return_complex=True)
    wanted = torch.istft(x, size, hop, window=hann, length=length)
    frames = torch.fft.irfft(x.mT, n=size, norm="forward")
    torch.testing.assert_close(op.overlap_add(frames, hann, hop, length), wanted)


@pytest.mark.parametrize(
    ("shape", "hop", "length"), [((2, 4, 8), 2, 9), ((1, 3, 7), 3, 20), ((1, 3, 6), 2, 3)]
)
def test_gradients_in_double_precision(shape, hop, length):
    frames = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    function = lambda x: op.overlap_add(x, window(shape[-1]).cpu().double(), hop, length)  # noqa: E731
    torch.autograd.gradcheck(function, (frames,))
    torch.autograd.gradgradcheck(function, (frames,))


def test_registration():
    frames = torch.randn(2, 4, 8, requires_grad=True)
    torch.library.opcheck(op._overlap_add, (frames, torch.hann_window(8), 2, 9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 8), torch.ones(8), 2, 4), "frames and window must have shapes"),
        ((torch.zeros(1, 3, 8), torch.ones(7), 2, 4), "frames and window must have shapes"),
        ((torch.zeros(1, 3, 8), torch.ones(8), 0, 4), "hop and length must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        op.overlap_add(*arguments)
