"""A few hundred mutated recipes; `tests/bench/fuzz_recipes.py` runs ten thousand."""

from __future__ import annotations

from pathlib import Path

from engine.recipe.load import load_recipes
from tests.bench.fuzz_recipes import BASE_RECIPE, SEED_RECIPE, SLOWEST_S, fuzz, mutated


def test_the_recipe_that_is_mutated_is_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(BASE_RECIPE)
    (tmp_path / "desk.toml").write_text(SEED_RECIPE)
    assert len(load_recipes(tmp_path / "desk.toml")) == 4


def test_mutated_recipes_are_accepted_or_told(tmp_path: Path) -> None:
    outcome = fuzz(range(400), tmp_path)
    assert outcome.failures == []
    assert outcome.accepted > 10
    assert outcome.refused > 100
    assert outcome.slowest_s < SLOWEST_S, outcome.slowest_seed


def test_mutations_can_be_made_again() -> None:
    assert mutated(7) == mutated(7)
    assert len({mutated(seed) for seed in range(50)}) > 40
