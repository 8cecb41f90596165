"""Masks from one grid to another."""

import pytest
import torch

import torchprim as tp
from torchprim.spectra.regrid import regrid


def test_regrid_keeps_places_in_hertz_and_seconds():
    old, new = tp.Geometry(16000, 512, 128), tp.Geometry()
    hertz, seconds = torch.arange(257) * old.bin_width, torch.arange(200) * 128 / 16000
    plane = (hertz[:, None] / 16000 + seconds / 4).expand(2, 257, 200)
    got = regrid(plane, old, new, 130)
    inside = (torch.arange(1025) * new.bin_width).clamp(max=8000)
    wanted = inside[:, None] / 16000 + (torch.arange(130) * 512 / 44100).clamp(max=199 * 128 / 16000) / 4
    torch.testing.assert_close(got, wanted.expand(2, 1025, 130), atol=1e-5, rtol=0)
    torch.testing.assert_close(regrid(plane, old, old, 200), plane)
    with pytest.raises(ValueError, match="mask must have 1025 bins, got shape"):
        regrid(plane, new, old, 3)
