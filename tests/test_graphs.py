"""`torch.compile` of each primitive and of the separator: one full graph, with the results of eager mode."""

import pytest
import torch

import torchprim as tp
from torchprim.kernels.tables import constant_table
from torchprim.spectra.stft import masked_istft

RATE = 44100


def audio(seed=0):
    return torch.randn(2, 6000, generator=torch.Generator().manual_seed(seed))


def magnitude(seed=0):
    return tp.stft(audio(seed)).abs()


def leaf(x):
    return torch.tensor(x, requires_grad=True)


def mask_and_confidence(a, weights, beta):
    masks = [a / a.amax(), a / (a + 1)]
    mask = tp.soft_assignment(masks, weights, beta)
    return mask, *tp.confidence_measure(masks, a, weights, beta, n_points=None)


def refined_mask(channels, strength):
    spectrum = tp.stft(channels)
    left, right = spectrum.abs()
    return tp.spatial(spectrum, left / (left + right), strength)


# name -> (function of a tensor and of learnable settings, the tensor, the settings)
PRIMITIVES = {
    "hpss": (lambda a, power, cutoff: tp.hpss(a, power=power, cutoff=cutoff), magnitude, (1.7, 300.0)),
    "long-hpss": (lambda a, power, cutoff: tp.long_hpss(a, power=power, cutoff=cutoff), audio, (1.7, 300.0)),
    "2dft": (lambda a, cutoff: tp.ft2d(a, (1, 9), cutoff=cutoff), magnitude, (300.0,)),
    "2dft, soft": (lambda a, heat: tp.ft2d(a, (1, 9), temperature=heat), magnitude, (0.5,)),
    "repet-sim": (lambda a, cutoff: tp.repet_sim(a, 0.05, cutoff=cutoff), magnitude, (300.0,)),
    "melody": (lambda a, width, bias: tp.melody(a, width=width, bias=bias), magnitude, (30.0, 0.8)),
    "melody, soft": (lambda a, jump: tp.melody(a, soft=True, jump=jump), magnitude, (9.0,)),
    "pitch": (lambda a: tp.track_pitch(a, RATE)[1:4], audio, ()),
    "spatial": (refined_mask, audio, (1.5,)),
    "clustering, confidence": (mask_and_confidence, magnitude, ([1.0, 2.0], 2.5)),
}


def separation(preset):
    class Estimate(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.separator = tp.PrimitiveSeparator(preset, n_points=None)
            self.separator.cues["hpss"].primitive.power = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, audio, weights, beta):
            mixture = tp.Mixture(audio, RATE)
            estimate = self.separator.estimate(mixture, weights=weights, beta=beta)
            vocals = masked_istft(estimate.mask, mixture.spectrum(), mixture.geometry, audio.shape[-1])
            return estimate.mask, *estimate.masks.values(), *estimate.confidence, vocals

    module = Estimate()

    def outputs(audio, weights, beta, power):
        learnt = {"separator.cues.hpss.primitive.power": power}
        return torch.func.functional_call(module, learnt, (audio, weights, beta))

    return outputs, (module.separator.cue_weights(), 2.5, 1.7)


def assert_compiled_equals_eager(function, source, settings):
    """Outputs and gradients of two inputs; the second does not recompile."""
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for seed in (0, 1):
        results = []
        for run in (function, compiled):
            leaves = source(seed).requires_grad_(), *(leaf(x) for x in settings)
            with torch._dynamo.config.patch(error_on_recompile=seed == 1):
                outputs = run(*leaves)
            outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
            differentiable = [x for x in outputs if x.requires_grad]
            torch.autograd.backward(differentiable, [x.detach() + 0.5 for x in differentiable])
            results.append((*outputs, *(x.grad for x in leaves)))
        assert len(results[0]) == len(results[1])
        for wanted, got in zip(*results, strict=True):
            assert wanted is not None
            torch.testing.assert_close(got, wanted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitive(name):
    assert_compiled_equals_eager(*PRIMITIVES[name])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("preset", ["best", "paper"])
def test_masks_and_confidence_of_a_separator(preset):
    outputs, settings = separation(preset)
    assert_compiled_equals_eager(outputs, audio, settings)


@pytest.mark.filterwarnings("ignore")
def test_masks_of_a_mixture_and_stems():
    """The public calls: a mixture created outside the graph, and audio in, stems out."""
    separator = tp.PrimitiveSeparator("paper", n_points=None)

    def masks(mixture):
        mask, masks = separator.masks(mixture)
        return mask, *masks.values()

    def stems(audio):
        return separator(audio, RATE)[:2]

    def stereo_stems(audio):
        return refined(audio, RATE, channels=True)[:2]

    refined = tp.PrimitiveSeparator("paper", n_points=None, spatial=1.0)
    for function, make in ((masks, lambda: tp.Mixture(audio(), RATE)), (stems, audio), (stereo_stems, audio)):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        for got, wanted in zip(compiled(make()), function(make()), strict=True):
            torch.testing.assert_close(got, wanted)


def test_a_constant_table_is_computed_once_and_outside_the_graph():
    calls = []

    @constant_table
    def _ramp(count: int, dtype: torch.dtype) -> list[torch.Tensor]:
        result = torch.arange(count, dtype=dtype)
        calls.append(not isinstance(result, torch._subclasses.FakeTensor))
        return [result]

    assert _ramp(3, torch.float32)[0] is _ramp(3, torch.float32)[0]
    assert calls == [True]
    compiled = torch.compile(lambda x: x * _ramp(4, x.dtype)[0], fullgraph=True, backend="aot_eager")
    for _ in range(3):
        assert compiled(torch.ones(4)).tolist() == [0, 1, 2, 3]
    assert sum(calls) == 2
    cached = _ramp(4, torch.float32)[0]
    compiled(torch.ones(4)).add_(1)
    assert cached.tolist() == [0, 1, 2, 3]  # a graph may overwrite its copy in place
    torch.library.opcheck(torch.ops.torchprim.test_graphs_ramp.default, (5, torch.float64))
