"""Every lever is a set of options that `torchprim train` knows, and changes the recipe or the network."""

import pytest

from benchmarks.levers import LEVERS
from tests.support.training_runs import options_of
from torchprim.cli.train.options import network_config, recipe_of
from torchprim.networks.config import NETWORKS
from torchprim.training.recipes import RECIPES

_COMMON = ["--audio", "music", "--out", "run", "--preset", "small"]


@pytest.mark.parametrize("lever", [name for name in LEVERS if name != "recipe"])
def test_a_lever_changes_one_thing(lever):
    options = options_of([*_COMMON, *LEVERS[lever]])
    plain = options_of(_COMMON)
    network = network_config(options) != NETWORKS["small"]
    recipe = recipe_of(options) != RECIPES["small"]
    other = any(getattr(options, name) != getattr(plain, name) for name in ("low", "teacher", "seed"))
    assert network or recipe or other


def test_the_recipe_is_the_presets():
    options = options_of([*_COMMON, *LEVERS["recipe"]])
    assert recipe_of(options) == RECIPES["small"]
    assert network_config(options) == NETWORKS["small"]
