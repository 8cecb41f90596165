"""The page of a run: what was compared with what, on which songs, by which versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchprim.evaluation.provenance import device_name, package_versions
from torchprim.files import replaced


def facts(args: Any, device: str, songs: Mapping[str, float], problems: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the results depend on, for the JSON file and for the end of the page.

    Args:
        args: of the command line.
        device: where it was computed.
        songs: duration of each song used, in seconds.
        problems: songs left out, with the reason.
    """
    return {
        "command": args.command,
        "versions": package_versions("numpy", "torchaudio", "museval"),
        "device": device_name(device),
        "preset": args.preset,
        "seed": args.seed,
        "channels": "stereo" if args.stereo else "mono",
        "data": {
            "stems": ["/".join(Path(root).resolve().parts[-2:]) for root in args.stems],
            "songs": len(songs),
            "seconds": round(sum(songs.values()), 1),
            "left out": dict(problems),
        },
    }


def closing(run: Mapping[str, Any]) -> str:
    """The facts as two sentences, and the songs that were left out."""
    data = run["data"]
    text = (
        f"Data: {', '.join(data['stems'])}, {data['songs']} songs, {data['seconds'] / 60:.1f} minutes, "
        f"{run['channels']}; mixture = sum of the stems. Preset of the primitives: `{run['preset']}`; "
        f"seed {run['seed']}; {', '.join(f'{name} {v}' for name, v in run['versions'].items())}; "
        f"{run['device']}."
    )
    if data["left out"]:
        text += f"\n\nLeft out, {len(data['left out'])}:\n\n" + "\n".join(
            f"- {name}: {reason}" for name, reason in data["left out"].items()
        )
    return text


def pictures(files: Sequence[Path], legend: str) -> str:
    """The figures of a page, and what is to be seen."""
    return "\n".join(f"![{path.stem}]({path.name})" for path in files) + f"\n\n{legend}"


def write(
    out: Path, name: str, run: Mapping[str, Any], summary: Mapping[str, Any], sections: Sequence[str]
) -> None:
    """`NAME.json` with the facts and all numbers, and `NAME.md`, the page."""
    # Infinite and undefined numbers are null: JSON has none.
    text = json.dumps(_plain({**run, "summary": summary}), indent=1, allow_nan=False)
    for suffix, content in ((".json", text + "\n"), (".md", "\n\n".join(sections) + "\n")):
        with replaced(out / f"{name}{suffix}") as file:
            file.write(content.encode("utf-8"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value
