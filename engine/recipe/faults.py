"""The validator's findings, in a person's words.

Pydantic names types of Python; a recipe is TOML and is told in TOML's words: what was found, what
is expected at that key, and a line that would be right. `HANDLED` lists every error type that the
schema can raise; a test compares it with the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from engine.errors import Problem
from engine.recipe.draft import Draft
from engine.recipe.keys import Key, alternatives, children, example, homes_of, key_at, node_at, suggestion
from engine.recipe.places import KeyPath
from engine.recipe.schema import ContradictionError
from engine.recipe.values import dotted, shortened, shown, toml_value, type_words

# A file that isn't a recipe at all can hold thousands of unknown keys; nobody reads past these.
MAX_PROBLEMS = 100
# A longer value is shown cut, so it can't be shown again as it should be written.
_LONGEST_GUESS = 40


def translate(errors: Iterable[ErrorDetails], draft: Draft) -> list[Problem]:
    """Turn the validator's errors into located problems, one for each place."""
    found: dict[KeyPath, ErrorDetails] = {}
    for error in errors:
        # A union reports once for each of its forms; the words below speak of all forms together.
        found.setdefault(_key_path(error, draft.data), error)
    inner = {key[:length] for key in found for length in range(len(key))}
    problems: list[Problem] = []
    for key, error in found.items():
        if len(problems) > MAX_PROBLEMS:
            break
        # A union of a table and something else also complains of the table that is wrong inside.
        if key in inner and error["type"] not in ("value_error", "missing", "extra_forbidden"):
            continue
        problems += HANDLED.get(error["type"], _wrong_value)(Finding(error, key, draft))
    return problems


def capped(problems: list[Problem], draft: Draft) -> list[Problem]:
    """At most `MAX_PROBLEMS`, with a last one that says that there are more."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    more = draft.problem("R200", (), "there are more problems than these", "correct the ones above first")
    return [*problems[:MAX_PROBLEMS], more]


def _key_path(error: ErrorDetails, data: Any) -> KeyPath:
    """The key an error is about: its location without the names of union forms and "[key]" marks."""
    path: list[str | int] = []
    at = data
    location = error["loc"]
    for index, part in enumerate(location):
        is_item = isinstance(at, (list, tuple)) and isinstance(part, int) and part < len(at)
        if is_item or (isinstance(at, Mapping) and part in at):
            at = at[part]
            path.append(part)
        elif error["type"] == "missing" and index == len(location) - 1:
            path.append(part)
    return tuple(path)


def value_at(data: Any, path: KeyPath) -> Any:
    """The value at a key path of plain data, or None."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


# --- one function for each kind of error ---


@dataclass(frozen=True, slots=True)
class Finding:
    """One error of the validator, with what the recipe holds there."""

    error: ErrorDetails
    key: KeyPath
    draft: Draft

    @property
    def value(self) -> Any:
        """The value at the key."""
        return value_at(self.draft.data, self.key)

    @property
    def known(self) -> Key | None:
        """What the schema says about the key."""
        return key_at(self.key)

    def problem(self, code: str, found: str, fix: str, *, at_key: bool = False) -> list[Problem]:
        """The problem at this key."""
        return [self.draft.problem(code, self.key, found, fix, at_key=at_key)]


def _unknown_key(at: Finding) -> list[Problem]:
    return [unknown_key(at.key, at.draft)]


def unknown_key(key: KeyPath, draft: Draft) -> Problem:
    """A key that the schema doesn't have."""
    name = str(key[-1])
    section = key[:-1]
    node = node_at(section)
    choices = [*children(node)] if node is not None else []
    if not section:
        choices += ["extends", "sweep"]
    place = f"[{dotted(section)}]" if section else "a recipe"
    close = suggestion(name, choices)
    homes = homes_of(name)
    if close:
        elsewhere = [home for home in homes if home != dotted((*section, close))]
        fix = "did you mean " + ", or ".join([f'"{close}"', *elsewhere]) + "?"
    elif homes:
        fix = f"write it as {' or '.join(homes)}"
    elif choices:
        fix = f"remove it; the keys here are {', '.join(choices)}"
    else:
        fix = "remove it"
    return draft.problem("R201", key, f'unknown key "{shortened(name)}" in {place}', fix, at_key=True)


def _missing(at: Finding) -> list[Problem]:
    name, section = at.key[-1], at.key[:-1]
    place = f"the section [{dotted(section)}]" if section else "the recipe"
    if at.known is not None and at.known.is_section and not section:
        inner = "; ".join(example((name, required)) for required, _ in _required(at.known))
        fix = f"add a section [{name}] with {inner}"
    else:
        fix = f"add {example(at.key)}"
    return at.problem("R204", f'{place} lacks "{name}"', fix)


def _required(key: Key) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (name, node)
        for form in alternatives(key.node)
        for name, node in form.get("properties", {}).items()
        if name in form.get("required", ())
    ]


def _wrong_type(at: Finding) -> list[Problem]:
    expected = at.known.expected if at.known else "another value"
    found = f"{shown(at.value)} is {type_words(at.value)}; {expected} is expected"
    return at.problem("R202", found, _type_fix(at.value, at.key, at.known))


