"""Clustering losses of K classes against their definitions over all pairs of bins; order of the classes."""

import pytest
import torch
from torch.nn.functional import normalize, one_hot

from torchprim.losses.clustering import deep_clustering_loss, whitened_kmeans_loss
from torchprim.losses.grams import weighted_grams

LOSSES = {"deep": deep_clustering_loss, "whitened": whitened_kmeans_loss}


def numbered(classes, generator, dtype=torch.uint8):
    """Draw an embedding, class numbers of which each occurs, and weights."""
    embedding = normalize(torch.rand(3, 5, 7, 6, dtype=torch.float64, generator=generator), dim=-1)
    labels = torch.randint(classes, (3, 5, 7), generator=generator)
    labels[:, 0, :classes] = torch.arange(classes)
    weights = torch.rand(3, 5, 7, dtype=torch.float64, generator=generator) + 0.1
    return embedding, labels.to(dtype), weights


def rows(embedding, labels, weights, classes):
    """Rows w v and w y of one item, and w."""
    w = weights.flatten()
    y = one_hot(labels.flatten().long(), classes).double()
    return w[:, None] * embedding.flatten(0, 1), w[:, None] * y, w


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("classes", [3, 4])
def test_deep_clustering_is_the_distance_of_affinities(classes, dtype, generator):
    given = numbered(classes, generator, dtype)
    wanted = []
    for item in zip(*given, strict=True):
        v, y, w = rows(*item, classes)
        affinity = y @ y.T  # (TF) x (TF): w w' where two bins are of one class
        assert ((affinity > 0) == (item[1].flatten()[:, None] == item[1].flatten())).all()
        wanted.append((v @ v.T - affinity).square().sum() / w.square().sum() ** 2)
    torch.testing.assert_close(deep_clustering_loss(*given, classes), torch.stack(wanted).mean())


@pytest.mark.parametrize("classes", [3, 4])
def test_whitened_kmeans_by_the_definition(classes, generator):
    given = numbered(classes, generator)
    wanted = []
    for item in zip(*given, strict=True):
        v, y, _ = rows(*item, classes)
        vv, yy = v.T @ v, y.T @ y
        vv = vv + 1e-3 * vv.diagonal().mean() * torch.eye(6)
        yy = yy + 1e-3 * yy.diagonal().mean() * torch.eye(classes)
        wanted.append(1 - torch.trace(vv.inverse() @ v.T @ y @ yy.inverse() @ y.T @ v) / 6)
    got = whitened_kmeans_loss(*given, classes=classes)
    torch.testing.assert_close(got, torch.stack(wanted).mean())


def test_whitened_kmeans_lies_above_its_bound(generator):
    """1 - K / D of a perfect embedding with dimensions that are not used; 0 where D is K."""
    _, labels, weights = numbered(4, generator)
    perfect = one_hot(labels.long(), 6).double()
    assert 1 - 4 / 6 <= whitened_kmeans_loss(perfect, labels, weights, 1e-9, classes=4) < 1 - 4 / 6 + 1e-6
    assert 0 <= whitened_kmeans_loss(perfect[..., :4], labels, weights, 1e-9, classes=4) < 1e-6
    assert 0 <= whitened_kmeans_loss(perfect[..., :3], labels, weights, 1e-9, classes=4) < 1e-6


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_the_classes_does_not_count(loss, generator):
    embedding, labels, weights = numbered(4, generator)
    other = torch.tensor([2, 0, 3, 1], dtype=torch.uint8)[labels.long()]
    assert (other != labels).any()
    wanted = LOSSES[loss](embedding, labels, weights, classes=4)
    torch.testing.assert_close(LOSSES[loss](embedding, other, weights, classes=4), wanted)
    merged = labels.clamp(max=2)  # two classes that are one are another thing
    assert (LOSSES[loss](embedding, merged, weights, classes=4) - wanted).abs() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_numbers_of_two_classes_are_their_booleans(loss, dtype, generator):
    """Bit for bit, and the gradient."""
    embedding, labels, weights = numbered(2, generator)
    embedding, weights = embedding.to(dtype), weights.to(dtype)
    results = []
    for given in (labels > 0, labels, labels.long()):
        points = embedding.clone().requires_grad_()
        value = LOSSES[loss](points, given, weights, classes=2)
        results.append((value.detach(), torch.autograd.grad(value, points)[0]))
    for value, gradient in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(gradient, results[0][1])


def test_a_class_without_bins_changes_nothing(generator):
    embedding, labels, weights = numbered(3, generator)
    wanted = deep_clustering_loss(embedding, labels, weights, 3)
    torch.testing.assert_close(deep_clustering_loss(embedding, labels, weights, 5), wanted)
    two = deep_clustering_loss(embedding, labels > 0, weights)
    torch.testing.assert_close(deep_clustering_loss(embedding, labels.clamp(max=1), weights, 3), two)


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss, classes, generator):
    embedding, labels, weights = numbered(classes, generator)
    embedding.requires_grad_()
    torch.autograd.gradcheck(lambda v: LOSSES[loss](v, labels, weights, classes=classes), embedding)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (torch.uint8, 4, "labels must be at most 3, its maximum is 4"),
        (torch.int64, 3, "labels must be at most 2, its maximum is 4"),
        (torch.uint8, 2, "labels must be at most 1, its maximum is 4"),
        (torch.float32, 5, "labels of 5 classes must be of an integer dtype, got torch.float32"),
        (torch.bool, 3, "labels of 3 classes must be of an integer dtype, got torch.bool"),
        (torch.uint8, 1, "classes must be a whole number at least 2, got 1"),
        (torch.uint8, 3.0, "classes must be a whole number at least 2, got 3.0"),
    ],
)
def test_labels_and_classes_that_do_not_fit(loss, labels, classes, message):
    given = torch.full((1, 3, 4), 4).to(labels)
    with pytest.raises(ValueError, match=f"^{message}$"):
        LOSSES[loss](torch.rand(1, 3, 4, 2), given, torch.ones(1, 3, 4), classes=classes)


def test_negative_class_numbers():
    with pytest.raises(ValueError, match=r"^labels must not be negative, its minimum is -1$"):
        weighted_grams(torch.rand(1, 3, 4, 2), torch.full((1, 3, 4), -1), torch.ones(1, 3, 4), classes=3)
