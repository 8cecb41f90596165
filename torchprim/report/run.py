"""The report of a training: `report.html` in the folder of a run, rewritten at each validation."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.remix import RemixStream
from torchprim.files import read_json_lines, replaced
from torchprim.plots.curves import draw_shares
from torchprim.plots.figure import new_figure
from torchprim.plots.svg import inline_svg
from torchprim.progress import write
from torchprim.report.example import Example
from torchprim.report.page import (
    Picture,
    command_section,
    picture_section,
    render_document,
    settings_section,
    table_section,
)
from torchprim.report.progress import describe, draw_progress, progress_table
from torchprim.report.transport import transport_section
from torchprim.separators.load import network_separator
from torchprim.sources import FOUR, TWO

_HANDS = "Keys: space plays and stops, numbers choose, ← and → move by 5 s. A click in a picture goes there."


class RunReport:
    """One page that tells whether a run went well: curves, confidence, an example, settings, commands.

    Nothing is computed before the first `write`. The example is then separated by the teacher; later pages
    cost the network's separation of 10 s, and the drawing.

    Args:
        folder: of the run, with its `log.jsonl`.
        streams: of the training's remixes, with labels where there is a teacher.
        bank: of the example.
        segments: that the example is chosen from.
        held_out: whether the network is not trained on these.
        steps: that the training takes.
        settings: by name.
    """

    def __init__(
        self,
        folder: Path,
        streams: Sequence[RemixStream],
        bank: Bank,
        segments: Sequence[int],
        held_out: bool,
        *,
        steps: int,
        settings: Mapping[str, object],
    ) -> None:
        self.folder, self.streams, self.held_out, self.steps = folder, list(streams), held_out, steps
        self.bank, self.segments = bank, segments
        self.settings = {name: _shown(value) for name, value in settings.items()}
        self.failed = False
        self._example: Example | None = None
        self._confidence: list[Picture] = []

    def write(self, network: nn.Module, anchors: Tensor | None) -> None:
        """Write the page, atomically. A failure does not stop the training: it is printed, once.

        Args:
            network: put in evaluation mode, and back in training mode.
            anchors: of its embedding, see `NetworkSeparator`.
        """
        path = self.folder / "report.html"
        try:
            page = self.render(network, anchors)
            with replaced(path) as file:
                file.write(page.encode())
        except Exception as error:  # such as a full disk: hours of training matter more than this page
            if not self.failed:
                said = " ".join(str(error).split()) or type(error).__name__
                write(f"{path}: not written, the training goes on: {said}", sys.stderr)
            self.failed = True

    def render(self, network: nn.Module, anchors: Tensor | None) -> str:
        """Return the page, HTML. Args: as for `write`."""
        records = read_json_lines(self.folder / "log.jsonl")
        if self._example is None:
            teachers = [stream.teacher for stream in self.streams if stream.teacher is not None]
            self._example = Example(self.bank, self.segments, teachers[0] if teachers else None)
            self._confidence = list(_draw_confidence(self.streams))
        try:
            shown = self._example.show(network_separator(network.eval(), anchors))
        finally:
            network.train()
        table = progress_table(records)
        steps = max((record.get("step", 0) for record in records), default=0)
        seconds = max((record.get("seconds", 0.0) for record in records), default=0.0)
        facts = f"Step {steps} of {self.steps} · {seconds / 60:.1f} minutes · {self._music()}"
        kind = "a held-out song" if self.held_out else "a song that it is trained on: none is held out"
        note = f"{self._example.title}: {kind}."
        sections = [
            picture_section("How it goes", draw_progress(records), describe(records, self.steps)),
            *([table_section(table)] if table else []),
            transport_section(shown.transport, f"{note} {_HANDS}"),
            *([table_section(shown.table)] if shown.table else []),
            picture_section("Look", shown.pictures),
            *([picture_section("What it learns from", self._confidence)] if self._confidence else []),
            command_section("Go on", self._commands()),
            settings_section("Settings", self.settings),
        ]
        return render_document(f"Training {self.folder.name}", facts, sections)

    def _music(self) -> str:
        songs = sum(len({stream.bank.segments[i].song for i in stream.segments}) for stream in self.streams)
        segments = sum(len(stream.segments) for stream in self.streams)
        return f"{songs} songs, {segments} segments to train on"

    def _commands(self) -> dict[str, str]:
        best = shlex.quote(str(self.folder / "best.pt"))
        scores = shlex.quote(str(self.folder / "scores"))
        if (sources := self.streams[0].sources) == TWO:
            title, words = "Separate a song, with the network as one more cue beside the primitives:", ""
            separate, methods = f"{best} --with-primitives", f"mixture,pcl,{best},pcl+{best}"
        else:
            title, words = "Separate a song:", f" --sources {','.join(sources)}"
            separate, methods = best, f"mixture,{'null,pcl,' if sources == FOUR else ''}irm,{best}"
        return {
            title: f"torchprim separate --checkpoint {separate} song.mp3 --out stems",
            "Score it on songs with true stems that it was not trained on:": (
                f"torchprim evaluate compare --stems STEMS{words} --methods {methods} --out {scores}"
            ),
            "Resume after a stop, or train for longer with a larger --steps:": (
                f"torchprim train --resume {shlex.quote(str(self.folder))}"
            ),
        }


def _draw_confidence(streams: Sequence[RemixStream]) -> Iterator[Picture]:
    """Draw the confidence of each labelled stream's segments, and which of them are dropped."""
    for number, stream in enumerate(streams):
        if stream.labels is None:
            continue
        low, high = stream.settings.quantiles
        used = set(stream.labels.trusted(low, high, stream.segments))
        labelled = set(stream.labels.trusted(0.0, 1.0, stream.segments))
        confidence = stream.labels.confidence.tolist()
        kept, dropped = ([confidence[i] for i in sorted(part)] for part in (used, labelled - used))
        figure, (axes,) = new_figure(9.6, 2.4)
        draw_shares(axes, kept, dropped, "Confidence of the teacher")
        caption = (
            f"Of {len(labelled)} segments, those between the quantiles {low:g} and {high:g} are remixed: "
            f"{len(kept)}, of confidence {min(kept):.3f} to {max(kept):.3f}; {len(dropped)} are dropped."
        )
        svg = inline_svg(figure, f"confidence{number}", f"Confidence. {caption}")
        yield Picture("Confidence", caption, svg, True)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
