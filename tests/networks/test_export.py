"""Exported networks give what the network gives, in torch.export and in onnxruntime."""

import numpy as np
import pytest
import torch

import torchprim as tp
from torchprim.networks.export import export_network, export_onnx, frame_multiple
from torchprim.sources import FOUR

GEOMETRY = tp.Geometry(44100, 256, 64)
CONFIGS = {
    "cues": tp.NetworkConfig(
        "x", "unet", ("mask",), layers=2, channels=4, fine=64, cues="best", context=True
    ),
    "unet": tp.NetworkConfig(
        "x", "unet", ("embedding", "mask"), GEOMETRY, layers=2, channels=4, dimensions=3
    ),
    "four": tp.NetworkConfig(
        "x", "unet", ("mask",), layers=2, channels=4, fine=64, cues="four", context=True, sources=FOUR
    ),
    "three": tp.NetworkConfig(
        "x", "blstm", ("embedding", "mask"), GEOMETRY, layers=1, hidden=8, sources=("a", "b", "c")
    ),
    "blstm": tp.NetworkConfig("x", "blstm", ("embedding", "mask"), GEOMETRY, layers=2, hidden=8, mel=20),
}


def example(network, batch, frames):
    """Inputs of another batch and length than those of the export, and the network's outputs."""
    torch.manual_seed(1)
    for parameter in network.parameters():  # corrections start at 0
        parameter.data += 0.1 * torch.randn_like(parameter)
    bins = network.config.geometry.bins
    inputs = {"magnitude": torch.rand(batch, bins, frames)}
    if network.config.cues:
        inputs["cues"] = torch.rand(batch, len(network.cues.names), bins, frames)
    with torch.no_grad():
        output = network(**inputs)
    return inputs, [x for x in (output.mask, output.embedding) if x is not None]


@pytest.mark.parametrize("name", ["cues", "unet", "four"])
def test_exported_network_equals_the_network(name, tmp_path):
    network = tp.build_network(CONFIGS[name]).eval()
    inputs, expected = example(network, 3, 5 * frame_multiple(network))
    program = export_network(network)
    operators = {str(node.target) for node in program.graph.nodes}
    assert not [operator for operator in operators if "torchprim" in operator]
    torch.export.save(program, tmp_path / "network.pt2")
    outputs = torch.export.load(tmp_path / "network.pt2").module()(*inputs.values())
    assert len(outputs) == len(expected)
    for output, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_onnx_file_equals_the_network(name, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = tp.build_network(CONFIGS[name]).eval()
    inputs, expected = example(network, 1, 3 * frame_multiple(network))
    export_onnx(network, tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    assert [x.name for x in session.get_inputs()] == list(inputs)
    assert [x.name for x in session.get_outputs()] == ["mask", "embedding"][: len(expected)]
    outputs = session.run(None, {key: value.numpy() for key, value in inputs.items()})
    for output, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, other.numpy(), atol=1e-5, rtol=1e-4)


def test_recurrent_networks_are_not_unrolled():
    with pytest.raises(ValueError, match="blstm; export_onnx"):
        export_network(tp.build_network(CONFIGS["blstm"]))
