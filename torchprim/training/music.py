"""Songs of a run: `songs.jsonl` in its folder, and how they differ from those of the run before a stop."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchprim.bootstrap.banks.bank import Bank
from torchprim.bootstrap.labels import same_loudness, segment_keys
from torchprim.files import read_json_lines, replaced

_NAMED = 3  # songs of each kind of change
Songs = dict[tuple[str, str], dict[str, Any]]  # by type of tracks and absolute path: a line of the file


def update_songs(run: Path, banks: Sequence[Bank]) -> str:
    """Write the songs of a run to `songs.jsonl`; describe in one line how they differ from those it held.

    A line has a song, its kind (mixture or stems), and start, length (both in seconds) and loudness (LUFS) of
    each segment: another recording under an old name has another loudness.

    Args:
        run: folder of the run.
        banks: all of its music.

    Returns:
        such as "1 song gone (music/a.wav), 1 changed (music/b.wav)"; empty for the same music and a new run.

    Raises:
        OSError: where the file cannot be written.
    """
    path = run / "songs.jsonl"
    before = {_key(record): record for record in filter(_is_valid, read_json_lines(path))}
    songs = {_key(record): record for bank in banks for record in _records(bank)}
    changed = [key for key in songs if key in before and _is_other(before[key], songs[key])]
    changes = {
        "gone": [before[key]["song"] for key in before if key not in songs],
        "new": [songs[key]["song"] for key in songs if key not in before],
        "changed": [songs[key]["song"] for key in changed],
    }
    if before == songs:
        return ""
    with replaced(path) as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in songs.values())
    return ", ".join(_describe(how, names) for how, names in changes.items() if names) if before else ""


def _records(bank: Bank) -> list[dict[str, Any]]:
    segments: dict[str, list] = {}
    for song, *segment in segment_keys(bank):
        segments.setdefault(song, []).append(segment)
    return [{"song": song, "kind": bank.kind, "segments": of_song} for song, of_song in segments.items()]


def _key(record: dict[str, Any]) -> tuple[str, str]:
    return record["kind"], os.path.abspath(record["song"])


def _is_valid(record: dict[str, Any]) -> bool:
    segments = record.get("segments")
    return (
        all(isinstance(record.get(field), str) for field in ("song", "kind"))
        and isinstance(segments, list)
        and all(isinstance(segment, list) and len(segment) == 3 for segment in segments)
        and all(isinstance(value, (int, float, type(None))) for segment in segments for value in segment)
    )


def _is_other(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return whether no segment of a song is where one was, or one of them has another loudness."""
    old = {(start, seconds): loudness for start, seconds, loudness in before["segments"]}
    pairs = [(old[start, n], loudness) for start, n, loudness in now["segments"] if (start, n) in old]
    return not pairs or not all(same_loudness(*pair) for pair in pairs)


def _describe(how: str, names: list[str]) -> str:
    count = f"{len(names)} song{'s' if len(names) > 1 else ''}"
    return f"{count} {how} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
