"""Stream of remixes, and its settings."""

import inspect

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.small_bank import GEOMETRY, RATE, HalvingTeacher, tone
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.bootstrap.equaliser import equalise


def stream(bank, teacher=None, **changes):
    settings = {"batch_size": 6, "frames": 50, "seed": 3, "geometry": GEOMETRY, "slots": 4, "every": 2}
    return tp.RemixStream(bank, teacher or HalvingTeacher(), **(settings | changes))


def test_fields_of_a_batch(bank):
    batch = stream(bank).batch(0)
    assert batch.mixture.shape == (6, 49 * 64)
    assert batch.magnitude.shape == batch.labels.shape == batch.weights.shape == (6, 129, 50)
    torch.testing.assert_close(batch.mixture, batch.vocals + batch.accompaniment)
    torch.testing.assert_close(batch.magnitude, tp.stft(batch.mixture, GEOMETRY).abs(), atol=1e-3, rtol=0)
    vocals, accompaniment = (tp.stft(x, GEOMETRY).abs() for x in (batch.vocals, batch.accompaniment))
    assert (batch.labels == (vocals > accompaniment)).float().mean() > 0.999
    mean = batch.magnitude.mean((1, 2), keepdim=True)
    torch.testing.assert_close(batch.weights, (batch.magnitude / mean).sqrt())


def test_ratio_and_incoherence(bank):
    """Vocals and accompaniment are of different songs; their ratios spread over the range."""
    batch = stream(bank, ratio=(3.0, 9.0), batch_size=32).batch(0)
    ratio = 10 * torch.log10(batch.vocals.square().mean(-1) / batch.accompaniment.square().mean(-1))
    assert ratio.min() > 3 - 1e-3
    assert ratio.max() < 9 + 1e-3
    assert ratio.max() - ratio.min() > 2
    loudest = [tp.stft(x, GEOMETRY).abs().mean(-1).argmax(-1) for x in (batch.vocals, batch.accompaniment)]
    assert (loudest[0] != loudest[1]).all()  # another song, another pitch


def test_coherent_pairs_and_natural_levels(bank):
    batch = stream(bank, coherent=1.0, natural=True, ratio=(0.0, 0.0)).batch(0)
    torch.testing.assert_close(batch.vocals * 3, batch.accompaniment, atol=1e-3, rtol=0)


def test_a_batch_is_a_function_of_seed_and_step(bank):
    continuous = stream(bank, eq=3.0, speed=0.05, coherent=0.3)
    batches = [b for b, _ in zip(continuous, range(9), strict=False)]
    resumed = stream(bank, eq=3.0, speed=0.05, coherent=0.3)
    resumed.step = 7
    assert torch.equal(next(iter(resumed)).mixture, batches[7].mixture)
    assert torch.equal(resumed.batch(2).mixture, batches[2].mixture)  # backwards, too
    assert not torch.equal(batches[7].mixture, batches[6].mixture)
    assert not torch.equal(stream(bank, seed=4).batch(0).mixture, stream(bank).batch(0).mixture)


def test_ranks_have_disjoint_shards(bank):
    stores = [stream(bank, rank=r, world=2, coherent=1.0, slots=99).store.segments for r in range(2)]
    assert not set(stores[0]) & set(stores[1])
    assert sorted(stores[0] + stores[1]) == list(range(7))
    batches = [stream(bank, rank=r, world=2, coherent=1.0).batch(0).mixture for r in range(2)]
    assert not torch.equal(*batches)


def test_pool_has_a_fixed_number_of_remixes(bank):
    pooled = stream(bank, pool=3, ratio=(-5.0, 5.0))
    seen = {tuple(row[:50].tolist()) for step in range(10) for row in pooled.batch(step).mixture}
    assert len(seen) == 3


def test_quantiles_of_confidence(bank):
    labels = tp.label(bank, HalvingTeacher(), progress=False)
    loudest = stream(bank, labels=labels, quantiles=(0.7, 1.0), coherent=1.0)
    assert {bank.segments[i].song for i in loudest.store.segments} == {1}  # the loud song, here trusted
    assert (loudest.batch(0).confidence >= labels.confidence.quantile(0.7)).all()


def test_bin_confidence_weights(bank):
    plain, weighted = (stream(bank, bin_confidence=b).batch(0).weights for b in (False, True))
    # The teacher's mask is 0.25 everywhere: a posterior strength of a half.
    torch.testing.assert_close(weighted, plain * 0.5, atol=5e-3, rtol=5e-3)


def test_equaliser_acts_before_mixing(bank):
    plain, filtered = (stream(bank, eq=e, ratio=(0.0, 0.0)).batch(0) for e in (0.0, 6.0))
    assert not torch.allclose(plain.vocals, filtered.vocals, atol=1e-3)
    torch.testing.assert_close(filtered.mixture, filtered.vocals + filtered.accompaniment)


