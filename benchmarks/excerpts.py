"""`python -m benchmarks.excerpts FOLDER`: the long excerpts, laid out for `evaluate.py --stems FOLDER`.

The data have all songs in one folder, `NAME.vocals.*` beside `NAME.accompaniment.*` or `NAME.mixture.*`.
Here each gets a folder of its own, of links; where vocals lie more than 4 dB below the accompaniment they
are written anew, scaled up to -4 dB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.data import MissingData, data_root
from torchprim.audio.load import load_audio
from torchprim.audio.write import save

LEVEL = -4.0  # dB, vocals to accompaniment


def lay_out(folder: Path, source: Path | None = None) -> list[Path]:
    """A folder with `vocals.*` and `accompaniment.*` or `mixture.*` for each excerpt.

    Args:
        folder: is made; what is there already stays.
        source: of the excerpts; by default `long_excerpts` of the data.

    Returns:
        the songs' folders.

    Raises:
        MissingData: where there are no excerpts.
    """
    source = source or data_root() / "long_excerpts"
    found = sorted(source.glob("*.vocals.*"))
    if not found:
        raise MissingData(f"no *.vocals.* in {source}: set TORCHPRIM_DATA to a folder with long_excerpts")
    songs = []
    for vocals in found:
        name, _, kind = vocals.name.rpartition(".vocals.")
        song = folder / name
        song.mkdir(parents=True, exist_ok=True)
        for other in ("accompaniment", "mixture"):
            if (path := source / f"{name}.{other}.{kind}").exists():
                _link(song / f"{other}.{kind}", path)
        if not _scaled(vocals, source / f"{name}.accompaniment.{kind}", song / "vocals.wav"):
            _link(song / f"vocals.{kind}", vocals)
        songs.append(song)
    return songs


def _link(place: Path, target: Path) -> None:
    if not place.exists():
        place.symlink_to(target.resolve())


def _scaled(vocals: Path, accompaniment: Path, place: Path) -> bool:
    """Write louder vocals, where they lie too low below an accompaniment of its own file."""
    if place.exists() or not accompaniment.exists():
        return place.exists()
    (low, rate), (rest, _) = load_audio(vocals), load_audio(accompaniment)
    ratio = 10 * (low.double().square().mean() / rest.double().square().mean()).log10().item()
    if ratio >= LEVEL:
        return False
    save(place, low * 10 ** ((LEVEL - ratio) / 20), rate)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        print(*lay_out(Path(sys.argv[1])), sep="\n")
    except MissingData as error:
        raise SystemExit(str(error)) from error
