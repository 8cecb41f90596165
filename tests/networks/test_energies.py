"""The correction of K masks that keeps the energy of each source."""

import pytest
import torch

from torchprim.networks.energy import keep_energies, keep_energy


def energies(masks: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    return (magnitude.double().square().unsqueeze(-3) * masks.double()).sum((-2, -1))


@pytest.mark.parametrize("sources", [2, 3, 4, 8])
@pytest.mark.parametrize("shift", [0.0, 4.0, 8.0])
@pytest.mark.parametrize("hardness", [1.0, 6.0])
def test_the_energy_of_every_source_is_kept(sources: int, shift: float, hardness: float) -> None:
    torch.manual_seed(0)
    magnitude = torch.randn(3, 129, 60).exp()  # a few bins have most of the energy, as in music
    logits = hardness * torch.randn(3, sources, 129, 60)
    logits[:, 1] -= shift / 2  # a quiet source
    correction = torch.randn(3, sources, 129, 60) + shift * torch.randn(3, sources, 1, 1)
    kept = torch.softmax(keep_energies(logits, correction, magnitude), 1)
    wanted = energies(torch.softmax(logits, 1), magnitude)
    torch.testing.assert_close(energies(kept, magnitude), wanted, rtol=1e-4, atol=0)
    moved = energies(torch.softmax(logits + correction, 1), magnitude)
    assert shift == 0 or (moved / wanted - 1).abs().max() > 0.5  # there was something to do


def test_of_two_sources_it_is_the_correction_of_one_mask() -> None:
    torch.manual_seed(0)
    magnitude, logits, correction = torch.rand(2, 65, 30), torch.randn(2, 65, 30), torch.randn(2, 65, 30)
    one = torch.sigmoid(keep_energy(logits, correction, magnitude))
    pair = [torch.stack([torch.zeros_like(x), x], 1) for x in (logits, correction)]
    torch.testing.assert_close(torch.softmax(keep_energies(*pair, magnitude), 1)[:, 1], one)


def test_a_constant_correction_changes_nothing() -> None:
    torch.manual_seed(0)
    magnitude, logits = torch.rand(2, 65, 30), torch.randn(2, 4, 65, 30)
    constant = torch.tensor([1.5, -1.0, 0.0, 3.0]).view(4, 1, 1).expand_as(logits)
    masks = torch.softmax(keep_energies(logits, constant, magnitude), 1)
    torch.testing.assert_close(masks, torch.softmax(logits, 1), rtol=0, atol=1e-5)


def test_silent_items_and_silent_sources_are_finite() -> None:
    torch.manual_seed(0)
    magnitude = torch.rand(2, 65, 30)
    magnitude[0] = 0
    logits, correction = torch.randn(2, 4, 65, 30), torch.randn(2, 4, 65, 30).requires_grad_()
    logits[:, 2] = -200.0  # its mask is 0 in float32
    logits.requires_grad_()
    result = keep_energies(logits, correction, magnitude)
    assert torch.equal(result[0], (logits + correction)[0])
    masks = torch.softmax(result, 1)
    masks[:, 0].square().sum().backward()
    for tensor in (masks, logits.grad, correction.grad):
        assert tensor.isfinite().all()
    others = [0, 1, 3]
    wanted = energies(torch.softmax(logits, 1), magnitude)[1, others]
    torch.testing.assert_close(energies(masks, magnitude)[1, others], wanted, rtol=1e-4, atol=0)


def test_level_batch_and_autocast_change_nothing() -> None:
    torch.manual_seed(0)
    magnitude, logits, correction = torch.rand(2, 33, 9), torch.randn(2, 4, 33, 9), torch.randn(2, 4, 33, 9)
    kept = keep_energies(logits, correction, magnitude)
    for level in (1e-15, 1e15):
        torch.testing.assert_close(keep_energies(logits, correction, level * magnitude), kept)
    torch.testing.assert_close(keep_energies(logits[1], correction[1], magnitude[1]), kept[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(keep_energies(logits, correction, magnitude), kept)


def test_gradient() -> None:
    torch.manual_seed(0)
    magnitude = torch.rand(2, 5, 4, dtype=torch.float64) + 0.1
    tensors = [torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def masks(logits: torch.Tensor, correction: torch.Tensor) -> torch.Tensor:
        return torch.softmax(keep_energies(logits, correction, magnitude), -3)

    assert torch.autograd.gradcheck(masks, tensors)