def _type_fix(value: Any, key: KeyPath, known: Key | None) -> str:
    if known is None:
        return "correct the value"
    guess = _guess(value, known)
    if guess is not None:
        return f"write {_line(key, guess)}"
    if known.is_section:
        return f"write {example(key)}"
    return f"write for example {_line(key, known.default)}" if known.has_default else f"write {example(key)}"


def _line(key: KeyPath, value: Any) -> str:
    """How the right value is written: `epochs = 5`; an item of a list on its own."""
    return toml_value(value) if isinstance(key[-1], int) else f"{key[-1]} = {toml_value(value)}"


def _guess(value: Any, key: Key) -> Any:
    """What a person probably meant by a value of the wrong type, or None."""
    types = {str(form.get("type")) for form in alternatives(key.node)}
    if isinstance(value, str) and types & {"integer", "number"}:
        return _number_in(value.strip(), whole="number" not in types)
    if isinstance(value, str) and "boolean" in types:
        return {"true": True, "false": False}.get(value.lower())
    if isinstance(value, float) and "integer" in types and value.is_integer() and abs(value) < 1e9:
        return int(value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_GUESS and _is_list_of_text(key):
        return [value]
    if _is_free_text(key) and isinstance(value, (int, float)) and not isinstance(value, bool):
        written = toml_value(value)
        return written if len(written) <= _LONGEST_GUESS else None
    return None


def _is_list_of_text(key: Key) -> bool:
    lists = [form for form in alternatives(key.node) if form.get("type") == "array"]
    return any(item.get("type") == "string" for form in lists for item in alternatives(form.get("items", {})))


def _is_free_text(key: Key) -> bool:
    """Whether any text will do: no choice, no path."""
    forms = alternatives(key.node)
    return all(form.get("type") == "string" and not {"enum", "const", "format"} & form.keys() for form in forms)


def _number_in(text: str, *, whole: bool) -> int | float | None:
    if len(text) > _LONGEST_GUESS:
        return None
    for read in (int,) if whole else (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _wrong_value(at: Finding) -> list[Problem]:
    if at.known is None:
        return at.problem("R203", f"{shown(at.value)} isn't accepted: {at.error['msg']}", "correct the value")
    if _is_other_type(at.value, at.known):
        return _wrong_type(at)
    return at.problem(
        "R203", f"{shown(at.value)} isn't accepted; {at.known.expected} is expected", _value_fix(at.value, at.known)
    )


def _is_other_type(value: Any, known: Key) -> bool:
    """A number where one of several words belongs, and the like."""
    types = {str(form.get("type")) for form in alternatives(known.node)}
    return not isinstance(value, str) and types <= {"string"}


def _value_fix(value: Any, known: Key) -> str:
    words = [str(word) for form in alternatives(known.node) for word in form.get("enum", [form.get("const")]) if word]
    if isinstance(value, str) and words:
        close = suggestion(value, words)
        return f"did you mean {toml_value(close)}?" if close else f"write {_line(known.path, words[0])}"
    guess = _guess(value, known)
    if guess is not None:
        return f"write {_line(known.path, guess)}"
    if known.has_default and not isinstance(known.default, (list, dict)):
        return f"choose such a value, or leave it out for {toml_value(known.default)}"
    return "choose such a value"


def _wrong_length(at: Finding) -> list[Problem]:
    if not at.value:
        return at.problem("R203", "the list is empty", f"write at least one, as in {example(at.key)}")
    expected = at.known.expected if at.known else "another list"
    num = len(at.value)
    found = f"{shown(at.value)} has {num} item{'s' * (num != 1)}; {expected} is expected"
    return at.problem("R203", found, f"write for example {example(at.key)}")


def _text_length(at: Finding) -> list[Problem]:
    is_key = at.error["loc"][-1] == "[key]"
    what = "the name" if is_key else "the text"
    if at.error["type"] == "string_too_short":
        return at.problem("R203", f"{what} is empty", "write a name, or remove the entry", at_key=is_key)
    longest = at.error["ctx"]["max_length"]
    return at.problem("R203", f"{what} is longer than {longest} characters", "shorten it", at_key=is_key)


def _contradiction(at: Finding) -> list[Problem]:
    cause = at.error.get("ctx", {}).get("error")
    if isinstance(cause, ContradictionError):
        return [at.draft.problem("R205", (*at.key, *fault.key), fault.found, fault.fix) for fault in cause.faults]
    return at.problem("R205", str(cause), "correct the values of this section")


Handler = Callable[[Finding], list[Problem]]

HANDLED: dict[str, Handler] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "value_error": _contradiction,
    "too_short": _wrong_length,
    "too_long": _wrong_length,
    "string_too_short": _text_length,
    "string_too_long": _text_length,
    **dict.fromkeys(
        (
            "bool_type", "dict_type", "float_type", "int_type", "is_instance_of", "model_type", "string_type",
            "tuple_type",
        ),
        _wrong_type,
    ),
    **dict.fromkeys(
        (
            "finite_number", "greater_than", "greater_than_equal", "less_than", "less_than_equal", "literal_error",
            "string_pattern_mismatch", "unknown_arch",
        ),
        _wrong_value,
    ),
}
