"""The pipeline's benchmark: files hold the remixes; timings count whole groups."""

import torch

import torchprim as tp
from benchmarks.pipeline import from_files, rate_of, write_remixes
from torchprim.bootstrap.batch import make_batch


def test_files_hold_the_remixes(tmp_path, generator):
    geometry = tp.Geometry()
    made = [make_batch(*(torch.rand(2, 2, 5120, generator=generator) - 0.5), geometry) for _ in range(2)]
    paths = write_remixes(tmp_path, iter(made), 44100)
    assert len(paths) == 4
    read = from_files(paths, 2, 0, geometry, "cpu")
    batches = [next(read) for _ in range(4)]  # endless
    written = torch.cat([batch.vocals for batch in made])
    for first, second in (batches[:2], batches[2:]):
        got = torch.cat([first.vocals, second.vocals])
        assert (torch.cdist(got, written).argmin(1).sort().values == torch.arange(4)).all()
        assert torch.cdist(got, written).amin(1).max() < 0.01
        assert first.magnitude.shape == made[0].magnitude.shape


def test_whole_groups_are_counted():
    calls = []
    rate = rate_of(lambda: calls.append(0), 0.001, "cpu", 7)
    assert rate.count % 7 == 0
    assert len(calls) == rate.count + 1
    assert rate.seconds > 0
