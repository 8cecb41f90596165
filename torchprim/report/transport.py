"""The transport of a page: one position for all sounds, and a choice of what is heard."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from torchprim.report.markup import escaped


class Sound(NamedTuple):
    """A title, and the `data:` URL of its audio."""

    title: str
    source: str


class Choice(NamedTuple):
    """What can be heard: a title, and the gain of each sound. The mixture is the sum of its stems."""

    title: str
    gains: Sequence[float]


class Transport(NamedTuple):
    """Sounds of one length that play together; a choice says which are heard, the first one at the start.

    Args:
        sounds: of one rate and encoder, so that they stay aligned to the sample.
        choices: at least one; the first nine have the keys 1 to 9.
        sample_rate: at which they are decoded, in Hz.
        seconds: their duration.
        start: time in the song at which they begin, in s.
    """

    sounds: Sequence[Sound]
    choices: Sequence[Choice]
    sample_rate: int
    seconds: float
    start: float = 0.0


def transport_section(transport: Transport, note: str = "") -> str:
    """Return the HTML of a transport, at most one a page.

    Without scripts, or where sounds cannot be decoded, each sound has a plain player instead. Pictures with a
    time axis (`Picture.axis`) show its position, and a click in them moves it.

    Args:
        transport: what is heard.
        note: a sentence below the controls.

    Raises:
        ValueError: where there are no choices, or one has not a gain for each sound.

    Example:
        >>> from torchprim.report.transport import Choice, Sound, Transport, transport_section
        >>> sounds = [Sound("Vocals", "data:,"), Sound("Accompaniment", "data:,")]
        >>> choices = [Choice("Mixture", (1, 1)), Choice("Vocals", (1, 0))]
        >>> transport_section(Transport(sounds, choices, 44100, 3.0)).count('type="radio"')
        2
    """
    if not transport.choices:
        raise ValueError("choices must be one or more, got none")
    for choice in transport.choices:
        if len(choice.gains) != len(transport.sounds):
            raise ValueError(
                f"gains of {choice.title!r} must be one for each of {len(transport.sounds)} sounds, "
                f"got {len(choice.gains)}"
            )
    radios = "\n".join(_radio(number, choice) for number, choice in enumerate(transport.choices, 1))
    players = "\n".join(
        f'<div class="player"><span>{escaped(title)}</span><audio controls preload="none" '
        f'aria-label="{escaped(title)}" src="{source}"></audio></div>'
        for title, source in transport.sounds
    )
    words = f'<p class="note">{escaped(note)}</p>' if note else ""
    return f"""<section class="transport" aria-label="Listen" data-rate="{transport.sample_rate}"
 data-start="{transport.start:.3f}" data-seconds="{transport.seconds:.3f}">
<div class="controls">
<button type="button" class="play" aria-label="Play" aria-keyshortcuts="Space">
<svg viewBox="0 0 24 24" aria-hidden="true"><path class="go" d="M7 4.5v15l12-7.5z"/>
<path class="rest" d="M6.5 5h4v14h-4zM13.5 5h4v14h-4z"/></svg></button>
<input type="range" class="position" min="0" max="{transport.seconds:.3f}" step="0.01" value="0"
 aria-label="Position"><span class="clock" aria-hidden="true"></span>
</div>
<fieldset class="choices"><legend>What is heard</legend>
{radios}
</fieldset>
<div class="players">
{players}
</div>
{words}<p class="status" role="status"></p>
</section>"""


def _radio(number: int, choice: Choice) -> str:
    """Return the HTML of a choice, with a key where there is one for its number; the first is checked."""
    key, shown = (f' aria-keyshortcuts="{number}"', f"<kbd>{number}</kbd>") if number < 10 else ("", "")
    gains = " ".join(f"{gain:g}" for gain in choice.gains)
    checked = " checked" if number == 1 else ""
    return (
        f'<label><input type="radio" name="heard"{key} data-gains="{gains}"{checked}>'
        f"<span>{shown}{escaped(choice.title)}</span></label>"
    )


def script() -> str:
    """Return the script of the transport, as an element of the page."""
    text = files("torchprim.report").joinpath("transport.js").read_text(encoding="utf-8")
    return f"<script>\n{text}</script>"
