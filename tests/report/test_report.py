"""Pictures, the SVG and MP3 inside a page, the page, and `torchprim report`."""

import base64
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import torchprim as tp
from torchprim.plots.log_frequency import on_log_frequency
from torchprim.report.page import Table, render_page
from torchprim.report.players import bit_rate, mp3
from torchprim.plots.figure import colour_bar, draw_boxes, draw_embedding, draw_mask, draw_spectrogram, new_figure
from torchprim.report.build import loudest_start, make_report
from torchprim.report.pictures import chosen_cues, draw_pictures
from torchprim.plots.svg import inline_svg

from .page_reader import Page

RATE = 44100
ROOT = Path(__file__).resolve().parent.parent


def tone(hertz, seconds, rate=RATE):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("hertz", [60.0, 440.0, 12000.0])
def test_a_tone_lies_in_its_row(hertz):
    magnitude = tp.stft(tone(hertz, 0.5)).abs()
    rows = on_log_frequency(magnitude.square(), tp.Geometry(), rows=64)
    edges = np.geomspace(40, RATE / 2, 65)
    row = rows.mean(1).argmax()
    width = RATE / 2048
    assert edges[row] - width <= hertz <= edges[row + 1] + width


def test_means_are_kept_and_long_pictures_shrink():
    geometry = tp.Geometry(16000, 512, 128)
    picture = torch.full((257, 5000), 0.3)
    rows = on_log_frequency(picture, geometry, rows=30, columns=200)
    assert rows.shape == (30, 200)
    np.testing.assert_allclose(rows, 0.3, atol=1e-9)
    halves = torch.cat([torch.zeros(257, 2500), torch.ones(257, 2500)], dim=1)
    rows = on_log_frequency(halves, geometry, columns=100)
    np.testing.assert_allclose(rows.mean(), 0.5, atol=1e-9)
    assert rows[:, :50].max() < 1e-9 and rows[:, 50:].min() > 1 - 1e-9


def test_bad_pictures_are_named():
    with pytest.raises(ValueError, match=r"picture must have shape \(1025, N\)"):
        on_log_frequency(torch.ones(5, 5), tp.Geometry())
    with pytest.raises(ValueError, match=r"highest must lie in .*got 30000"):
        on_log_frequency(torch.ones(1025, 5), tp.Geometry(), highest=30000)
    _, (axes,) = new_figure(2, 2)
    with pytest.raises(ValueError, match="magnitude must not be negative"):
        draw_spectrogram(axes, -torch.ones(1025, 5), tp.Geometry())
    with pytest.raises(ValueError, match="one shape"):
        draw_embedding(axes, axes, (torch.ones(3), torch.ones(4)), ("a", "b"), torch.ones(3))
    with pytest.raises(ValueError, match="values must hold numbers"):
        draw_boxes(axes, {"a": []}, "dB")
    with pytest.raises(ValueError, match="width must be positive"):
        new_figure(0, 1)


def test_spectrogram_in_decibels_with_units():
    figure, (axes,) = new_figure(6, 2)
    image = draw_spectrogram(axes, tp.stft(tone(440, 1.0)).abs(), tp.Geometry(), start=10.0)
    values = image.get_array()
    assert values.max() == 0 and values.min() == -70
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Time (s)", "Frequency (Hz)")
    assert axes.get_xlim()[0] == 10.0
    colour_bar(axes, image, "dB")
    assert figure.axes[1].get_ylabel() == "dB"
    silent = draw_spectrogram(axes, torch.zeros(1025, 4), tp.Geometry())
    assert np.isfinite(silent.get_array()).all()


def test_log_axis_ticks_stand_at_their_frequency():
    _, (axes,) = new_figure(6, 2)
    draw_mask(axes, torch.rand(1025, 4), tp.Geometry())
    labels = [label.get_text() for label in axes.get_yticklabels()]
    places = dict(zip(labels, axes.get_yticks(), strict=True))
    assert places["1k"] == pytest.approx(math.log2(1000)) and places["50"] == pytest.approx(math.log2(50))


def test_embedding_counts_every_point():
    _, axes = new_figure(7, 3, columns=2)
    x, y = torch.rand(2, 9000)
    draw_embedding(*axes, (x, y), ("a", "b"), (x > 0.5).float(), points=1000)
    assert 500 <= len(axes[0].collections[0].get_offsets()) <= 1000
    counts = axes[1].images[0].get_array()
    assert counts[counts >= 1].sum() == 9000


