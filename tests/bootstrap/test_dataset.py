"""A stream as a dataset: shapes, epochs, no workers."""

import itertools

import pytest
import torch
from torch.utils.data import DataLoader

import torchprim as tp
from tests.support.small_bank import GEOMETRY, HalvingTeacher
from torchprim.bootstrap.batch import RemixBatch
from torchprim.bootstrap.mixed_stream import MixedStream


@pytest.fixture
def stream(bank):
    return tp.RemixStream(bank, HalvingTeacher(), batch_size=3, frames=50, geometry=GEOMETRY)


def test_pairs_add_up(stream):
    mixture, sources = next(iter(DataLoader(stream.dataset(), batch_size=None)))
    assert mixture.shape == (3, 1, 49 * GEOMETRY.hop_length) and sources.shape == (3, 2, *mixture.shape[1:])
    torch.testing.assert_close(mixture, sources.sum(1))
    stream.step = 0
    batch = next(iter(stream))
    assert torch.equal(sources[:, 0, 0], batch.vocals) and torch.equal(sources[:, 1, 0], batch.accompaniment)


def test_an_epoch_goes_on_where_the_last_ended(stream):
    expected = [batch.mixture for batch in itertools.islice(stream, 6)]
    stream.step = 0
    loader = DataLoader(stream.dataset(steps=3, pairs=False), batch_size=None)
    assert len(loader) == 3
    batches = [batch for _ in range(2) for batch in loader]
    assert all(isinstance(batch, RemixBatch) for batch in batches) and len(batches) == 6
    for batch, mixture in zip(batches, expected, strict=True):
        assert torch.equal(batch.mixture, mixture)


def test_workers_are_refused(stream):
    with pytest.raises(RuntimeError, match="num_workers=0"):
        next(iter(DataLoader(stream.dataset(), batch_size=None, num_workers=1)))


def test_no_length_without_steps(stream):
    with pytest.raises(TypeError, match="steps"):
        len(stream.dataset())
    with pytest.raises(ValueError, match="steps"):
        stream.dataset(steps=0)


def test_mixed_stream_as_dataset(stream):
    mixed = MixedStream([stream], [1.0])
    assert next(iter(mixed.dataset(pairs=False))).mixture.shape[0] == 3
