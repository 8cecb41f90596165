"""Primitives as modules: settings are attributes, tensors among them registered."""

import copy
import pickle

import pytest
import torch
from torch import nn

import torchprim as tp
from torchprim.primitives.base import Primitive


def number(value, **options):
    return torch.tensor(value, **options)


def test_a_parameter_is_registered_and_learnt():
    module = tp.HPSS(kernel_size=9, power=nn.Parameter(number(2.0)))
    assert [name for name, _ in module.named_parameters()] == ["power"]
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.rand(33, 20)).square().sum().backward()
    optimiser.step()
    assert module.power.item() != 2.0
    assert module.settings["power"] is module.power


def test_a_tensor_is_a_buffer_and_follows_the_module():
    module = tp.HPSS(power=number(1.5))
    assert not list(module.parameters())
    assert module.state_dict() == {"power": number(1.5)}
    assert module.double().power.dtype == torch.float64
    other = tp.HPSS(power=number(0.0))
    other.load_state_dict(module.state_dict())
    assert other.power.item() == 1.5


def test_a_setting_is_replaced_by_one_of_another_type():
    parameter, buffer = nn.Parameter(number(20.0)), number(40.0)
    module = tp.Melody()
    for value in (parameter, 30.0, buffer, parameter, buffer, 70):
        module.width = value
        assert module.width is value
        assert ("width" in dict(module.named_parameters())) == isinstance(value, nn.Parameter)
        assert ("width" in module.state_dict()) == isinstance(value, torch.Tensor)


def test_repr_shows_the_settings():
    learnt = tp.HPSS(17, nn.Parameter(number(1.25)), cutoff=200)
    assert repr(learnt) == (
        "HPSS(kernel_size=17, power=Parameter(1.25), cutoff=200, smooth=True, sample_rate=44100, dtype=None)"
    )
    assert "(hpss): PrimitiveCue(" in repr(tp.PrimitiveSeparator("paper"))


@pytest.mark.parametrize("module", [tp.HPSS(9, number(1.5)), tp.FT2D((1, 9)), tp.RepetSim(0.1), tp.Melody()])
def test_modules_copy_and_pickle(module):
    magnitude = torch.rand(65, 40, generator=torch.Generator().manual_seed(0))
    wanted = torch.stack(list(module(magnitude))) if isinstance(module, tp.FT2D) else module(magnitude)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        got = other(magnitude)
        assert torch.equal(torch.stack(list(got)) if isinstance(got, tuple) else got, wanted)


def test_a_module_with_other_settings_than_its_function_cannot_be_defined():
    def gate(magnitude: torch.Tensor, threshold: float = 1.0, *, cutoff: float = 0.0) -> torch.Tensor:
        return magnitude

    message = r"Gate must have the settings of gate, \(threshold: .* = 1.0, \*, .*, got \(threshold: .* = 2.0"
    with pytest.raises(TypeError, match=message):

        class Gate(Primitive, function=gate):
            def __init__(self, threshold: float = 2.0, *, cutoff: float = 0.0) -> None:
                super().__init__(locals())

            def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
                return gate(magnitude, **self.settings)


def test_a_cue_of_a_separator_is_learnt():
    separator = tp.PrimitiveSeparator("best", n_points=None)
    separator.cues["hpss"].primitive.power = nn.Parameter(number(2.0))
    separator.cues["long-hpss"].primitive.cutoff = nn.Parameter(number(200.0))
    names = [name for name, _ in separator.named_parameters()]
    # The cue of long-window HPSS is shared by the melody, and listed once.
    assert names == ["cues.melody.weight.primitive.cutoff", "cues.hpss.primitive.power"]
    audio = torch.randn(22050, generator=torch.Generator().manual_seed(0))
    stems = separator(audio, 44100)
    (stems.vocals.square().sum() + stems.confidence).backward()
    assert all(p.grad is not None and p.grad != 0 for p in separator.parameters())
