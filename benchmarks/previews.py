"""Confidence and SD-SDR of the 40 MUSDB18 previews, for the report: `torchprim/report/previews.csv`.

`evaluate.py confidence` measures them, once for each preset; results are cached in `--work`, so that a
stopped run resumes. The table holds numbers alone, sorted, without names.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
from pathlib import Path

import torch

import evaluate
import torchprim
from benchmarks.data import MissingData, data_root
from torchprim.ensemble.presets import PRESETS
from torchprim.evaluation.markdown import table
from torchprim.files import read_json_lines, replaced
from torchprim.report.reference import COLUMNS, FILE, Reference, describe

WORK = Path(tempfile.gettempdir()) / "torchprim-previews"
TABLE = Path(torchprim.__file__).parent / "report" / FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "folder of results, to be deleted where code has changed (%(default)s)"
    add("--work", type=Path, default=WORK, help=text)
    add("--table", type=Path, default=TABLE, help="the report's table (%(default)s)")
    add("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    add("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")


def measure(preset: str, options: argparse.Namespace) -> list[tuple[float, float, float]]:
    """Measure all previews with a preset: confidence, SD-SDR of the vocals and of the accompaniment."""
    root = data_root() / "musdb18_7s"
    if not root.is_dir():
        raise MissingData(f"no {root}: set TORCHPRIM_DATA to a folder that holds musdb18_7s")
    out = options.work / preset
    words = ["confidence", "--stems", str(root), "--out", str(out), "--preset", preset]
    if evaluate.main([*words, "--device", options.device, "--threads", str(options.threads)]):
        raise RuntimeError(f"evaluate.py {' '.join(words)} failed")
    records = {record["song"]: record for record in read_json_lines(out / "confidence.jsonl")}
    scores = ((r["measures"]["confidence"], r["scores"]["SD-SDR"]) for r in records.values())
    return sorted((confidence, score["vocals"], score["accompaniment"]) for confidence, score in scores)


def run(options: argparse.Namespace) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows, found = [], {}
    for preset in PRESETS:
        songs = measure(preset, options)
        writer.writerows((preset, *(f"{value:.3f}" for value in song)) for song in songs)
        found[preset] = Reference(*map(list, zip(*songs, strict=True)))
        for share in (0, 1, 2, 3):  # quarters of confidence
            part = songs[share * len(songs) // 4 : (share + 1) * len(songs) // 4] or songs[-1:]
            means = (sum(values) / len(part) for values in zip(*part, strict=True))
            rows.append([f"`{preset}`, quarter {share + 1}", *(f"{mean:.2f}" for mean in means)])
    with replaced(options.table) as file:
        file.write(text.getvalue().encode())
    return "\n\n".join(
        [
            "# Confidence and SD-SDR of the 40 previews, as the report compares with",
            "Means of each quarter of the previews by confidence, the lowest first; SD-SDR in dB, of the "
            "mean of the channels, stereo in. Numbers of all songs: `torchprim/report/previews.csv`.",
            table(["", "confidence", "vocals", "accompaniment"], rows),
            "So the report says of preset `best`:",
            "\n".join(f"- {describe(found['best'], value)}" for value in (0.2, 0.4, 0.6)),
        ]
    )
