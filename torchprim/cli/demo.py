"""`torchprim demo`: a real song with true stems, separated with all methods and scored."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.output import check_output, title_of, write_output
from torchprim.errors import shown

if TYPE_CHECKING:
    from torch import Tensor

METRIC = "SD-SDR in dB (more is better), of the mean of the channels, over the whole song"
COLUMNS = ("method", "vocals", "accompaniment", "mean", "confidence")


class Result(NamedTuple):
    """A row of the table: SD-SDR in dB, and the confidence where there is a clustering."""

    name: str
    vocals: float
    accompaniment: float
    confidence: float | None = None

    @property
    def numbers(self) -> tuple[float | None, ...]:
        mean = (self.vocals + self.accompaniment) / 2
        return self.vocals, self.accompaniment, mean, self.confidence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder to write to (default: demo)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: %(default)s)")


def format_table(results: list[Result]) -> str:
    """Format the rows as an aligned text table.

    Example:
        >>> from torchprim.cli.demo import Result, format_table
        >>> print(format_table([Result("null", 1.0, 2.0)]))
        method                  vocals  accompaniment   mean  confidence
        null                      1.00           2.00   1.50
    """
    lines = [f"{COLUMNS[0]:22}" + "".join(f"  {name:>{max(5, len(name))}}" for name in COLUMNS[1:])]
    for result in results:
        cells = zip(COLUMNS[1:], result.numbers, strict=True)
        texts = (("" if x is None else f"{x:.2f}", max(5, len(name))) for name, x in cells)
        lines.append((f"{result.name:22}" + "".join(f"  {text:>{width}}" for text, width in texts)).rstrip())
    return "\n".join(lines)


def score_methods(
    stems: dict[str, Tensor], sample_rate: float, best: dict[str, Any], train: Callable[[], dict[str, Any]]
) -> Iterator[Result]:
    """Score the baselines, all primitives, the ensemble of each preset, and trained networks.

    Args:
        stems: mixture, vocals and accompaniment, each `(C, T)`.
        sample_rate: in Hz.
        best: receives the `separator` and the `separation` of the preset `best`.
        train: returns trained separators by name; called after the other methods.

    Yields:
        a row for each method.
    """
    import torch

    from torchprim.ensemble.presets import PRESETS, PRIMITIVES
    from torchprim.metrics.baselines import baseline_estimates
    from torchprim.metrics.scale import sd_sdr
    from torchprim.separators.primitive import PrimitiveSeparator

    vocals, accompaniment = stems["vocals"].mean(0), stems["accompaniment"].mean(0)

    def score(name: str, estimates: tuple[Tensor, Tensor], confidence: float | None = None) -> Result:
        mono = (estimate.mean(0) if estimate.dim() == 2 else estimate for estimate in estimates)
        pairs = zip((vocals, accompaniment), mono, strict=True)
        return Result(name, *(sd_sdr(true, estimate).item() for true, estimate in pairs), confidence)

    estimates = baseline_estimates(vocals, accompaniment, sample_rate)
    ideal = estimates.pop("ideal mask")
    for name, pair in estimates.items():
        yield score(name, pair)
    presets = sorted(PRESETS, key=lambda name: name == "best")  # best comes last
    runs = [(name, "best", name) for name in PRIMITIVES]
    runs += [(f"ensemble, {preset}", preset, "pcl") for preset in presets]
    for name, preset, method in runs:
        separator = PrimitiveSeparator(preset, method).to(vocals.device)
        with torch.no_grad():
            separation = separator(stems["mixture"], sample_rate, channels=True)
        if (preset, method) == ("best", "pcl"):
            best.update(separator=separator, separation=separation)
        yield score(name, separation[:2], separation.confidence.item())
    for name, separator in train().items():
        with torch.no_grad():
            separation = separator(stems["mixture"], sample_rate, channels=True)
        yield score(name, separation[:2], separation.confidence.item())
    yield score("ideal mask", ideal)


def run(args: argparse.Namespace) -> int:
    """Separate the demo song with all methods, and write stems, table and page."""
    from tqdm import tqdm

    from torchprim.audio.find import demo_song
    from torchprim.audio.load import load_stems
    from torchprim.audio.write import save
    from torchprim.cli.demo_training import STEPS, train_on_one_song
    from torchprim.ensemble.presets import PRESETS, PRIMITIVES
    from torchprim.report.build import make_report
    from torchprim.report.page import Table
    from torchprim.separators.primitive import PrimitiveSeparator

    device = choose_device(args.device)
    song = demo_song()
    title = title_of(song)
    page_path = args.out / "report.html"
    check_output(page_path)  # before the work, not after
    sources, sample_rate = load_stems(song)
    sources = {name: stem.to(device) for name, stem in sources.items()}
    vocals = sources.pop("vocals")
    accompaniment = sum(sources.values())
    stems = {"mixture": vocals + accompaniment, "vocals": vocals, "accompaniment": accompaniment}

    print(f"{title}: {vocals.shape[-1] / sample_rate:.1f} s with known stems, from the stempeg package")
    best: dict[str, Any] = {}
    results = []
    steps = len(PRIMITIVES) + len(PRESETS) + 6 + STEPS
    with tqdm(total=steps, unit="step", leave=False, disable=None) as bar:

        def train() -> dict[str, Any]:
            bar.set_description("training `small`")
            network = train_on_one_song(song, PrimitiveSeparator().to(device), device, bar.update)
            return {"small, trained*": network, "best with small*": network.with_primitives()}

        for result in score_methods(stems, sample_rate, best, train):
            results.append(result)
            bar.set_description(result.name)
            bar.update()
        bar.set_description("report")
        rows = [(result.name, result.numbers) for result in results]
        page = make_report(
            title,
            stems["mixture"],
            sample_rate,
            best["separator"],
            separation=best["separation"],
            table=Table("How good it is", f"{METRIC}.", COLUMNS, rows, best="ensemble, best"),
        )
        bar.update()

    separation = best["separation"]
    files = {
        "mixture": stems["mixture"],
        "vocals": separation.vocals,
        "accompaniment": separation.accompaniment,
    }
    for name, audio in files.items():
        save(args.out / f"{name}.wav", audio, sample_rate)
    write_output(page_path, page)

    print(f"\n{METRIC}\n\n{format_table(results)}\n")
    print("null: 0.7 x the mixture above 250 Hz as vocals; ideal mask: made from the true stems")
    print(f"* trained on this song: {STEPS} steps on remixes of its own estimates, without its stems\n")
    print(f"stems    {shown(args.out / 'vocals.wav')}  {shown(args.out / 'accompaniment.wav')}")
    print(f"report   {shown(page_path)}  (open it in a browser)")
    return 0
