"""Each fault of a value is told with its place, what was found, what is expected and what to write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import Problem
from engine.recipe.draft import Draft
from engine.recipe.faults import HANDLED, MAX_PROBLEMS, translate
from engine.recipe.keys import OTHER_WORDS, all_keys, alternatives
from engine.recipe.schema import Recipe
from engine.recipe.values import dotted
from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, problems_of

FEW = MINIMAL.split("[classes]")[0]


def one_problem(write: WriteRecipe, text: str) -> Problem:
    [problem] = problems_of(write(text))
    return problem


# (validator's error type, line added to a good recipe, column, code, part of what is told, part of the fix)
CASES = [
    ("int_type", "training.epochs = '5'", "training.epochs", 19, "R202",
     '"5" is a string; a whole number from 1 to 100000 is expected', "write epochs = 5"),
    ("int_type", "training.epochs = true", "training.epochs", 19, "R202", "true is a boolean", "epochs = 50"),
    ("int_type", "training.epochs = 5.0", "training.epochs", 19, "R202", "a number with a fraction", "epochs = 5"),
    ("int_type", "training.epochs = 5.5", "training.epochs", 19, "R202", "a number with a fraction", "epochs = 50"),
    ("int_type", "training.epochs = [5]", "training.epochs", 19, "R202", "[5] is a list", "epochs = 50"),
    ("int_type", "training.epochs = {}", "training.epochs", 19, "R202", "{} is a table", "epochs = 50"),
    ("int_type", "training.epochs = 2026-01-01", "training.epochs", 19, "R202", "is a date;", "epochs = 50"),
    ("int_type", "training.epochs = 2026-01-01T00:00:00", "training.epochs", 19, "R202", "a date and time", "epochs"),
    ("int_type", "training.epochs = 10:00:00", "training.epochs", 19, "R202", "10:00:00 is a time", "epochs = 50"),
    ("int_type", "training.epochs = nan", "training.epochs", 19, "R202", "not a finite number", "epochs = 50"),
    ("int_type", "training.epochs = 'many'", "training.epochs", 19, "R202", '"many" is a string', "epochs = 50"),
    ("greater_than_equal", "training.epochs = 0", "training.epochs", 19, "R203",
     "0 isn't accepted; a whole number from 1 to 100000 is expected", "leave it out for 50"),
    ("less_than_equal", "training.epochs = 100001", "training.epochs", 19, "R203", "from 1 to 100000", "50"),
    ("less_than_equal", "training.epochs = 0x" + "f" * 5000, "training.epochs", 19, "R203", "20000 bits", "50"),
    ("int_type", "model.min_size = '300'", "model.min_size", 18, "R202", "from 32 to 4096", "min_size = 300"),
    ("float_type", "optimizer.lr = '0.1'", "optimizer.lr", 16, "R202",
     '"0.1" is a string; a number above 0, at most 100 is expected', "write lr = 0.1"),
    ("float_type", "optimizer.lr = true", "optimizer.lr", 16, "R202", "true is a boolean", "lr = 0.005"),
    ("finite_number", "optimizer.lr = inf", "optimizer.lr", 16, "R203", "inf isn't accepted", "0.005"),
    ("finite_number", "optimizer.lr = nan", "optimizer.lr", 16, "R203", "nan isn't accepted", "0.005"),
    ("greater_than", "optimizer.lr = 0", "optimizer.lr", 16, "R203", "0 isn't accepted; a number above 0", "0.005"),
    ("less_than", "optimizer.momentum = 1", "optimizer.momentum", 22, "R203",
     "1 isn't accepted; a number from 0 to just below 1 is expected", "0.9"),
    ("literal_error", "optimizer.name = 'adamv'", "optimizer.name", 18, "R203",
     '"adamv" isn\'t accepted; "sgd" or "adamw" is expected', 'did you mean "adamw"?'),
    ("literal_error", "optimizer.name = 'lion'", "optimizer.name", 18, "R203", '"lion"', 'write name = "sgd"'),
    ("literal_error", "optimizer.name = 3", "optimizer.name", 18, "R202", "3 is a whole number", 'name = "sgd"'),
    ("literal_error", "optimizer.name = ['sgd']", "optimizer.name", 18, "R202", "is a list", 'name = "sgd"'),
    ("unknown_arch", "model.arch = 'fasterrcnn_resnet5_fpn'", "model.arch", 14, "R203", "isn't accepted",
     'did you mean "fasterrcnn_resnet50_fpn"?'),
    ("string_type", "model.arch = 50", "model.arch", 14, "R202", "50 is a whole number", "arch = "),
    ("string_type", "model.weights = true", "model.weights", 17, "R202",
     'true is a boolean; "coco", "imagenet", "none", a file or a run\'s folder is expected', 'weights = "coco"'),
    ("string_pattern_mismatch", "hardware.device = 'gpu'", "hardware.device", 19, "R203",
     '"gpu" isn\'t accepted; "auto", "cpu"', '"auto"'),
    ("int_type", "hardware.num_workers = 'many'", "hardware.num_workers", 24, "R202",
     'a whole number from 0 to 256 or "auto" is expected', 'num_workers = "auto"'),
    ("int_type", "hardware.num_workers = 1.5", "hardware.num_workers", 24, "R202", 'or "auto"', "num_workers"),
    ("greater_than_equal", "hardware.num_workers = -1", "hardware.num_workers", 24, "R203", "-1", '"auto"'),
    ("model_type", "early_stopping = 3", "early_stopping", 18, "R202", "3 is a whole number; a table is expected",
     "early_stopping = {"),
    ("model_type", "training = true", "training", 12, "R202", "a table is expected", "training = {"),
    ("tuple_type", "[classes]\nnames = 'mug'", "classes.names", 9, "R202",
     '"mug" is a string; a list of names in quotes is expected', 'write names = ["mug"]'),
    ("too_short", "[classes]\nnames = []", "classes.names", 9, "R203", "the list is empty", 'names = ["mug", "l'),
    ("too_short", "augmentation.scale_jitter = [0.5]", "augmentation.scale_jitter", 29, "R203",
     "[0.5] has 1 item; a list of 2 numbers above 0, at most 8 is expected", "scale_jitter = [0.5, 1.5]"),
    ("too_long", "augmentation.scale_jitter = [0.5, 1.0, 2]", "augmentation.scale_jitter", 29, "R203",
     "[0.5, 1.0, 2] has 3 items; a list of 2 numbers", "scale_jitter = [0.5, 1.5]"),
    ("tuple_type", "augmentation.scale_jitter = 0.5", "augmentation.scale_jitter", 29, "R202",
     "a list of 2 numbers", "write scale_jitter = [0.5, 1.5]"),
    ("float_type", "augmentation.scale_jitter = ['a', 1.0]", "augmentation.scale_jitter[0]", 30, "R202",
     "a number above 0, at most 8 is expected", "write 1"),
    ("string_type", "[classes]\nnames = ['mug', 5]", "classes.names[1]", 17, "R202", "5 is a", 'write "5"'),
    ("string_too_short", "[classes]\nnames = ['mug', '']", "classes.names[1]", 17, "R203", "text is empty", "name"),
    ("string_too_long", "[classes]\nnames = ['mug', '" + "x" * 201 + "']", "classes.names[1]", 17, "R203",
     "longer than 200 characters", "shorten it"),
    ("dict_type", "[classes]\nnames = ['mug']\naliases = ['cup']", "classes.aliases", 11, "R202",
     "a table is expected", "write aliases = {"),
    ("string_too_short", "[classes]\nnames = ['mug']\naliases = { '' = 'mug' }", 'classes.aliases.""', 13, "R203",
     "the name is empty", "remove the entry"),
    ("string_too_long", "[classes]\nnames = ['m']\naliases = { '" + "x" * 201 + "' = 'm' }", None, 13, "R203",
     "the name is longer than 200 characters", "shorten it"),
    ("string_type", "[classes]\nnames = ['mug']\naliases = { cup = 1 }", "classes.aliases.cup", 19, "R202",
     "1 is a whole number", 'write cup = "1"'),
    ("extra_forbidden", "[training]\nepoch = 5", "training.epoch", 1, "R201", 'unknown key "epoch" in [training]',
     'did you mean "epochs"?'),
    ("extra_forbidden", "[training]\nlr = 5", "training.lr", 1, "R201", 'unknown key "lr"', "write it as optimizer.lr"),
    ("extra_forbidden", "[training]\nfoo = 5", "training.foo", 1, "R201", 'unknown key "foo"',
     "the keys here are epochs, batch_size"),
    ("extra_forbidden", "[training]\nbatch-size = 5", "training.batch-size", 1, "R201", "", 'mean "batch_size"?'),
    ("extra_forbidden", "epochs = 5", "epochs", 1, "R201", 'unknown key "epochs" in a recipe', "training.epochs"),
    ("extra_forbidden", "learning_rate = 5", "learning_rate", 1, "R201", "", "write it as optimizer.lr"),
    ("extra_forbidden", "[model]\nnam = 'x'", "model.nam", 1, "R201", "", "the keys here are arch, weights"),
    ("extra_forbidden", "[training]\nnum_epochs = 5", "training.num_epochs", 1, "R201", "", 'did you mean "epochs"?'),
    ("extra_forbidden", "[evaluation]\nmetric = 'ap'", "evaluation.metric", 1, "R201", "",
     'did you mean "best_metric", or early_stopping.metric?'),
    ("extra_forbidden", "[early_stoping]\npatience = 5", "early_stoping", 2, "R201", "", 'mean "early_stopping"?'),
    ("extra_forbidden", "extend = 'a.toml'", "extend", 1, "R201", "", 'mean "extends"?'),
    ("extra_forbidden", "[sweeps]", "sweeps", 2, "R201", "", 'mean "sweep"?'),
    ("extra_forbidden", "training = { epochs = 5, 'ba tch' = 5 }", 'training."ba tch"', 26, "R201", '"ba tch"', ""),
    ("is_instance_of", "[dataset]\ntrain = { images = 3, annotations = 'b' }\nval_fraction = 0.2",
     "dataset.train.images", 20, "R202", "3 is a whole number; a path in quotes is expected", 'images = "path/to/'),
    ("missing", "[dataset]\ntrain = { images = 'a' }\nval_fraction = 0.2", "dataset.train.annotations", 1, "R204",
     'the section [dataset.train] lacks "annotations"', 'add annotations = "path/to/annotations"'),
    ("value_error", "[classes]\nnames = ['mug', 'cup', 'mug']", "classes.names[2]", 24, "R205",
     'class "mug" is named twice', "remove"),
]  # fmt: skip


def text_with(line: str) -> str:
    """A good recipe with a line of the case; sections of the case take the place of the good ones."""
    if line.startswith("[dataset]"):
        return f"name = 'desk'\nclasses.names = ['mug']\n{line}\n"
    if line.startswith("[classes]"):
        return FEW + line
    if line.startswith("["):
        return MINIMAL + line
    return line + "\n" + MINIMAL


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case[0]}-{index}") for index, case in enumerate(CASES)])
def test_fault(write: WriteRecipe, case: tuple[str, str, str | None, int, str, str, str]) -> None:
    _, line, key, column, code, found, fix = case
    text = text_with(line)
    problem = one_problem(write, text)
    assert problem.code == code
    assert key is None or problem.where.item == key
    assert found in problem.found
    assert fix in problem.fix
    assert problem.where.column == column
    assert text.split("\n")[(problem.where.line or 0) - 1] in line.split("\n")


@pytest.mark.parametrize(
    ("text", "key", "line", "fix"),
    [
        pytest.param(MINIMAL.replace('name = "desk"\n', ""), "name", None, 'add name = "desk-r50"', id="name"),
        pytest.param(FEW, "classes", None, 'add a section [classes] with names = ["mug", "laptop"]', id="section"),
        pytest.param(FEW + "[classes]\nignore = ['x']", "classes.names", 7, 'add names = ["mug"', id="in-section"),
        pytest.param(FEW + "[classes]\n", "classes.names", 7, 'add names = ["mug"', id="in-empty-section"),
    ],
)
def test_missing_key(write: WriteRecipe, text: str, key: str, line: int | None, fix: str) -> None:
    problem = one_problem(write, text)
    assert (problem.code, problem.where.item, problem.where.line) == ("R204", key, line)
    assert problem.fix.startswith(fix)


def test_every_problem_is_told_at_once_in_the_order_of_the_file(write: WriteRecipe) -> None:
    text = """\
