"""Interpolation of masks between grids."""

import pytest
import torch

import torchprim as tp
from torchprim.spectra.regrid import regrid


def test_regrid_interpolates_a_plane_exactly_and_extends_it_by_its_edge():
    old, new = tp.Geometry(16000, 512, 128), tp.Geometry()
    hertz, seconds = torch.arange(257) * old.bin_width, torch.arange(200) * 128 / 16000
    mask = (hertz[:, None] / 16000 + seconds / 4).expand(2, 257, 200)
    got = regrid(mask, old, new, 130)
    hertz = (torch.arange(1025) * new.bin_width).clamp(max=8000)
    seconds = (torch.arange(130) * 512 / 44100).clamp(max=199 * 128 / 16000)
    wanted = hertz[:, None] / 16000 + seconds / 4
    torch.testing.assert_close(got, wanted.expand(2, 1025, 130), atol=1e-5, rtol=0)
    torch.testing.assert_close(regrid(mask, old, old, 200), mask)
    with pytest.raises(ValueError, match="mask must have 1025 bins, got shape"):
        regrid(mask, new, old, 3)
