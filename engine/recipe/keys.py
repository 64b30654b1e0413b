"""What the schema knows about a key: its meaning, what it accepts, its neighbours.

Read from the JSON Schema of `Recipe`, the one description that errors, `engine explain` and the
reference share; nothing here repeats a range or a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

from engine.recipe.places import KeyPath
from engine.recipe.schema import Recipe
from engine.recipe.values import dotted, toml_value

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the schema.

    Attributes:
        path: Its key path.
        node: Its JSON Schema node.
        required: Whether its table must hold it.
    """

    path: KeyPath
    node: Node
    required: bool

    @property
    def meaning(self) -> str:
        """What the key is for."""
        forms = alternatives(self.node)
        return str(self.node.get("description") or (forms[0].get("description", "") if len(forms) == 1 else ""))

    @property
    def expected(self) -> str:
        """What it accepts, in words."""
        return expected_words(self.node)

    @property
    def has_default(self) -> bool:
        """Whether leaving it out gives it a value worth telling."""
        return self.node.get("default") is not None

    @property
    def default(self) -> Any:
        """Its value when left out; None where the schema has no simple one."""
        return self.node.get("default")

    @property
    def is_optional(self) -> bool:
        """Whether it may be "not set" at all; a recipe then says `false` to be rid of an inherited value."""
        return any(form.get("type") == "null" for form in self.node.get("anyOf", ()))

    @property
    def is_section(self) -> bool:
        """Whether it is a table with keys of its own."""
        return bool(children(self.node))


@cache
def recipe_schema() -> Node:
    """The JSON Schema of a recipe, by alias-free keys."""
    return Recipe.model_json_schema()


def alternatives(node: Node) -> list[Node]:
    """The forms a value may have, references followed; "not set" isn't one of them."""
    if "$ref" in node:
        name = str(node["$ref"]).rsplit("/", 1)[1]
        return alternatives(recipe_schema()["$defs"][name])
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in node:
            return [form for part in node[choice] for form in alternatives(part)]
    return [] if node.get("type") == "null" else [node]


def children(node: Node) -> dict[str, Node]:
    """The keys that a table at this node may hold, in the schema's order; {} for anything else."""
    found: dict[str, Node] = {}
    for form in alternatives(node):
        for name, child in form.get("properties", {}).items():
            found.setdefault(name, child)
    return found


@lru_cache(maxsize=4096)
def node_at(path: KeyPath) -> Node | None:
    """The schema node at a key path, or None when the path can't be in a recipe."""
    node: Node = recipe_schema()
    for part in path:
        step = _step(node, part)
        if step is None:
            return None
        node = step
    return node


def _step(node: Node, part: str | int) -> Node | None:
    for form in alternatives(node):
        if isinstance(part, int):
            if "items" in form:
                items: Node = form["items"]
                return items
        elif part in form.get("properties", {}):
            child: Node = form["properties"][part]
            return child
        elif isinstance(form.get("additionalProperties"), Mapping):
            extra: Node = form["additionalProperties"]
            return extra
    return None


@lru_cache(maxsize=4096)
def key_at(path: KeyPath) -> Key | None:
    """The key at a path, or None when the schema has no such key."""
    node = node_at(path)
    if node is None or not path:
        return None
    owner = node_at(path[:-1])
    required = owner is not None and any(path[-1] in form.get("required", ()) for form in alternatives(owner))
    return Key(path, node, required)


@cache
def all_keys(path: KeyPath = ()) -> tuple[Key, ...]:
    """Every key of the schema below a path, tables before their keys, in the schema's order."""
    return tuple(_keys_below(path))


def _keys_below(path: KeyPath) -> Iterator[Key]:
    node = node_at(path)
    for name in children(node) if node is not None else ():
        key = key_at((*path, name))
        if key is not None:
            yield key
            yield from all_keys(key.path)


# --- in words ---

_FORM_WORDS = {"boolean": "true or false", "object": "a table", "string": "text in quotes"}


def expected_words(node: Node) -> str:
    """What a node accepts, such as "a whole number from 1 to 100000"."""
    words = dict.fromkeys(word for form in alternatives(node) for word in _form_words(form))
    return _or(list(words))


