from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from engine.errors import Problem, RecipeError
from engine.recipe.load import LoadedRecipe, load_recipes

MINIMAL = """\
name = "desk"

[dataset]
train = { images = "train/images", annotations = "train/annotations" }
val   = { images = "val/images",   annotations = "val/annotations" }

[classes]
names = ["mug", "laptop", "keyboard"]
"""

WriteRecipe = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteRecipe:
    def write_file(text: str = MINIMAL, name: str = "desk.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write_file


def load_one(path: Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    [loaded] = load_recipes(path, overrides=overrides)
    return loaded


def problems_of(path: Path, overrides: Sequence[str] = ()) -> list[Problem]:
    with pytest.raises(RecipeError) as caught:
        load_recipes(path, overrides=overrides)
    return list(caught.value.problems)
