"""Small batches in float64."""

import pytest
import torch
from torch.nn.functional import normalize

SHAPE = (3, 5, 7)


@pytest.fixture
def batch(generator):
    embedding = normalize(torch.rand(*SHAPE, 4, dtype=torch.float64, generator=generator), dim=-1)
    labels = torch.rand(SHAPE, generator=generator) > 0.6
    weights = torch.rand(SHAPE, dtype=torch.float64, generator=generator) + 0.1
    return embedding, labels, weights


@pytest.fixture
def sources(generator):
    """Mask, mixture, vocals and accompaniment."""
    return tuple(torch.rand(SHAPE, generator=generator).double() for _ in range(4))
