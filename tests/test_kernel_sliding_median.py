"""The selection network and the running median: exact against SciPy, gradients by the stated rule."""

import itertools

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprim.kernels.selection_network import best_tile, selection_network
from torchprim.kernels.sliding_median import sliding_median


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
    """Sorted windows of a mirrored copy, in NumPy."""
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
    """The gradient of the sum of i * median[i], sample by sample, from the definition."""
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
