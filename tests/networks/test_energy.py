"""The correction of a mask that keeps the energy of what it lets through."""

import pytest
import torch

from torchprim.networks.energy import keep_energy


def _energies(logits: torch.Tensor, correction: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    masks = torch.stack([torch.sigmoid(keep_energy(logits, correction, magnitude)), torch.sigmoid(logits)])
    return (magnitude.double().square() * masks.double()).sum((-2, -1))


@pytest.mark.parametrize("size", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("shift", [-4.0, 0.0, 4.0])
def test_energy_is_kept(size: float, shift: float) -> None:
    torch.manual_seed(0)
    magnitude = torch.randn(3, 129, 60).exp()  # a few bins have most of the energy, as in music
    logits, correction = 3 * torch.randn(3, 129, 60), shift + size * torch.randn(3, 129, 60)
    kept, wanted = _energies(logits, correction, magnitude)
    torch.testing.assert_close(kept, wanted, rtol=1e-3, atol=0)


def test_constant_correction_changes_nothing() -> None:
    torch.manual_seed(0)
    magnitude, logits = torch.rand(2, 65, 30), torch.randn(2, 65, 30)
    torch.testing.assert_close(
        keep_energy(logits, torch.full_like(logits, 1.5), magnitude), logits, rtol=0, atol=1e-4
    )


def test_level_changes_nothing_and_silence_is_finite() -> None:
    torch.manual_seed(0)
    magnitude, logits, correction = torch.rand(65, 30), torch.randn(65, 30), torch.randn(65, 30)
    kept = keep_energy(logits, correction, magnitude)
    for level in (1e-15, 1e15):
        torch.testing.assert_close(keep_energy(logits, correction, level * magnitude), kept)
    assert torch.equal(keep_energy(logits, correction, torch.zeros_like(magnitude)), logits + correction)


def test_gradient() -> None:
    torch.manual_seed(0)
    magnitude = torch.rand(2, 5, 4, dtype=torch.float64) + 0.1
    tensors = [torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda a, b: torch.sigmoid(keep_energy(a, b, magnitude)), tensors)


def test_items_are_independent() -> None:
    torch.manual_seed(0)
    magnitude, logits, correction = torch.rand(3, 33, 9), torch.randn(3, 33, 9), torch.randn(3, 33, 9)
    batch = keep_energy(logits, correction, magnitude)
    torch.testing.assert_close(batch[1], keep_energy(logits[1], correction[1], magnitude[1]))
