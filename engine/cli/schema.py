"""`engine schema`: the JSON Schema of recipes, for editors."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(short_help="Write the JSON Schema of recipes, so that editors complete them.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead.")
def command(output: Path | None) -> None:
    """Write the JSON Schema of recipes.

    An editor with a TOML plugin (Even Better TOML, tombi) completes and checks a recipe whose first
    line is "#:schema recipe.schema.json", the path being relative to the recipe.
    """
    import json

    from engine.errors import EngineError
    from engine.recipe.reference import editor_schema

    text = json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        found = f"the schema can't be written: {error.strerror}"
        raise EngineError.of("E101", str(output), found, "name a file in a folder that exists") from error
