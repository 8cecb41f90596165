"""Silhouette against scikit-learn; the kernel and both gradients against the reference."""

import numpy as np
import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.clustering import silhouette as module
from torchprim.kernels.clustering.silhouette import silhouette_samples
from torchprim.kernels.dispatch import forced_kernels


@pytest.mark.parametrize(
    ("points", "dimensions", "clusters"), [(2, 1, 2), (3, 4, 2), (200, 5, 2), (331, 20, 4)]
)
def test_equals_scikit_learn(points, dimensions, clusters, monkeypatch):
    oracle = pytest.importorskip("sklearn.metrics").silhouette_samples
    generator = np.random.default_rng(points)
    x, labels = generator.random((points, dimensions)), generator.integers(0, clusters, points)
    labels[:clusters] = range(clusters)
    if points > clusters:
        wanted = oracle(x, labels)
        got = silhouette_samples(torch.tensor(x), torch.tensor(labels), clusters)
        np.testing.assert_allclose(got.numpy(), wanted, atol=1e-12)
        monkeypatch.setattr(module, "_TILE", 1000)  # many tiles give the same
        tiled = silhouette_samples(torch.tensor(x), torch.tensor(labels), clusters)
        np.testing.assert_allclose(tiled.numpy(), wanted, atol=1e-12)
    else:  # every point is alone in its cluster
        assert not silhouette_samples(torch.tensor(x), torch.tensor(labels), clusters).any()


def test_batch_equals_loop_and_empty_clusters():
    x = torch.rand(2, 3, 50, 4, generator=torch.Generator().manual_seed(0))
    labels = (x[..., 0] > 0.5).long()
    batch = silhouette_samples(x, labels)
    for i in range(2):
        for j in range(3):
            assert torch.equal(batch[i, j], silhouette_samples(x[i, j], labels[i, j]))
    assert not silhouette_samples(x, torch.zeros_like(labels)).any()
    # A third, empty cluster changes nothing.
    assert torch.equal(silhouette_samples(x, labels, 3), batch)


def test_points_that_coincide():
    x = torch.ones(6, 2, requires_grad=True)
    score = silhouette_samples(x, torch.tensor([0, 0, 0, 1, 1, 1]))
    score.sum().backward()
    assert not score.any()
    assert torch.isfinite(x.grad).all()


def test_gradcheck():
    x = torch.rand(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 0])
    assert torch.autograd.gradcheck(lambda t: silhouette_samples(t, labels, 3), x)


def test_bad_arguments():
    with pytest.raises(ValueError, match="clusters must be at least 2, got 1"):
        silhouette_samples(torch.rand(4, 2), torch.zeros(4).long(), 1)
    with pytest.raises(ValueError, match="labels must have shape"):
        silhouette_samples(torch.rand(4, 2), torch.zeros(5).long())


SIZES = [(1, 1, 1, 2), (1, 2, 3, 2), (2, 67, 3, 2), (1, 37, 5, 5), (1, 9, 20, 3), (1, 3, 32, 2)]  # B, P, D, K


@runs_kernels
@pytest.mark.parametrize("items, count, dimensions, clusters", SIZES)
def test_kernel_equals_reference(items, count, dimensions, clusters, monkeypatch, poisoned):
    x = awkward(items, count, dimensions, seed=1)
    x[:, count // 2 :: 7] = x[:, :1].clone()  # some coincide
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(0, clusters, (items, count), generator=generator).to(DEVICE)
    labels[labels == 1] = 0 if clusters > 2 else 1  # an empty cluster among many
    gradient = awkward(items, count, seed=3, low=-1.0)
    expected = module.reference(x, labels, clusters)
    wanted = module.reference_gradient(gradient, x, labels, *expected[1:])
    forbid(monkeypatch, module, "reference", "reference_gradient")
    leaf = x.detach().requires_grad_()
    with forced_kernels():
        got = module._silhouette(leaf, labels, clusters)
        got[0].backward(gradient)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(leaf.grad, wanted, atol=1e-5, rtol=1e-4)


@runs_kernels
def test_kernel_with_points_close_together(poisoned):
    """Differences, not products: a thousandth of the points' distance from 0, and yet three digits."""
    x = 1000 + 1e-1 * awkward(1, 33, 4, seed=5)
    labels = (awkward(1, 33, seed=6) > 0.5).long()
    expected = silhouette_samples(x.double(), labels)
    with forced_kernels():
        torch.testing.assert_close(silhouette_samples(x, labels).double(), expected, atol=1e-4, rtol=0)
        assert silhouette_samples(x[:0], labels[:0]).shape == (0, 33)


def test_gradient_of_the_kernels_reference_is_autograds():
    """Through the definition, written with autograd's own operations."""
    x = torch.rand(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    labels = torch.tensor([0, 1, 2] * 4)
    distance = (x[:, None] - x).square().sum(-1)
    distance = torch.where(distance > 0, distance, 1).sqrt() * (distance > 0)
    means = [distance[:, labels == k].sum(-1) / 4 for k in range(3)]
    within = torch.stack(means, -1)[torch.arange(12), labels] * 4 / 3
    other = torch.stack(means, -1).masked_fill(labels[:, None] == torch.arange(3), torch.inf).amin(-1)
    wanted = (other - within) / torch.maximum(within, other)
    got = silhouette_samples(x, labels, 3)
    torch.testing.assert_close(got, wanted)
    weights = torch.arange(12.0, dtype=torch.float64)
    gradients = [torch.autograd.grad(s, x, weights, retain_graph=True)[0] for s in (got, wanted)]
    torch.testing.assert_close(*gradients)


def test_registration():
    x = torch.rand(2, 7, 3, requires_grad=True)
    labels = torch.randint(0, 2, (2, 7))
    torch.library.opcheck(module._silhouette, (x, labels, 2))
    _, sums, sizes = module.reference(x.detach(), labels, 2)
    torch.library.opcheck(module._silhouette_backward, (torch.rand(2, 7), x.detach(), labels, sums, sizes))


def test_compiles_whole():
    x, labels = torch.rand(7, 3, requires_grad=True), torch.randint(0, 2, (7,))
    compiled = torch.compile(silhouette_samples, fullgraph=True, backend="aot_eager")
    results = []
    for run in (compiled, silhouette_samples):
        score = run(x, labels)
        results.append((score.detach(), *torch.autograd.grad(score.sum(), x)))
    torch.testing.assert_close(*results)
