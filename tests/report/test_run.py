"""The report of a training: what it says of a log, what it shows of the example, and failures to write it."""

import pytest
import torch

import torchprim as tp
from tests.support.page_reader import Page
from tests.support.small_bank import GEOMETRY, RATE, tone
from torchprim.audio.write import save
from torchprim.files import append_json_lines
from torchprim.report.example import Example
from torchprim.report.progress import best_check, checks, describe, draw_progress, progress_table
from torchprim.report.run import RunReport

LOG = [
    *({"step": n, "loss": 1 / n} for n in range(1, 5)),
    {"step": 4, "seconds": 60.0, "validation": 0.5, "sd_sdr_vocals": 3.0, "teacher_sd_sdr_vocals": 2.5},
    *({"step": n, "loss": 1 / n} for n in range(5, 9)),
    {"step": 8, "seconds": 120.0, "validation": 0.25, "sd_sdr_vocals": 2.0, "teacher_sd_sdr_vocals": 2.5},
    {"step": 12, "seconds": 180.0, "validation": 0.375, "sd_sdr_vocals": 4.0, "teacher_sd_sdr_vocals": 2.5},
]


def test_validations_of_a_log():
    first, second, third = checks(LOG)
    assert first["loss"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert second["loss"] == pytest.approx((1 / 5 + 1 / 6 + 1 / 7 + 1 / 8) / 4)
    assert "loss" not in third  # none since the one before
    assert best_check(checks(LOG)) == second
    table = progress_table(LOG)
    assert table.bold == {("step 8", column) for column in table.columns[1:]}
    assert table.columns[1:5] == ("minutes", "training loss", "validation loss", "vocals (dB)")
    assert table.rows[2] == ("step 12", [3.0, None, 0.375, 4.0, 2.5])


def test_the_best_of_many_validations_is_listed():
    many = [{"step": n, "seconds": n, "validation": float(n != 3)} for n in range(1, 100)]
    table = progress_table(many)
    assert [name for name, _ in table.rows[:2]] == ["step 3", "step 76"] and len(table.rows) == 25
    assert {name for name, _ in table.bold} == {"step 3"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([2.0], "is 2.0000 at step 1: one validation shows no trend yet."),
        ([2.0, 1.0, 1.5], "fell from 2.0000 to 1.0000 at step 2, its lowest, and has been higher since."),
        ([2.0, 1.5, 1.0], "at step 3, its lowest, and the latest: more --steps may lower it further."),
        ([1.0, 2.0], "has not fallen since its first value, 1.0000 at step 1: the network may not learn"),
    ],
)
def test_words_on_the_loss(values, words):
    held = [{"step": n, "seconds": 1.0, "validation": value} for n, value in enumerate(values, 1)]
    assert describe(held, 3).startswith("The validation loss ") and words in describe(held, 3)
    alone = [{"step": n, "seconds": 1.0, "loss": value} for n, value in enumerate(values, 1)]
    assert describe(alone, 3).startswith("The training loss (no song is held out) ")
    assert words in describe(alone, 3)


def test_words_on_the_scores_are_of_the_best_validation():
    assert "true stems is -0.50 dB (vocals) against the teacher's." in describe(LOG, 12)
    assert describe([], 12) == "No validation yet." and progress_table([]) is None
    assert draw_progress([]) == []
    assert [picture.title for picture in draw_progress(LOG)] == ["Loss", "SD-SDR"]


# ---------------------------------------------------------------- the page


def _report(bank, folder, teacher, **changes):
    """Return a report on a run with the log above, and a tiny network."""
    labels = None
    if teacher is not None:
        labels = tp.label(bank, teacher, progress=False)
        labels = labels._replace(confidence=torch.arange(len(bank.segments)) / 8)
    settings = {"geometry": GEOMETRY, "frames": 20, "quantiles": (0.5, 1.0), "coherent": 1.0}
    stream = tp.RemixStream(bank, teacher, labels=labels, **settings)
    folder.mkdir(exist_ok=True)
    append_json_lines(folder / "log.jsonl", LOG)
    about = {
        "steps": 12,
        "settings": {"rate": 0.001, "heads": ("mask",), "geometry": {"hop": 64, "window": "hann"}},
    }
    report = RunReport(folder, [stream], bank, [0], True, **about | changes)
    config = tp.NetworkConfig("tiny", "unet", heads=("mask",), layers=1, channels=2, geometry=GEOMETRY)
    return report, tp.build_network(config).train()


