"""SI-SIR, SI-SAR and improvements, against least squares in NumPy, mir_eval, and closed forms."""

import math

import numpy as np
import pytest
import torch

import torchprim as tp


def trio(length=3000, seed=0, dtype=torch.float64):
    """Two correlated sources `(2, T)` with offsets, and estimates with interference and noise."""
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(2, length, generator=g, dtype=dtype)
    s[1] += 0.4 * s[0] + 2.0
    e = torch.tensor([[0.8, 0.3], [-0.2, 1.1]], dtype=dtype) @ s
    return s, e + 0.2 * torch.randn(2, length, generator=g, dtype=dtype) + 0.7


def oracle(s, e, j):
    """Target, interference and artifacts of estimate j, by NumPy's least squares."""
    s, e = (x - x.mean(-1, keepdims=True) for x in (s.double().numpy(), e.double().numpy()))
    projected = s.T @ np.linalg.lstsq(s.T, e[j], rcond=None)[0]
    target = s[j] * (s[j] @ e[j]) / (s[j] @ s[j])
    return [float(x @ x) for x in (target, projected - target, e[j] - projected)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_least_squares(dtype):
    s, e = trio(dtype=dtype)
    sir, sar = tp.si_sir(s, e), tp.si_sar(s, e)
    assert sir.shape == sar.shape == (2,) and sir.dtype == torch.float64
    for j in range(2):
        target, interference, artifacts = oracle(s, e, j)
        assert sir[j].item() == pytest.approx(10 * math.log10(target / interference), abs=1e-6)
        assert sar[j].item() == pytest.approx(10 * math.log10(target / artifacts), abs=1e-6)


def test_equals_mir_eval_with_filters_of_one_tap():
    """mir_eval's decomposition with one tap; its SAR has all of P e above the line."""
    from mir_eval import separation

    s, e = trio()
    s, e = (x - x.mean(-1, keepdim=True) for x in (s, e))
    for j in range(2):
        true, spatial, interference, artifacts = separation._bss_decomp_mtifilt(s.numpy(), e[j].numpy(), j, 1)
        target = np.sum((true + spatial) ** 2)
        sir, sar = (10 * np.log10(target / np.sum(x**2)) for x in (interference, artifacts))
        assert tp.si_sir(s, e)[j].item() == pytest.approx(sir, abs=1e-6)
        assert tp.si_sar(s, e)[j].item() == pytest.approx(sar, abs=1e-6)


def test_parts_add_up_to_si_sdr():
    s, e = trio(seed=3)
    parts = 10 ** (-tp.si_sir(s, e) / 10) + 10 ** (-tp.si_sar(s, e) / 10)
    torch.testing.assert_close(-10 * parts.log10(), tp.si_sdr(s, e), atol=1e-9, rtol=0)


def test_batch_equals_loop_and_scale_does_not_matter():
    pairs = [trio(seed=seed) for seed in range(3)]
    s, e = (torch.stack(column) for column in zip(*pairs, strict=True))
    for metric in (tp.si_sir, tp.si_sar):
        loop = torch.stack([metric(*pair) for pair in pairs])
        torch.testing.assert_close(metric(s, e), loop, atol=1e-9, rtol=0)
        scale = torch.tensor([[1e-4], [300.0]], dtype=torch.float64)
        torch.testing.assert_close(metric(scale * s, 7 * e), loop, atol=1e-6, rtol=0)


def test_silence():
    s, e = trio()
    quiet = s.clone()
    quiet[1] = 0.3
    for metric in (tp.si_sir, tp.si_sar):
        _, second = metric(quiet, e)
        assert math.isnan(second)
        assert metric(s, torch.zeros_like(e)).tolist() == [-math.inf] * 2
        assert not metric(s, e).isnan().any()
    # A silent source takes no part: all the rest of the estimate is an artifact.
    assert tp.si_sar(quiet, e)[0].item() == pytest.approx(tp.si_sdr(s[0], e[0]).item(), abs=1e-6)
    assert tp.si_sir(quiet, e)[0] > 200
    # The mixture has no artifacts, and equal sources no interference.
    assert tp.si_sar(s, s.sum(0).expand(2, -1)).min() > 200
    assert tp.si_sir(s[:1].expand(2, -1), e).min() > 200


def test_improvement():
    s, e = trio()
    mixture = s.sum(0)
    for metric in (tp.sd_sdr, tp.si_sdr, tp.snr, tp.si_sir, tp.si_sar):
        gain = tp.metrics.improvement(metric, s, e, mixture)
        want = metric(s, e) - metric(s, torch.stack([mixture, mixture]))
        torch.testing.assert_close(gain, want, atol=0, rtol=0)
    none = tp.metrics.improvement(tp.sd_sdr, s, torch.stack([mixture, mixture]), mixture)
    assert none.abs().max() == 0


def test_bad_arguments_are_named():
    s, e = trio(50)
    with pytest.raises(ValueError, match=r"references must have shape \(\.\.\., C, T\), got \(50,\)"):
        tp.si_sir(s[0], e)
    with pytest.raises(ValueError, match="estimates must be as long as references"):
        tp.si_sar(s, e[:, :40])
    with pytest.raises(ValueError, match="estimates must be finite"):
        tp.si_sir(s, e / 0)
    with pytest.raises(ValueError, match="mixture must be real"):
        tp.metrics.improvement(tp.snr, s, e, s.sum(0).long())