nam = "desk"
[dataset]
train = { images = "$ENGINE_TEST_UNSET/a", annotation = "b" }
val_fraction = 0.2
[classes]
names = ["mug", "mug"]
[model]
weights = "coc"
[training]
epochs = "5"
batch_size = 0
[optimiser]
lr = 1
"""
    problems = problems_of(write(text))
    assert [(problem.code, problem.where.line, problem.where.item) for problem in problems] == [
        ("R201", 1, "nam"),
        ("R204", 3, "dataset.train.annotations"),
        ("R207", 3, "dataset.train.images"),
        ("R201", 3, "dataset.train.annotation"),
        ("R205", 6, "classes.names[1]"),
        ("R207", 8, "model.weights"),
        ("R202", 10, "training.epochs"),
        ("R203", 11, "training.batch_size"),
        ("R201", 12, "optimiser"),
        ("R204", None, "name"),
    ]
    assert all(problem.where.column for problem in problems[:-1])


@pytest.mark.parametrize(
    ("lines", "key", "found"),
    [
        ("arch = 'ssdlite320_mobilenet_v3_large'\nmin_size = 300", "model.min_size", "works at 320 px only"),
        ("arch = 'ssdlite320_mobilenet_v3_large'\nmax_size = 300", "model.max_size", "works at 320 px only"),
        ("min_size = 900\nmax_size = 800", "model.max_size", "min_size 900 is above max_size 800"),
        ("trainable_layers = 6", "model.trainable_layers", "has only 5 backbone stages"),
        ("arch = 'fasterrcnn_resnet18_fpn'\nweights = 'coco'", "model.weights", "no COCO weights exist"),
        ("arch = 'fasterrcnn_resnet18_fpn'", "model.weights", "no COCO weights exist"),
        ("box_head_width = 256", "model.box_head_width", "need box_head_width = 1024"),
    ],
)  # fmt: skip
def test_model_values_that_do_not_go_together(write: WriteRecipe, lines: str, key: str, found: str) -> None:
    problem = one_problem(write, MINIMAL + "[model]\n" + lines)
    assert (problem.code, problem.where.item) == ("R205", key)
    assert problem.where.line is not None
    assert found in problem.found


def test_contradictions_of_a_section_are_told_together(write: WriteRecipe) -> None:
    text = FEW + "[classes]\nnames = ['mug']\naliases = { cup = 'cap', mug = 'mug' }\nignore = ['mug', 'cup']"
    problems = problems_of(write(text))
    assert [problem.where.item for problem in problems] == [
        "classes.aliases.cup", "classes.aliases.mug", "classes.ignore[0]", "classes.ignore[1]",
    ]  # fmt: skip


def test_list_of_roots_names_the_root_to_blame(write: WriteRecipe) -> None:
    text = """\
