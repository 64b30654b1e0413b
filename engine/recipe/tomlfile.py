"""One TOML file, read with care: bounded in size and depth, every fault told with its line."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli

from engine.errors import EngineError, Problem, RecipeError, Where
from engine.recipe.places import MAX_PLACES, KeyPath, Place, TooDeepError, TooManyError, find_places

MAX_BYTES = 1_000_000

# Python refuses to read longer numbers; the parser lets that error through without a line.
_LONG_NUMBER = re.compile(r"\d[\d_]{4000,}")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that is valid TOML.

    Attributes:
        path: As the person named it.
        text: The file, to the letter.
        data: Its tables.
        places: Where each key and value stands.
    """

    path: Path
    text: str
    data: dict[str, Any]
    places: Mapping[KeyPath, Place]


def read_toml(path: Path) -> TomlFile:
    """Read a TOML file.

    Raises:
        RecipeError: It can't be read, isn't UTF-8, isn't TOML, is too large or is nested too deep.
    """
    text = _read_text(path)
    try:
        data = tomli.loads(text)
        return TomlFile(path, text, data, find_places(text.replace("\r\n", "\n")))
    except tomli.TOMLDecodeError as error:
        raise _syntax_problem(path, error.msg, error.lineno, error.colno) from error
    except TooDeepError as error:
        raise _too_deep(path, error.line) from error
    except RecursionError as error:
        raise _too_deep(path, None) from error
    except TooManyError as error:
        found = f"the file holds more than {MAX_PLACES} keys and values"
        raise _one("R106", Where(str(path)), found, "check that this is a recipe") from error
    except ValueError as error:
        match = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, match.start()) + 1 if match else None
        raise _syntax_problem(path, "a number has too many digits", line, None) from error


def _read_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _unreadable(path, "this is a folder, not a recipe", "name the recipe file in it")
        if not stat.S_ISREG(mode):
            raise _unreadable(path, "this is not a regular file", "name a recipe file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _unreadable(path, "there is no such file", _name_suggestion(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, f"the file can't be read: {reason}", "check its path and permissions") from error
    if len(content) > MAX_BYTES:
        raise _one(
            "R102", Where(str(path)), f"the file is larger than {MAX_BYTES // 1_000_000} MB; a recipe is a few kB",
            "check that this is a recipe",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _one(
            "R103", Where(str(path), line), f"byte {error.start + 1} of the file isn't UTF-8 text",
            "save the file as UTF-8",
        ) from error


def _name_suggestion(path: Path) -> str:
    try:
        neighbours = {entry.stem: entry for entry in path.parent.glob("*.toml")}
    except OSError:
        neighbours = {}
    # Without the suffix, which all of them share and a person may have forgotten.
    close = get_close_matches(path.name.removesuffix(".toml"), neighbours, n=1)
    return f'did you mean "{neighbours[close[0]]}"?' if close else "check the path"


def _one(code: str, where: Where, found: str, fix: str) -> EngineError:
    return RecipeError((Problem(code, where, found, fix),))


def _unreadable(path: Path, found: str, fix: str) -> EngineError:
    return _one("R101", Where(str(path)), found, fix)


def _too_deep(path: Path, line: int | None) -> EngineError:
    return _one(
        "R105", Where(str(path), line), "tables or lists are nested too deep", "a recipe needs at most six levels"
    )


# What the parser says, and what to do about it in a recipe.
_SYNTAX_FIXES = (
    ("Cannot declare", "put all keys of a table under one [header]"),
    ("Cannot overwrite", "keep one of the two"),
    ("Duplicate inline table key", "keep one of the two"),
    ("Cannot mutate immutable", "write all keys of a { table } between its braces"),
    ("Invalid value", 'put text in quotes, such as name = "desk"; true and false are written small'),
    ("Expected '=' after a key", "write key = value, or [section]"),
    ("Unclosed array", "close the list with ]"),
    ("Unclosed inline table", "close the table with }"),
    ("Expected ']'", "close the header with ]"),
    ("Unterminated string", "close the string with a quote"),
    ("Illegal character '\\n'", "close the string with a quote on the same line"),
    ("Unescaped '\\'", "write paths in single quotes or with /"),
)


def _syntax_problem(path: Path, message: str, line: int | None, column: int | None) -> EngineError:
    fix = next((fix for start, fix in _SYNTAX_FIXES if message.startswith(start)), "correct the line")
    return _one("R104", Where(str(path), line, column), f"this isn't TOML: {message[:200]}", fix)