def _form_words(form: Node) -> list[str]:
    if "words" in form:
        return [str(form["words"])]
    if "const" in form:
        return [toml_value(form["const"])]
    if "enum" in form:
        return [toml_value(choice) for choice in form["enum"]]
    if form.get("type") in ("integer", "number"):
        return [("a whole number" if form["type"] == "integer" else "a number") + _range_words(form)]
    if form.get("format") == "path":
        return ["a path in quotes"]
    if form.get("type") == "array":
        least = form.get("minItems", 0)
        count = f"{least} " if least > 1 and least == form.get("maxItems") else ""
        return [f"a list of {count}{_plural(form.get('items', {}))}"]
    return [_FORM_WORDS.get(str(form.get("type")), "another value")]


def _plural(items: Node) -> str:
    forms = alternatives(items)
    if len(forms) == 1 and forms[0].get("format") == "path":
        return "paths in quotes"
    if len(forms) == 1 and forms[0].get("type") == "object":
        return "tables"
    if len(forms) == 1 and forms[0].get("type") == "string" and "enum" not in forms[0]:
        return "names in quotes"
    words = expected_words(items).removeprefix("a ")
    return re.sub(r"^(whole number|number|list)\b", r"\1s", words)


def _range_words(form: Node) -> str:
    low, above = form.get("minimum"), form.get("exclusiveMinimum")
    high, below = form.get("maximum"), form.get("exclusiveMaximum")
    start = f" from {_number(low)}" if low is not None else f" above {_number(above)}" if above is not None else ""
    if high is not None:
        return f"{start} to {_number(high)}" if low is not None else f"{start}, at most {_number(high)}"
    if below is not None:
        return f"{start} to just below {_number(below)}" if low is not None else f"{start}, below {_number(below)}"
    return start.replace(" from ", " of at least ")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" or {words[-1]}" if words else "nothing"


# --- did you mean ---


def suggestion(word: str, choices: Sequence[str]) -> str | None:
    """The choice most like a word, or None; long words aren't worth the search."""
    if len(word) > 80:
        return None
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return close[0]
    folded = {choice.lower().replace("-", "_"): choice for choice in choices}
    return folded.get(word.lower().replace("-", "_"))


# What other trainers and tutorials call it.
OTHER_WORDS = {
    "accumulate": "training.micro_batch_size",
    "accumulation_steps": "training.micro_batch_size",
    "architecture": "model.arch",
    "backbone": "model.arch",
    "batch": "training.batch_size",
    "checkpoint": "model.weights",
    "class_names": "classes.names",
    "cos_lr": "schedule.kind",
    "ema": "training.ema_decay",
    "flip": "augmentation.horizontal_flip",
    "fliplr": "augmentation.horizontal_flip",
    "flipud": "augmentation.vertical_flip",
    "gpu": "hardware.device",
    "image_size": "model.min_size",
    "imgsz": "model.min_size",
    "learning_rate": "optimizer.lr",
    "lr0": "optimizer.lr",
    "lr_gamma": "schedule.gamma",
    "lr_steps": "schedule.milestones",
    "max_epochs": "training.epochs",
    "num_epochs": "training.epochs",
    "pretrained": "model.weights",
    "random_seed": "training.seed",
    "scheduler": "schedule.kind",
    "val_split": "dataset.val_fraction",
    "validation": "dataset.val",
    "warmup": "schedule.warmup_epochs",
    "wd": "optimizer.weight_decay",
    "workers": "hardware.num_workers",
}


def homes_of(name: str) -> list[str]:
    """The dotted keys anywhere in a recipe that have this name, or mean what it says elsewhere."""
    homes = [dotted(key.path) for key in all_keys() if key.path[-1] == name]
    other = OTHER_WORDS.get(name.lower())
    return homes or ([other] if other else [])


def example(path: KeyPath) -> str:
    """A line that sets a key, such as `epochs = 50`; for an item of a list, a value."""
    node = node_at(path)
    name = str(path[-1])
    value = toml_value(_example_value(node or {}, name))
    return value if isinstance(path[-1], int) else f"{name} = {value}"


def _example_value(node: Node, name: str) -> Any:
    if node.get("examples"):
        return node["examples"][0]
    if node.get("default") is not None:
        return node["default"]
    forms = alternatives(node)
    form = next((form for form in forms if form.get("properties")), forms[0] if forms else {})
    if form.get("examples"):
        return form["examples"][0]
    if form.get("properties"):
        return {key: _example_value(form["properties"][key], key) for key in form.get("required", ())}
    if "enum" in form or "const" in form:
        return form.get("const") or form["enum"][0]
    if form.get("type") in ("integer", "number"):
        return form.get("minimum", 1)
    if form.get("type") == "array":
        return [_example_value(form.get("items", {}), name)]
    return {"boolean": True, "object": {}}.get(str(form.get("type")), f"path/to/{name}")
