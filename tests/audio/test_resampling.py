"""Resampling: views, rates and audio that make no sense."""

import math

import numpy as np
import pytest
import torch

import torchprim as tp


def test_a_view_is_resampled_as_its_copy():
    audio = torch.randn(3, 4000, 2).transpose(1, 2)
    assert torch.equal(tp.resample(audio, 48000, 44100), tp.resample(audio.contiguous(), 48000, 44100))
    assert tp.resample(audio, 48000, 48000) is audio


@pytest.mark.parametrize(
    ("audio", "old", "new", "message"),
    [
        (None, 8000, 44100, "audio must be a tensor, got None"),
        (torch.tensor(1.0), 8000, 44100, r"audio must have shape \(..., T\), got \(\)"),
        (torch.zeros(2, 0), 8000, 44100, "audio must not be empty"),
        (torch.zeros(9) + 0j, 8000, 44100, "audio must be real"),
        (torch.full((9,), math.nan), 8000, 44100, "audio must be finite"),
        (torch.full((9,), 1e31), 8000, 44100, r"audio must lie within ±1e\+30"),
        (
            torch.zeros(9),
            1e-9,
            44100,
            "within a factor of 1000 of old_rate, 1e-09 Hz, got 44100",
        ),
        (torch.zeros(9), 44100, 44, "new_rate must be within a factor of 1000 of old_rate"),
        (torch.zeros(9), True, 2, "old_rate must be a number in Hz, got True"),
        (torch.zeros(9), 8000, math.inf, "new_rate must be positive, got inf"),
        (torch.zeros(9), 8000, torch.ones(3), r"new_rate must be a number in Hz, got Tensor of shape \(3,\)"),
        (torch.zeros(9), 8000, None, "new_rate must be a number in Hz, got None"),
    ],
)
def test_what_cannot_be_resampled_is_refused(audio, old, new, message):
    with pytest.raises(ValueError, match=message):
        tp.resample(audio, old, new)


@pytest.mark.parametrize(("old", "new"), [(3, 2), (1e-9, 2e-9), (np.int64(48000), np.float64(24000))])
def test_only_the_ratio_of_the_rates_counts(old, new):
    assert tp.resample(torch.randn(600), old, new).shape == (round(600 * float(new) / float(old)),)
