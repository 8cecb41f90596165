"""A separator whose cues store their masks in float16."""

import pytest
import torch

import torchprim as tp
from torchprim.ensemble.presets import PRIMITIVES
from torchprim.metrics.scale import sd_sdr
from torchprim.separators import base


@pytest.fixture(scope="module")
def mix(drum_loop, voice):
    return drum_loop + voice


def test_they_change_the_mask_by_their_rounding_alone(mix):
    half, single = (tp.PrimitiveSeparator("best", mask_dtype=dtype) for dtype in (torch.float16, None))
    assert half.identity != single.identity
    audio = mix[:60000]
    got, expected = half(audio, 44100), single(audio, 44100)
    assert {mask.dtype for mask in got.masks.values()} == {torch.float16}
    assert got.mask.dtype == got.vocals.dtype == got.confidence.dtype == torch.float32
    assert not torch.equal(got.mask, expected.mask)
    for name, mask in got.masks.items():
        torch.testing.assert_close(mask.float(), expected.masks[name], atol=2e-3, rtol=0)
    torch.testing.assert_close(got.mask, expected.mask, atol=4e-3, rtol=0)
    assert sd_sdr(expected.vocals, got.vocals) > 60
    torch.testing.assert_close(got.confidence, expected.confidence, atol=2e-3, rtol=0)


def test_gradients_reach_the_weights_and_no_further(mix):
    half, audio = tp.PrimitiveSeparator("best", mask_dtype=torch.float16), mix[:60000]
    weights = torch.tensor(half.cue_weights(), requires_grad=True)
    half(audio, 44100, weights=weights).vocals.square().sum().backward()
    assert weights.grad.isfinite().all() and weights.grad.any()
    with pytest.raises(ValueError, match=r"masks in torch.float16 pass no gradient on"):
        half(audio.clone().requires_grad_(), 44100)
    with pytest.raises(ValueError, match=r"a mask's dtype must be .* got torch.int8"):
        tp.PrimitiveSeparator("best", mask_dtype=torch.int8)


@pytest.mark.parametrize("method", PRIMITIVES)
def test_every_primitive_stores_its_mask_in_float16(method, mix):
    half, single = (
        tp.PrimitiveSeparator("best", method, mask_dtype=dtype)(mix[:60000], 44100).mask
        for dtype in (torch.float16, None)
    )
    torch.testing.assert_close(half, single.half(), atol=2e-3, rtol=0)


def test_with_a_network(mix):
    network = tp.NetworkSeparator(tp.build_network("unet").eval())
    with torch.inference_mode():
        stems = network.with_primitives("best", mask_dtype=torch.float16)(mix[:20000], 44100)
    assert len(stems.masks) == 6 and {mask.dtype for mask in stems.masks.values()} == {torch.float16}
    assert stems.mask.dtype == torch.float32


def test_long_audio(mix, monkeypatch):
    """Cross-fades of pieces stay within the masks' rounding."""
    monkeypatch.setattr(base, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(base, "OVERLAP_SECONDS", 0.2)
    got, expected = (
        tp.PrimitiveSeparator("paper", mask_dtype=dtype)(mix[:100000], 44100, keep_masks=True)
        for dtype in (torch.float16, None)
    )
    torch.testing.assert_close(got.masks["hpss"], expected.masks["hpss"].half(), atol=2e-3, rtol=0)
    torch.testing.assert_close(got.vocals, expected.vocals, atol=2e-3, rtol=0)
