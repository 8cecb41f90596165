"""Side-to-mid ratio: kernel against reference, known positions, level."""

import pytest
import torch

from tests.kernels.test_magnitude import SHAPES, spectrum
from tests.support.kernel_tools import DEVICE, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.spatial import side_to_mid as op


def stereo(*shape, by_frames=True):
    """Draw two channels: equal here, one silent there; some bins are silent, some huge, some tiny."""
    left, right = (spectrum(*shape, seed=seed, by_frames=by_frames).clone() for seed in (3, 4))
    right[..., ::3, :] = left[..., ::3, :]
    right[..., 1::5, :] = 0
    right[..., 2::7, :] = -left[..., 2::7, :]
    return torch.stack([left, right], -3)


@runs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [True, False])
def test_kernel_equals_reference(shape, order, monkeypatch, poisoned):
    pair = stereo(*shape, by_frames=order)
    pair = pair if order else pair.mT.contiguous().mT
    expected = op.reference(torch.view_as_real(pair))
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.side_to_mid(pair)
    for one, other in zip(result, expected, strict=True):
        assert one.is_contiguous()
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [False, pytest.param(True, marks=runs_kernels)])
@pytest.mark.parametrize("level", [1e-30, 1.0, 1e18])
def test_known_positions(kernel, level):
    gains = {(1, 1): 0, (1, -1): 15, (1, 0): 12, (0, 1): 12, (0, 0): 0, (1.1, 0.9): 7, (-1, -10 / 11): 5.3889}
    frames = torch.full((1, 6), level, dtype=torch.cfloat, device=DEVICE) * 1j
    for (left, right), position in gains.items():
        pair = torch.stack([left * frames, right * frames])
        if kernel:
            with forced_kernels():
                got, loudness = op.side_to_mid(pair)
        else:
            got, loudness = op.side_to_mid(pair)
        exact = position in (0, 12, 15)
        torch.testing.assert_close(got, torch.full_like(got, position), atol=0 if exact else 1e-3, rtol=0)
        want = level * (abs(left + right) + abs(left - right)) * torch.tensor([2.0, 3, 3, 3, 3, 2])
        torch.testing.assert_close(loudness[0].cpu() / level, want / level)


def test_no_items_and_bad_arguments():
    position, level = op.side_to_mid(torch.zeros(0, 2, 5, 6, dtype=torch.cfloat))
    assert position.shape == level.shape == (0, 5, 6)
    for bad in (torch.zeros(2, 5, 6), torch.zeros(3, 5, 6) + 0j, torch.zeros(5, 6) + 0j):
        with pytest.raises(ValueError, match=r"spectrum must be complex \(..., 2, F, N\), got"):
            op.side_to_mid(bad)


def test_registration():
    torch.library.opcheck(op._side_to_mid, (torch.view_as_real(stereo(2, 5, 6).cpu()),))
