"""The schema for editors, and `docs/recipe-reference.md`; both made from the schema itself.

`python -m engine.recipe.reference docs/recipe-reference.md` writes the page anew; a test holds it current.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.catalogue import ARCHS
from engine.recipe.codes import CODES
from engine.recipe.keys import Key, all_keys, alternatives, children, recipe_schema
from engine.recipe.sweep import MAX_RUNS
from engine.recipe.values import dotted, toml_value

# --- for editors ---

_EXTENDS = {
    "description": "Recipe, or list of recipes, from which everything is taken that isn't written here.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
_SWEEP = {
    "description": "Makes a run for each combination of the listed values.",
    "type": "object",
    "properties": {
        "zip": {"type": "boolean", "description": "Go through the lists side by side instead of all combinations."},
        "seeds": {
            "type": "array", "items": {"type": "integer"}, "minItems": 1,
            "description": "Repeat each combination with each of these seeds.",
        },
    },
}  # fmt: skip


def editor_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a recipe file, as editors want it.

    Nothing is required in it: a recipe that extends another one leaves out what that one says, and an
    editor would underline it. `engine check` knows what is missing.
    """
    schema: dict[str, Any] = _for_editors(copy.deepcopy(dict(recipe_schema())))
    swept = {dotted(key.path): _swept(key) for key in all_keys() if not key.is_section}
    sweep = {**_SWEEP, "properties": {**_SWEEP["properties"], **swept}}  # type: ignore[dict-item]
    schema["properties"] = {"extends": _EXTENDS, **schema["properties"], "sweep": sweep}
    classes = schema["$defs"]["Classes"]
    classes["additionalProperties"] = {"type": "integer", "description": "Id of the class, from 1."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "engine recipe"}


def _swept(key: Key) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "description": f"Values of {dotted(key.path)} to try. {key.meaning}"}


def _for_editors(node: Any) -> Any:
    """A copy without our own words and without "required"; "not set" is written `false` in TOML."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "null":
        return {"const": False}
    return {
        name: _for_editors(value)
        for name, value in node.items()
        if not (name in ("words", "required") and not isinstance(value, dict))
        and not (name == "default" and value is None)
    }


# --- the page ---

_INTRODUCTION = """\
# Recipe reference

*Made from the schema by `python -m engine.recipe.reference docs/recipe-reference.md`; don't edit it by hand.*

A recipe is a TOML file that describes one training run, or with `[sweep]` several. Three things are needed:
a `name`, the photos (`[dataset]`) and the classes (`[classes]`). Everything else has a default.

```toml
#:schema recipe.schema.json
name = "desk-r50"

[dataset]
train = { images = "custom_dataset/train/images", annotations = "custom_dataset/train/annotations" }
val   = { images = "custom_dataset/val/images",   annotations = "custom_dataset/val/annotations" }

[classes]
names = ["mug", "laptop", "keyboard"]
```

Recipes are strict: an unknown key or a value of the wrong type is an error that names the line and says what
was probably meant. `engine check RECIPE` finds every such error at once, `engine explain RECIPE` shows the
whole recipe with its defaults, `engine explain RECIPE optimizer.lr` tells about one key and where its value came
from, `engine diff A B` what differs between two recipes or runs. `engine schema -o recipe.schema.json` writes a
schema with which editors complete keys (the first line of the example above tells the editor where it is).

## Paths

Paths are relative to the folder of the recipe that they are written in; those of `--set` to the current
folder. `~`, `$NAME` and `${NAME}` are expanded, a variable that isn't set is an error, and `$$` is a dollar sign.

## Class ids

Classes may also be written with ids, as in PyTorch tutorials. The background is added by the model, so it may be
left out:

```toml
[classes]
background = 0
mug        = 1
laptop     = 2
```

## `extends`: start from another recipe

```toml
extends = "base.toml"            # or several: ["base.toml", "big-images.toml"]
name    = "desk-slow"

[optimizer]
lr = 0.001
```

Everything is taken from the other recipe except what is written here. Tables are merged key by key; numbers,
text and lists are replaced. Of several parents, a later one wins over an earlier one, and the recipe itself over
all. Parents may extend others in turn. To be rid of an inherited value that is optional, write `false`:
`early_stopping = false`, `clip_grad_norm = false`, `sweep = false`.

