"""Cues of one's own: in presets, checked, with gradients, in long songs, labels and remixes."""

import copy
import pickle

import pytest
import torch
from torch import nn

import torchprim as tp
from tests.support.small_bank import GEOMETRY
from torchprim.ensemble.cues import Cues, PrimitiveCue
from torchprim.spectra.mixture import Mixture

BEST = tp.PRESETS["best"]


def loud(mixture):
    return (mixture.magnitude() > 1).float()


class Slope(nn.Module):
    def __init__(self, slope=4.0):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, mixture):
        return torch.exp(-self.slope * mixture.magnitude())


def noise(seconds=1.0, channels=()):
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(*channels, round(44100 * seconds), generator=generator)


def test_a_preset_and_mine():
    preset = BEST.plus("loud", loud, 0.5).plus("hpss-9", tp.HPSS(9))
    assert preset.name == "best+loud+hpss-9"
    assert preset.active_weights == {**BEST.weights, "loud": 0.5, "hpss-9": 1.0}
    stems = tp.PrimitiveSeparator(preset)(noise(), 44100)
    usual = tp.PrimitiveSeparator("best")(noise(), 44100)
    mixture = Mixture(noise() - noise().mean(), 44100)
    assert list(stems.masks) == list(preset.weights)
    assert torch.equal(stems.masks["loud"], loud(mixture))
    assert torch.equal(stems.masks["hpss-9"], tp.hpss(mixture.magnitude(), 9))
    assert torch.equal(stems.masks["melody"], usual.masks["melody"])
    wanted = tp.soft_assignment(list(stems.masks.values()), list(preset.weights.values()), 2.5)
    torch.testing.assert_close(stems.mask, wanted)


def test_mine_alone_and_two_windows_side_by_side():
    one = tp.PrimitiveSeparator(tp.Preset("mine", {"loud": 1.0}, cues={"loud": loud}))
    assert list(one(noise(), 44100).masks) == ["loud"]
    cues = {"short": tp.HPSS(9), "long": tp.LongHPSS(), "2dft": PrimitiveCue(tp.FT2D(), "repetition")}
    stems = tp.PrimitiveSeparator(tp.Preset("mine", dict.fromkeys(cues, 1.0), cues=cues))(noise(), 44100)
    mixture = Mixture(noise() - noise().mean(), 44100)
    torch.testing.assert_close(stems.masks["long"], tp.long_hpss(mixture.audio))
    assert torch.equal(stems.masks["2dft"], tp.ft2d(mixture.magnitude()).repetition)


def test_the_mask_of_one_of_mine():
    stems = tp.PrimitiveSeparator(BEST.plus("loud", loud), "loud")(noise(), 44100)
    assert torch.equal(stems.mask, stems.masks["loud"])
    with pytest.raises(ValueError, match=r"unknown method 'quiet'; there are pcl, hpss, .*, loud"):
        tp.PrimitiveSeparator(BEST.plus("loud", loud), "quiet")


@pytest.mark.parametrize(
    ("name", "cue", "error"),
    [
        ("hpss", loud, "cue 'hpss' has the name of one that there is"),
        ("network", loud, "cue 'network' has the name of one"),
        ("pcl", loud, "cue 'pcl' has the name of one"),
        ("keys", loud, "a cue cannot be named 'keys'"),
        ("a.b", loud, "a cue cannot be named 'a.b'"),
        ("", loud, "a cue cannot be named ''"),
        ("mine", tp.FT2D(), "cue 'mine': FT2D gives two masks"),
        ("mine", tp.Spatial(), "cue 'mine': Spatial refines a mask"),
        ("mine", tp.HPSS, "cue 'mine' must be a function or module"),
    ],
)
def test_what_cannot_be_a_cue(name, cue, error):
    with pytest.raises((ValueError, TypeError), match=error):
        tp.Preset("mine", {name: 1.0}, cues={name: cue})


