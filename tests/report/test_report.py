"""The report of a song: its sounds, pictures and sections."""

import base64
import io
import math
from pathlib import Path

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.oracles import tone
from tests.support.page_reader import Page
from torchprim.report.build import loudest_start, make_report
from torchprim.report.page import Meter, Table, highest, meter_section, render_document
from torchprim.report.pictures import chosen_cues, draw_pictures
from torchprim.report.players import Coding, choose_coding, mp3

RATE = 44100
ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------- players


@pytest.mark.parametrize("rate, played", [(44100, 44100), (8000, 8000), (96000, 48000), (88200, 48000)])
def test_mp3_sounds_like_its_source(rate, played):
    audio = torch.stack([tone(440, 1.0, rate), tone(660, 1.0, rate)])
    samples, got = soundfile.read(io.BytesIO(mp3(audio, rate, choose_coding(1, 2, 2, rate))), always_2d=True)
    assert got == played and samples.shape == (played, 2)
    want = torch.stack([tone(440, 1.0, played), tone(660, 1.0, played)])
    middle = slice(played // 4, -played // 4)
    assert (tp.si_sdr(want[:, middle], torch.from_numpy(samples.T.copy())[:, middle]) > 20).all()


@pytest.mark.parametrize("channels, samples", [(1, 1), (2, 10), (6, 1153)])
def test_mp3_of_awkward_audio(channels, samples):
    coding = choose_coding(1.0, 2, channels, RATE)
    data, _ = soundfile.read(io.BytesIO(mp3(torch.rand(channels, samples), RATE, coding)), always_2d=True)
    assert data.shape == (samples, min(channels, 2) if channels <= 2 else 1)


def test_mp3_arguments():
    with pytest.raises(ValueError, match=r"audio must have shape \(C, T\)"):
        mp3(torch.zeros(2, 2, 9), RATE, Coding(96_000, 2, RATE))
    with pytest.raises(ValueError, match="seconds must be positive"):
        choose_coding(0.0, 2, 2, RATE)


@pytest.mark.parametrize(
    "seconds, coding",
    [
        (10.0, Coding(192_000, 2, 44100)),
        (180.0, Coding(90_000, 2, 32000)),
        (300.0, Coding(54_000, 2, 24000)),
        (390.0, Coding(41_000, 2, 24000)),
        (420.0, Coding(38_000, 1, 32000)),
        (3600.0, Coding(32_000, 1, 24000)),
    ],
)
def test_sounds_fit_into_a_page(seconds, coding):
    assert choose_coding(seconds, 2, 2, RATE) == coding
    if seconds < 480:
        assert 2 * coding.bits_per_second / 8 * seconds * 4 / 3 < 5.8e6


@pytest.mark.parametrize("bits, rate", [(112_000, RATE), (54_000, 24000), (41_000, 24000)])
def test_bit_rate_is_kept(bits, rate):
    """On average: of noise, half of which is silent, with what LAME goes beyond."""
    audio = torch.rand(2, 20 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    audio[:, ::2] *= torch.linspace(0, 1, 10 * RATE)
    assert 0.9 * bits < len(mp3(audio, RATE, Coding(bits, 2, rate))) * 8 / 20 < 1.07 * bits


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
    table = Table("Scores", "in dB", ("method", "a", "b", "c"), rows, {("ensemble", "b")}, notes=["* a note"])
    return make_report('A "song" <of> & ours', song, RATE, separator, cues=("melody", "hpss"), table=table)


def test_page_is_well_formed_and_self_contained(page):
    parsed = Page(page)
    assert page.startswith("<!doctype html>") and parsed.all("html") == [{"lang": "en"}]
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert parsed.all("script") == [{}] and not parsed.all("link")
    sources = [v for _, attrs in parsed.elements for k, v in attrs.items() if k in ("src", "href")]
    assert sources and all(v.startswith(("data:", "#")) for v in sources)
    assert 'A "song" <of> & ours' in "".join(parsed.text)
    assert "prefers-color-scheme: dark" in page


def test_page_shows_every_mask_and_says_what_it_is(page, separator):
    parsed = Page(page)
    names = separator.preset.weights
    assert len(parsed.all("figure")) == len(parsed.all("figcaption")) == 7 + len(names)
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in parsed.all("svg"))
    text = "".join(parsed.text)
    for words in ("Mixture", "Mask of the ensemble", "Embedding", "2DFT-R", "2DFT-M", "Melody", "HPSS"):
        assert words in text
    assert "Melody and HPSS, say of it" in text
    for words in ("Confidence", "Silhouette", "Posterior strength", "Scores", "−2.00", "* a note"):
        assert words in text
    assert "<td><b>4.00</b></td>" in page and page.count("<b>4.00</b>") == page.count("<td><b>") == 1


def test_page_plays_mixture_and_stems(page, song, separator):
    players = Page(page).all("audio")
    assert [p["aria-label"] for p in players] == ["Vocals", "Accompaniment"]
    stems = separator(song, RATE, channels=True)
    for player, want in zip(players, (stems.vocals, stems.accompaniment), strict=True):
        data = base64.b64decode(player["src"].removeprefix("data:audio/mpeg;base64,"))
        heard, rate = soundfile.read(io.BytesIO(data), always_2d=True)
        assert rate == RATE and heard.shape == (3 * RATE, 2)
        assert (tp.si_sdr(want, torch.from_numpy(heard.T.copy())) > 5).all()


def test_page_of_silence(separator):
    page = make_report("silence", torch.zeros(1, 5000), RATE, separator)
    assert "<strong>0.000</strong>" in page and "nan" not in "".join(Page(page).text)


def test_page_without_sounds_has_no_script():
    parsed = Page(render_document("t", "f", []))
    assert not parsed.all("script") and len(parsed.all("p")) == 1


@pytest.mark.parametrize(
    "value, low, left, width",
    [(0.5, 0.0, 0, 50), (0.5, -1.0, 50, 25), (-0.5, -1.0, 25, 25), (2.0, 0.0, 0, 100)],
)
def test_a_bar_starts_at_zero(value, low, left, width):
    text = meter_section("h", [Meter("m", value, "n", low, [0.0, 1.0])])
    assert f'<rect x="{left:.1f}" width="{width:.1f}"' in text and text.count('class="mark"') == 2
    assert ('class="zero" d="M50.00' in text) == (low < 0)


def test_the_best_of_a_column_is_bold():
    rows = [("a", [1.0, None]), ("b", [1.0, 2.0]), ("ideal", [9.0, 9.0])]
    assert highest(rows, ("", "x", "y"), ["x"], ["ideal"]) == {("a", "x"), ("b", "x")}
    assert highest(rows, ("", "x", "y"), ["x", "y"]) == {("ideal", "x"), ("ideal", "y")}
    assert highest(rows[:1], ("", "x", "y"), ["y"]) == set()


@pytest.mark.parametrize("start, shown", [(None, "2 s to 5 s"), (1.0, "1 s to 4 s"), (4.0, "4 s to 6 s")])
def test_long_song_shows_an_excerpt(start, shown, monkeypatch):
    monkeypatch.setattr("torchprim.report.build.EXCERPT", 3.0)
    audio = torch.zeros(1, 6 * 8000)
    audio[0, 2 * 8000 : 5 * 8000] = 0.3 * torch.randn(3 * 8000, generator=torch.Generator().manual_seed(0))
    separator = tp.PrimitiveSeparator("companion")
    whole = separator(audio, 8000, channels=True, keep_masks=False)
    text = make_report("long", audio, 8000, separator, separation=whole, start=start)
    assert f"From {shown} of the song." in text
    figures = [plot for plot in Page(text).all("div") if plot.get("class") == "plot"]
    assert len(figures) == 12  # four of the whole, the previews, the excerpt with its masks
    spans = [(float(plot["data-from"]), float(plot["data-to"])) for plot in figures if "data-from" in plot]
    begin, end = (float(word) for word in shown.replace(" s", "").split(" to "))
    assert spans[:4] == [(0.0, 6.0)] * 4
    assert all(a == begin and b == pytest.approx(end, abs=0.1) for a, b in spans[4:])


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