## `[sweep]`: several runs from one recipe

```toml
[sweep]
"optimizer.lr"   = [0.005, 0.001]
"optimizer.name" = ["sgd", "adamw"]
seeds            = [0, 1, 2]
```

This makes 2 x 2 x 3 runs, named after what tells them apart: `desk-lr0.005-name_sgd-seed0` and so on. With
`zip = true` the lists are gone through side by side (here 2 x 3 runs: 0.005 with sgd, 0.001 with adamw); `seeds`
always repeats each combination. At most {max_runs} runs come from one recipe.

## `--set`: change a value for once

`engine run desk.toml --set optimizer.lr=0.001 --set optimizer.name=adamw` wins over the recipe, its parents and
its sweep. The value is TOML; text needs no quotes.
"""


def reference_page() -> str:
    """The text of `docs/recipe-reference.md`."""
    return "\n".join([_INTRODUCTION.replace("{max_runs}", str(MAX_RUNS)), *_keys(), *_models(), *_codes()]) + "\n"


def _keys() -> Iterator[str]:
    yield "## Keys\n"
    yield "### At the top\n"
    yield from _table([key for key in all_keys() if len(key.path) == 1 and not key.is_section])
    for sections in _alike():
        yield f"\n### {_heading(sections)}\n"
        yield f"{_section_words(sections)}\n"
        path = sections[0].path
        yield from _table([key for key in all_keys(path) if len(key.path) == len(path) + 1])


def _alike() -> list[list[Key]]:
    """The sections, those with the very same keys together."""
    groups: dict[str, list[Key]] = {}
    for section in (key for key in all_keys() if key.is_section):
        groups.setdefault(str(children(section.node)), []).append(section)
    return list(groups.values())


def _heading(sections: list[Key]) -> str:
    return ", ".join(f"`[{dotted(section.path)}]`" for section in sections)


def _section_words(sections: list[Key]) -> str:
    told = [form["description"] for form in alternatives(sections[0].node) if "description" in form]
    if len(sections) > 1:
        told += [f"`{section.path[-1]}`: {section.meaning}" for section in sections]
    elif sections[0].is_optional:
        told.append("Without this section, off.")
    return " ".join(dict.fromkeys(told))


def _table(keys: list[Key]) -> Iterator[str]:
    yield "| key | accepts | default | meaning |"
    yield "|---|---|---|---|"
    for key in keys:
        accepts = f"{_cell(key.expected)}; see [below](#{_anchor(key)})" if key.is_section else _cell(key.expected)
        yield f"| `{key.path[-1]}` | {accepts} | {_default(key)} | {_cell(key.meaning)} |"


def _anchor(section: Key) -> str:
    """The anchor that GitHub makes of a section's heading."""
    group = next(group for group in _alike() if section in group)
    return re.sub(r"[^a-z0-9_ -]", "", _heading(group)).replace(" ", "-")


def _default(key: Key) -> str:
    if key.has_default:
        return f"`{_cell(toml_value(key.default))}`"
    return "*required*" if key.required else "not set" if key.is_optional else "empty"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _models() -> Iterator[str]:
    yield "\n## Detectors\n"
    yield "What `model.arch` may name. Sizes are of downloads, in MB; images are resized to the shorter side.\n"
    yield '| `model.arch` | shorter side, px | longer side at most, px | weights = "coco" | weights = "imagenet" |'
    yield "|---|---|---|---|---|"
    for arch in ARCHS.values():
        side = f"{arch.min_size} (fixed)" if arch.fixed_size else str(arch.min_size)
        coco = f"{arch.coco.size_mb} MB" if arch.coco else "none"
        yield f"| `{arch.name}` | {side} | {arch.max_size} | {coco} | {arch.imagenet.size_mb} MB |"


def _codes() -> Iterator[str]:
    yield "\n## Problems\n"
    for code, told in CODES.items():
        yield f"### {code}: {told.title}\n"
        yield f"{told.why} *To correct it:* {told.fix}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write the recipe reference.")
    parser.add_argument("path", type=Path, help="the page to write")
    parser.parse_args(arguments).path.write_text(reference_page(), encoding="utf-8")


if __name__ == "__main__":
    main()


