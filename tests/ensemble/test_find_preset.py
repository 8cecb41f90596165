"""Presets by name, in TOML files, in modules and files of Python."""

import sys

import pytest
import torch

import torchprim as tp
from torchprim.ensemble.find_preset import find_preset
from torchprim.errors import PresetError

CODE = """
import torchprim as tp
import beside

def loud(mixture, level=beside.LEVEL):
    return (mixture.magnitude() > level).float()

stereo = tp.PRESETS["paper"].plus("loud", loud, 2.0)
LEVEL = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_cues_of_a_test.py").write_text(CODE)
    (tmp_path / "beside.py").write_text("LEVEL = 1.0")
    monkeypatch.chdir(tmp_path)
    for module in ("beside", "own_cues_of_a_test"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_preset_is_itself():
    assert find_preset("best") is tp.PRESETS["best"]
    assert find_preset(tp.PRESETS["paper"]) is tp.PRESETS["paper"]
    with pytest.raises(
        ValueError, match=r"unknown preset 'worst'; there are paper, companion, best, FILE.toml"
    ):
        find_preset("worst")


@pytest.mark.parametrize("module", ["own_cues_of_a_test", "own_cues_of_a_test.py", "./own_cues_of_a_test.py"])
def test_an_ensemble_in_a_module_or_a_file(module, folder):
    separator = tp.PrimitiveSeparator(f"{module}:stereo")
    assert separator.cues.names == ("2dft-r", "2dft-m", "melody", "hpss", "loud")
    assert separator(torch.randn(44100), 44100).masks["loud"].any()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("own_cues_of_a_test.py:mono", "own_cues_of_a_test.py:mono: there is no 'mono' in"),
        (
            "own_cues_of_a_test.py:LEVEL",
            "test.py:LEVEL: must be a tp.Preset or a tp.StemPreset, got a int",
        ),
        ("own_cues_of_a_test.py:loud", "must be a tp.Preset or a tp.StemPreset, got a function"),
        ("nowhere.py:stereo", "nowhere.py:stereo: there is no such file"),
        ("no.such.module:stereo", "cannot be imported: ModuleNotFoundError: No module named 'no"),
        ("torn.py:stereo", r"torn.py:stereo: cannot be imported: SyntaxError: .*line 2"),
        ("raises.py:stereo", "raises.py:stereo: cannot be imported: KeyError: 'x'"),
        (":stereo", "must be package.module:name or file.py:name"),
        ("nowhere.toml", "nowhere.toml: no such file or directory"),
    ],
)
def test_names_that_lead_nowhere(name, error, folder):
    (folder / "torn.py").write_text("x = 1\ndef f(:\n")
    (folder / "raises.py").write_text("{}['x']\n")
    with pytest.raises(PresetError, match=error) as caught:
        find_preset(name)
    assert "\n" not in str(caught.value)


def test_a_preset_in_a_file(folder):
    text = """
        preset = "best"
        beta = 3
        kernel_size = 31
        neighbourhood = [1, 9]
        mask_dtype = "float32"

        [cues.hpss-9]
        cue = "torchprim:HPSS"
        kernel_size = 9
        weight = 0.5

        [cues.loud]
        cue = "own_cues_of_a_test.py:loud"
        level = 7.0
    """
    preset = find_preset(write(folder, text))
    best = tp.PRESETS["best"]
    assert (preset.name, preset.beta, preset.kernel_size, preset.neighbourhood) == ("mine", 3, 31, (1, 9))
    assert preset.mask_dtype == torch.float32 and preset.cutoff == best.cutoff
    assert preset.weights == {**best.weights, "hpss-9": 0.5, "loud": 1.0}
    assert preset.cues["hpss-9"].kernel_size == 9 and preset.cues["loud"].keywords == {"level": 7.0}
    assert tp.PrimitiveSeparator(preset)(torch.randn(44100), 44100).confidence.isfinite()
    text = 'name = "small"\n[weights]\nhpss = 1.0\n[geometry]\nsample_rate = 16000\nwindow_length = 512\n'
    preset = find_preset(write(folder, text + "hop_length = 128\n"))
    assert preset == tp.Preset("small", {"hpss": 1.0}, tp.Geometry(16000, 512, 128))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("beta = \n", r"is no TOML: .*line 1"),
        ("betta = 3", "unknown key 'betta'; there are name, weights"),
        ('preset = "worst"', "preset must be one of paper, companion, best, got 'worst'"),
        ("beta = 3", "weights must name at least one"),
        ('preset = "best"\nbeta = "hard"', "beta must be a number, got 'hard'"),
        ('preset = "best"\nbeta = true', "beta must be a number, got True"),
        ('preset = "best"\nbeta = -1', "beta must be positive, got -1"),
        ('preset = "best"\nkernel_size = 0', r"kernel_size must be a whole number in \[1, 1023\], got 0"),
        ('preset = "best"\nneighbourhood = [1]', r"neighbourhood must be two whole numbers, got \[1\]"),
        ('preset = "best"\nmask_dtype = "int8"', "mask_dtype must be one of float16, float32, got 'int8'"),
        ('preset = "best"\n[geometry]\nrate = 1', "unknown key 'geometry.rate'"),
        ('[weights]\nhpss = "x"', "weights.hpss must be a number, got 'x'"),
        ("[weights]\nhpps = 1", "unknown primitive 'hpps'"),
        ('preset = "best"\n[cues]\npan = 1', "cues.pan must be a table with the key cue, got 1"),
        ('preset = "best"\n[cues.pan]\nweight = 1', "cues.pan.cue must be package.module:name"),
        ('preset = "best"\n[cues.pan]\ncue = "nowhere.py:pan"', "nowhere.py:pan: there is no such file"),
        ('preset = "best"\n[cues.pan]\ncue = "torchprim:HPSS"\nsize = 3', "cues.pan: torchprim:HPSS cannot"),
        ('preset = "best"\n[cues.hpss]\ncue = "torchprim:HPSS"', "cues.hpss: there is a cue 'hpss' already"),
        ('preset = "best"\n[cues.pan]\ncue = "torchprim:HPSS"\nweight = -1', "weights must not be negative"),
        ('preset = "best"\n[cues.pan]\ncue = "math:pi"', "cue 'pan' must be a function or module"),
    ],
)
def test_errors_of_a_file_name_it_and_the_key(text, error, folder):
    path = write(folder, text)
    with pytest.raises(PresetError, match=error) as caught:
        find_preset(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_checkpoint_cannot_name_code_to_run(folder):
    with pytest.raises(ValueError, match=r"unknown preset 'own_cues_of_a_test.py:stereo'; there are paper"):
        tp.NetworkConfig(kind="unet", cues="own_cues_of_a_test.py:stereo")
