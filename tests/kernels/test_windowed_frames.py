"""Windowed frames: kernel against reference, reference against `torch.stft`, and gradients."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spectra import windowed_frames as op

# audio (B, T), W, hop
CASES = [
    ((1, 1), 2, 1),
    ((2, 9), 8, 4),
    ((3, 40), 9, 3),
    ((2, 41), 10, 4),  # the hop is no divisor
    ((2, 5), 16, 8),  # shorter than a window
    ((1, 2100), 2048, 512),
    ((1, 5000), 4096, 1024),  # a frame of several blocks
    ((0, 9), 8, 4),
]


def window(size):
    return torch.hann_window(size, device=DEVICE) + 0.1


@runs_kernels
@pytest.mark.parametrize(("shape", "size", "hop"), CASES)
def test_kernel_equals_reference(shape, size, hop, monkeypatch, poisoned):
    audio = awkward(*shape, low=-1.0)
    expected = op.reference(audio, window(size), hop)
    assert expected.shape == (shape[0], 1 + shape[1] // hop, size)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.windowed_frames(audio, window(size), hop)
    assert torch.equal(result, expected)


@pytest.mark.parametrize(("size", "hop", "length"), [(16, 4, 60), (18, 5, 50), (2048, 512, 44100)])
def test_reference_is_the_input_of_torch_stft(size, hop, length):
    audio, hann = torch.randn(2, length), torch.hann_window(size)
    expected = torch.stft(audio, size, hop, window=hann, pad_mode="constant", return_complex=True)
    assert torch.equal(torch.fft.rfft(op.windowed_frames(audio, hann, hop)).mT, expected)


@pytest.mark.parametrize(("shape", "size", "hop"), [((2, 9), 8, 2), ((1, 11), 7, 3), ((1, 3), 8, 4)])
def test_gradients_in_double_precision(shape, size, hop):
    audio = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    function = lambda x: op.windowed_frames(x, window(size).cpu().double(), hop)  # noqa: E731
    torch.autograd.gradcheck(function, (audio,))
    torch.autograd.gradgradcheck(function, (audio,))


def test_registration():
    audio = torch.randn(2, 9, requires_grad=True)
    torch.library.opcheck(op._windowed_frames, (audio, torch.hann_window(8), 2))


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
