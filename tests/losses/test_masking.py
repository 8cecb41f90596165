"""Losses of a mask against their definitions; phase-sensitive targets; gradients."""

import pytest
import torch

from torchprim.losses.masking import mask_loss, phase_sensitive, stem_mask_loss


def test_mask_loss_by_the_definition(sources):
    mask, mixture, vocals, rest = sources
    for order in (1, 2):
        wanted = 0
        for m, x, v, a in zip(mask, mixture, vocals, rest, strict=True):
            scale = (x**order).mean()
            wanted += 0.3 * ((m * x - v).abs() ** order).mean() / scale
            wanted += 0.7 * (((1 - m) * x - a).abs() ** order).mean() / scale
        got = mask_loss(mask, mixture, vocals, rest, order=order, vocals_share=0.3)
        torch.testing.assert_close(got, wanted / 3)


def test_mask_gradient(sources):
    mask, mixture, vocals, rest = sources
    mask.requires_grad_()
    for order in (1, 2):
        assert torch.autograd.gradcheck(lambda m, p=order: mask_loss(m, mixture, vocals, rest, order=p), mask)


def stems(generator, count=4):
    """Draw masks that add up to 1, the mixture, and the sources."""
    sources = torch.rand(count, 3, 5, 7, generator=generator).double()
    masks = torch.rand(3, count, 5, 7, generator=generator).double().softmax(1)
    return masks, sources.sum(0), sources.unbind(0)


@pytest.mark.parametrize("order", [1, 2])
def test_stem_mask_loss_by_the_definition(order, generator):
    masks, mixture, sources = stems(generator)
    wanted = 0
    for item in range(3):
        scale = (mixture[item] ** order).mean()
        for k, source in enumerate(sources):
            error = ((masks[item, k] * mixture[item] - source[item]).abs() ** order).mean()
            wanted += error / scale / 4 / 3
    torch.testing.assert_close(stem_mask_loss(masks, mixture, sources, order=order), wanted)
    masks.requires_grad_()
    torch.autograd.gradcheck(lambda m: stem_mask_loss(m, mixture, sources, order=order), masks)
    ideal = torch.stack(sources, 1) / mixture[:, None]
    assert stem_mask_loss(ideal, mixture, sources, order=order) < 1e-12


@pytest.mark.parametrize("order", [1, 2])
def test_two_stems_are_one_mask(order, sources):
    mask, mixture, vocals, rest = sources
    both = torch.stack([1 - mask, mask], 1)
    wanted = mask_loss(mask, mixture, vocals, rest, order=order)
    torch.testing.assert_close(stem_mask_loss(both, mixture, (rest, vocals), order=order), wanted)


def test_a_silent_mixture_of_stems_is_finite(generator):
    masks, mixture, sources = stems(generator)
    masks.requires_grad_()
    loss = stem_mask_loss(masks, 0 * mixture, [0 * source for source in sources])
    loss.backward()
    assert loss == 0 and not masks.grad.any()


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: mask_loss(m, x, x[:1], x), r"vocals has shape \(1, 5, 7\), the mask \(3, 5, 7\)"),
        (lambda m, x: mask_loss(m, x, x, x, order=3), r"order must be a whole number in \[1, 2\], got 3"),
        (lambda m, x: mask_loss(m, x, x, x, vocals_share=2.0), "vocals_share must lie in"),
    ],
)
def test_bad_arguments(call, message, sources):
    with pytest.raises(ValueError, match=message):
        call(*sources[:2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, s: stem_mask_loss(m, x, s[:3]), "sources must hold one for each mask, 4, got 3"),
        (lambda m, x, s: stem_mask_loss(m[:, 0], x, s), r"masks must have shape \(B, K, F, N\)"),
        (
            lambda m, x, s: stem_mask_loss(m, x[:1], s),
            r"mixture has shape \(1, 5, 7\), the masks \(3, 5, 7\)",
        ),
        (lambda m, x, s: stem_mask_loss(m, x, [*s[:3], x[:1]]), r"sources\[3\] has shape \(1, 5, 7\)"),
        (lambda m, x, s: stem_mask_loss(m, x, [*s[:3], None]), r"sources\[3\] must be a tensor, got None"),
        (
            lambda m, x, s: stem_mask_loss(m, x, s, order=3),
            r"order must be a whole number in \[1, 2\], got 3",
        ),
    ],
)
def test_bad_stems(call, message, generator):
    with pytest.raises(ValueError, match=message):
        call(*stems(generator))
