"""Losses against their definitions over all pairs of bins, in float64; gradients; precision; memory."""

import contextlib

import pytest
import torch
from torch.nn.functional import normalize

from torchprim.kernels.clustering.embedding_grams import full_float32
from torchprim.losses.clustering import deep_clustering_loss, whitened_kmeans_loss
from torchprim.losses.grams import weighted_grams
from torchprim.losses.masking import mask_loss, phase_sensitive
from torchprim.losses.training_loss import sample_frames, training_loss
from torchprim.networks.heads import NetworkOutput

SHAPE = (3, 5, 7)


@pytest.fixture
def batch(generator):
    embedding = normalize(torch.rand(*SHAPE, 4, dtype=torch.float64, generator=generator), dim=-1)
    labels = torch.rand(SHAPE, generator=generator) > 0.6
    weights = torch.rand(SHAPE, dtype=torch.float64, generator=generator) + 0.1
    return embedding, labels, weights


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


def test_mask_loss_by_the_definition(generator):
    mask, mixture, vocals, rest = (torch.rand(SHAPE, generator=generator).double() for _ in range(4))
    for order in (1, 2):
        wanted = 0
        for m, x, v, a in zip(mask, mixture, vocals, rest, strict=True):
            scale = (x**order).mean()
            wanted += 0.3 * ((m * x - v).abs() ** order).mean() / scale
            wanted += 0.7 * (((1 - m) * x - a).abs() ** order).mean() / scale
        got = mask_loss(mask, mixture, vocals, rest, order=order, vocals_share=0.3)
        torch.testing.assert_close(got, wanted / 3)


def test_phase_sensitive_squares_are_the_complex_error(generator):
    """With targets in phase, p = 2 is |m X - S|² up to what no mask changes."""
    x, s = (torch.randn(4, 6, dtype=torch.complex128, generator=generator) for _ in range(2))
    target = phase_sensitive(x, s)
    assert ((target >= 0) & (target <= x.abs() + 1e-12)).all()
    inside = (target > 0) & (target < x.abs())  # not truncated
    one, other = (torch.rand(4, 6, generator=generator).double() for _ in range(2))
    complex_change = (one * x - s).abs() ** 2 - (other * x - s).abs() ** 2
    real_change = (one * x.abs() - target) ** 2 - (other * x.abs() - target) ** 2
    assert inside.any()
    torch.testing.assert_close(real_change[inside], complex_change[inside])
    assert phase_sensitive(torch.zeros(2, 2, dtype=torch.complex64), torch.ones(2, 2) + 0j).sum() == 0


@pytest.mark.parametrize("function", [deep_clustering_loss, whitened_kmeans_loss])
def test_clustering_gradients(function, batch):
    embedding, labels, weights = batch
    assert torch.autograd.gradcheck(lambda v: function(v, labels, weights), embedding.requires_grad_())


def test_mask_gradient(generator):
    mask, mixture, vocals, rest = (torch.rand(SHAPE, generator=generator).double() for _ in range(4))
    mask.requires_grad_()
    for order in (1, 2):
        assert torch.autograd.gradcheck(lambda m, p=order: mask_loss(m, mixture, vocals, rest, order=p), mask)


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


def test_training_loss_is_the_weighted_sum_of_its_parts(batch, generator):
    embedding, labels, weights = batch
    mask, mixture, vocals, rest = (torch.rand(SHAPE, generator=generator).double() for _ in range(4))
    arguments = (labels, weights, mixture, vocals, rest)
    both = training_loss(NetworkOutput(embedding, mask), *arguments, balance=0.25)
    torch.testing.assert_close(both.clustering, deep_clustering_loss(embedding, labels, weights))
    torch.testing.assert_close(both.mask, mask_loss(mask, mixture, vocals, rest))
    torch.testing.assert_close(both.total, 0.75 * both.clustering + 0.25 * both.mask)
    torch.testing.assert_close(both.grams.cross, weighted_grams(embedding, labels, weights).cross)
    alone = training_loss(NetworkOutput(embedding, None), *arguments, clustering="whitened")
    torch.testing.assert_close(alone.total, whitened_kmeans_loss(embedding, labels, weights))
    assert alone.mask is None
    frames = torch.tensor([0, 4])
    some = training_loss(NetworkOutput(embedding[:, :, frames], None), *arguments, frames=frames)
    wanted = deep_clustering_loss(embedding[:, :, frames], labels[..., frames], weights[..., frames])
    torch.testing.assert_close(some.total, wanted)


