"""`evaluate.py compare` and `confidence` on the MUSDB18 previews and on the long excerpts.

Pages, numbers and figures go to a folder for each data set beside the table; results are cached in `--work`,
so that a stopped run resumes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from benchmarks import excerpts
from benchmarks.data import MissingData, data_root
from torchprim.cli.main import main

WORK = Path(tempfile.gettempdir()) / "torchprim-evaluation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "folder of results, to be deleted where code has changed (%(default)s)"
    add("--work", type=Path, default=WORK, help=text)
    add("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    add("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")


def roots(work: Path) -> dict[str, Path]:
    """Return the folders of songs by the name of their results; excerpts are laid out below `work`.

    Raises:
        MissingData: where one does not exist.
    """
    previews = data_root() / "musdb18_7s"
    if not previews.is_dir():
        raise MissingData(f"no {previews}: set TORCHPRIM_DATA to a folder that holds musdb18_7s")
    songs = work / "songs" / "long_excerpts"
    excerpts.lay_out(songs)
    return {"musdb18_7s": previews, "long_excerpts": songs}


def run(options: argparse.Namespace) -> str:
    sections = ["# Evaluation"]
    for name, root in roots(options.work).items():
        out = options.work / name
        common = ["--stems", str(root), "--out", str(out)]
        common += ["--device", options.device, "--threads", str(options.threads)]
        # The paper's preset, for its figure 2, beside the best.
        commands = [
            ["compare", *common, "--bss", "torch"],
            ["confidence", *common],
            ["confidence", *common[:3], f"{out}_paper", *common[4:], "--preset", "paper"],
        ]
        for command in commands:
            if main(["evaluate", *command]):
                raise RuntimeError(f"torchprim evaluate {' '.join(command)} failed")
        for folder in (out, Path(f"{out}_paper")):
            target = options.out.parent / folder.name
            target.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.iterdir()):
                if file.suffix in (".md", ".json", ".png"):
                    shutil.copyfile(file, target / file.name)
        links = [(name, "compare"), (name, "confidence"), (f"{name}_paper", "confidence")]
        sections += [
            f"## {name}",
            "\n".join(f"- [{page} ({folder})]({folder}/{page}.md)" for folder, page in links),
            (out / "compare.md").read_text(encoding="utf-8").split("\n\n")[2],
        ]
    return "\n\n".join(sections)
