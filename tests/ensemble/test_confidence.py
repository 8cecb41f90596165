"""Equation 1 and the confidence measure, against the paper's formulas in NumPy."""

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples

import torchprim as tp
from tests.support.kernel_tools import DEVICE, forbid, runs_kernels
from torchprim.kernels.clustering import loudest, silhouette, soft_assignment
from torchprim.kernels.dispatch import forced_kernels


@pytest.fixture
def masks(generator):
    return [torch.rand(2, 33, 50, generator=generator, dtype=torch.float64) for _ in range(4)]


@pytest.fixture
def magnitude(generator):
    return torch.rand(2, 33, 50, generator=generator, dtype=torch.float64)


WEIGHTS = [1.0, 2.0, 0.0, 0.5]


def equation_1(x, weights, beta):
    """Compute equation 1 in the paper's form: points `(..., D)` -> `(...)`."""
    d0 = np.sqrt((weights * x**2).sum(-1))
    d1 = np.sqrt((weights * (1 - x) ** 2).sum(-1))
    return np.exp(-beta * d1) / (np.exp(-beta * d0) + np.exp(-beta * d1))


@pytest.mark.parametrize(("weights", "beta"), [(None, 5.0), (WEIGHTS, 2.5), (torch.tensor(WEIGHTS), 0.1)])
def test_soft_assignment_is_equation_1(masks, weights, beta):
    x = tp.embed(masks)
    assert x.shape == (2, 33, 50, 4)
    w = np.ones(4) if weights is None else np.asarray(weights, dtype=float)
    wanted = equation_1(x.numpy(), w, beta)
    np.testing.assert_allclose(tp.soft_assignment(masks, weights, beta).numpy(), wanted, atol=1e-12)
    np.testing.assert_allclose(tp.soft_assignment(x, weights, beta).numpy(), wanted, atol=1e-12)


def test_confidence_is_the_papers(masks, magnitude):
    """All of the loudest 1 %, item by item, with scikit-learn's silhouette."""
    got = tp.confidence_measure(masks, magnitude, WEIGHTS, 2.5, n_points=None, share=0.05)
    w, x = np.array(WEIGHTS), tp.embed(masks).numpy()
    for item in range(2):
        loud = np.argsort(-magnitude[item].numpy().ravel())[: int(np.ceil(0.05 * 33 * 50))]
        points = x[item].reshape(-1, 4)[loud]
        vocals = equation_1(points, w, 2.5)
        posterior = (2 * np.maximum(vocals, 1 - vocals) - 1).mean()
        nearest = (w * (1 - points) ** 2).sum(-1) < (w * points**2).sum(-1)
        silhouette = silhouette_samples(points * np.sqrt(w), nearest).mean()
        np.testing.assert_allclose(got.posterior[item], posterior, atol=1e-12)
        np.testing.assert_allclose(got.silhouette[item], silhouette, atol=1e-12)
        np.testing.assert_allclose(got.confidence[item], posterior * silhouette, atol=1e-12)
    args = (masks, magnitude, WEIGHTS)
    assert torch.equal(tp.silhouette(*args, None, share=0.05), got.silhouette)
    assert torch.equal(tp.posterior_strength(*args, 2.5, share=0.05), got.posterior)


def test_sampling_is_reproducible_close_and_the_same_for_every_item(masks, magnitude):
    def measure(m, a, n_points, seed=0):
        g = torch.Generator().manual_seed(seed)
        return tp.confidence_measure(m, a, n_points=n_points, share=1.0, generator=g).silhouette

    exact, sampled = measure(masks, magnitude, None), measure(masks, magnitude, 500)
    torch.testing.assert_close(sampled, exact, atol=0.02, rtol=0)
    assert torch.equal(sampled, measure(masks, magnitude, 500))
    assert not torch.equal(sampled, measure(masks, magnitude, 500, seed=1))
    alone = measure([m[1] for m in masks], magnitude[1], 500)
    torch.testing.assert_close(alone, sampled[1])
    # More points than there are: all of them.
    torch.testing.assert_close(measure(masks, magnitude, 10**6), exact)


