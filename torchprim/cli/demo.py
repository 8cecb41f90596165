"""`torchprim demo`: a real song with true stems, separated with all methods and scored."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torchprim import progress
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.output import check_output, say, title_of, write_output
from torchprim.errors import shown

if TYPE_CHECKING:
    from torchprim.evaluation.methods import Score
    from torchprim.separators.base import Separation

METRIC = "SD-SDR in dB (more is better), of the mean of the channels, over the whole song"
COLUMNS = ("method", "vocals", "accompaniment", "mean", "confidence")
BEST = "ensemble, best"  # the method whose stems are written
IDEAL = "ideal mask"


def footnotes() -> list[str]:
    """Explain the rows that do not explain themselves, for the terminal and the page."""
    from torchprim.cli.demo_training import STEPS

    return [
        "null: 0.7 x the mixture above 250 Hz as vocals. A separation worth its name scores more.",
        f"{IDEAL}: made from the true stems, the limit of what a mask of magnitudes can reach.",
        f"* trained on this song: {STEPS} steps on remixes of its own estimates, without its stems.",
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="folder to write to (default: demo)",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: %(default)s)")


def numbers(score: Score) -> tuple[float | None, ...]:
    """Return the numbers of a row, in the order of `COLUMNS`."""
    return score.vocals, score.accompaniment, score.mean, score.confidence


def format_table(scores: list[Score]) -> str:
    """Align the rows as text.

    Example:
        >>> from torchprim.cli.demo import format_table
        >>> from torchprim.evaluation.methods import Score
        >>> print(format_table([Score("null", 1.0, 2.0)]))
        method                  vocals  accompaniment   mean  confidence
        null                      1.00           2.00   1.50
    """
    lines = [f"{COLUMNS[0]:22}" + "".join(f"  {name:>{max(5, len(name))}}" for name in COLUMNS[1:])]
    for score in scores:
        cells = zip(COLUMNS[1:], numbers(score), strict=True)
        texts = (("" if x is None else f"{x:.2f}", max(5, len(name))) for name, x in cells)
        lines.append((f"{score.name:22}" + "".join(f"  {text:>{width}}" for text, width in texts)).rstrip())
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    import torch

    from torchprim.audio.find import demo_song
    from torchprim.audio.load import load_stems
    from torchprim.audio.write import save
    from torchprim.cli.demo_training import STEPS, train_on_one_song
    from torchprim.evaluation.methods import BUILT_IN, Method, find_method, row_title, score_methods
    from torchprim.evaluation.songs import Song
    from torchprim.report.build import make_report
    from torchprim.report.page import Table, highest
    from torchprim.separators.primitive import PrimitiveSeparator

    device = choose_device(args.device)
    path = demo_song()
    title = title_of(path)
    page_path = args.out / "report.html"
    check_output(page_path)  # before the work, not after
    stems, sample_rate = load_stems(path)
    stems = {name: stem.to(device) for name, stem in stems.items()}
    vocals = stems.pop("vocals")
    song = Song(title, torch.stack([vocals, sum(stems.values())]), sample_rate)

    say(f"{title}: {song.seconds:.1f} s with known stems, from the stempeg package")
    separator = PrimitiveSeparator().to(device)
    best: Separation | None = None
    scores: list[Score] = []
    with progress.bar("demo", total=len(BUILT_IN) + 3 + STEPS, unit="step", leave=False) as bar:

        def methods() -> Iterator[Method]:
            *others, ideal = BUILT_IN
            yield from (find_method(name, device=device) for name in others)
            bar.set_description("training `small`")
            network = train_on_one_song(path, separator, device, bar.update)
            trained = {"small, trained*": network, "best with small*": network.with_primitives()}
            yield from (Method(name, module.identity, module) for name, module in trained.items())
            yield find_method(ideal)

        for score, separation in score_methods(methods(), song):
            name = row_title(score.name, "ensemble, {}")
            if name == BEST:
                best = separation
            scores.append(score._replace(name=name))
            bar.set_description(name)
            bar.update()
        bar.set_description("report")
        rows = [(score.name, numbers(score)) for score in scores]
        page = make_report(
            title,
            song.mixture,
            sample_rate,
            separator,
            separation=best,
            table=Table(
                "How good it is",
                f"{METRIC}. In bold: the best but for the {IDEAL}. Above are the stems of {BEST!r}.",
                COLUMNS,
                rows,
                highest(rows, COLUMNS, COLUMNS[1:4], {IDEAL}),
                notes=footnotes(),
            ),
        )
        bar.update()

    outputs = {"mixture": song.mixture, "vocals": best.vocals, "accompaniment": best.accompaniment}
    for name, audio in outputs.items():
        save(args.out / f"{name}.wav", audio, sample_rate)
    write_output(page_path, page)

    say(f"\n{METRIC}\n\n{format_table(scores)}\n")
    say("\n".join(footnotes()) + "\n")
    say(f"stems    {shown(args.out / 'vocals.wav')}  {shown(args.out / 'accompaniment.wav')}")
    say(f"report   {shown(page_path)}  (open it in a browser)")
    return 0
