"""Registration of operators, on a toy: dispatch, schema, shape rule, gradient."""

import inspect

import pytest
import torch
from torch import Tensor

from tests.support.kernel_tools import runs_kernels
from torchprim.kernels.dispatch import forced_kernels, plain_torch
from torchprim.kernels.register import register_gradient, register_operator

ASKED = []  # whether each backward pass was asked for the gradient to the weight


def reference(masks: list[Tensor], weight: Tensor | None, power: float) -> tuple[Tensor, Tensor]:
    """Compute powers of the first mask times the weight, and their maxima."""
    result = masks[0] ** power * (1 if weight is None else weight)
    return result, result.amax(-1)


def reference_gradients(
    gradient: Tensor,
    masks: list[Tensor],
    weight: Tensor | None,
    power: float,
    largest: Tensor,
    to_weight: bool,
) -> tuple[list[Tensor], Tensor]:
    assert largest.shape == gradient.shape[:-1]
    ASKED.append(to_weight)
    raised = masks[0] ** power
    d_weight = gradient * raised if to_weight else gradient.new_empty(0)
    slope = gradient * power * masks[0] ** (power - 1) * (1 if weight is None else weight)
    return [slope, *(torch.zeros_like(mask) for mask in masks[1:])], d_weight


def forward(masks, weight, power):
    """Stand in for a kernel: 100 more than the reference."""
    result, largest = reference(masks, weight, power)
    return result + 100, largest


def backward(gradient, masks, weight, power, largest, to_weight):
    d_masks, d_weight = reference_gradients(gradient, masks, weight, power, largest, to_weight)
    return [x + 100 for x in d_masks], d_weight


@pytest.fixture(scope="module")
def operators():
    def fits(masks):
        return masks[0].shape[-1] <= 4

    def empty_gradients(masks, weight, to_weight, gradient):
        shape = gradient.shape if to_weight else (0,)
        return [torch.empty_like(mask) for mask in masks], gradient.new_empty(shape)

    one = register_operator(
        "test_register_toy",
        reference,
        kernel="test_register.forward",
        fake=lambda masks: (torch.empty_like(masks[0]), masks[0].new_empty(masks[0].shape[:-1])),
        fits=fits,
    )
    other = register_operator(
        "test_register_toy_backward",
        reference_gradients,
        kernel="test_register.backward",
        fake=empty_gradients,
        fits=fits,
    )
    register_gradient(one, other, to=("masks", "weight"), outputs=("result", "largest"))
    return one, other


def inputs(columns=3, dtype=torch.float32, weighted=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = [torch.rand(2, columns, generator=generator).to(dtype).requires_grad_() for _ in range(2)]
    weight = torch.rand(2, columns, generator=generator).to(dtype).requires_grad_() if weighted else None
    return masks, weight, 2.0


def test_a_cpu_takes_the_reference(operators):
    for got, wanted in zip(operators[0](*inputs()), reference(*inputs()), strict=True):
        assert torch.equal(got, wanted)


@runs_kernels
def test_forced_a_cpu_takes_the_kernel_where_it_fits(operators):
    with forced_kernels():
        assert operators[0](*inputs(3))[0].min() >= 100
        assert operators[0](*inputs(3, torch.float16))[0].min() >= 100
        assert operators[0](*inputs(5))[0].max() < 100  # too many columns
        assert operators[0](*inputs(3, torch.float64))[0].max() < 100
        with plain_torch():
            assert operators[0](*inputs(3))[0].max() < 100
        masks, weight, power = inputs(3)
        operators[0](masks, weight, power)[0].sum().backward()
        assert masks[0].grad.min() >= 100 > weight.grad.max()


def test_the_schema_and_signature_are_those_of_the_reference(operators):
    schema = torch.library.infer_schema(reference, mutates_args=())
    assert str(torch.ops.torchprim.test_register_toy.default._schema).endswith(schema)
    assert inspect.signature(operators[0]) == inspect.signature(reference)


def test_fake_tensors_take_the_shape_rule(operators):
    with torch._subclasses.FakeTensorMode():
        masks = [torch.empty(2, 5, device="cuda") for _ in range(2)]
        result, largest = operators[0](masks, None, 2.0)
    assert (result.shape, result.device.type, largest.shape) == ((2, 5), "cuda", (2,))


@pytest.mark.parametrize("weighted", [True, False])
def test_gradients(operators, weighted):
    masks, weight, power = inputs(dtype=torch.float64, weighted=weighted)
    leaves = [*masks, *([weight] if weighted else [])]

    def result(*leaves):
        return operators[0](leaves[:2], leaves[2] if weighted else None, power)[0]

    torch.autograd.gradcheck(result, leaves)
    _, largest = operators[0](masks, weight, power)
    assert not largest.requires_grad  # the gradient takes none of this output


def test_the_gradient_knows_which_inputs_need_one(operators):
    masks, weight, power = inputs()
    ASKED.clear()
    for leaf in (weight, weight.detach()):
        operators[0](masks, leaf, power)[0].sum().backward()
    assert ASKED == [True, False]
    assert weight.grad is not None and masks[0].grad is not None


def test_opcheck(operators):
    torch.library.opcheck(operators[0], inputs())
    torch.library.opcheck(operators[0], inputs(weighted=False))
    masks, weight, power = inputs()
    masks, weight = [mask.detach() for mask in masks], weight.detach()
    for to_weight in (True, False):
        torch.library.opcheck(
            operators[1], (torch.rand(2, 3), masks, weight, power, weight[:, 0] + 1, to_weight)
        )


@pytest.mark.filterwarnings("ignore")
def test_compiles_to_one_graph(operators):
    def total(a, b, weight):
        return operators[0]([a, b], weight, 2.0)[0].sum()

    grads = []
    for run in (total, torch.compile(total, fullgraph=True, backend="aot_eager")):
        masks, weight, _ = inputs()
        run(*masks, weight).backward()
        grads.append((masks[0].grad, weight.grad))
    torch.testing.assert_close(*grads)


def test_a_gradient_with_an_unknown_argument(operators):
    def backward(gradient: Tensor, masks: list[Tensor], weigth: Tensor | None) -> list[Tensor]:
        return [gradient + 0 for _ in masks]

    names = {"kernel": "test_register.backward", "fake": lambda masks: [torch.empty_like(x) for x in masks]}
    other = register_operator("test_register_misspelt", backward, **names)
    with pytest.raises(ValueError, match=r"arguments must be gradients, then some of .* got .*'weigth'"):
        register_gradient(operators[0], other, to=("masks",))