name = "desk"
classes.names = ["mug"]
[dataset]
val_fraction = 0.2
train = [
  { images = "a", annotations = "b" },
  { images = "a" },
  3,
]
"""
    problems = problems_of(write(text))
    assert [(problem.code, problem.where.item, problem.where.line) for problem in problems] == [
        ("R204", "dataset.train[1].annotations", 7),
        ("R202", "dataset.train[2]", 8),
    ]


def test_no_more_than_a_hundred_problems_are_told(write: WriteRecipe) -> None:
    problems = problems_of(write(MINIMAL + "[training]\n" + "".join(f"k{index} = 1\n" for index in range(150))))
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].code == "R200"


def test_control_characters_of_a_file_are_printed_harmlessly(write: WriteRecipe) -> None:
    problem = one_problem(write, MINIMAL + '"\\u001b[2J" = "\\u001b]0;x"')
    assert "\x1b" not in str(problem)
    assert "\\x1b" in str(problem)


# --- the table of error types is the schema's ---


# For each kind of validator: the errors it can always raise, and those of each limit it may have.
BOUNDS = {"ge": "greater_than_equal", "gt": "greater_than", "le": "less_than_equal", "lt": "less_than"}
RAISED: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "int": (("int_type",), BOUNDS),
    "float": (("float_type", "finite_number"), BOUNDS),
    "str": (
        ("string_type",),
        {"min_length": "string_too_short", "max_length": "string_too_long", "pattern": "string_pattern_mismatch"},
    ),
    "tuple": (("tuple_type",), {"min_length": "too_short", "max_length": "too_long"}),
    "list": (("list_type",), {"min_length": "too_short", "max_length": "too_long"}),
    "model": (("model_type", "extra_forbidden", "missing"), {}),
    "literal": (("literal_error",), {}),
    "is-instance": (("is_instance_of",), {}),
    **{f"function-{mode}": (("value_error",), {}) for mode in ("after", "plain", "wrap")},
    **{kind: ((f"{kind}_type",), {}) for kind in ("bool", "dict", "set", "date", "datetime", "time")},
}
# These hold other validators or call functions of ours that raise nothing.
SILENT = {
    "model-fields", "model-field", "nullable", "union", "default", "function-before", "definitions",
    "definition-ref", "any", "chain", "include-exclude-sequence", "include-exclude-dict", "to-string", "no-info",
    "with-info", "plain-serializer", "function-wrap-serializer",
}  # fmt: skip


def types_of(schema: Any) -> Iterator[str]:
    """The error types that a validator of pydantic can raise, from its own description of itself."""
    if isinstance(schema, list):
        for item in schema:
            yield from types_of(item)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind in ("lax-or-strict", "json-or-python"):  # recipes are strict, and plain values when they arrive
        yield from types_of(schema["strict_schema" if kind == "lax-or-strict" else "python_schema"])
        return
    if isinstance(kind, str) and kind not in SILENT:
        always, limits = RAISED[kind]
        yield from always
        yield from (limits[limit] for limit in limits if limit in schema)
    for name, value in schema.items():
        if name not in ("metadata", "serialization", "expected", "default"):
            yield from types_of(value)


def test_every_error_type_of_the_schema_is_handled_and_tested() -> None:
    possible = {*types_of(Recipe.__pydantic_core_schema__), "unknown_arch"}
    assert possible <= set(HANDLED)
    assert possible <= {case[0] for case in CASES} | {"bool_type"}


def test_cases_raise_the_error_type_they_are_named_after() -> None:
    import tomli

    for error_type, line, *_ in CASES:
        with pytest.raises(ValidationError) as caught:
            Recipe.model_validate(tomli.loads(text_with(line)))
        assert error_type in {error["type"] for error in caught.value.errors()}, line


def test_an_error_type_nobody_thought_of_is_still_told() -> None:
    draft = Draft("desk.toml", {"training": {"epochs": 5}})
    unknown: Any = {"type": "new_in_pydantic_9", "loc": ("training", "epochs"), "msg": "no", "input": 5}
    [problem] = translate([unknown], draft)
    assert problem.code == "R203"
    assert "5 isn't accepted" in problem.found


def test_every_whole_number_of_the_schema_is_bounded() -> None:
    """Whole numbers without an upper bound overflow somewhere in the night."""
    for key in all_keys():
        for form in alternatives(key.node):
            # The validator takes true for 1 where choices are numbers, so choices are text.
            assert all(isinstance(choice, str) for choice in form.get("enum", ())), key.path
            if form.get("type") == "integer":
                assert {"maximum", "exclusiveMaximum"} & form.keys(), key.path
            if form.get("type") in ("integer", "number"):
                assert {"minimum", "exclusiveMinimum"} & form.keys(), key.path


def test_words_of_other_trainers_lead_to_keys() -> None:
    known = {dotted(key.path) for key in all_keys()}
    assert set(OTHER_WORDS.values()) <= known
    assert not set(OTHER_WORDS) & {key.path[-1] for key in all_keys()}


def test_every_key_has_a_meaning_and_words_for_what_it_accepts() -> None:
    for key in all_keys():
        assert key.meaning, key.path
        assert "another value" not in key.expected, key.path
