"""The table of previews that the report compares with: numbers alone, and of which songs."""

import argparse
import csv
import json
from pathlib import Path

import pytest

import torchprim as tp
from benchmarks import previews
from benchmarks.data import MissingData


def options(folder):
    return argparse.Namespace(work=folder / "work", table=folder / "previews.csv", device="cpu", threads=1)


def test_numbers_alone_go_to_the_table(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "musdb18_7s").mkdir(parents=True)
    asked = []

    def measured(words):
        asked.append(words[words.index("--preset") + 1])
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True)
        scores = {"vocals": 1.5, "accompaniment": 7.0}
        songs = [{"song": f"A Name {i}", "measures": {"confidence": 0.9 - i / 10}} for i in range(8)]
        lines = [json.dumps(song | {"scores": {"SD-SDR": scores}}) for song in songs]
        (out / "confidence.jsonl").write_text("\n".join(lines) + "\n")
        return 0

    monkeypatch.setattr(previews.evaluate, "main", measured)
    page = previews.run(options(tmp_path))
    assert asked == list(tp.PRESETS)
    text = (tmp_path / "previews.csv").read_text()
    assert "Name" not in text + page
    rows = [row for row in csv.DictReader(text.splitlines()) if row["preset"] == "best"]
    assert [float(row["confidence"]) for row in rows] == [pytest.approx(0.2 + i / 10) for i in range(8)]
    assert {(row["vocals"], row["accompaniment"]) for row in rows} == {("1.500", "7.000")}
    assert "| `best`, quarter 1 | 0.25 | 1.50 | 7.00 |" in page


def test_missing_previews_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHPRIM_DATA", str(tmp_path))
    with pytest.raises(MissingData, match="musdb18_7s: set TORCHPRIM_DATA"):
        previews.run(options(tmp_path))
    assert not (tmp_path / "previews.csv").exists()
