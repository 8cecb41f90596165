"""The selection network and the running median: exact against SciPy, gradients by the stated rule."""

import itertools

import numpy as np
import pytest
import scipy.ndimage
import torch

from tests.support.hypothesis_or_skip import given, settings, st
from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.hpss import sliding_median as op
from torchprim.kernels.hpss.selection_network import best_tile, selection_network
from torchprim.kernels.hpss.sliding_median import sliding_median


def run_network(network, samples):
    values = list(samples)
    for is_max, a, b in network.steps:
        values.append(max(values[a], values[b]) if is_max else min(values[a], values[b]))
    return [values[i] for i in network.outputs]


@pytest.mark.parametrize(("window", "tile"), [(1, 1), (2, 2), (3, 2), (4, 1), (5, 4), (6, 4)])
def test_network_selects_every_rank_of_every_zero_one_input(window, tile):
    """The zero-one principle: a network right on all 0/1 inputs is right on all inputs."""
    for rank in range(window):
        network = selection_network(window, rank, tile)
        for bits in itertools.product((0, 1), repeat=network.inputs):
            wanted = [sorted(bits[i : i + window])[rank] for i in range(tile)]
            assert run_network(network, bits) == wanted


@pytest.mark.parametrize("window", [9, 17, 31, 32, 63])
def test_network_on_random_inputs(window):
    rank, generator = window // 2, np.random.default_rng(window)
    network = selection_network(window, rank, best_tile(window, rank))
    for _ in range(50):
        samples = generator.integers(0, 12, network.inputs).tolist()
        wanted = [sorted(samples[i : i + window])[rank] for i in range(len(network.outputs))]
        assert run_network(network, samples) == wanted


def test_network_shares_work():
    """274 operations an output for one window of 31, under 42 for eight that share theirs."""
    assert len(selection_network(31, 15, 1).steps) == 274
    assert len(selection_network(31, 15, 8).steps) / 8 < 42


