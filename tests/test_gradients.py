"""Gradients to the waveform and to all continuous settings, on a real clip and by `gradcheck`.

docs/differentiability.md lists gradients that are zero or a matter of convention.
"""

import pytest
import torch

import torchprim as tp
from examples.tune_ensemble import tune
from torchprim.audio.find import demo_song
from torchprim.audio.load import load_stems

SAMPLES, RATE = 10_000, 44100
GRID = (1025, 1 + SAMPLES // 512)


def magnitude_of(audio):
    return tp.stft(audio).abs()


def voice(audio, soft=False, **settings):
    """Compute the melody as in the ensemble, weighted by `long_hpss`."""
    return tp.melody(magnitude_of(audio), soft=soft, weight=tp.long_hpss(audio), **settings)


# name -> (mask as a function of audio and settings, the settings)
CUES = {
    "hpss": (lambda a, **s: tp.hpss(magnitude_of(a), 17, **s), {"power": 1.7, "cutoff": 300.0}),
    "long-hpss": (lambda a, **s: tp.long_hpss(a, **s), {"power": 1.7, "cutoff": 300.0}),
    "2dft-r": (lambda a, **s: tp.ft2d(magnitude_of(a), (1, 9), **s).repetition, {"cutoff": 300.0}),
    "2dft-m": (lambda a, **s: tp.ft2d(magnitude_of(a), (1, 9), **s).micro_modulation, {"cutoff": 300.0}),
    "2dft, soft": (
        lambda a, **s: sum(tp.ft2d(magnitude_of(a), (1, 9), **s)),
        {"cutoff": 300.0, "temperature": 0.5},
    ),
    "repet-sim": (lambda a, **s: tp.repet_sim(magnitude_of(a), 0.05, **s), {"cutoff": 300.0}),
    "melody": (voice, {"cutoff": 300.0, "width": 32.0, "bias": 0.9}),
    "melody, soft": (
        lambda a, **s: voice(a, soft=True, **s),
        {"cutoff": 300.0, "width": 32.0, "bias": 0.9, "slope": 0.011, "jump": 9.0},
    ),
}


@pytest.fixture(scope="module")
def clip():
    """0.2 s of a real mixture, in float64."""
    stems, rate = load_stems(demo_song())
    assert rate == RATE
    return sum(stems.values()).mean(0)[60_000 : 60_000 + SAMPLES].double()


@pytest.fixture(scope="module")
def direction(clip):
    """A perturbation with the spectrum of the audio: silent bins of the clip stay nearly silent."""
    return clip.roll(7) * torch.cos(torch.arange(SAMPLES, dtype=torch.float64) / 900)


def fixed_noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def leaves(settings):
    return {name: torch.as_tensor(x, dtype=torch.float64).requires_grad_() for name, x in settings.items()}


def assert_directional_derivative(loss, values, name, direction):
    """Compare the gradient of `loss(**values)` to one value with central differences along a direction."""
    # So small that hardly any bin crosses a kink.
    step = 1e-7 * max(1.0, values[name].detach().abs().max().item())
    with torch.no_grad():
        ends = [loss(**{**values, name: values[name] + sign * step * direction}) for sign in (1, -1)]
    wanted = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((values[name].grad * direction).sum(), wanted, rtol=3e-5, atol=3e-6)
    assert wanted.abs() > 1e-4


@pytest.mark.parametrize("name", CUES)
def test_cue_on_a_real_clip(name, clip, direction):
    cue, settings = CUES[name]
    # In nearly silent bins a mask is a ratio of rounding errors: weighted by the magnitude.
    weight = fixed_noise(*GRID) * magnitude_of(clip)

    def loss(audio, **settings):
        return (cue(audio, **settings) * weight).sum()

    values = {"audio": clip.clone().requires_grad_(), **leaves(settings)}
    loss(**values).backward()
    assert torch.isfinite(values["audio"].grad).all()
    # A mask is invariant to level: its gradient is orthogonal to the audio.
    product = (values["audio"].grad * clip).sum().abs()
    assert product < 1e-6 * values["audio"].grad.norm() * clip.norm()
    for setting in values:
        along = direction if setting == "audio" else torch.tensor(1.0)
        assert_directional_derivative(loss, values, setting, along)


@pytest.mark.parametrize("preset", ["best", "paper"])
def test_separator_on_a_real_clip(preset, clip, direction):
    """From stems and confidence to the audio, weights, beta and the cues' settings."""
    separator = tp.PrimitiveSeparator(preset, n_points=None)
    cues, weight = separator.cues, fixed_noise(SAMPLES)

    def loss(audio, weights, beta, power, cutoff, temperature, width, bias):
        for name in cues.names:
            cues[name].primitive.cutoff, cues[name].primitive.smooth = cutoff, True
        cues["hpss"].primitive.power = cues["melody"].weight.primitive.power = power
        cues["2dft-r"].primitive.temperature = temperature
        melody = cues["melody"].primitive
        melody.width, melody.bias = width, bias
        stems = separator(audio, RATE, weights=weights, beta=beta)
        return (stems.vocals * weight).sum() + 10 * stems.silhouette + 10 * stems.posterior

    settings = {"beta": 2.5, "power": 1.7, "cutoff": 300.0, "temperature": 0.3, "width": 30.0, "bias": 0.8}
    values = {"audio": clip, "weights": separator.cue_weights(), **settings}
    values = leaves({name: x.clone() if name == "audio" else x for name, x in values.items()})
    loss(**values).backward()
    along = {"audio": direction, "weights": fixed_noise(len(values["weights"]))}
    for setting in values:
        assert_directional_derivative(loss, values, setting, along.get(setting, torch.tensor(1.0)))


def test_weights_and_beta_default_to_the_presets(clip):
    separator = tp.PrimitiveSeparator("best")
    mixture = tp.Mixture(clip, RATE)
    preset = {"weights": torch.tensor(separator.cue_weights()), "beta": torch.tensor(separator.preset.beta)}
    for default, explicit in (
        (separator.masks(mixture)[0], separator.masks(mixture, **preset)[0]),
        (separator(clip, RATE).confidence, separator(clip, RATE, **preset).confidence),
    ):
        torch.testing.assert_close(default, explicit)
    other = separator.masks(mixture, weights=torch.ones(5))[0]
    assert (other - separator.masks(mixture)[0]).abs().max() > 0.05
    with pytest.raises(ValueError, match=r"weights must hold 5 numbers.*got \[1.0, 1.0\]"):
        separator.masks(mixture, weights=torch.ones(2))
    with pytest.raises(ValueError, match="beta must be positive"):
        separator(clip, RATE, beta=torch.tensor(-1.0))


def test_the_example_raises_the_confidence_less_with_a_prior(clip):
    separator = tp.PrimitiveSeparator("best", n_points=None)
    mixture = tp.Mixture(clip.float(), RATE)

    def confidence(weights, beta):
        return separator.estimate(mixture, weights=weights, beta=beta).confidence.confidence.item()

    before = confidence(None, None)
    free, regularised = (tune(separator, mixture, steps=20, prior=prior) for prior in (0.0, 2.0))
    assert confidence(*free) > confidence(*regularised) > before
    assert free[1] > regularised[1] > separator.preset.beta
    for weights, _ in (free, regularised):
        assert weights.sum().item() == pytest.approx(sum(separator.cue_weights()), rel=1e-6)


# --- gradcheck on tiny sizes ----------------------------------------------------------------------


def check(function, *inputs):
    """Run `gradcheck` in its fast mode, along random directions."""
    inputs = tuple(x.requires_grad_() for x in inputs)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True, atol=1e-5)