@pytest.mark.parametrize("clustering", ["deep", "whitened"])
def test_training_loss_from_logits(clustering, batch, generator):
    """The loss of an embedding head's logits, and its gradient, are those of `unit_embedding` of them."""
    logits = torch.randn(*SHAPE, 4, dtype=torch.float64, generator=generator).requires_grad_()
    mixture = torch.rand(SHAPE, generator=generator).double()
    arguments = (batch[1], batch[2], mixture, mixture, mixture)
    embedding = normalize(torch.sigmoid(logits), dim=-1)
    wanted = training_loss(NetworkOutput(embedding), *arguments, clustering=clustering)
    (slope,) = torch.autograd.grad(wanted.total, logits)
    output = NetworkOutput(logits=logits)
    got = training_loss(output, *arguments, clustering=clustering)
    torch.testing.assert_close(got.total, wanted.total)
    torch.testing.assert_close(torch.autograd.grad(got.total, logits)[0], slope)
    assert output._embedding is None  # never materialised
    torch.testing.assert_close(output.embedding, embedding)
    assert output.embedding is output.embedding


def test_accurate_over_many_bins(generator):
    """The loss is a small difference of sums over 260,000 bins, in float32."""
    embedding = normalize(torch.rand(1, 1024, 256, 4, generator=generator), dim=-1)
    labels = torch.rand(1, 1024, 256, generator=generator) > 0.5
    weights = torch.rand(1, 1024, 256, generator=generator)
    wanted = deep_clustering_loss(embedding.double(), labels, weights.double())
    torch.testing.assert_close(
        deep_clustering_loss(embedding, labels, weights).double(), wanted, rtol=3e-6, atol=0
    )


def test_sampled_frames(generator):
    for count, chosen in ((256, 32), (400, 33), (5, 9), (1, 1)):
        frames = sample_frames(count, chosen, generator)
        assert len(frames) == min(count, chosen) == len(frames.unique())
        assert (frames >= 0).all() and (frames < count).all() and (frames.diff() > 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v, y, w: deep_clustering_loss(v[0], y, w), r"embedding must have shape \(B, F, N, D\)"),
        (lambda v, y, w: deep_clustering_loss(v, y[:, :2], w), "labels must have the embedding's shape"),
        (lambda v, y, w: deep_clustering_loss(v, y, w[:, :2]), "weights must have the embedding's shape"),
        (lambda v, y, w: whitened_kmeans_loss(v, y, w, 0.0), "regularisation must be positive, got 0.0"),
        (lambda v, y, w: mask_loss(w, w, w[:1], w), r"vocals has shape \(1, 5, 7\), the mask \(3, 5, 7\)"),
        (lambda v, y, w: mask_loss(w, w, w, w, order=3), r"order must be a whole number in \[1, 2\], got 3"),
        (lambda v, y, w: mask_loss(w, w, w, w, vocals_share=2.0), "vocals_share must lie in"),
        (
            lambda v, y, w: training_loss(NetworkOutput(v, None), y, w, w, w, w, clustering="soft"),
            "clustering must be one of deep, whitened, got 'soft'",
        ),
        (lambda v, y, w: training_loss(NetworkOutput(v, w), y, w, w, w, w, balance=1.5), "balance must lie"),
        (lambda v, y, w: weighted_grams(v.long(), y, w), "embedding must be real and floating point"),
    ],
)
def test_bad_arguments(call, message, batch):
    with pytest.raises(ValueError, match=message):
        call(*batch)