def median_by_definition(x, window, dim):
    """Sort the windows of a mirrored copy, in NumPy."""
    pads = [(0, 0)] * x.ndim
    pads[dim] = (window // 2, window - 1 - window // 2)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pads, mode="symmetric"), window, dim)
    return np.sort(windows, -1)[..., window // 2]


@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    window=st.integers(1, 70),
    data=st.data(),
)
@settings(max_examples=120, deadline=None)
def test_equals_the_definition_and_scipy_bit_for_bit(shape, window, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    ties = data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    x = torch.randn(shape, generator=generator)
    if ties:
        x = (2 * x).round() + 0.0
    got = sliding_median(x, window, dim).numpy()
    assert np.array_equal(got, median_by_definition(x.numpy(), window, dim))
    # SciPy 1.17 reads beyond its buffer where the window is longer than the signal.
    if window <= x.shape[dim]:
        size = [1] * len(shape)
        size[dim] = window
        assert np.array_equal(got, scipy.ndimage.median_filter(x.numpy(), size=size, mode="reflect"))


def test_more_columns_than_a_block():
    x = torch.randn(3, 40_000, generator=torch.Generator().manual_seed(1))
    wanted = scipy.ndimage.median_filter(x.numpy(), size=(3, 1), mode="reflect")
    assert np.array_equal(sliding_median(x, 3, 0).numpy(), wanted)
    wanted = scipy.ndimage.median_filter(x.numpy(), size=(1, 31), mode="reflect")
    assert np.array_equal(sliding_median(x, 31, 1).numpy(), wanted)


def test_non_contiguous_input_and_dtypes():
    x = torch.randn(30, 20, 4, generator=torch.Generator().manual_seed(2))[::2, :, 1].T
    assert torch.equal(sliding_median(x, 5), sliding_median(x.contiguous(), 5))
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        y = x.to(dtype)
        assert sliding_median(y, 5).dtype == dtype
        assert torch.equal(sliding_median(y, 5), sliding_median(y.double(), 5).to(dtype))


def gradient_by_rule(x, window):
    """Compute the gradient of the sum of i * median[i], sample by sample, from the definition."""
    length, gradient = len(x), np.zeros(len(x))
    for i in range(length):
        index = np.arange(i - window // 2, i - window // 2 + window) % (2 * length)
        index = np.where(index < length, index, 2 * length - 1 - index)
        median = np.sort(x[index])[window // 2]
        gradient[min(j for j in index if x[j] == median)] += i + 1
    return gradient


@pytest.mark.parametrize(("length", "window"), [(12, 5), (12, 4), (3, 7), (5, 31), (1, 3), (20, 2), (9, 1)])
@pytest.mark.parametrize("ties", [False, True])
def test_gradient_goes_to_the_selected_sample_lowest_index_on_ties(length, window, ties):
    generator = np.random.default_rng(length + window)
    x = generator.integers(0, 3, length).astype(float) if ties else generator.standard_normal(length)
    leaf = torch.tensor(x, requires_grad=True)
    (sliding_median(leaf, window) * torch.arange(1, length + 1)).sum().backward()
    assert np.array_equal(leaf.grad.numpy(), gradient_by_rule(x, window))


def test_gradcheck():
    x = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: sliding_median(t, 5, 1), x)
    assert torch.autograd.gradcheck(lambda t: sliding_median(t, 4, 0), x)


@pytest.mark.parametrize("window", [0, -3, 1024, 2.5, True])
def test_window_out_of_range(window):
    with pytest.raises(ValueError, match="window must be a whole number"):
        sliding_median(torch.rand(8), window)


@pytest.mark.parametrize(
    "x", [torch.zeros(0), torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.cfloat)]
)
def test_bad_tensor(x):
    with pytest.raises(ValueError, match="x must be a real tensor"):
        sliding_median(x, 3)


# Both ways of reading; rows and columns that fill no program, or more than one; a window as long as the axis
# is mirrored to.
KERNEL_CASES = [
    ((1,), 1, 0),
    ((2, 1), 3, -1),
    ((3, 5), 2, -1),
    ((17, 37), 3, -1),
    ((2, 131), 4, -1),
    ((2, 41), 17, 1),
    ((3, 16), 31, -1),
    ((1, 35), 63, -1),
    ((7, 3), 3, 0),
    ((19, 131), 4, 0),
    ((2, 17, 5), 17, 1),
    ((2, 15, 1, 3), 31, -3),
    ((31, 2), 63, 0),
]


@runs_kernels
@pytest.mark.parametrize(("shape", "window", "dim"), KERNEL_CASES)
@pytest.mark.parametrize("ties", [False, True])
def test_kernel_equals_reference(shape, window, dim, ties, monkeypatch, poisoned):
    x = awkward(*shape, seed=window, high=7.0)
    x = x.round() if ties else x
    gradient = awkward(*shape, seed=window + 1)
    expected = op.reference(x, window, dim)
    assert np.array_equal(expected.cpu().numpy(), median_by_definition(x.cpu().numpy(), window, dim))
    expected_gradient = op.reference_gradient(gradient, x, expected, window, dim)
    forbid(monkeypatch, op, "reference", "reference_gradient")
    leaf = x.clone().requires_grad_()
    with forced_kernels():
        median = sliding_median(leaf, window, dim)
        median.backward(gradient)
    assert torch.equal(median, expected)
    assert torch.equal(leaf.grad, expected_gradient)  # the same sums in the same order


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dim", [0, 1])
def test_kernel_reads_half_precision(dtype, dim, monkeypatch, poisoned):
    x = awkward(18, 20).to(dtype)
    gradient = awkward(18, 20, seed=1).to(dtype)
    expected = op.reference(x.double(), 5, dim)
    expected_gradient = op.reference_gradient(gradient.double(), x.double(), expected, 5, dim)
    forbid(monkeypatch, op, "reference", "reference_gradient")
    leaf = x.clone().requires_grad_()
    with forced_kernels():
        median = sliding_median(leaf, 5, dim)
        median.backward(gradient)
    assert median.dtype == leaf.grad.dtype == dtype
    assert torch.equal(median.double(), expected)
    torch.testing.assert_close(leaf.grad, expected_gradient.to(dtype))


@runs_kernels
def test_kernel_passes_nan_on():
    """A NaN is never dropped: every median of a window that holds it is NaN."""
    x = awkward(3, 40)
    x[1, 20] = torch.nan
    with forced_kernels():
        assert sliding_median(x, 5, 1)[1, 18:23].isnan().all()
        assert not sliding_median(x, 5, 1)[[0, 2]].isnan().any()


@runs_kernels
def test_windows_for_which_there_is_no_kernel_take_the_reference():
    x = awkward(2, 70, device=DEVICE)
    with forced_kernels():
        for window, y in ((64, x), (9, x[:, :3])):  # too long; mirrored more than once
            assert torch.equal(sliding_median(y, window), op.reference(y, window, -1))


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="x must be a real tensor that is not empty"):
        sliding_median(torch.zeros(0, 4), 3)


def test_registration():
    x = awkward(3, 7, 2, device="cpu")
    torch.library.opcheck(op._median, (x.clone().requires_grad_(), 5, 1))
    torch.library.opcheck(op._median_backward, (x, x.flip(0), op.reference(x.flip(0), 5, 1), 5, 1))


def test_compiles_without_a_break():
    x = awkward(4, 9, device="cpu")
    compiled = torch.compile(lambda t: sliding_median(t, 5, -1), fullgraph=True, backend="aot_eager")
    leaf = x.clone().requires_grad_()
    compiled(leaf).square().sum().backward()
    plain = x.clone().requires_grad_()
    sliding_median(plain, 5, -1).square().sum().backward()
    assert torch.equal(leaf.grad, plain.grad)
