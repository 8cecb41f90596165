"""k-means from given centres and soft assignment, against the definition and scikit-learn."""

import pytest
import torch

import torchprim as tp
from torchprim.ensemble.kmeans import assign_to_centres, centre_distances, refine_centres


def test_refined_centres_are_lloyds(generator):
    points = torch.randn(2, 300, 5, generator=generator, dtype=torch.float64)
    points[:, :150, 0] += 6
    weights = torch.rand(2, 300, generator=generator, dtype=torch.float64)
    starts = torch.zeros(2, 5, dtype=torch.float64)
    starts[1, 0] = 1
    got = refine_centres(points, starts, weights, 50)
    for item in range(2):
        first = torch.arange(300) >= 150
        for k, member in enumerate((first, ~first)):
            w = weights[item, member]
            wanted = (w[:, None] * points[item, member]).sum(0) / w.sum()
            torch.testing.assert_close(got[item, k], wanted)


def test_scikit_learn_agrees(generator):
    cluster = pytest.importorskip("sklearn.cluster")
    points = torch.rand(400, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(400, generator=generator, dtype=torch.float64)
    starts = points[:2].clone()
    theirs = cluster.KMeans(2, init=starts.numpy(), n_init=1, max_iter=300, tol=0.0)
    theirs.fit(points.numpy(), sample_weight=weights.numpy())
    got = refine_centres(points, starts, weights, 300)
    torch.testing.assert_close(got, torch.from_numpy(theirs.cluster_centers_))


def test_an_empty_cluster_keeps_its_centre_and_a_prior_pulls_back():
    points = torch.tensor([[1.0, 1.0], [1.0, 3.0]])
    starts = torch.tensor([[1.0, 1.0], [90.0, 90.0]])
    torch.testing.assert_close(refine_centres(points, starts), torch.tensor([[1.0, 2.0], [90.0, 90.0]]))
    torch.testing.assert_close(refine_centres(points, starts, iterations=0), starts)
    # 2 points against a prior of 1 x 2 points at the initial centre: half way.
    torch.testing.assert_close(refine_centres(points, starts, prior=1.0)[0], torch.tensor([1.0, 1.5]))
    silent = refine_centres(points, starts, torch.zeros(2), prior=0.1)
    torch.testing.assert_close(silent, starts)


def test_assignment_is_equation_1(generator):
    embedding = torch.rand(2, 9, 7, 4, generator=generator, dtype=torch.float64)
    centres = torch.rand(2, 2, 4, generator=generator, dtype=torch.float64)
    distances = torch.stack([(embedding - c[:, None, None]).norm(dim=-1) for c in centres.unbind(1)])
    wanted = torch.softmax(-3.0 * distances, 0)[1]
    torch.testing.assert_close(assign_to_centres(embedding, centres, 3.0), wanted)
    frames_first = embedding.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(assign_to_centres(frames_first, centres, 3.0), wanted)
    # With centres 0 and 1, equal to the ensemble's.
    corners = torch.stack([torch.zeros(4), torch.ones(4)]).double()
    masks = embedding.unbind(-1)
    torch.testing.assert_close(
        assign_to_centres(embedding, corners, 5.0), tp.soft_assignment(masks, None, 5.0)
    )


def test_four_centres_are_lloyds(generator):
    """Each is the mean of a blob; one without points keeps its place, and the order is that of the starts."""
    places = torch.tensor([[0, 0, 9], [9, 0, 0], [0, 9, 0]]).double()
    points = places.repeat_interleave(50, 0) + torch.rand(2, 150, 3, generator=generator).double()
    weights = torch.rand(2, 150, generator=generator).double()
    starts = torch.cat([places[[2, 0, 1]], torch.full((1, 3), 99.0)])
    got = refine_centres(points, starts, weights, 20)
    assert got.shape == (2, 4, 3)
    for item in range(2):
        for k, blob in enumerate((2, 0, 1)):
            span = slice(50 * blob, 50 * blob + 50)
            w = weights[item, span]
            torch.testing.assert_close(got[item, k], w @ points[item, span] / w.sum())
        assert torch.equal(got[item, 3], starts[3])


@pytest.mark.parametrize("count", [3, 4])
def test_assignment_to_more_centres_is_equation_1(count, generator):
    embedding = torch.rand(2, 9, 7, 4, generator=generator, dtype=torch.float64)
    centres = torch.rand(2, count, 4, generator=generator, dtype=torch.float64)
    distances = torch.stack([(embedding - c[:, None, None]).norm(dim=-1) for c in centres.unbind(1)], 1)
    wanted = torch.softmax(-3.0 * distances, 1)  # (2, K, 9, 7)
    got = assign_to_centres(embedding, centres, 3.0)
    torch.testing.assert_close(got, wanted)
    assert got.is_contiguous()
    torch.testing.assert_close(got.sum(1), torch.ones(2, 9, 7).double())
    frames_first = embedding.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(assign_to_centres(frames_first, centres, 3.0), wanted)
    torch.testing.assert_close(assign_to_centres(embedding[0], centres[0], 3.0), wanted[0])
    # One set of centres for all items; and the ensemble's posteriors.
    shared = assign_to_centres(embedding, centres[0], 3.0)
    torch.testing.assert_close(
        shared, tp.soft_assignment(embedding.unbind(-1), None, 3.0, centres=centres[0])
    )


def test_distances_do_not_cancel():
    centre = torch.full((1, 20), 0.2236068)
    near = centre + 1e-6 * torch.eye(20)
    torch.testing.assert_close(centre_distances(near, centre), torch.full((20, 1), 1e-6), rtol=0.2, atol=0)
    point = centre.clone().requires_grad_()
    centre_distances(point, centre).sum().backward()
    assert not point.grad.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: refine_centres(x, torch.zeros(2, 3)), "centres have 3 dimensions, the points 4"),
        (lambda x: refine_centres(x, x[:2], iterations=-1), "iterations must be a whole number at least 0"),
        (lambda x: refine_centres(x, x[:2], prior=-1.0), "prior must not be negative, got -1.0"),
        (lambda x: refine_centres(x, x[:2], torch.ones(3)), r"weights have shape \(3,\)"),
        (lambda x: assign_to_centres(x[None], x[:1], 1.0), r"centres must have shape \(..., K, 4\) with K"),
        (lambda x: assign_to_centres(x[None], x[:3, :3], 1.0), r"at least 2, got \(3, 3\)"),
        (lambda x: assign_to_centres(x[None], x[:2], 0.0), "beta must be positive, got 0.0"),
    ],
)
def test_bad_clustering(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.rand(5, 4))
