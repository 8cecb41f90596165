"""Clustering losses against their definitions over all pairs of bins, in float64; gradients; memory."""

import contextlib

import pytest
import torch
from torch.nn.functional import normalize

from torchprim.kernels.clustering.embedding_grams import full_float32
from torchprim.losses.clustering import deep_clustering_loss, whitened_kmeans_loss
from torchprim.losses.grams import weighted_grams


def rows(embedding, labels, weights):
    """Rows w v and w y of one item, and w."""
    w = weights.flatten()
    y = torch.stack([~labels.flatten(), labels.flatten()], -1).double()
    return w[:, None] * embedding.flatten(0, 1), w[:, None] * y, w


def test_deep_clustering_is_the_distance_of_affinities(batch):
    wanted = []
    for v, y, w in (rows(*item) for item in zip(*batch, strict=True)):
        wanted.append((v @ v.T - y @ y.T).square().sum() / w.square().sum() ** 2)  # (TF) x (TF)
    torch.testing.assert_close(deep_clustering_loss(*batch), torch.stack(wanted).mean())


def test_soft_labels(batch):
    embedding, labels, weights = batch
    soft = labels.double() * 0.7 + 0.1
    y = torch.stack([1 - soft, soft], -1).flatten(1, 2) * weights.flatten(1)[..., None]
    v = embedding.flatten(1, 2) * weights.flatten(1)[..., None]
    wanted = (v @ v.mT - y @ y.mT).square().sum((1, 2)) / weights.square().sum((1, 2)) ** 2
    torch.testing.assert_close(deep_clustering_loss(embedding, soft, weights), wanted.mean())


@pytest.mark.parametrize("regularisation", [1e-9, 1e-3])
def test_whitened_kmeans_by_the_definition(batch, regularisation):
    wanted = []
    for v, y, _ in (rows(*item) for item in zip(*batch, strict=True)):
        vv, yy = v.T @ v, y.T @ y
        vv = vv + regularisation * vv.diagonal().mean() * torch.eye(4)
        yy = yy + regularisation * yy.diagonal().mean() * torch.eye(2)
        wanted.append(4 - torch.trace(vv.inverse() @ v.T @ y @ yy.inverse() @ y.T @ v))
    got = whitened_kmeans_loss(*batch, regularisation)
    torch.testing.assert_close(got, torch.stack(wanted).mean() / 4)


def test_whitened_kmeans_is_k_means_of_white_rows(batch):
    """|V G^-1/2 - Y (YᵀY)^-1 YᵀV G^-1/2|²: the spread about the class means after whitening."""
    embedding, labels, weights = (x[:1] for x in batch)
    v, y, _ = rows(embedding[0], labels[0], weights[0])
    values, vectors = torch.linalg.eigh(v.T @ v)
    white = v @ (vectors * values.rsqrt()) @ vectors.T
    means = (y.T @ y).inverse() @ y.T @ white
    got = whitened_kmeans_loss(embedding, labels, weights, 1e-12)
    torch.testing.assert_close(got, (white - y @ means).square().sum() / 4)


@pytest.mark.parametrize("function", [deep_clustering_loss, whitened_kmeans_loss])
def test_clustering_gradients(function, batch):
    embedding, labels, weights = batch
    assert torch.autograd.gradcheck(lambda v: function(v, labels, weights), embedding.requires_grad_())


@pytest.mark.parametrize("function", [deep_clustering_loss, whitened_kmeans_loss])
def test_layout_changes_nothing(function, batch):
    """A transposed embedding, as a recurrent network returns it, and its gradient."""
    embedding, labels, weights = batch
    contiguous = embedding.clone().requires_grad_()
    transposed = embedding.transpose(1, 2).contiguous().requires_grad_()
    one, other = function(contiguous, labels, weights), function(transposed.transpose(1, 2), labels, weights)
    torch.testing.assert_close(one, other)
    one.backward()
    other.backward()
    torch.testing.assert_close(contiguous.grad, transposed.grad.transpose(1, 2))


@pytest.mark.parametrize("function", [deep_clustering_loss, whitened_kmeans_loss])
def test_loudness_length_and_silence_do_not_count(function, batch):
    embedding, labels, weights = batch
    once = function(embedding, labels, weights)
    torch.testing.assert_close(function(embedding, labels, weights * 50), once)
    twice = (torch.cat([x, x], 2) for x in batch)
    torch.testing.assert_close(function(*twice), once)
    silent = function(embedding.requires_grad_(), labels, torch.zeros_like(weights))
    silent.backward()
    assert silent == 0 and not embedding.grad.any()


@pytest.mark.parametrize("function", [deep_clustering_loss, whitened_kmeans_loss])
def test_one_class_alone_is_finite(function, batch):
    embedding, labels, weights = batch
    loss = function(embedding.requires_grad_(), torch.zeros_like(labels), weights)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(embedding.grad).all()


