"""`python -m benchmarks.excerpts FOLDER`: the long excerpts, laid out for `evaluate.py --stems FOLDER`.

The data have all songs in one folder, `NAME.vocals.*` beside `NAME.accompaniment.*` or `NAME.mixture.*`.
Each song gets a folder of symbolic links; vocals that lie more than 4 dB below the accompaniment are written
anew, scaled to -4 dB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.data import MissingData, data_root
from torchprim.audio.load import load_audio
from torchprim.audio.write import save

LEVEL = -4.0  # dB, vocals to accompaniment


def lay_out(folder: Path, source: Path | None = None) -> list[Path]:
    """Make a folder with `vocals.*` and `accompaniment.*` or `mixture.*` for each excerpt.

    Args:
        folder: parent of the songs' folders; existing files are not replaced.
        source: of the excerpts; by default `long_excerpts` of the data.

    Returns:
        the songs' folders.

    Raises:
        MissingData: where there are no excerpts.
    """
    source = source or data_root() / "long_excerpts"
    paths = sorted(source.glob("*.vocals.*"))
    if not paths:
        raise MissingData(f"no *.vocals.* in {source}: set TORCHPRIM_DATA to a folder with long_excerpts")
    songs = []
    for vocals in paths:
        name, _, suffix = vocals.name.rpartition(".vocals.")
        song = folder / name
        song.mkdir(parents=True, exist_ok=True)
        for other in ("accompaniment", "mixture"):
            if (path := source / f"{name}.{other}.{suffix}").exists():
                _link(song / f"{other}.{suffix}", path)
        if not _write_scaled(vocals, source / f"{name}.accompaniment.{suffix}", song / "vocals.wav"):
            _link(song / f"vocals.{suffix}", vocals)
        songs.append(song)
    return songs


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target.resolve())


def _write_scaled(vocals: Path, accompaniment: Path, path: Path) -> bool:
    """Write louder vocals to `path` where they lie below LEVEL; return whether the file exists."""
    if path.exists() or not accompaniment.exists():
        return path.exists()
    (quiet, rate), (rest, _) = load_audio(vocals), load_audio(accompaniment)
    ratio = 10 * (quiet.double().square().mean() / rest.double().square().mean()).log10().item()
    if ratio >= LEVEL:
        return False
    save(path, quiet * 10 ** ((LEVEL - ratio) / 20), rate)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        print(*lay_out(Path(sys.argv[1])), sep="\n")
    except MissingData as error:
        raise SystemExit(str(error)) from error
