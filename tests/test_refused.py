"""What is no plain tensor or number is refused in one line that names it, wherever it is given."""

import pytest
import torch

import torchprim as tp
from torchprim import checks

MAGNITUDE = torch.rand(17, 9)
META = torch.rand((), device="meta")
HUGE = 1 << 70
BINS, EMBEDDING = torch.rand(2, 5, 7), torch.rand(2, 5, 7, 3)


def meta_cutoff():
    tp.hpss(MAGNITUDE, cutoff=META)


CASES = {
    "sparse audio": (lambda: tp.stft(torch.rand(4000).to_sparse()), "audio must be a dense tensor"),
    "sparse setting": (
        lambda: tp.hpss(MAGNITUDE, power=torch.tensor(2.0).to_sparse()),
        "power must be a dense tensor",
    ),
    "complex setting": (lambda: tp.hpss(MAGNITUDE, power=torch.tensor(2j)), "power must be real"),
    "several numbers": (lambda: tp.hpss(MAGNITUDE, power=torch.ones(3)), "power must be one number"),
    "meta setting": (meta_cutoff, "cutoff must hold values"),
    "meta weights": (
        lambda: tp.soft_assignment(torch.rand(17, 9, 2), torch.rand(2, device="meta")),
        "weights must hold values",
    ),
    "meta hardness": (
        lambda: tp.soft_assignment(torch.rand(17, 9, 2), beta=META),
        "beta must hold values",
    ),
    "meta hardness of a confidence": (
        lambda: tp.posterior_strength(torch.rand(17, 9, 2), MAGNITUDE, beta=META),
        "beta must hold values",
    ),
    "meta regularisation": (
        lambda: tp.whitened_kmeans_loss(EMBEDDING, BINS > 0.5, BINS, META),
        "regularisation must hold values",
    ),
    "sparse labels": (
        lambda: tp.deep_clustering_loss(EMBEDDING, BINS.to_sparse(), BINS),
        "labels must be a dense tensor",
    ),
    "complex weights": (
        lambda: tp.deep_clustering_loss(EMBEDDING, BINS > 0.5, BINS + 0j),
        "weights must be real, got dtype torch.complex64",
    ),
    "boolean source": (
        lambda: tp.mask_loss(BINS, BINS, BINS > 0.5, BINS),
        "vocals must be of numbers, got dtype torch.bool",
    ),
    "meta audio": (
        lambda: tp.PrimitiveSeparator()(torch.rand(4000, device="meta"), 44100),
        "audio must hold values",
    ),
    "two devices": (lambda: tp.snr(torch.rand(9, device="meta"), torch.rand(9)), "estimate must be on"),
    "two devices of stems": (
        lambda: tp.ideal_ratio_mask(torch.rand(9, device="meta"), torch.rand(9)),
        "accompaniment must be on",
    ),
    "whole number of 70 bits": (lambda: tp.hpss(MAGNITUDE, cutoff=HUGE), "cutoff must lie in"),
    "length of 70 bits": (
        lambda: tp.istft(torch.rand(1025, 3, dtype=torch.complex64), length=HUGE),
        r"length must be below 2\*\*63, got",
    ),
    "power of 70 bits": (lambda: tp.hpss(MAGNITUDE, power=HUGE), "power must be positive"),
    "billions of bins": (lambda: tp.high_pass(1 << 31, 8000, 200), "bins must be a whole number"),
    "tensor as eq": (lambda: tp.RemixSettings(eq=META), "eq must be a number"),
    "tensor as speed": (lambda: tp.RemixSettings(speed=META), "speed must be a number"),
    "geometry": (lambda: tp.stft(torch.rand(4000), 2048), "geometry must be a Geometry, got 2048"),
    "like": (lambda: tp.null_mask(like=3), "like must be a tensor of floating point, got 3"),
    "tensor as rate": (lambda: tp.high_pass(9, META), "sample_rate must be a number"),
    "tensor as pitch": (
        lambda: tp.track_pitch(torch.rand(4000), 8000, f_min=torch.ones(5)),
        "f_min must be a number",
    ),
    "tensor as channels": (
        lambda: tp.PrimitiveSeparator()(torch.rand(2, 4000), 8000, torch.ones(0)),
        "channels must be a number",
    ),
    "list as a stem": (
        lambda: tp.mask_loss(torch.rand(1, 5, 4), torch.rand(1, 5, 4), [0.0], torch.rand(1, 5, 4)),
        r"vocals must be a tensor, got \[0.0\]",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_plain_tensor_or_number_is_one_line(name):
    call, text = CASES[name]
    with pytest.raises(ValueError, match=text) as raised:
        call()
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


def test_values_are_shown_short_and_in_one_line():
    shown = [
        checks.described(value)
        for value in (2.5, "x", torch.tensor(-1.0), torch.ones(3, 2), torch.ones(()).to_sparse(), META)
    ]
    assert shown == ["2.5", "'x'", "tensor(-1.)", "Tensor of shape (3, 2)", *["Tensor of shape ()"] * 2]
    long = checks.described([[0.1234567] * 99] * 99)
    assert "\n" not in long and len(long) < 60