def test_perfect_and_useless_embeddings(batch):
    _, labels, weights = batch
    perfect = torch.stack([labels, ~labels, torch.zeros_like(labels)], -1).double()
    useless = torch.ones_like(perfect) / 3**0.5
    assert deep_clustering_loss(perfect, labels, weights) < 1e-12
    assert deep_clustering_loss(useless, labels, weights) > 0.1
    assert whitened_kmeans_loss(perfect, labels, weights) < 0.4  # the third dimension is not used
    assert (
        whitened_kmeans_loss(perfect, labels, weights) < whitened_kmeans_loss(useless, labels, weights) - 0.2
    )


@contextlib.contextmanager
def saved_for_backward():
    """Record the storage and the size of all tensors that autograd saves."""
    saved = []

    def pack(tensor):
        saved.append((tensor.untyped_storage().data_ptr(), tensor.numel()))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def assert_saved_once(points, saved):
    """The points themselves are saved, and otherwise at most two numbers a bin."""
    storage = points.untyped_storage().data_ptr()
    assert any(other == storage for other, _ in saved)
    assert max(size for other, size in saved if other != storage) <= 2 * points[..., 0].numel()


def test_neither_pairs_nor_a_copy_are_saved_for_backward(generator):
    embedding = normalize(torch.rand(2, 64, 100, 20, generator=generator), dim=-1).requires_grad_()
    with saved_for_backward() as saved:
        loss = deep_clustering_loss(
            embedding, torch.rand(2, 64, 100, generator=generator) > 0.5, torch.ones(2, 64, 100)
        )
    loss.backward()
    assert_saved_once(embedding, saved)


def test_the_embedding_of_logits_is_not_saved_for_backward(generator):
    logits = torch.randn(2, 64, 100, 20, generator=generator).requires_grad_()
    with saved_for_backward() as saved:
        weighted_grams(logits, torch.rand(2, 64, 100) > 0.5, torch.ones(2, 64, 100), logits=True)
    assert_saved_once(logits, saved)


def test_autocast_and_tf32_do_not_reduce_the_precision(batch):
    embedding, labels, weights = batch[0].float(), batch[1], batch[2].float()
    wanted = deep_clustering_loss(*batch)
    precision = torch.backends.cuda.matmul.fp32_precision
    with torch.autocast("cpu", torch.bfloat16):
        got = deep_clustering_loss(embedding, labels, weights)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=0)
    assert got.dtype == torch.float32
    assert deep_clustering_loss(embedding.bfloat16(), labels, weights).dtype == torch.float32
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with full_float32():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = precision


def test_accurate_over_many_bins(generator):
    """The loss is a small difference of sums over 260,000 bins, in float32."""
    embedding = normalize(torch.rand(1, 1024, 256, 4, generator=generator), dim=-1)
    labels = torch.rand(1, 1024, 256, generator=generator) > 0.5
    weights = torch.rand(1, 1024, 256, generator=generator)
    wanted = deep_clustering_loss(embedding.double(), labels, weights.double())
    torch.testing.assert_close(
        deep_clustering_loss(embedding, labels, weights).double(), wanted, rtol=3e-6, atol=0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, y, w: deep_clustering_loss(v[0], y, w), r"embedding must have shape \(B, F, N, D\)"),
        (lambda v, y, w: deep_clustering_loss(v, y[:, :2], w), "labels must have the embedding's shape"),
        (lambda v, y, w: deep_clustering_loss(v, y, w[:, :2]), "weights must have the embedding's shape"),
        (lambda v, y, w: whitened_kmeans_loss(v, y, w, 0.0), "regularisation must be positive, got 0.0"),
        (lambda v, y, w: weighted_grams(v.long(), y, w), "embedding must be real and floating point"),
    ],
)
def test_bad_arguments(call, message, batch):
    with pytest.raises(ValueError, match=message):
        call(*batch)


@pytest.mark.parametrize("factor", [1e-15, 1e-6, 1e6, 1e15])
@pytest.mark.parametrize("loss", [deep_clustering_loss, whitened_kmeans_loss])
def test_loudness_does_not_count(loss, factor, generator):
    """Neither in the loss nor in its gradient, over the range of what float32 holds squared."""
    embedding = torch.rand(2, 9, 9, 4, generator=generator, requires_grad=True)
    labels, weights = torch.rand(2, 2, 9, 9, generator=generator)
    labels = labels > 0.5
    values = [loss(embedding, labels, weights * c) for c in (1.0, factor)]
    torch.testing.assert_close(values[1], values[0], rtol=1e-4, atol=0)
    gradients = [torch.autograd.grad(value, embedding)[0] for value in values]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", [deep_clustering_loss, whitened_kmeans_loss])
@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        (1.0, -0.5, "weights must not be negative, its minimum is -0.5"),
        (1.0, float("nan"), "weights must be finite, its extremes are nan and nan"),
        (1.5, 1.0, "labels must be at most 1, its maximum is 1.5"),
        (-1.0, 1.0, "labels must not be negative, its minimum is -1.0"),
    ],
)
def test_labels_and_weights_out_of_range(loss, labels, weights, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        loss(torch.rand(1, 3, 4, 2), torch.full((1, 3, 4), labels), torch.full((1, 3, 4), weights))