def test_equaliser_interpolates_gains():
    impulse = torch.zeros(2, 4096)
    impulse[:, 0] = 1
    gains = torch.tensor([[0.0] * 7 + [6.0], [-3.0] * 8])
    levels = 20 * torch.fft.rfft(equalise(impulse, gains)).abs().log10()
    torch.testing.assert_close(levels[:, -1], torch.tensor([6.0, -3.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(levels[:, 8], torch.tensor([0.0, -3.0]), atol=1e-3, rtol=0)
    assert (levels[0].diff() > -1e-3).all() and levels[1].std() < 1e-3


def test_true_stems_stream(tmp_path):
    for i in range(3):
        (tmp_path / f"s{i}").mkdir()
        for name, frequency in (("vocals", 300 + 50 * i), ("accompaniment", 1500 + 100 * i)):
            audio = tone(4, frequency).numpy()
            soundfile.write(tmp_path / f"s{i}" / f"{name}.wav", audio, RATE, subtype="FLOAT")
    stems = StemBank([tmp_path], RATE, segment_seconds=4.0, cache=tmp_path / "c", progress=False)
    batch = tp.RemixStream(stems, None, batch_size=4, frames=50, geometry=GEOMETRY).batch(0)
    below = torch.arange(GEOMETRY.bins) * GEOMETRY.bin_width < 900
    loud = batch.magnitude > 0.1 * batch.magnitude.amax()
    assert batch.labels[:, below][loud[:, below]].all()
    assert not batch.labels[:, ~below][loud[:, ~below]].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 10_000}, "no trusted segment is as long as 10000 frames"),
        ({"segments": []}, "no segment lies between the quantiles"),
        ({"segments": [0, 1]}, "pairs need two songs, only .*a.wav can be used"),
        ({"world": 50, "rank": 49}, r"fewer trusted segments than processes \(50\)"),
        ({"coherent": 1.5}, r"coherent must lie in \[0, 1\], got 1.5"),
        ({"ratio": (2.0, -2.0)}, "ratio must be two levels in dB"),
        ({"ratio": 3.0}, "ratio must be two levels in dB, the lower one first, got 3.0"),
        ({"ratio": (0, 1e9)}, r"ratio must lie within 100 dB, got \(0, 1000000000.0\)"),
        ({"ratio": (1, 2, 3)}, "ratio must be two levels in dB"),
        ({"quantiles": (0.9, 0.1)}, r"quantiles must satisfy 0 <= low < high <= 1, got \(0.9, 0.1\)"),
        ({"quantiles": (0.5,)}, "quantiles must satisfy"),
        ({"geometry": "x"}, "geometry must be a Geometry, got 'x'"),
        ({"geometry": tp.Geometry()}, "geometry has 44100 Hz, the bank 8000"),
        ({"batch_size": 0}, "batch_size must be a whole number at least 1, got 0"),
        ({"bin_confidence": True, "speed": 0.1}, "bin_confidence needs the excerpts' own time"),
        ({"batch_size": 10**9}, "batch_size must be at most 65536, got 1000000000"),
        ({"pool": 0}, "pool must be a whole number at least 1, got 0"),
        ({"segments": [0, 999]}, "segments must be those of the bank's 7 segments, got 999"),
        ({"world": 0}, "world must be a whole number at least 1, got 0"),
        ({"world": 2, "rank": 2}, r"rank must be a whole number in \[0, 1\], got 2"),
        ({"eq": -1.0}, "eq must be finite and not negative, got -1.0"),
        ({"speed": 2.0}, r"speed must lie in \[0, 0.5\], got 2.0"),
    ],
)
def test_nothing_to_mix(bank, change, message):
    with pytest.raises(ValueError, match=message):
        stream(bank, **change)


def test_true_stems_need_a_stem_bank(bank):
    with pytest.raises(ValueError, match="teacher must be a separator, or bank a StemBank, got None"):
        tp.RemixStream(bank, None, batch_size=2, frames=20)


def test_no_batch_before_the_first(bank):
    with pytest.raises(ValueError, match="step must be a whole number at least 0, got -1"):
        stream(bank).batch(-1)


# --- settings -------------------------------------------------------------------------------------


def test_settings_are_one_argument():
    assert len(inspect.signature(tp.RemixStream.__init__).parameters) <= 10


def test_settings_by_keyword_or_as_one_value_give_the_same_batches(bank):
    settings = tp.RemixSettings(batch_size=2, frames=20, coherent=1.0)
    teacher = HalvingTeacher()
    by_keyword = tp.RemixStream(bank, teacher, batch_size=2, frames=20, coherent=1.0)
    as_value = tp.RemixStream(bank, teacher, settings)
    both = tp.RemixStream(
        bank, teacher, tp.RemixSettings(frames=20, coherent=0.5), batch_size=2, coherent=1.0
    )
    assert by_keyword.settings == as_value.settings == both.settings == settings
    for step in range(3):
        expected = as_value.batch(step)
        for other in (by_keyword, both):
            assert all(map(torch.equal, other.batch(step), expected))


def test_wrong_settings_are_type_errors(bank):
    """An unknown keyword; a number in the place that batch_size had before settings were one value."""
    with pytest.raises(TypeError, match="batchsize"):
        tp.RemixStream(bank, HalvingTeacher(), batchsize=2)
    with pytest.raises(TypeError, match=r"RemixSettings, got 2; .* keyword, such as batch_size=2"):
        tp.RemixStream(bank, HalvingTeacher(), 2)


def test_bin_confidence_needs_the_teachers_grid(bank):
    teacher = HalvingTeacher()
    teacher.geometry = tp.Geometry(RATE, 512, 128)
    with pytest.raises(ValueError, match="bin_confidence needs a teacher on the stream's grid"):
        stream(bank, teacher, bin_confidence=True)


def test_a_separator_keeps_no_masks_that_nobody_reads(bank):
    class Recording(HalvingTeacher):
        geometry = GEOMETRY
        kept = ()

        def forward(self, audio, sample_rate, keep_masks=None):
            self.kept += (keep_masks,)
            return super().forward(audio, sample_rate)

    for wanted in (False, True):
        teacher = Recording()
        settings = {"batch_size": 2, "frames": 50, "geometry": GEOMETRY, "bin_confidence": wanted}
        tp.RemixStream(bank, teacher, **settings).batch(0)
        assert teacher.kept and set(teacher.kept) == {wanted}
