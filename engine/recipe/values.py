"""Values and keys of a recipe as a person writes and reads them."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from pathlib import Path
from typing import Any

import tomli

from engine.recipe.places import MAX_DEPTH, KeyPath

_BARE_KEY = re.compile(r"^[A-Za-z0-9_-]+$")
_SHOWN_LENGTH = 60


def dotted(path: KeyPath) -> str:
    """A key path as it is told: `classes.aliases."my mug"`, `classes.names[2]` (zero-based)."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + shortened(toml_key(part))
    return text


def parse_key(text: str) -> KeyPath | None:
    """A dotted TOML key as a key path, or None when it isn't one."""
    if "\n" in text or "=" in text or "#" in text:
        return None
    try:
        node: Any = tomli.loads(f"{text} = 0")
    except (ValueError, RecursionError):
        return None
    path: list[str | int] = []
    while isinstance(node, dict) and len(path) <= MAX_DEPTH:
        [(name, node)] = node.items()
        path.append(name)
    return tuple(path) if 0 < len(path) <= MAX_DEPTH else None


def toml_key(key: str) -> str:
    """A key, in quotes where TOML wants them."""
    return key if _BARE_KEY.match(key) else toml_value(key)


def toml_value(value: Any) -> str:
    """A value as TOML on one line; None, which TOML lacks, as "not set"."""
    match value:
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case int():
            # Python refuses to write numbers of more than 4,300 digits.
            return str(value) if value.bit_length() < 1000 else f"a number of {value.bit_length()} bits"
        case float():
            return _toml_float(value)
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case dict():
            pairs = ", ".join(f"{toml_key(str(key))} = {toml_value(item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            return str(value)


def _toml_float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)


def shown(value: Any) -> str:
    """A value as TOML, cut to a length that fits a message."""
    if isinstance(value, (list, tuple)) and len(value) > _SHOWN_LENGTH:
        value = value[:_SHOWN_LENGTH]
    if isinstance(value, str):
        value = value[: _SHOWN_LENGTH * 2]
    return shortened(toml_value(value))


def shortened(text: str, length: int = _SHOWN_LENGTH) -> str:
    """Text cut to a length, with an ellipsis where something is missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def type_words(value: Any) -> str:
    """The TOML type of a value, in words."""
    match value:
        case bool():
            return "a boolean"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction" if math.isfinite(value) else "not a finite number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case dt.datetime():
            return "a date and time"
        case dt.date():
            return "a date"
        case dt.time():
            return "a time"
        case _:
            return "something else"
