"""Every public name as somebody uses it, for a type checker: `test_types.py` runs pyright on this file.

It is never run. Lines that end in `# error` must be errors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn

import torchprim as tp


def spectra_and_audio(path: Path) -> None:
    audio, rate = tp.load_audio(path, 44100)
    assert_type(audio, Tensor)
    stems, rate = tp.load_stems(path)
    assert_type(stems, dict[str, Tensor])
    assert_type(tp.save("x.wav", audio, rate), float)
    assert_type(tp.resample(audio, rate, 16000), Tensor)
    geometry = tp.Geometry(44100, window_length=2048)
    spectrum = tp.stft(audio, geometry)
    assert_type(tp.istft(spectrum, geometry, 44100), Tensor)
    assert_type(tp.high_pass(geometry.bins, 44100, cutoff=200), Tensor)
    mixture = tp.Mixture(audio, rate, geometry)
    assert_type(mixture.magnitude(), Tensor)
    assert_type(mixture.audio, Tensor)
    assert_type(tp.__version__, str)


def primitives(magnitude: Tensor, audio: Tensor) -> None:
    power = nn.Parameter(torch.tensor(2.0))
    assert_type(tp.hpss(magnitude, kernel_size=17, power=power), Tensor)
    assert_type(tp.HPSS(17, power)(magnitude), Tensor)
    assert_type(tp.ft2d(magnitude, (1, 35)).repetition, Tensor)
    assert_type(tp.FT2D(cutoff=200)(magnitude).micro_modulation, Tensor)
    assert_type(tp.long_hpss(audio), Tensor)
    assert_type(tp.LongHPSS()(audio), Tensor)
    assert_type(tp.melody(magnitude, soft=True), Tensor)
    assert_type(tp.Melody(f_min=100)(magnitude, weight=None), Tensor)
    assert_type(tp.repet_sim(magnitude), Tensor)
    assert_type(tp.RepetSim(apart=0.5)(magnitude), Tensor)
    assert_type(tp.spatial(tp.stft(audio), magnitude), Tensor)
    assert_type(tp.Spatial(strength=1.0)(tp.stft(audio), magnitude), Tensor)
    module = tp.HPSS()
    module.power = power
    module.power = 3.0
    track = tp.track_pitch(audio, 44100, method="salience")
    assert_type(track, tp.PitchTrack)
    assert_type(track.f0, Tensor)


def ensembles(masks: list[Tensor], magnitude: Tensor, audio: Tensor) -> None:
    assert_type(tp.embed(masks), Tensor)
    assert_type(tp.soft_assignment(masks, weights=[1, 2], beta=2.5), Tensor)
    assert_type(tp.confidence_measure(masks, magnitude).confidence, Tensor)
    assert_type(tp.silhouette(masks, magnitude), Tensor)
    assert_type(tp.posterior_strength(masks, magnitude), Tensor)
    assert_type(tp.PRESETS, Mapping[str, tp.Preset])
    preset = tp.Preset("mine", weights={"hpss": 1.0})
    separator = tp.PrimitiveSeparator(preset, beta=3.0)
    assert_type(separator(audio, 44100), tp.Separation)
    assert_type(separator(audio, 44100, channels=True).vocals, Tensor)
    assert_type(separator.identity, str)
    assert_type(separator(audio.numpy(), 44100).save("stems"), list[Path])
    assert_type(tp.separate("song.mp3", out="stems"), tp.Separation)
    three = tp.StemPreset("three", {"a": [0, 0], "b": [1, 0], "c": [1, 1]}, {"hpss": 1.0, "low": 2.0})
    result = tp.StemSeparator(three, beta=3.0)(audio, 44100)
    assert_type(result, tp.StemSeparation)
    assert_type(result.stems, dict[str, Tensor])
    assert_type(result.save("stems"), list[Path])
    separator.cues["hpss"].primitive.power = nn.Parameter(torch.tensor(2.0))


def networks(path: Path, audio: Tensor) -> None:
    assert_type(tp.NETWORKS, Mapping[str, tp.NetworkConfig])
    network = tp.build_network(tp.NETWORKS["unet"])
    separator = tp.NetworkSeparator(network)
    ensemble = separator.with_primitives("best", weight=1.0)
    assert_type(ensemble, tp.EnsembleSeparator)
    assert_type(ensemble(audio, 44100).masks, dict[str, Tensor])
    four = tp.NetworkConfig(sources=("drums", "bass", "other", "vocals"))
    stems = tp.NetworkStemSeparator(tp.build_network(four), rest="other")
    assert_type(stems(audio, 44100), tp.StemSeparation)
    assert_type(stems.sources, tuple[str, ...])
    assert_type(tp.separate("song.mp3", separator=stems), tp.StemSeparation)
    try:
        assert_type(tp.load(path), tp.NetworkSeparator | tp.NetworkStemSeparator)
        assert_type(tp.load(path).anchors, Tensor | None)
        assert_type(tp.load(path)(audio, 44100).stems, dict[str, Tensor])
    except tp.CheckpointError as error:
        assert_type(error.reason, str)


def losses(embedding: Tensor, labels: Tensor, weights: Tensor, mask: Tensor, source: Tensor) -> None:
    assert_type(tp.deep_clustering_loss(embedding, labels, weights), Tensor)
    assert_type(tp.deep_clustering_loss(embedding, labels, weights, classes=4), Tensor)
    assert_type(tp.whitened_kmeans_loss(embedding, labels, weights), Tensor)
    assert_type(tp.whitened_kmeans_loss(embedding, labels, weights, 1e-3, classes=4), Tensor)
    assert_type(tp.mask_loss(mask, source, source, source), Tensor)


def metrics(true: Tensor, estimate: Tensor) -> None:
    assert_type(tp.sd_sdr(true, estimate), Tensor)
    assert_type(tp.si_sdr(true, estimate), Tensor)
    assert_type(tp.snr(true, estimate), Tensor)
    assert_type(tp.si_sir(true, estimate), Tensor)
    assert_type(tp.si_sar(true, estimate), Tensor)
    assert_type(tp.ideal_ratio_mask(true, estimate), Tensor)
    assert_type(tp.null_mask(tp.Geometry(), like=true), Tensor)
    assert_type(tp.metrics.bss_eval(true, estimate).sdr, Tensor)


def bootstrap(folder: Path) -> None:
    try:
        bank = tp.Bank([folder], device="cpu")
    except tp.AudioError as error:
        assert_type(str(error), str)
        return
    assert_type(bank.names, list[str])
    teacher = tp.PrimitiveSeparator()
    labels = tp.label(bank, teacher, folder / "labels.jsonl")
    assert_type(labels, tp.Labels)
    assert_type(labels.trusted(), list[int])
    settings = tp.RemixSettings(batch_size=2, frames=100)
    stream = tp.RemixStream(bank, teacher, settings, labels=labels, coherent=0.1)
    for batch in stream:
        assert_type(batch, tp.RemixBatch)
        break
    assert_type(tp.StemBank([folder], sources=("strings", "rest")).stems([0]), tuple[Tensor, ...])
    vocals, accompaniment = tp.StemBank([folder]).stems([0])
    assert_type((vocals, accompaniment), tuple[Tensor, Tensor])


def mistakes(magnitude: Tensor, separator: tp.PrimitiveSeparator, audio: Tensor) -> None:
    tp.hpsss(magnitude)  # error
    tp.hpss(magnitude, kernel="17")  # error
    tp.HPSS(kernel_sizes=3)  # error
    tp.Geometry("44100")  # error
    tp.RemixSettings(batchsize=2)  # error
    separator(audio)  # error
    _ = separator(audio, 44100).voices  # error
