"""The page of a run: methods, songs, settings and versions, in Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprim.evaluation.provenance import device_name, package_versions
from torchprim.evaluation.runner import Settings
from torchprim.files import replaced


@dataclass(frozen=True)
class Run:
    """Settings of a command that its results depend on.

    Args:
        command: name of the command.
        stems: folders of songs with true stems.
        preset: of the primitives.
        seed: of the bootstrap and of the trainings.
        settings: channels and device.
    """

    command: str
    stems: Sequence[str]
    preset: str
    seed: int
    settings: Settings

    def facts(self, songs: Mapping[str, float], problems: Mapping[str, str]) -> dict[str, Any]:
        """Collect the settings, versions and data of the results, for the JSON file and the page's footer.

        Args:
            songs: duration of each song that was used, in seconds.
            problems: reason for each song that was left out.
        """
        return {
            "command": self.command,
            "versions": package_versions("numpy", "torchaudio", "museval"),
            "device": device_name(self.settings.device),
            "preset": self.preset,
            "seed": self.seed,
            "channels": self.settings.channels,
            "data": {
                "stems": ["/".join(Path(root).resolve().parts[-2:]) for root in self.stems],
                "songs": len(songs),
                "seconds": round(sum(songs.values()), 1),
                "left out": dict(problems),
            },
        }


def footer(facts: Mapping[str, Any]) -> str:
    """Format the facts of `Run.facts` as two sentences and a list of the songs that were left out."""
    data = facts["data"]
    text = (
        f"Data: {', '.join(data['stems'])}, {data['songs']} songs, {data['seconds'] / 60:.1f} minutes, "
        f"{facts['channels']}; mixture = sum of the stems. Preset of the primitives: `{facts['preset']}`; "
        f"seed {facts['seed']}; {', '.join(f'{name} {v}' for name, v in facts['versions'].items())}; "
        f"{facts['device']}."
    )
    if data["left out"]:
        text += f"\n\nLeft out, {len(data['left out'])}:\n\n" + "\n".join(
            f"- {name}: {reason}" for name, reason in data["left out"].items()
        )
    return text


def figure_links(files: Sequence[Path], legend: str) -> str:
    """Format the links to a page's figures, and their legend; of each one file that a browser shows."""
    figures: dict[str, list[str]] = {}
    for path in files:
        figures.setdefault(path.stem, []).append(path.suffix)
    lines = []
    for stem, suffixes in figures.items():
        suffix = next(suffix for suffix in (".png", ".svg", ".pdf") if suffix in suffixes)
        lines.append(f"{'' if suffix == '.pdf' else '!'}[{stem}]({stem}{suffix})")
    return "\n".join(lines) + f"\n\n{legend}"


def write_page(
    out: Path, name: str, facts: Mapping[str, Any], summary: Mapping[str, Any], sections: Sequence[str]
) -> None:
    """Write `NAME.json` with the facts and all numbers, and `NAME.md`, the page."""
    # JSON has neither NaN nor infinities: both are null.
    text = json.dumps(_finite({**facts, "summary": summary}), indent=1, allow_nan=False)
    for suffix, content in ((".json", text + "\n"), (".md", "\n\n".join(sections) + "\n")):
        with replaced(out / f"{name}{suffix}") as file:
            file.write(content.encode("utf-8"))


def _finite(value: Any) -> Any:
    """Replace the numbers that are not finite by None, at any depth."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
