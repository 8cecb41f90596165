"""Checkpoints: round trip, atomic writes, errors of one line."""

import dataclasses
import os
import zipfile

import pytest
import torch

import torchprim as tp
from tests.support.training_runs import limited_file_size
from torchprim.errors import CheckpointError
from torchprim.networks.checkpoint import FORMAT, read_checkpoint, save_checkpoint

TINY = tp.NetworkConfig("tiny", geometry=tp.Geometry(8000, 64, 16), layers=1, hidden=5, dimensions=3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return tp.build_network(TINY).eval()


@pytest.fixture
def path(tmp_path, network):
    save_checkpoint(tmp_path / "best.pt", network, torch.eye(2, 3), {"step": 7, "losses": [1.5, 0.5]})
    return tmp_path / "best.pt"


def test_round_trip(path, network):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    read = read_checkpoint(path)
    assert torch.equal(torch.random.get_rng_state(), state)  # reading leaves it alone
    assert read.config == TINY and read.version == tp.__version__
    assert read.training == {"step": 7, "losses": [1.5, 0.5]}
    assert torch.equal(read.anchors, torch.eye(2, 3))
    assert not read.network.training
    magnitude = torch.rand(2, 33, 6)
    assert torch.equal(read.network(magnitude).embedding, network(magnitude).embedding)
    content = torch.load(path, weights_only=True)
    assert set(content) == {"format", "version", "config", "network", "anchors", "training"}


def test_without_anchors_and_training(tmp_path, network):
    save_checkpoint(tmp_path / "a.pt", network)
    read = read_checkpoint(tmp_path / "a.pt")
    assert read.anchors is None and read.training == {}


def test_a_failed_write_leaves_the_last_checkpoint(path, network, monkeypatch):
    before = path.read_bytes()

    def fail(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, network)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_an_oserror(path, network):
    """torch's zip writer turns it into a RuntimeError."""
    before = path.read_bytes()
    with limited_file_size(2048), pytest.raises(OSError, match="File too large") as caught:
        save_checkpoint(path, network)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_anchors_of_another_size_are_not_written(tmp_path, network):
    with pytest.raises(ValueError, match=r"anchors must have shape \(2, 3\), got \(2, 4\)"):
        save_checkpoint(tmp_path / "a.pt", network, torch.zeros(2, 4))
    assert not list(tmp_path.iterdir())


def rewrite(path, **changes):
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save({key: value for key, value in content.items() if value is not Ellipsis}, path)


def settings(**changes):
    return {**TINY.to_dict(), **changes}


def flip(path):
    """Flip one bit of the exponent of a weight."""
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda info: info.file_size)
    raw = bytearray(path.read_bytes())
    raw[raw.index(entry.filename.encode(), entry.header_offset) + 512 & ~3 | 3] ^= 64
    path.write_bytes(raw)


def compress(path):
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def spoil_weight(path):
    weights = torch.load(path, weights_only=True)["network"]
    weights["gain"][3] = float("nan")
    rewrite(path, network=weights)


def replace(path, make):
    path.unlink()
    make(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p.unlink(), "there is no such file"),
        (lambda p: p.write_text("RIFF"), "is not a checkpoint, or is damaged"),
        (lambda p: p.write_bytes(b""), "is not a checkpoint, or is damaged"),
        (lambda p: p.write_bytes(p.read_bytes()[:2000]), "is not a checkpoint, or is damaged"),
        (lambda p: torch.save(torch.zeros(3), p), "is not a checkpoint of torchprim"),
        (lambda p: torch.save({"weights": 1}, p), "is not a checkpoint of torchprim"),
        (lambda p: torch.save({"network": print}, p), "is not a checkpoint, or is damaged"),
        (lambda p: rewrite(p, format=FORMAT + 1), "a checkpoint of format 2, from torchprim"),
        (lambda p: rewrite(p, format=...), "a checkpoint of format None"),
        (lambda p: rewrite(p, config={"hidden": 3}), "settings have other fields"),
        (lambda p: rewrite(p, config=...), "settings have other fields"),
        (
            lambda p: rewrite(p, config=dataclasses.replace(TINY, hidden=6).to_dict()),
            r"its weights do not fit its settings \(tiny, blstm\)",
        ),
        (lambda p: rewrite(p, network=3), "its weights do not fit its settings"),
        (lambda p: rewrite(p, anchors=torch.zeros(2, 9)), r"its anchors are not of shape \(2, 3\)"),
        (flip, "is not a checkpoint, or is damaged"),
        (compress, "is not a checkpoint, or is damaged"),
        (spoil_weight, r"its weights are not finite \(gain\): the training has diverged"),
        (lambda p: rewrite(p, anchors=torch.full((2, 3), torch.inf)), r"are not finite \(anchors\)"),
        # Far larger than the weights: refused before it is built.
        (lambda p: rewrite(p, config=settings(hidden=10**7)), "its weights do not fit its settings"),
        (lambda p: rewrite(p, config=settings(hidden=10**30)), r"hidden must be below 2\*\*63"),
        (lambda p: rewrite(p, config=settings(layers=10**6)), "its weights do not fit its settings"),
        (lambda p: rewrite(p, config=settings(mel=10**7)), "its weights do not fit its settings"),
        (
            lambda p: rewrite(p, config=settings(kind="unet", heads=["mask"], channels=10**7)),
            "its weights do not fit its settings",
        ),
        (lambda p: rewrite(p, config=settings(cues=["x"])), r"cues must be a string, got \['x'\]"),
        (lambda p: rewrite(p, config=settings(name=3)), "name must be a string, got 3"),
        (lambda p: rewrite(p, config=settings(heads=[["x"]])), "heads must be one or both of"),
        (lambda p: rewrite(p, config=settings(beta=torch.ones(1))), "beta must be a number"),
        (lambda p: replace(p, os.mkfifo), "not a regular file"),
        (lambda p: replace(p, lambda q: q.symlink_to("/dev/zero")), "not a regular file"),
    ],
)
def test_errors_are_one_line(path, spoil, reason):
    spoil(path)
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.path == path


def test_a_folder_is_not_a_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="directory"):
        read_checkpoint(tmp_path)
