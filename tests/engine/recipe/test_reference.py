"""The generated page and schema say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner

from engine.catalogue import ARCHS
from engine.cli.schema import command
from engine.errors import EngineError
from engine.recipe.codes import CODES
from engine.recipe.keys import all_keys
from engine.recipe.load import load_recipes
from engine.recipe.reference import editor_schema, main, reference_page
from tests.engine.recipe.conftest import WriteRecipe

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "recipe-reference.md"


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_page(), (
        "run: python -m engine.recipe.reference docs/recipe-reference.md"
    )


def test_page_is_written(tmp_path: Path) -> None:
    main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == reference_page()


def test_page_tells_every_key_code_and_detector() -> None:
    page = reference_page()
    assert [key.path for key in all_keys() if f"| `{key.path[-1]}` |" not in page and not key.is_section] == []
    assert [code for code in CODES if f"### {code}: " not in page] == []
    assert [arch for arch in ARCHS if f"| `{arch}` |" not in page] == []


def test_links_of_the_page_lead_somewhere() -> None:
    page = reference_page()
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_first_example_of_the_page_is_a_recipe(write: WriteRecipe) -> None:
    example = re.findall(r"```toml\n(.*?)```", reference_page(), re.DOTALL)[0]
    assert load_recipes(write(example))


def test_codes_in_the_source_are_documented_and_the_other_way_round() -> None:
    files = [*(ROOT / "engine/recipe").glob("*.py"), ROOT / "engine/cli/diff.py", ROOT / "engine/cli/explain.py"]
    raised = {code for file in files if file.name != "codes.py" for code in re.findall(r'"(R\d{3})"', file.read_text())}
    assert raised == set(CODES)


def test_schema_knows_every_key_and_the_forms_of_a_file() -> None:
    schema = editor_schema()
    assert next(iter(schema["properties"])) == "extends"
    assert schema["properties"]["sweep"]["properties"]["optimizer.lr"]["type"] == "array"
    assert schema["properties"]["sweep"]["properties"]["seeds"]["items"] == {"type": "integer"}
    assert schema["$defs"]["Classes"]["additionalProperties"]["type"] == "integer"
    assert schema["$defs"]["Optimizer"]["properties"]["lr"]["exclusiveMinimum"] == 0
    assert schema["$defs"]["Training"]["properties"]["seed"]["default"] == 0
    assert '"words"' not in json.dumps(schema)


def test_schema_demands_nothing_and_has_no_null() -> None:
    def walk(node: object) -> None:
        if isinstance(node, dict):
            assert not isinstance(node.get("required"), list)
            assert node.get("type") != "null"
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(editor_schema())


def test_every_reference_of_the_schema_is_defined() -> None:
    schema = editor_schema()
    references = re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema))
    assert set(references) <= set(schema["$defs"])


def test_command_prints_the_schema() -> None:
    result = CliRunner().invoke(command, [])
    assert json.loads(result.output) == editor_schema()


def test_command_writes_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "recipe.schema.json"
    assert CliRunner().invoke(command, ["-o", str(path)]).exit_code == 0
    assert json.loads(path.read_text()) == editor_schema()


def test_command_tells_when_it_cannot_write(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["-o", str(tmp_path / "none" / "x.json")])
    assert isinstance(result.exception, EngineError)
    assert result.exception.problems[0].code == "E101"


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(recipe: Path) -> None:
    """Every key of the shipped recipes is one that editors would complete."""
    definitions = editor_schema()["$defs"]
    known = editor_schema()["properties"]
    for name, value in tomli.loads(recipe.read_text(encoding="utf-8")).items():
        assert name in known
        if isinstance(value, dict) and "$ref" in known[name]:
            section = definitions[known[name]["$ref"].rsplit("/", 1)[1]]
            assert set(value) <= set(section["properties"])
