"""What goes in everywhere alike: NumPy arrays, any integer as a rate, no (T, C), a batch of none."""

import numpy as np
import pytest
import torch

import torchprim as tp
from torchprim.primitives.pitch.track_pitch import track_song

RATE = 44100


def recording(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def separator():
    return tp.PrimitiveSeparator("paper", n_points=50)


AUDIO = {
    "stft": tp.stft,
    "long_hpss": tp.long_hpss,
    "resample": lambda x: tp.resample(x, RATE, 22050),
    "pitch": lambda x: tp.track_pitch(x, RATE).f0,
    "separator": lambda x: separator()(x, RATE).vocals,
    "channels": lambda x: separator()(x[None], RATE, channels=True).vocals[0],
    "mixture": lambda x: tp.Mixture(x, RATE).magnitude(),
    "sd_sdr": lambda x: tp.sd_sdr(x, x / 2),
    "si_sir": lambda x: tp.si_sir(x[None], x[None]),
    "bss_eval": lambda x: tp.metrics.bss_eval(x[None, None], x[None, None] / 2, filter_length=4).sdr,
    "ideal ratio mask": lambda x: tp.ideal_ratio_mask(x, x / 2),
}


@pytest.mark.parametrize("name", AUDIO)
def test_numpy_in_tensors_out(name):
    audio = recording(6000)
    wanted = AUDIO[name](audio)
    for array in (audio.numpy(), audio.flip(0).numpy()[::-1], audio.numpy().astype(">f4")):
        got = AUDIO[name](array)
        assert isinstance(got, torch.Tensor)
        torch.testing.assert_close(got, wanted, equal_nan=True)


def test_an_array_is_copied():
    array = recording(2, 6000).numpy()
    mixture = tp.Mixture(array, RATE)
    before = mixture.audio.clone()
    array[:] = 0
    assert torch.equal(mixture.audio, before)
    with pytest.raises(ValueError, match=r"real and floating point, got dtype torch\.int16"):
        tp.stft(np.zeros(6000, dtype=np.int16))


def test_any_integer_is_a_rate(tmp_path):
    audio = recording(2, 6000) / 10
    for rate in (np.int64(RATE), np.uint16(RATE), np.float32(RATE)):
        assert tp.Geometry(rate) == tp.Geometry(RATE) and type(tp.Geometry(rate).sample_rate) in (int, float)
        stems = separator()(audio, rate, channels=True)
        assert type(stems.sample_rate) in (int, float) and stems.sample_rate == RATE
        assert tp.resample(audio, rate, np.int32(22050)).shape == (2, 3000)
        assert tp.save(tmp_path / "x.wav", audio, rate) == 1
        assert tp.track_pitch(audio, rate).f0.shape == (2, 12)
        assert tp.hpss(tp.stft(audio).abs(), sample_rate=rate, cutoff=200).shape == (2, 1025, 12)
    with pytest.raises(ValueError, match="sample_rate must be a number in Hz, got True"):
        separator()(audio, True)


def test_time_before_channels_is_asked_about(tmp_path):
    wrong = recording(6000, 2)
    calls = {
        "channels": lambda: separator()(wrong, RATE, channels=True),
        "items": lambda: separator()(wrong, RATE),
        "mixture": lambda: tp.Mixture(wrong, RATE),
        "pitch": lambda: tp.track_pitch(wrong, RATE),
        "song": lambda: track_song(wrong, RATE),
        "numpy": lambda: separator()(wrong.numpy(), RATE, channels=True),
        "stream": lambda: list(separator().stream(lambda a, b: wrong, 6000, RATE, channels=True)),
        "save": lambda: tp.save(tmp_path / "x.wav", wrong[:1000], RATE),
    }
    for call in calls.values():
        with pytest.raises(
            ValueError, match=r"audio has \d+ (channels|items) of 2 samples.*is it \(T, C\)\?"
        ):
            call()


def test_a_long_list_is_not_printed_whole():
    with pytest.raises(ValueError) as caught:
        tp.soft_assignment([torch.rand(3, 3)], list(range(5000)))
    assert len(str(caught.value)) < 120
    for call in (
        lambda: tp.HPSS(list(range(5000)))(torch.rand(9, 9)),
        lambda: tp.Geometry(list(range(5000))),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert len(str(caught.value)) < 200


MASK = torch.empty(0, 65, 40)
EMPTY = {
    "hpss": (lambda: tp.hpss(MASK), (0, 65, 40)),
    "ft2d": (lambda: tp.ft2d(MASK).repetition, (0, 65, 40)),
    "melody": (lambda: tp.melody(torch.empty(0, 1025, 12)), (0, 1025, 12)),
    "soft melody": (lambda: tp.melody(torch.empty(0, 1025, 12), soft=True), (0, 1025, 12)),
    "repet_sim": (lambda: tp.repet_sim(MASK), (0, 65, 40)),
    "long_hpss": (lambda: tp.long_hpss(torch.empty(0, 6000)), (0, 1025, 12)),
    "spatial": (lambda: tp.spatial(torch.empty(0, 2, 65, 40) + 0j, MASK), (0, 65, 40)),
    "soft_assignment": (lambda: tp.soft_assignment([MASK, MASK]), (0, 65, 40)),
    "confidence": (lambda: tp.confidence_measure([MASK], MASK).confidence, (0,)),
    "stft": (lambda: tp.stft(torch.empty(2, 0, 6000)), (2, 0, 1025, 12)),
    "istft": (lambda: tp.istft(torch.empty(0, 1025, 12) + 0j, length=6000), (0, 6000)),
    "resample": (lambda: tp.resample(torch.empty(0, 6000), RATE, 22050), (0, 3000)),
    "pitch": (lambda: tp.track_pitch(torch.empty(0, 6000), RATE).f0, (0, 12)),
    "separator": (lambda: separator()(torch.empty(0, 6000), RATE).vocals, (0, 6000)),
    "stereo": (lambda: tp.PrimitiveSeparator()(torch.empty(0, 2, 6000), RATE, True).mask, (0, 1025, 12)),
    "network": (
        lambda: tp.NetworkSeparator(tp.build_network("unet").eval())(torch.empty(0, 6000), RATE).mask,
        (0, 1025, 12),
    ),
    "sd_sdr": (lambda: tp.sd_sdr(torch.empty(0, 60), torch.empty(0, 60)), (0,)),
    "snr": (lambda: tp.snr(torch.empty(0, 60), torch.empty(0, 60)), (0,)),
    "si_sar": (lambda: tp.si_sar(torch.empty(0, 2, 60), torch.empty(0, 2, 60)), (0, 2)),
    "bss_eval": (
        lambda: tp.metrics.bss_eval(torch.empty(0, 2, 1, 60), torch.empty(0, 2, 1, 60), 20, 20).sdr,
        (0, 2, 3),
    ),
    "ideal ratio mask": (
        lambda: tp.ideal_ratio_mask(torch.empty(0, 6000), torch.empty(0, 6000)),
        (0, 1025, 12),
    ),
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_batch_of_none_is_an_empty_result(name):
    call, shape = EMPTY[name]
    assert call().shape == shape


def test_no_samples_are_still_an_error():
    for call in (tp.stft, lambda x: separator()(x, RATE), lambda x: tp.sd_sdr(x, x)):
        with pytest.raises(ValueError, match="must not be empty"):
            call(torch.empty(2, 0))


def test_a_single_folder_is_a_bank(music, tmp_path):
    for folder in (str(music), music):
        bank = tp.Bank(folder, cache=tmp_path / "cache", progress=False)
        assert bank.names and len(repr(bank)) < 120 and f"{len(bank.names)} songs" in repr(bank)


def test_results_are_described_in_one_line():
    track = tp.track_pitch(recording(2, 6000), RATE, salience=True)
    assert repr(track) == "PitchTrack(f0 (2, 12) on cpu, 0 to 0.13 s, 454 candidates, with salience)"
    values = torch.tensor([0.25, torch.nan, 0.5])
    labels = tp.Labels(values, values, values)
    assert repr(labels) == "Labels(3 segments, 2 labelled, confidence 0.250 to 0.500)"
    from torchprim.bootstrap.batch import make_batch

    batch = make_batch(recording(2, 5120), recording(2, 5120), tp.Geometry())
    assert repr(batch) == "RemixBatch(2 mixtures of 5120 samples, magnitude (2, 1025, 11), on cpu)"
