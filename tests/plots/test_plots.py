"""Plots: axes, colours and SVG."""

import base64
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.oracles import tone
from tests.support.page_reader import Page
from torchprim.plots.boxes import draw_boxes
from torchprim.plots.curves import draw_curve, draw_shares
from torchprim.plots.embedding import draw_embedding
from torchprim.plots.figure import colour_bar, new_figure
from torchprim.plots.log_frequency import on_log_frequency
from torchprim.plots.svg import inline_svg
from torchprim.plots.time_frequency import draw_mask, draw_spectrogram

RATE = 44100
ROOT = Path(__file__).resolve().parents[2]


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
from torchprim.plots import *
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


# ---------------------------------------------------------------- curves


def test_long_curves_are_means_in_a_band():
    _, (axes,) = new_figure(4, 2)
    values = torch.arange(1200.0).sin().tolist()
    draw_curve(axes, range(1200), values, "loss")
    x, y = axes.lines[0].get_data()
    assert len(x) == 300 and x[0] == 1.5 and y[0] == pytest.approx(sum(values[:4]) / 4)
    assert len(axes.collections) == 1
    draw_curve(axes, [1, 5], [2.0, 3.0], "validation", marked=True)
    assert axes.lines[1].get_data()[1].tolist() == [2.0, 3.0] and len(axes.collections) == 1
    with pytest.raises(ValueError, match="one for each of 2 steps, got 1"):
        draw_curve(axes, [1, 5], [2.0], "x")


def test_shares_add_up():
    _, (axes,) = new_figure(4, 2)
    draw_shares(axes, [0.5, 0.6, 0.7], [0.1, 0.2], "Confidence", bins=5)
    assert sum(patch.get_height() for patch in axes.patches) == 5
    draw_shares(axes, [0.5], [], "all are used")
    with pytest.raises(ValueError, match="kept and dropped must hold numbers"):
        draw_shares(axes, [], [], "x")
