"""`torchprim separate` in tests, with a quick stand-in for the separator."""

import json

import torch

import torchprim as tp
from torchprim.cli.main import main


class HalvingSeparator(torch.nn.Module):
    """Stand-in for the separator that halves the mixture; counts the songs."""

    songs = 0

    def stream(self, read, length, sample_rate, channels=False, *, generator, progress):
        HalvingSeparator.songs += 1
        assert channels and torch.is_inference_mode_enabled()
        middle = (length + 1) // 2
        for done, (start, stop) in enumerate(((0, middle), (middle, length)), 1):
            audio = read(start, stop)
            progress(done, 2)
            some = torch.rand((), generator=generator)
            yield tp.Separation(audio / 2, audio - audio / 2, None, some, some, some, {}, sample_rate)


def separate(*arguments):
    """Run the command in this process; return its exit status."""
    return main(["separate", *map(str, arguments)])


def lines(folder):
    """Read the records of an output folder."""
    return [json.loads(line) for line in (folder / "separations.jsonl").read_text().splitlines()]


def tree(folder):
    """List all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def both(*names):
    """List the expected files of an output folder with these songs."""
    return sorted(
        ["separations.jsonl", *(f"{n}/{s}.wav" for n in names for s in ("vocals", "accompaniment"))]
    )
