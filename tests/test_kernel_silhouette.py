"""Silhouette against scikit-learn."""

import numpy as np
import pytest
import torch

from torchprim.kernels import silhouette as module
from torchprim.kernels.silhouette import silhouette_samples


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
