"""Windowed frames: kernel against reference, reference against `torch.stft`, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spectra import windowed_frames as op

# audio (B, T), W, hop
CASES = [((1, 1), 2, 1), ((2, 1), 8, 4), ((3, 50), 9, 4), ((2, 33), 16, 1), ((1, 3000), 2048, 512),
         ((2, 1500), 1030, 400), ((0, 9), 8, 2)]  # fmt: skip


def window(size):
    return torch.hann_window(size, device=DEVICE)


@runs_kernels
@pytest.mark.parametrize(("shape", "size", "hop"), CASES)
def test_kernel_equals_reference(shape, size, hop, monkeypatch, poisoned):
    audio = awkward(*shape, low=-1.0)
    expected = op.reference(audio, window(size), hop)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.windowed_frames(audio, window(size), hop)
    assert torch.equal(result, expected)


@pytest.mark.parametrize(("length", "size", "hop"), [(60, 16, 4), (50, 18, 5), (47, 15, 4), (1, 16, 8)])
def test_reference_equals_torch(length, size, hop):
    audio = torch.randn(2, length)
    hann = torch.hann_window(size)
    wanted = torch.stft(audio, size, hop, window=hann, pad_mode="constant", return_complex=True)
    assert torch.equal(torch.fft.rfft(op.windowed_frames(audio, hann, hop)).mT, wanted)


@pytest.mark.parametrize(("length", "size", "hop"), [(20, 8, 3), (5, 7, 2), (3, 8, 4)])
def test_gradients_in_double_precision(length, size, hop):
    audio = torch.randn(2, length, dtype=torch.float64, requires_grad=True)
    function = lambda x: op.windowed_frames(x, torch.hann_window(size).double(), hop)  # noqa: E731
    torch.autograd.gradcheck(function, (audio,))
    torch.autograd.gradgradcheck(function, (audio,))


def test_registration():
    audio = torch.randn(2, 20, requires_grad=True)
    torch.library.opcheck(op._frames, (audio, torch.hann_window(8), 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(8), torch.ones(8), 2), "audio and window must have shapes"),
        ((torch.zeros(1, 8), torch.ones(8), 0), "hop must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        op.windowed_frames(*arguments)
