"""Losses of a mask against their definitions; phase-sensitive targets; gradients."""

import pytest
import torch

from torchprim.losses.masking import mask_loss, phase_sensitive


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
