"""Every operator gives the shapes, strides and dtypes of its shape rule, whatever the memory's order."""

import importlib
import pkgutil

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import torchprim as tp
import torchprim.kernels
from torchprim.kernels.hpss.sliding_median import sliding_median
from torchprim.kernels.register import IMPLEMENTATIONS

RATE = 44100


def operators():
    for module in pkgutil.walk_packages(torchprim.kernels.__path__, "torchprim.kernels."):
        if not module.name.endswith("_triton"):
            importlib.import_module(module.name)
    return {name for name in IMPLEMENTATIONS if "test_" not in name}  # but for the toys of other tests


def transposed(x):
    """Swap the order in memory of frequencies and frames, the last dimensions but for pairs of numbers."""
    if not isinstance(x, torch.Tensor) or x.dim() < 2:
        return x
    last = -2 if x.dim() > 2 and x.shape[-1] == 2 else -1
    return x.transpose(last, last - 1).contiguous().transpose(last, last - 1)


def layout(results):
    # The stride of a dimension of one entry says nothing.
    return [
        (tuple(x.shape), x.dtype, [s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1])
        for x in tree_leaves(results)
    ]


class Compared(TorchDispatchMode):
    """Run each operator, also on transposed inputs; compare the results' layout with that of fake ones."""

    def __init__(self):
        super().__init__()
        self.seen, self.wrong = set(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.name().partition("::")[2]
        if func.namespace == "torchprim" and name in IMPLEMENTATIONS:
            self.seen.add(name)
            for order in (lambda x: x, transposed):
                inputs = tree_map(order, args)
                real = result if inputs is args else func(*inputs)
                with FakeTensorMode() as mode:
                    convert = lambda x: mode.from_tensor(x) if isinstance(x, torch.Tensor) else x  # noqa: E731
                    fake = func(*tree_map(convert, inputs))
                if layout(real) != layout(fake):
                    self.wrong.append((name, order is transposed, layout(real), layout(fake)))
        return result


def run_everything(bins=65):
    """Call forward and backward of every function that has an operator."""
    generator = torch.Generator().manual_seed(0)
    geometry = tp.Geometry()

    def backward(*results):
        sum(x.float().sum() for x in results if x.requires_grad).backward()

    audio = torch.randn(2, 3000, generator=generator).requires_grad_()
    magnitude = tp.stft(audio).abs()
    beta, weights = torch.tensor(2.0, requires_grad=True), torch.rand(2, requires_grad=True)
    backward(sliding_median(magnitude, 5, -1))
    magnitude = tp.stft(audio).abs()
    backward(tp.hpss(magnitude, power=beta), tp.repet_sim(magnitude, 0.02), *tp.ft2d(magnitude, (1, 5)))
    magnitude = tp.stft(audio).abs()
    weight = torch.rand(magnitude.shape, generator=generator).requires_grad_()
    backward(tp.melody(magnitude, weight=weight, width=beta), tp.long_hpss(audio))
    backward(tp.melody(tp.stft(audio).abs(), weight=weight, soft=True, jump=beta, width=beta))
    masks = [torch.rand(2, bins, 40, generator=generator).requires_grad_() for _ in range(2)]
    level = torch.rand(2, bins, 40, generator=generator)
    backward(tp.soft_assignment(masks, weights, beta), *tp.confidence_measure(masks, level, weights, beta))
    spectrum = tp.stft(torch.randn(2, 2, 3000, generator=generator))
    mask = torch.rand(2, 1025, spectrum.shape[-1], generator=generator).requires_grad_()
    backward(tp.spatial(spectrum, mask, beta), tp.istft(spectrum.detach().requires_grad_(), geometry, 3000))
    separator = tp.PrimitiveSeparator("best", n_points=50)
    stereo = torch.randn(2, 3000, generator=generator).requires_grad_()
    backward(*separator(stereo, RATE, channels=True, beta=beta)[:4])
    points = torch.randn(2, bins, 20, 3, generator=generator).requires_grad_()
    backward(tp.deep_clustering_loss(points, points[..., 0] > 0, points[..., 1].detach().abs()))


def test_strides_of_references():
    with Compared() as mode:
        run_everything()
    assert not mode.wrong, mode.wrong
    assert not operators() - mode.seen, operators() - mode.seen