def test_confidence_orders_clear_before_unclear(magnitude, generator):
    clear = (torch.rand(2, 33, 50, generator=generator, dtype=torch.float64) > 0.5).double()
    unclear = 0.5 + 0.1 * (torch.rand(2, 33, 50, generator=generator, dtype=torch.float64) - 0.5)
    high = tp.confidence_measure([clear, clear], magnitude, share=0.2)
    low = tp.confidence_measure([unclear, unclear], magnitude, share=0.2)
    assert (high.confidence > 0.99).all()
    assert (low.confidence < 0.3).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_constant_masks_have_confidence_0_and_finite_gradients(value):
    masks = torch.full((33, 50, 3), value, requires_grad=True)
    weights = torch.tensor([1.0, 0.0, 2.0], requires_grad=True)
    measure = tp.confidence_measure(masks, torch.zeros(33, 50), weights)
    (measure.confidence + tp.soft_assignment(masks, weights).sum()).backward()
    assert measure.confidence == 0
    assert torch.isfinite(masks.grad).all()
    assert torch.isfinite(weights.grad).all()


def test_gradcheck(generator):
    masks = torch.rand(5, 6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    beta = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    magnitude = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(tp.soft_assignment, (masks, weights, beta))

    def measure(m, w, b):
        return tp.confidence_measure(m, magnitude, w, b, n_points=None, share=1.0).confidence

    assert torch.autograd.gradcheck(measure, (masks, weights, beta))


@runs_kernels
@pytest.mark.parametrize("by_frames", [False, True])
def test_kernels_give_the_same_confidence_and_gradients(masks, magnitude, by_frames, monkeypatch, poisoned):
    if by_frames:
        masks, magnitude = ([x.mT.contiguous().mT for x in masks], magnitude.mT.contiguous().mT)

    def measure():
        leaves = [x.float().to(DEVICE).requires_grad_() for x in (torch.tensor(WEIGHTS), *masks)]
        beta = torch.tensor(2.5, device=DEVICE, requires_grad=True)
        got = tp.confidence_measure(
            leaves[1:], magnitude.float().to(DEVICE), leaves[0], beta, n_points=None, share=0.03
        )
        return [*got, *torch.autograd.grad(got.confidence.sum(), [beta, *leaves])]

    # The references, in double precision.
    leaves = [x.double().requires_grad_() for x in (torch.tensor(WEIGHTS), *masks)]
    beta = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    wanted = tp.confidence_measure(leaves[1:], magnitude, leaves[0], beta, n_points=None, share=0.03)
    wanted = [*wanted, *torch.autograd.grad(wanted.confidence.sum(), [beta, *leaves])]

    for module in (loudest, silhouette, soft_assignment):
        forbid(monkeypatch, module, *(name for name in dir(module) if name.startswith("reference")))
    with forced_kernels():
        got = measure()
    for value, reference in zip(got, wanted, strict=True):
        torch.testing.assert_close(value.double().cpu(), reference, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 0}, "beta must be positive, got 0"),
        ({"beta": float("nan")}, "beta must be positive, got nan"),
        ({"weights": [1.0]}, r"weights must hold 4 numbers, one a mask, got \[1.0\]"),
        ({"weights": [1.0, -1, 1, 1]}, "weights must not be negative"),
        ({"weights": [0.0, 0, 0, 0]}, "weights must not be negative and not all 0"),
        ({"n_points": 1}, "n_points must be a whole number at least 2, got 1"),
        ({"share": 0.0}, r"share must lie in \(0, 1\], got 0.0"),
        ({"magnitude": torch.rand(2, 33, 49)}, r"magnitude has shape \(2, 33, 49\), the masks \(2, 33, 50\)"),
        ({"magnitude": -torch.ones(2, 33, 50)}, "magnitude must not be negative"),
        ({"maxima": torch.ones(2, 33, 6)}, r"maxima must have shape \(2, 33, 7\), got \(2, 33, 6\)"),
        ({"masks": []}, "masks must hold at least one mask"),
        (
            {"masks": [torch.rand(3, 4), torch.rand(4, 3)]},
            r"masks\[1\] has shape \(4, 3\), masks\[0\] \(3, 4\)",
        ),
        ({"masks": torch.ones(4, 4, 2, dtype=torch.cfloat)}, "masks must be real"),
    ],
)
def test_bad_arguments(masks, magnitude, change, message):
    with pytest.raises(ValueError, match=message):
        tp.confidence_measure(**({"masks": masks, "magnitude": magnitude} | change))
