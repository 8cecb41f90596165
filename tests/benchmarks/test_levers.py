"""Every lever is a set of options that train.py knows, and changes the recipe or the network."""

import pytest

import train
from benchmarks.levers import LEVERS
from torchprim.networks.config import NETWORKS
from torchprim.training.recipes import RECIPES

_COMMON = ["--audio", "music", "--out", "run", "--preset", "small"]


@pytest.mark.parametrize("lever", [name for name in LEVERS if name != "recipe"])
def test_a_lever_changes_one_thing(lever):
    options = train.arguments([*_COMMON, *LEVERS[lever]])
    plain = train.arguments(_COMMON)
    network = train.network_config(options) != NETWORKS["small"]
    recipe = train.recipe_of(options) != RECIPES["small"]
    other = any(getattr(options, name) != getattr(plain, name) for name in ("low", "teacher", "seed"))
    assert network or recipe or other


def test_the_recipe_is_the_presets():
    options = train.arguments([*_COMMON, *LEVERS["recipe"]])
    assert train.recipe_of(options) == RECIPES["small"]
    assert train.network_config(options) == NETWORKS["small"]