def test_page_of_a_run(bank, tmp_path):
    report, network = _report(bank, tmp_path / "RUN", tp.PrimitiveSeparator("paper"))
    report.write(network, None)
    assert network.training
    text = (tmp_path / "RUN" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(text) < 3e6 and len(set(page.ids)) == len(page.ids)
    assert page.all("script") == [{}] and not page.all("link")
    players = [player["aria-label"] for player in page.all("audio")]
    assert players == [
        *("Vocals, teacher", "Accompaniment, teacher"),
        *("Vocals, network", "Accompaniment, network"),
    ]
    radios = [radio for radio in page.all("input") if radio["type"] == "radio"]
    assert [radio["data-gains"] for radio in radios] == [
        "1 1 0 0",
        "1 0 0 0",
        "0 1 0 0",
        "0 0 1 0",
        "0 0 0 1",
    ]
    said = "".join(page.text)
    for title in ("Loss", "SD-SDR", "Mixture", "Mask of the teacher", "Mask of the network", "Confidence"):
        assert f"{title}." in said
    for words in (
        *("0.5000", "0.2500", "0.3750", "3.0000", "4.0000"),  # of the log
        "fell from 0.5000 to 0.2500 at step 8",
        "Step 12 of 12 · 3.0 minutes · 3 songs, 7 segments to train on",
        "a.wav, from 0 s: a held-out song.",
        "Of 7 segments, those between the quantiles 0.5 and 1 are remixed: 3, of confidence 0.500 to 0.750; "
        "4 are dropped.",
        f"torchprim separate --checkpoint {tmp_path}/RUN/best.pt --with-primitives song.mp3",
        f"torchprim train --resume {tmp_path}/RUN",
        "0.001",
        "hop 64, window hann",
    ):
        assert words in said, words


def test_the_teacher_separates_the_example_once(bank, tmp_path):
    calls = []
    teacher = tp.PrimitiveSeparator("paper")
    teacher.register_forward_hook(lambda *_: calls.append(1))
    report, network = _report(bank, tmp_path / "RUN", teacher)
    calls.clear()
    assert report.render(network, None) == report.render(network, None)
    assert len(calls) == 2  # to find the excerpt, and the excerpt


def test_example_with_true_stems_and_no_teacher(tmp_path):
    voice, clicks = tone(14, 300), tone(14, 50)
    voice[: 8 * RATE] = 0
    for name, audio in (("vocals", voice), ("accompaniment", clicks)):
        save(tmp_path / "song" / f"{name}.wav", audio[None], RATE)
    settings = {"cache": tmp_path / "cache", "progress": False}
    bank = tp.StemBank([tmp_path / "song"], RATE, **settings)
    report, network = _report(bank, tmp_path / "RUN", None)
    said = "".join(Page(report.render(network, None)).text)
    assert "song, from 4 s" in said  # the loudest 10 s of the vocals
    assert "Vocals, true" in said and "Vocals, network" in said
    assert "Mask of the teacher" not in said and "Vocals, teacher" not in said
    assert "The example in numbers" in said and "Confidence" not in said
    example = Example(bank, [0], None)
    separator = tp.NetworkSeparator(network.eval())
    estimate = separator(example.audio, RATE)
    expected = tp.sd_sdr(voice[4 * RATE :], estimate.vocals).item()
    (_, mixture), (name, (vocals, _)) = example.show(separator).table.rows
    assert name == "network" and vocals == pytest.approx(expected, abs=0.05)  # the bank holds int16
    of_mixture = tp.sd_sdr(voice[4 * RATE :], (voice + clicks)[4 * RATE :]).item()
    assert mixture[0] == pytest.approx(of_mixture, abs=0.05)


def test_a_page_that_cannot_be_written_is_said_once(bank, tmp_path, capsys):
    report, network = _report(bank, tmp_path / "RUN", tp.PrimitiveSeparator("paper"))
    path = tmp_path / "RUN" / "report.html"
    path.mkdir()
    report.write(network, None)
    report.write(network, None)
    said = capsys.readouterr().err
    assert said.count("not written, the training goes on") == 1 and str(path) in said
    assert network.training and not list((tmp_path / "RUN").glob(".*"))
    path.rmdir()
    report.write(network, None)
    assert path.is_file()
