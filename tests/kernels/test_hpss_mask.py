"""The HPSS mask and its gradients: reference against autograd and differences, kernel against reference."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.hpss import hpss_mask as op
from torchprim.kernels.hpss import sliding_median

# shape, samples over frames, over bins, power
CASES = [
    ((1, 1, 1), 1, 1, 2.0),
    ((2, 7, 5), 3, 3, 2.0),
    ((18, 33), 4, 5, 1.3),
    ((1, 17, 67), 8, 2, 2.0),
    ((2, 1, 17, 18), 17, 17, 1.0),
    ((16, 31), 31, 17, 2.0),
    ((31, 31), 5, 63, 0.5),
]


def spectrogram(*shape, ties=False):
    """Draw magnitudes with silence in a corner, where both medians are 0, and single zeros."""
    x = awkward(*shape, seed=5, high=6.0)
    x = x.round() if ties else x
    x = torch.where(awkward(*shape, seed=6) > 0.1, x, 0)
    x[..., : shape[-2] // 2, : shape[-1] // 2] *= 0
    return x


def leaves_for(shape, power, ties=False):
    gain = awkward(shape[-2], seed=7)
    leaves = (spectrogram(*shape, ties=ties), torch.tensor(power, device=DEVICE), gain)
    return [x.detach().clone().requires_grad_() for x in leaves]


def composed(magnitude, over_frames, over_bins, power, gain):
    """Compute the mask from the running median, to be differentiated by autograd."""
    harmonic = sliding_median.sliding_median(magnitude, over_frames, -1)
    percussive = sliding_median.sliding_median(magnitude, over_bins, -2)
    return torch.where(magnitude > 0, op.power_ratio(harmonic, percussive, power) * gain[:, None], 0)


@runs_kernels
@pytest.mark.parametrize(("shape", "over_frames", "over_bins", "power"), CASES)
@pytest.mark.parametrize("ties", [False, True])
def test_kernel_equals_reference(shape, over_frames, over_bins, power, ties, monkeypatch, poisoned):
    leaves = leaves_for(shape, power, ties)
    gradient = awkward(*shape, seed=8, low=-1.0)
    values = [x.detach() for x in leaves]
    expected = op.reference(*values, over_frames, over_bins, torch.float32)
    expected_gradients = op.reference_gradients(gradient, *values, over_frames, over_bins, True)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    forbid(monkeypatch, sliding_median, "reference", "reference_gradient")
    with forced_kernels():
        mask = op.hpss_mask(leaves[0], over_frames, over_bins, leaves[1], leaves[2])
        mask.backward(gradient)
    torch.testing.assert_close(mask, expected, atol=1e-6, rtol=1e-5)
    for leaf, wanted in zip(leaves, expected_gradients, strict=True):
        assert leaf.grad.isfinite().all()
        torch.testing.assert_close(leaf.grad, wanted, atol=1e-4, rtol=1e-4)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernel_reads_half_precision(dtype, monkeypatch, poisoned):
    leaves = leaves_for((17, 20), 2.0)
    leaves[0] = leaves[0].detach().to(dtype).requires_grad_()
    values = [x.detach() for x in leaves]
    gradient = awkward(17, 20, seed=9)
    expected = op.reference(values[0].float(), *values[1:], 5, 3, torch.float32)
    expected_gradients = op.reference_gradients(gradient, values[0].float(), *values[1:], 5, 3, True)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    with forced_kernels():
        mask = op.hpss_mask(leaves[0], 5, 3, leaves[1], leaves[2])
        mask.backward(gradient)
    assert mask.dtype == torch.float32 and leaves[0].grad.dtype == dtype
    torch.testing.assert_close(mask, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(leaves[0].grad, expected_gradients[0].to(dtype), atol=1e-2, rtol=1e-2)


@runs_kernels
def test_kernel_without_a_gradient_to_the_magnitude(monkeypatch, poisoned):
    """Power and gain alone: nothing is gathered."""
    magnitude, power, gain = leaves_for((5, 19), 1.5)
    _, *expected = op.reference_gradients(
        torch.ones(5, 19), *(x.detach() for x in (magnitude, power, gain)), 3, 5, False
    )
    forbid(monkeypatch, op, "reference_gradients")
    with forced_kernels():
        op.hpss_mask(magnitude.detach(), 3, 5, power, gain).sum().backward()
    for leaf, wanted in zip((power, gain), expected, strict=True):
        torch.testing.assert_close(leaf.grad, wanted, atol=1e-5, rtol=1e-4)


@runs_kernels
def test_an_empty_batch():
    empty = torch.zeros(0, 9, 8, device=DEVICE, requires_grad=True)
    power = torch.tensor(2.0, device=DEVICE, requires_grad=True)
    with forced_kernels():
        mask = op.hpss_mask(empty, 3, 3, power)
        mask.sum().backward()
    assert mask.shape == empty.grad.shape == (0, 9, 8) and power.grad == 0


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("power", [1.0, 2.0, 3.3])
def test_gradients_are_those_of_the_composition(power, ties):
    """Torch differentiates the ratio at 0 as the operator's rules say, for powers from 1 on."""
    ours, theirs = (
        [x.cpu().detach().requires_grad_() for x in leaves_for((2, 9, 12), power, ties)] for _ in "ab"
    )
    gradient = awkward(2, 9, 12, seed=3, low=-1.0, device="cpu")
    mask = op.hpss_mask(ours[0], 5, 3, ours[1], ours[2])
    mask.backward(gradient)
    wanted = composed(theirs[0], 5, 3, theirs[1], theirs[2])
    wanted.backward(gradient)
    torch.testing.assert_close(mask, wanted)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_gradients_in_double_precision():
    magnitude = (awkward(2, 5, 6, device="cpu").double() + 0.1).requires_grad_()
    power = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    gain = awkward(5, seed=2, device="cpu").double().requires_grad_()
    torch.autograd.gradcheck(lambda x, p, g: op.hpss_mask(x, 5, 3, p, g), (magnitude, power, gain))


