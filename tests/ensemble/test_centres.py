"""Equations 1 to 3 with K centres."""

import pytest
import torch

import torchprim as tp

CENTRES = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.5], [0.0, 1.0, 0.0]]
WEIGHTS = [1.0, 2.0, 0.5]


@pytest.fixture
def masks(generator):
    return torch.rand(3, 2, 33, 20, generator=generator, dtype=torch.float64).unbind()


def naive(masks, weights, beta, centres):
    x, w, c = torch.stack(list(masks), -1), torch.tensor(weights).double(), torch.tensor(centres).double()
    distance = ((x[..., None, :] - c).square() * w).sum(-1).sqrt()  # (..., F, N, K)
    return torch.softmax(-beta * distance, -1).movedim(-1, -3)


def test_equation_1_with_four_centres(masks):
    result = tp.soft_assignment(masks, WEIGHTS, 4.0, centres=CENTRES)
    assert result.shape == (2, 4, 33, 20)
    torch.testing.assert_close(result, naive(masks, WEIGHTS, 4.0, CENTRES))
    torch.testing.assert_close(result.sum(-3), torch.ones(2, 33, 20, dtype=torch.float64))
    again = tp.soft_assignment(torch.stack(masks, -1), WEIGHTS, 4.0, centres=torch.tensor(CENTRES))
    torch.testing.assert_close(again, result)


@pytest.mark.parametrize("centres", [[[0, 0, 0], [1, 1, 1]], torch.tensor([[0.0] * 3, [1.0] * 3])])
def test_centres_at_0_and_1_give_the_mask_to_the_last_bit(masks, centres):
    masks = [mask.float() for mask in masks]
    accompaniment, vocals = tp.soft_assignment(masks, WEIGHTS, 3.0, centres=centres).unbind(-3)
    assert torch.equal(vocals, tp.soft_assignment(masks, WEIGHTS, 3.0))
    assert torch.equal(accompaniment, 1 - vocals)
    magnitude = masks[0] + 0.1
    for function in (tp.silhouette, tp.posterior_strength):
        one, two = (function(masks, magnitude, WEIGHTS, **c) for c in ({}, {"centres": centres}))
        torch.testing.assert_close(one, two, atol=0.1 if function is tp.silhouette else 0, rtol=0)


def test_gradients_reach_masks_weights_beta_and_centres(masks):
    inputs = [mask[:, :4, :3].clone().requires_grad_() for mask in masks]
    others = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (WEIGHTS, 3.0, CENTRES)]

    def assign(weights, beta, centres, *masks):
        return tp.soft_assignment(masks, weights, beta, centres=centres)

    assert torch.autograd.gradcheck(assign, (*others, *inputs))


def test_posterior_strength_of_four(masks, generator):
    magnitude = torch.rand(2, 33, 20, generator=generator, dtype=torch.float64)
    strength = tp.posterior_strength(masks, magnitude, WEIGHTS, 4.0, centres=CENTRES, share=1.0)
    largest = naive(masks, WEIGHTS, 4.0, CENTRES).amax(-3)
    torch.testing.assert_close(strength, ((4 * largest - 1) / 3).mean((-2, -1)))


def test_silhouette_of_four(masks, generator):
    metrics = pytest.importorskip("sklearn.metrics")
    magnitude = torch.rand(2, 33, 20, generator=generator, dtype=torch.float64)
    result = tp.silhouette(masks, magnitude, WEIGHTS, None, centres=CENTRES, share=1.0)
    labels = naive(masks, WEIGHTS, 4.0, CENTRES).argmax(-3).flatten(-2)
    points = (torch.stack(masks, -1) * torch.tensor(WEIGHTS).double().sqrt()).flatten(-3, -2)
    expected = [metrics.silhouette_score(p.numpy(), c.numpy()) for p, c in zip(points, labels, strict=True)]
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))
    both = tp.confidence_measure(masks, magnitude, WEIGHTS, 4.0, None, centres=CENTRES, share=1.0)
    torch.testing.assert_close(both.silhouette, result)
    torch.testing.assert_close(both.confidence, both.silhouette * both.posterior)


def test_centres_of_each_item(masks):
    centres = torch.stack([torch.tensor(CENTRES), torch.tensor(CENTRES).flip(0)])
    magnitude = masks[0]
    result = tp.posterior_strength(masks, magnitude, WEIGHTS, centres=centres)
    for item in (0, 1):
        alone = [mask[item] for mask in masks]
        expected = tp.posterior_strength(alone, magnitude[item], WEIGHTS, centres=centres[item])
        torch.testing.assert_close(result[item], expected)


@pytest.mark.parametrize("centres", [[[0, 0, 0]], [[0, 0], [1, 1]], [[0, 0, 0], [1, 1]], [], torch.zeros(3)])
def test_wrong_centres(masks, centres):
    with pytest.raises(ValueError, match="centres"):
        tp.soft_assignment(masks, WEIGHTS, centres=centres)
    with pytest.raises(ValueError, match="centres"):
        tp.confidence_measure(masks, masks[0], WEIGHTS, centres=centres)
