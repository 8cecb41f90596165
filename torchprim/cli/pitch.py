"""`torchprim pitch FILE --out DIR`: the pitch of the voice as a table and as a picture."""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.option_types import number
from torchprim.cli.output import say, title_of, write_output
from torchprim.cli.song import add_song, add_start, read_song
from torchprim.errors import one_line, shown

if TYPE_CHECKING:
    from torch import Tensor

    from torchprim.primitives.pitch.track_pitch import PitchTrack

_EXCERPT = 30.0  # seconds that the picture shows
_VOICED = "voiced: voicing above 0.5"  # as `PitchTrack.voiced`, log odds above 0
_TITLE = 100  # letters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_song(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder for NAME.pitch.csv (time, hz, voicing, voiced; {_VOICED}) and NAME.pitch.png",
    )
    parser.add_argument(
        "--method",
        choices=("salience", "crepe"),
        default="salience",
        help="crepe is for recordings of a voice alone (default: %(default)s)",
    )
    parser.add_argument("--f-min", type=number, default=80.0, metavar="HZ", help="(default: %(default)g)")
    parser.add_argument("--f-max", type=number, default=1100.0, metavar="HZ", help="(default: %(default)g)")
    add_start(parser, "where the picture's 30 s begin (default: where most is sung)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: %(default)s)")


def _csv(track: PitchTrack) -> str:
    """Format a row per frame: time in s, pitch in Hz (also where unvoiced), voicing probability, 1 or 0."""
    columns = (values.tolist() for values in (track.times, track.f0, track.voicing, track.voiced))
    rows = (f"{t:.4f},{hz:.2f},{p:.3f},{voiced:d}\n" for t, hz, p, voiced in zip(*columns, strict=True))
    return "time,hz,voicing,voiced\n" + "".join(rows)


def _picture(title: str, audio: Tensor, sample_rate: float, track: PitchTrack, start: float | None) -> bytes:
    """Draw the track over the spectrogram of an excerpt of 30 s, as PNG."""
    import warnings

    import torch

    from torchprim.plots.figure import INK, colour_bar, new_figure
    from torchprim.plots.time_frequency import draw_pitch, draw_spectrogram
    from torchprim.spectra.mixture import Mixture
    from torchprim.spectra.stft import Geometry

    if start is None:
        hop = track.times[1].item() if len(track.times) > 1 else 1.0
        total = torch.nn.functional.pad(track.voicing.cumsum(0), (1, 0))
        window = min(len(total) - 1, max(1, round(_EXCERPT / hop)))
        start = hop * (total[window:] - total[:-window]).argmax().item()
    begin = min(math.floor(start * sample_rate), audio.shape[-1] - 1)
    excerpt = Mixture(audio[begin : begin + round(_EXCERPT * sample_rate)], sample_rate)
    figure, (axes,) = new_figure(12, 4)
    figure.set_facecolor("white")
    highest = min(5000.0, sample_rate / 2)
    image = draw_spectrogram(axes, excerpt.magnitude(), Geometry(), start=start, highest=highest)
    colour_bar(axes, image, "dB below the loudest")
    draw_pitch(axes, track, label=f"pitch, where {_VOICED}")
    title = title if len(title) <= _TITLE else f"{title[: _TITLE - 2]} …"
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)  # `$` is no formula
    image = io.BytesIO()
    with warnings.catch_warnings():
        # The letters of a title that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(image, format="png", dpi=150)
    return image.getvalue()


def run(args: argparse.Namespace) -> int:
    """Track the pitch, and write the table and the picture."""
    import torch

    from torchprim.audio.downmix import downmix
    from torchprim.primitives.pitch.track_pitch import track_song

    device = choose_device(args.device)
    sound = read_song(args.file, args.start)
    name = title_of(args.file)
    table, picture = args.out / f"{name}.pitch.csv", args.out / f"{name}.pitch.png"
    try:
        mono = downmix(sound.audio).to(device)
        with torch.inference_mode():
            track = track_song(mono, sound.sample_rate, args.method, args.f_min, args.f_max)
            image = _picture(shown(name), mono.cpu(), sound.sample_rate, track, args.start)
    except ImportError:  # names the package to install
        raise
    except Exception as error:
        say(f"error: {one_line(args.file, error, device)}", sys.stderr)
        return 1
    write_output(table, _csv(track))
    write_output(picture, image)
    say(f"{shown(table)}\n{shown(picture)}")
    say(f"{100 * track.voiced.double().mean().item():.0f} % of the frames are {_VOICED}", sys.stderr)
    return 0
