"""The examples run, on small music."""

import numpy as np
import pytest
import soundfile
import torch

import torchprim as tp
from examples import lightning_loop, own_cue, own_network
from tests.support.small_bank import tone


def song(number, seconds=3.0):
    torch.manual_seed(number)
    sound = tone(seconds, 220 * (1 + number), rate=44100) + 0.02 * torch.randn(round(44100 * seconds))
    return torch.stack([sound, 0.5 * sound], 1).numpy()


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Write three songs, with a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "music").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "music" / f"{number}.wav", song(number), 44100)
    return tmp_path / "music"


def test_own_network_trains_and_separates(music, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "song.wav", song(3, 1.0), 44100)
    network = own_network.TasNet(filters=16, width=8, layers=2)
    stream = own_network.remixes(str(music), "cpu", batch_size=2, frames=40)
    losses = own_network.train(network, stream, 5)
    assert len(losses) == 5 and all(0 < loss < 1 for loss in losses)

    monkeypatch.setattr(own_network, "TasNet", lambda: network)
    arguments = [str(music), str(tmp_path / "song.wav"), "--out", str(tmp_path / "stems"), "--steps", "2"]
    own_network.main(arguments)
    for stem in ("vocals", "accompaniment"):
        audio, rate = tp.load_audio(tmp_path / "stems" / f"{stem}.wav")
        assert audio.shape == (2, 44100) and rate == 44100 and audio.isfinite().all()


def test_lightning_trains_and_goes_on(music, tmp_path, monkeypatch):
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    seen = []

    def start(run, steps):
        torch.manual_seed(0)
        stream = own_network.remixes(str(music), "cpu", batch_size=2, frames=40)
        batch = stream.batch
        monkeypatch.setattr(stream, "batch", lambda step: seen.append(step) or batch(step))
        module = lightning_loop.Remixed(own_network.TasNet(filters=16, width=8, layers=2), stream)
        trainer = lightning_loop.train(module, tmp_path / run, steps, **quiet)
        assert trainer.global_step == steps
        return module.network.state_dict()

    whole = start("whole", 5)
    assert seen[:5] == list(range(5))
    start("part", 3)
    seen.clear()
    resumed = start("part", 5)
    assert seen[:2] == [3, 4]
    for name, weights in whole.items():
        torch.testing.assert_close(resumed[name], weights)


def test_own_cue_hears_where_a_sound_lies(tmp_path, capsys):
    middle, side = song(0)[:, 0], song(4)[:, 0]
    soundfile.write(tmp_path / "song.wav", np.stack([middle + side, middle - side], 1) / 4, 44100)
    own_cue.main([str(tmp_path / "song.wav"), "--out", str(tmp_path / "stems")])
    assert "mean of the cue's mask 0." in capsys.readouterr().out
    stems = [
        tp.load_audio(tmp_path / "stems" / "song" / f"{name}.wav")[0] for name in ("vocals", "accompaniment")
    ]
    audio, rate = tp.load_audio(tmp_path / "song.wav")
    torch.testing.assert_close(sum(stems), audio, atol=1e-5, rtol=0)

    mixture = tp.Mixture(audio.mean(0), rate, channels=audio)
    mask = own_cue.position(mixture)
    middle_bin, side_bin = (round(220 * n / tp.Geometry().bin_width) for n in (1, 5))
    assert (mask[middle_bin, 2:-2] > 0.99).all() and (mask[side_bin, 2:-2] < 0.01).all()
    assert (own_cue.position(tp.Mixture(audio.mean(0), rate)) == 0.5).all()  # mono knows no position
    assert not own_cue.position(tp.Mixture(0 * audio[0], rate, channels=0 * audio)).any()