def test_registration():
    tensors = [x.cpu().detach() for x in leaves_for((2, 5, 6), 2.0)]
    leaves = [x.clone().requires_grad_() for x in tensors]
    torch.library.opcheck(op._mask, (*leaves, 5, 3, torch.float32))
    for to_magnitude in (True, False):
        arguments = (awkward(2, 5, 6, device="cpu"), *tensors, 5, 3, to_magnitude)
        torch.library.opcheck(op._mask_backward, arguments)


def test_compiles_without_a_break():
    magnitude = spectrogram(5, 9).cpu()
    compiled = torch.compile(lambda x: op.hpss_mask(x, 5, 3, 2.0), fullgraph=True, backend="aot_eager")
    one, other = (magnitude.clone().requires_grad_() for _ in range(2))
    compiled(one).square().sum().backward()
    op.hpss_mask(other, 5, 3, 2.0).square().sum().backward()
    torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(4), 3, 3), "magnitude must be a real tensor"),
        ((torch.zeros(4, 4, dtype=torch.cfloat), 3, 3), "magnitude must be a real tensor"),
        ((torch.zeros(4, 0), 3, 3), "magnitude must not be empty"),
        ((torch.zeros(4, 4), 0, 3), "over_frames must be a whole number"),
        ((torch.zeros(4, 4), 3, 1024), "over_bins must be a whole number"),
        ((torch.zeros(4, 4), 3, 3, -1.0), "power must be positive"),
        ((torch.zeros(4, 4), 3, 3, torch.ones(2)), "power must be one number"),
        ((torch.zeros(4, 4), 3, 3, 2.0, torch.ones(3)), "gain must have shape"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        op.hpss_mask(*arguments)
