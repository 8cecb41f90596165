"""Export of a network's core, from magnitude and cues to mask, for other runtimes: torch.export and ONNX."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from torchprim.files import replaced

_LARGEST = 4096  # of a batch, and of the frames in groups


class _Core(nn.Module):
    """A network whose outputs are a tuple of tensors: the mask, the embedding, or both in this order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, magnitude: Tensor, cues: Tensor | None = None) -> tuple[Tensor, ...]:
        output = self.network(magnitude) if cues is None else self.network(magnitude, cues=cues)
        return tuple(x for x in (output.mask, output.embedding) if x is not None)


def frame_multiple(network: nn.Module) -> int:
    """Return the number that the frames of an exported network are a multiple of: 2^layers of a U-Net."""
    return 2**network.config.layers if network.config.kind == "unet" else 1


def export_network(network: nn.Module) -> torch.export.ExportedProgram:
    """Export a U-Net in evaluation mode with `torch.export`; no operator of torchprim is left in the graph.

    Its inputs are `magnitude (B, F, N)` and, for a network that sees cues, `cues (B, C, F, N)`, the masks of
    `network.cue_masks(mixture)`; its outputs `mask (B, F, N)`, of K sources `(B, K, F, N)`,
    `embedding (B, F, N, D)`, or both, as the heads are. B is free, N any multiple of
    `frame_multiple(network)`: pad with zeros, and cut the result.

    Args:
        network: from `build_network`, on the CPU.

    Raises:
        ValueError: for a recurrent network, which `torch.export` would unroll; `export_onnx` writes it.

    Example:
        >>> import torch, torchprim as tp
        >>> from torchprim.networks.export import export_network
        >>> network = tp.build_network(tp.NetworkConfig(kind="unet", layers=2, channels=4, heads=("mask",)))
        >>> program = export_network(network.eval())
        >>> magnitude = torch.rand(1, 1025, 8)
        >>> torch.allclose(program.module()(magnitude)[0], network(magnitude).mask, atol=1e-6)
        True
    """
    if network.config.kind != "unet":
        raise ValueError(f"torch.export unrolls a {network.config.kind}; export_onnx writes it")
    network.eval()
    step, inputs = frame_multiple(network), _example(network)
    batch = torch.export.Dim("batch", min=1, max=_LARGEST)
    frames = step * torch.export.Dim("groups", min=1, max=_LARGEST)
    shapes = {name: {0: batch, x.dim() - 1: frames} for name, x in inputs.items()}
    # Not strict: the checks of the input are Python, and are for whoever calls the network here.
    return torch.export.export(_Core(network), tuple(inputs.values()), dynamic_shapes=shapes, strict=False)


def export_onnx(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a network as an ONNX file, see `export_network` for its inputs, and for its outputs by name.

    A recurrent network has a batch of 1, and any number of frames.

    Args:
        network: from `build_network`, on the CPU.
        path: such as `vocals.onnx`; the file is complete or not there.

    Raises:
        ImportError: without the packages `onnx` and `onnxscript`.
        OSError: where it cannot be written.
    """
    network.eval()
    outputs = [head for head in ("mask", "embedding") if head in network.config.heads]
    if network.config.kind == "unet":
        program = torch.onnx.export(export_network(network), dynamo=True, output_names=outputs, verbose=False)
        content = program.model_proto.SerializeToString()
    else:
        content = _recurrent_onnx(network, outputs)
    with replaced(Path(path)) as file:
        file.write(content)


def _recurrent_onnx(network: nn.Module, outputs: list[str]) -> bytes:
    """Export by TorchScript, which knows the LSTM of ONNX; the newer exporter unrolls it."""
    inputs = _example(network, batch=1)
    mask_dim = 2 if network.config.masks == 1 else 3
    axes = {"magnitude": {2: "frames"}, "mask": {mask_dim: "frames"}, "embedding": {2: "frames"}}
    names, buffer = [*inputs, *outputs], io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated, and an LSTM wants a fixed batch
        torch.onnx.export(
            _Core(network),
            tuple(inputs.values()),
            buffer,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes={name: axes[name] for name in names},
            dynamo=False,
        )
    return buffer.getvalue()


def _example(network: nn.Module, batch: int = 2) -> dict[str, Tensor]:
    """Return inputs of a network by name, to trace it with."""
    bins, frames = network.config.geometry.bins, 6 * frame_multiple(network)
    inputs = {"magnitude": torch.rand(batch, bins, frames)}
    if network.config.cues:
        inputs["cues"] = torch.rand(batch, len(network.cues.names), bins, frames)
    return inputs
