"""Batches for the Gram matrices of embeddings, and their reference in double precision."""

import torch

from tests.support.kernel_tools import DEVICE
from torchprim.kernels.clustering import embedding_grams as op
from torchprim.networks.heads import unit_embedding


def batch(items, bins, frames, dimensions, logits=True, device=DEVICE):
    generator = torch.Generator().manual_seed(bins)
    points = 2 * torch.randn(items, bins, frames, dimensions, generator=generator)
    labels = torch.rand(items, bins, frames, generator=generator) > 0.4
    weights = torch.rand(items, bins, frames, generator=generator)
    points = points if logits else unit_embedding(points)
    return points.to(device), labels.to(device), weights.to(device)


def class_numbers(labels, classes, seed=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, labels.shape, generator=generator).byte().to(labels.device)


def truth(points, labels, weights, logits, classes=2):
    """Compute the reference in double precision, and its gradient for a random one of the result."""
    points = points.detach().double().requires_grad_()
    grams = op.reference(points, labels, weights.double(), logits, classes)
    generator = torch.Generator().manual_seed(9)
    gradient = torch.randn(grams.shape, generator=generator, dtype=torch.float64).to(grams.device)
    return grams.detach(), gradient, torch.autograd.grad(grams, points, gradient)[0]


def close(got, wanted, tolerance):
    """Compare by the norm: the relative error of a saturated sigmoid's derivative near 0 does not matter."""
    assert got.isfinite().all()
    assert (got - wanted).double().norm() <= tolerance * wanted.norm()


def frames_first(points):
    return points.transpose(1, 2).contiguous().transpose(1, 2)