def test_boxes_are_in_reading_order():
    _, (axes,) = new_figure(4, 2)
    draw_boxes(axes, {"first": [1.0, 2.0], "second": [3.0]}, "SD-SDR (dB)")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_drawing_leaves_no_global_state():
    code = """
import sys, torch, matplotlib
from torchprim.plots.figure import *
from torchprim.plots.svg import inline_svg
def settings():  # reading the setting of the backend would choose one, and import pyplot
    return {k: dict.__getitem__(matplotlib.rcParams, k) for k in matplotlib.rcParams}
before = settings()
figure, (axes,) = new_figure(3, 2)
import torchprim as tp
colour_bar(axes, draw_mask(axes, torch.rand(1025, 3), tp.Geometry()), "mask")
inline_svg(figure, "a", "b")
print("matplotlib.pyplot" in sys.modules, before == settings())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False True", done.stderr


def picture(name="p"):
    figure, (axes,) = new_figure(4, 2)
    draw_mask(axes, torch.linspace(0, 1, 1025)[:, None].repeat(1, 50), tp.Geometry())
    return inline_svg(figure, name, 'masks "a" & <b>')


def test_svg_fits_into_a_page():
    text = picture()
    page = Page(text)
    (svg,) = page.all("svg")
    assert svg["role"] == "img" and svg["aria-label"] == 'masks "a" & <b>'
    assert "width" not in svg and "viewbox" in svg
    assert "Frequency (Hz)" in "".join(page.text)
    assert "currentColor" in text and "#202124" not in text
    assert page.ids and all(name.startswith("p-") for name in page.ids)
    assert len(set(page.ids)) == len(page.ids)
    used = re.findall(r'(?:url\(|href=")#([^")]+)', text)
    assert used and set(used) <= set(page.ids)
    assert picture() == text  # nothing random
    assert not set(page.ids) & set(Page(picture("q")).ids)


def test_svg_keeps_the_colours_of_its_map():
    from matplotlib import colormaps
    from PIL import Image

    data = re.search(r"data:image/png;base64,([^\"]+)", picture()).group(1)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=float)
    want = np.asarray(colormaps["cividis"](np.linspace(0, 1, 256)))[:, :3] * 255
    distance = np.abs(image.reshape(-1, 1, 3)[::7] - want).max(-1).min(1)
    assert distance.max() < 8


# ---------------------------------------------------------------- players


@pytest.mark.parametrize("rate, played", [(44100, 44100), (8000, 8000), (96000, 48000), (88200, 44100)])
def test_mp3_sounds_like_its_source(rate, played):
    audio = torch.stack([tone(440, 1.0, rate), tone(660, 1.0, rate)])
    samples, got = soundfile.read(io.BytesIO(mp3(audio, rate)), always_2d=True)
    assert got == played and samples.shape == (played, 2)
    want = torch.stack([tone(440, 1.0, played), tone(660, 1.0, played)])
    middle = slice(played // 4, -played // 4)
    assert (tp.si_sdr(want[:, middle], torch.from_numpy(samples.T.copy())[:, middle]) > 20).all()


@pytest.mark.parametrize("channels, samples", [(1, 1), (2, 10), (6, 1153)])
def test_mp3_of_awkward_audio(channels, samples):
    data, _ = soundfile.read(io.BytesIO(mp3(torch.rand(channels, samples), RATE)), always_2d=True)
    assert data.shape == (samples, min(channels, 2) if channels <= 2 else 1)


def test_mp3_arguments():
    with pytest.raises(ValueError, match=r"audio must have shape \(C, T\)"):
        mp3(torch.zeros(2, 2, 9), RATE)
    with pytest.raises(ValueError, match=r"bits_per_second .*got 8000"):
        mp3(torch.zeros(2, 9), RATE, 8000)


@pytest.mark.parametrize("seconds", [1.0, 30.0, 240.0, 300.0])
def test_players_fit_their_budget(seconds):
    page = 3 * bit_rate(seconds, 3) / 8 * seconds * 4 / 3
    assert page <= 14e6


def test_bit_rate_is_kept():
    audio = torch.rand(2, 10 * RATE) - 0.5
    assert len(mp3(audio, RATE, 112_000)) * 8 / 10 == pytest.approx(112_000, rel=0.02)


# ---------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def song():
    """3 s, stereo: a gliding voice over a tone that stays, and clicks."""
    t = torch.arange(3 * RATE) / RATE
    voice = torch.sin(2 * math.pi * (400 * t + 8 * torch.sin(2 * math.pi * 3 * t)))
    clicks = ((torch.arange(3 * RATE) % 11025) < 20).float()
    left = 0.3 * voice + 0.3 * tone(300, 3.0) + 0.5 * clicks
    return torch.stack([left, 0.8 * left])


@pytest.fixture(scope="module")
def separator():
    return tp.PrimitiveSeparator("paper")


@pytest.fixture(scope="module")
def page(song, separator):
    rows = [("mixture", (1.0, -2.0, None)), ("ensemble", (3.0, 4.0, 0.5))]
    table = Table("Scores", "in dB", ("method", "a", "b", "c"), rows, best="ensemble")
    return make_report('A "song" <of> & ours', song, RATE, separator, cues=("melody", "hpss"), table=table)


def test_page_is_well_formed_and_self_contained(page):
    parsed = Page(page)
    assert page.startswith("<!doctype html>") and parsed.all("html") == [{"lang": "en"}]
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert not parsed.all("script") and not parsed.all("link")
    sources = [v for _, attrs in parsed.elements for k, v in attrs.items() if k in ("src", "href")]
    assert sources and all(v.startswith(("data:", "#")) for v in sources)
    assert 'A "song" <of> & ours' in "".join(parsed.text)
    assert "prefers-color-scheme: dark" in page


def test_page_shows_every_mask_and_says_what_it_is(page, separator):
    parsed = Page(page)
    names = separator.preset.weights
    assert len(parsed.all("figure")) == len(parsed.all("figcaption")) == 3 + len(names)
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in parsed.all("svg"))
    text = "".join(parsed.text)
    for words in ("Mixture", "Mask of the ensemble", "Embedding", "2DFT-R", "2DFT-M", "Melody", "HPSS"):
        assert words in text
    assert "Melody and HPSS, say of it" in text
    for words in ("Confidence", "Silhouette", "Posterior strength", "Scores", "-2.00"):
        assert words in text


def test_page_plays_mixture_and_stems(page, song, separator):
    players = Page(page).all("audio")
    assert [p["aria-label"] for p in players] == ["Mixture", "Vocals", "Accompaniment"]
    stems = separator(song, RATE, channels=True)
    for player, want in zip(players, (song, stems.vocals, stems.accompaniment), strict=True):
        data = base64.b64decode(player["src"].removeprefix("data:audio/mpeg;base64,"))
        heard, rate = soundfile.read(io.BytesIO(data), always_2d=True)
        assert rate == RATE and heard.shape == (3 * RATE, 2)
        assert (tp.si_sdr(want, torch.from_numpy(heard.T.copy())) > 5).all()


def test_page_of_silence(separator):
    page = make_report("silence", torch.zeros(1, 5000), RATE, separator)
    assert "<strong>0.000</strong>" in page and "nan" not in "".join(Page(page).text)


def test_page_without_table_or_note():
    parsed = Page(render_page("t", "f", [], [], []))
    assert not parsed.all("table") and len(parsed.all("p")) == 1


@pytest.mark.parametrize("start, shown", [(None, "2 s to 5 s"), (1.0, "1 s to 4 s"), (4.0, "4 s to 6 s")])
def test_long_song_shows_an_excerpt(start, shown, monkeypatch):
    monkeypatch.setattr("torchprim.report.build.EXCERPT", 3.0)
    audio = torch.zeros(1, 6 * 8000)
    audio[0, 2 * 8000 : 5 * 8000] = 0.3 * torch.randn(3 * 8000, generator=torch.Generator().manual_seed(0))
    separator = tp.PrimitiveSeparator("companion")
    whole = separator(audio, 8000, channels=True, keep_masks=False)
    text = make_report("long", audio, 8000, separator, separation=whole, start=start)
    assert f"Pictures show {shown}" in text
    assert len(Page(text).all("figure")) == 7


def test_loudest_start():
    audio = torch.zeros(2, 100)
    audio[1, 60:90] = 1.0
    assert loudest_start(audio, 1, 30) == 60.0
    assert loudest_start(audio, 1, 100) == 0.0 and loudest_start(audio[:, :20], 1, 30) == 0.0
    audio[:, 99] = 5.0  # the last excerpt lies within the song
    assert loudest_start(audio, 1, 30) == 70.0


def test_cues_are_chosen_and_checked():
    assert chosen_cues(["hpss", "melody", "2dft-m"]) == ("melody", "hpss")
    assert chosen_cues(["hpss", "2dft-m"], ("2dft-m", "hpss")) == ("2dft-m", "hpss")
    for wrong in (("hpss",), ("hpss", "hpss"), ("hpss", "melody"), ("hpss", "2dft-m", "hpss")):
        with pytest.raises(ValueError, match="cues must be two of hpss, 2dft-m"):
            chosen_cues(["hpss", "2dft-m"], wrong)


def test_report_arguments(song, separator):
    with pytest.raises(ValueError, match="cues must be two of"):
        make_report("x", song, RATE, separator, cues=("hpss", "long-hpss"))
    with pytest.raises(ValueError, match=r"start must lie in \[0, 3.00\) s, got 3.5"):
        make_report("x", song, RATE, separator, start=3.5)
    with pytest.raises(ValueError, match=r"audio must have shape \(C, T\)"):
        make_report("x", song[None], RATE, separator)
    bare = separator(song.mean(0), RATE, keep_masks=False)
    with pytest.raises(ValueError, match="separation must hold its masks"):
        draw_pictures(tp.stft(song.mean(0)).abs(), bare, separator.preset)