def tiny(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator) + 0.1


def number(x):
    return torch.tensor(x, dtype=torch.float64)


def test_gradcheck_of_cues_of_the_magnitude():
    a, cut = tiny(2, 17, 24), number(6000.0)
    check(lambda a, p, c: tp.hpss(a, (5, 3), p, cutoff=c), a, number(1.7), cut)
    check(lambda a, c: tuple(tp.ft2d(a, (1, 5), cutoff=c)), a, cut)
    check(lambda a, t: tuple(tp.ft2d(a, (3, 5), temperature=t)), a, number(0.5))
    check(lambda a, c: tp.repet_sim(a, 0.05, cutoff=c), a, cut)


@pytest.mark.parametrize("soft", [False, True])
def test_gradcheck_of_the_melody(soft):
    a, weight = tiny(2, 65, 9), tiny(2, 65, 9, seed=1)
    costs = {"slope": number(0.02), "jump": number(3.0)} if soft else {}

    def mask(a, weight, width, bias, cut, *path_costs):
        path_costs = dict(zip(costs, path_costs, strict=True))
        settings = {"cutoff": cut, "sample_rate": 8000, "soft": soft, **path_costs}
        return tp.melody(a, 100.0, 400.0, width, weight=weight, bias=bias, **settings)

    check(mask, a, weight, number(60.0), number(0.7), number(300.0), *costs.values())


def test_gradcheck_of_the_long_window():
    geometry = tp.Geometry(8000, 64, 16)

    def mask(audio, power, cut):
        long = {"window_length": 256, "hop_length": 64, "geometry": geometry}
        return tp.long_hpss(audio, 5, power, cutoff=cut, **long)

    check(mask, tiny(2, 500) - 0.6, number(1.7), number(900.0))


def test_gradcheck_of_clustering_and_confidence():
    masks, magnitude = [tiny(2, 9, 8, seed=i) / 1.2 for i in range(3)], tiny(2, 9, 8, seed=5)
    weights, beta = number([1.0, 2.0, 0.5]), number(2.5)
    check(lambda w, b, *masks: tp.soft_assignment(masks, w, b), weights, beta, *masks)

    def confidence(w, b, *masks):
        return tuple(tp.confidence_measure(masks, magnitude, w, b, n_points=None, share=0.5))

    check(confidence, weights, beta, *masks)


# --- where gradients stop --------------------------------------------------------------------------


def test_hard_decisions_have_no_gradient(clip):
    magnitude = magnitude_of(clip)
    cutoff = number(300.0).requires_grad_()
    assert not tp.hpss(magnitude, 17, cutoff=cutoff, smooth=False).requires_grad  # a step function
    track = tp.track_pitch(clip.clone().requires_grad_(), RATE)
    assert track.voicing.requires_grad
    assert not track.f0.requires_grad  # the path
    for name in ("slope", "jump"):
        with pytest.raises(ValueError, match=f"{name} must be a number, unless soft=True"):
            tp.melody(magnitude, **{name: number(1.0)})


def test_a_mixture_caches_masks_of_settings_changed_in_place(clip):
    """The docs warn of it: a setting that is changed in place does not invalidate the cache."""
    separator, power = tp.PrimitiveSeparator("paper"), number(1.5)
    separator.cues["hpss"].primitive.power = power
    mixture = tp.Mixture(clip, RATE)
    first = separator.cue_masks(mixture)["hpss"]
    power += 1.0
    assert separator.cue_masks(mixture)["hpss"] is first
    assert not torch.equal(separator.cue_masks(tp.Mixture(clip, RATE))["hpss"], first)
