"""`torchprim pitch FILE --out DIR`: the pitch of the voice as a table and as a picture."""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path

from torchprim.cli import UsageError
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.output import title_of, write_output
from torchprim.errors import one_line, shown

_EXCERPT = 30.0  # seconds that the picture shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a file of sound in any format")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for NAME.pitch.csv and NAME.pitch.png"
    )
    parser.add_argument(
        "--method",
        choices=("salience", "crepe"),
        default="salience",
        help="crepe is for recordings of a voice alone (default: %(default)s)",
    )
    parser.add_argument("--f-min", type=float, default=80.0, metavar="HZ", help="(default: %(default)g)")
    parser.add_argument("--f-max", type=float, default=1100.0, metavar="HZ", help="(default: %(default)g)")
    parser.add_argument(
        "--start",
        type=float,
        metavar="SECONDS",
        help="where the picture's 30 s begin (default: where most is sung)",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: %(default)s)")


def csv_of(track) -> str:
    """A line for each frame: time in s, pitch in Hz (also where unvoiced), probability of voice."""
    rows = zip(track.times.tolist(), track.f0.tolist(), track.voicing.tolist(), strict=True)
    return "time,hz,voicing\n" + "".join(f"{t:.4f},{hz:.2f},{p:.3f}\n" for t, hz, p in rows)


def _picture(audio, sample_rate: float, track, start: float | None) -> bytes:
    """The track over the spectrogram of 30 s, as PNG."""
    import torch

    from torchprim.plots.figure import new_figure
    from torchprim.plots.time_frequency import draw_pitch, draw_spectrogram
    from torchprim.spectra.mixture import Mixture
    from torchprim.spectra.stft import Geometry

    if start is None:
        frame = track.times[1].item() if len(track.times) > 1 else 1.0
        sung = torch.nn.functional.pad(track.voicing.cumsum(0), (1, 0))
        reach = min(len(sung) - 1, max(1, round(_EXCERPT / frame)))
        start = frame * (sung[reach:] - sung[:-reach]).argmax().item()
    begin = min(math.floor(start * sample_rate), audio.shape[-1] - 1)
    excerpt = Mixture(audio[begin : begin + round(_EXCERPT * sample_rate)], sample_rate)
    figure, (axes,) = new_figure(12, 4)
    figure.set_facecolor("white")
    highest = min(5000.0, sample_rate / 2)
    draw_spectrogram(axes, excerpt.magnitude(), Geometry(), start=start, highest=highest)
    draw_pitch(axes, track, start=0.0)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    return image.getvalue()


def run(args: argparse.Namespace) -> int:
    import torch

    from torchprim.audio.load import read
    from torchprim.primitives.pitch.track_pitch import track_song

    device = choose_device(args.device)
    sound = read(args.file)
    seconds = sound.audio.shape[-1] / sound.sample_rate
    if args.start is not None and not 0 <= args.start < seconds:
        raise UsageError(f"--start must lie in [0, {seconds:.2f}) s, got {args.start:g}")
    for note in sound.notes:
        print(f"warning: {shown(args.file)}: {note}", file=sys.stderr)
    name = title_of(args.file)
    table, picture = args.out / f"{name}.pitch.csv", args.out / f"{name}.pitch.png"
    mono = sound.audio.mean(0).to(device)
    try:
        with torch.inference_mode():
            track = track_song(mono, sound.sample_rate, args.method, args.f_min, args.f_max)
            drawn = _picture(mono.cpu(), sound.sample_rate, track, args.start)
    except ImportError:  # says itself what to install
        raise
    except Exception as error:
        print(f"error: {one_line(args.file, error, device)}", file=sys.stderr)
        return 1
    write_output(table, csv_of(track))
    write_output(picture, drawn)
    print(f"{shown(table)}\n{shown(picture)}")
    return 0