def test_cues_and_weights_belong_together():
    with pytest.raises(ValueError, match="weights must name the cue 'loud', got hpss"):
        tp.Preset("mine", {"hpss": 1.0}, cues={"loud": loud})
    with pytest.raises(ValueError, match="unknown primitive 'loud'"):
        tp.Preset("mine", {"loud": 1.0})
    with pytest.raises(ValueError, match="there is a cue 'hpss' already"):
        BEST.plus("hpss", loud)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (lambda m: m[:, :-1], r"must have shape \(1025, 87\), got \(1025, 86\)"),
        (lambda m: 2 * torch.ones_like(m), "must be at most 1.0001, its maximum is 2"),
        (lambda m: -torch.ones_like(m), "must be at least -0.0001, its minimum is -1"),
        (lambda m: m / 0, "must be finite"),
        (lambda m: m > 1, "must be real and floating point, got dtype torch.bool"),
        (lambda m: m.to("meta"), "must be on cpu, got meta"),
        (lambda m: None, "must be a tensor, got None"),
    ],
)
def test_a_mask_that_is_none_names_its_cue(result, error):
    preset = BEST.plus("mine", lambda mixture: result(mixture.magnitude()))
    with pytest.raises(ValueError, match=f"mask of cue 'mine' {error}"):
        tp.PrimitiveSeparator(preset, "mine")(noise(), 44100)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_masks_of_other_dtypes(dtype):
    preset = BEST.plus("mine", lambda mixture: loud(mixture).to(dtype))
    stems = tp.PrimitiveSeparator(preset)(noise(), 44100)
    assert {mask.dtype for mask in (stems.mask, *stems.masks.values())} == {torch.float32}
    half = tp.PrimitiveSeparator(preset, mask_dtype=torch.float16)(noise(), 44100)
    assert {mask.dtype for mask in half.masks.values()} == {torch.float16}


def test_a_module_learns_from_stems_and_confidence():
    slope = Slope()
    separator = tp.PrimitiveSeparator(BEST.plus("slope", slope))
    assert dict(separator.named_parameters()) == {"cues.slope.slope": slope.slope}
    for part in ("vocals", "confidence"):
        slope.slope.grad = None
        getattr(separator(noise(), 44100), part).square().mean().backward()
        assert slope.slope.grad.isfinite() and slope.slope.grad != 0


def test_long_songs_in_pieces_and_batches():
    separator = tp.PrimitiveSeparator(tp.Preset("mine", {"slope": 1.0}, cues={"slope": Slope()}))
    song = noise(40.0, (2,))
    stems = separator(song, 44100, channels=True, keep_masks=True)
    assert stems.masks["slope"].shape == stems.mask.shape == (1025, 1 + 40 * 44100 // 512)
    torch.testing.assert_close(stems.vocals + stems.accompaniment, song, atol=1e-5, rtol=0)
    with torch.no_grad():
        parts = list(separator.stream(lambda a, b: song[:, a:b], song.shape[-1], 44100, channels=True))
    torch.testing.assert_close(torch.cat([p.vocals for p in parts], -1), stems.vocals, atol=1e-5, rtol=0)
    batch = separator(song[:, :44100], 44100)
    assert batch.masks["slope"].shape == (2, 1025, 87) and batch.confidence.shape == (2,)


def test_copies_and_pickles_of_a_preset_with_cues():
    preset = BEST.plus("loud", loud).plus("slope", Slope())
    separator = tp.PrimitiveSeparator(preset)
    assert separator.preset.cues["slope"] is separator.cues["slope"]
    for other in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):
        assert other.preset.cues["slope"] is other.cues["slope"] is not separator.cues["slope"]
        assert other.identity == separator.identity


def test_labels_and_remixes_of_an_own_ensemble(bank, tmp_path):
    slope = Slope()
    weights = {"slope": 1.0, "hpss": 1.0}
    teacher = tp.PrimitiveSeparator(tp.Preset("mine", weights, GEOMETRY, cues={"slope": slope}))
    path = tmp_path / "labels.jsonl"
    labels = tp.label(bank, teacher, path, progress=False)
    assert labels.confidence.isfinite().all()
    tp.label(bank, teacher, path, progress=False)
    count = len(path.read_text().splitlines())
    assert count == len(bank.segments)  # not labelled again
    with torch.no_grad():
        slope.slope.mul_(0.5)
    tp.label(bank, teacher, path, progress=False)
    assert len(path.read_text().splitlines()) == 2 * count  # other weights, other labels
    stream = tp.RemixStream(bank, teacher, labels=labels, geometry=GEOMETRY, batch_size=2, frames=20)
    assert next(iter(stream)).mixture.isfinite().all()


def test_names_of_cues_are_checked_where_there_is_no_preset():
    with pytest.raises(ValueError, match="a cue cannot be named 'names'"):
        Cues({"names": loud})
    assert list(Cues({"hpss-9": tp.HPSS(9)})(Mixture(noise(), 44100))) == ["hpss-9"]
