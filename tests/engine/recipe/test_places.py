"""The scanner finds what the parser reads, at the place where it stands."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from engine.recipe.places import MAX_DEPTH, MAX_PLACES, KeyPath, Place, TooDeepError, TooManyError, find_places


def paths_of(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found: set[KeyPath] = {path} if path else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in items:
        found |= paths_of(item, (*path, part))
    return found


# (text, key path, line, column, value line, value column)
CASES = [
    pytest.param('name = "x"', ("name",), (1, 1, 1, 8), id="bare"),
    pytest.param('\n  "na me"   =   1', ("na me",), (2, 3, 2, 17), id="quoted"),
    pytest.param("'a.b'.c = 1", ("a.b", "c"), (1, 7, 1, 11), id="literal-and-dotted"),
    pytest.param("a . b = 1", ("a", "b"), (1, 5, 1, 9), id="spaced-dots"),
    pytest.param("a.b = 1", ("a",), (1, 1, 1, 7), id="table-made-by-a-dotted-key"),
    pytest.param('"\\u00e9" = 1', ("é",), (1, 1, 1, 12), id="escaped-key"),
    pytest.param('é = "é"\n'.replace("é =", '"é" ='), ("é",), (1, 1, 1, 7), id="columns-are-characters"),
    pytest.param("[a.b]\nc = 1", ("a", "b"), (1, 4, 1, 4), id="header"),
    pytest.param("[a.b]\nc = 1", ("a", "b", "c"), (2, 1, 2, 5), id="under-header"),
    pytest.param("a = { b = 1, c = { d = 2 } }", ("a", "c", "d"), (1, 20, 1, 24), id="inline-tables"),
    pytest.param("a = {\n  b = 1, # }\n  c = 2,\n}\nd = 3", ("a", "c"), (3, 3, 3, 7), id="multi-line-inline-table"),
    pytest.param("a = {\n  b = 1, # }\n  c = 2,\n}\nd = 3", ("d",), (5, 1, 5, 5), id="after-multi-line-inline-table"),
    pytest.param('a = [\n  1, # ]\n  "]",\n  3,\n]\nb = 1', ("a", 2), (4, 3, 4, 3), id="multi-line-list"),
    pytest.param("a = [[1, 2], [3]]", ("a", 1, 0), (1, 15, 1, 15), id="nested-lists"),
    pytest.param("a = [{ b = 1 }, { b = 2 }]", ("a", 1, "b"), (1, 19, 1, 23), id="list-of-tables"),
    pytest.param("[[a]]\nb = 1\n[[a]]\nb = 2", ("a", 1, "b"), (4, 1, 4, 5), id="array-of-tables"),
    pytest.param("[[a]]\n[a.b]\nc = 1\n[[a]]\n[a.b]\nc = 2", ("a", 1, "b", "c"), (6, 1, 6, 5), id="table-in-array"),
    pytest.param('a = """\n# "no\n[b]"""\nc = 1', ("c",), (4, 1, 4, 5), id="multi-line-string"),
    pytest.param('a = """x"""""\nc = 1', ("c",), (2, 1, 2, 5), id="quotes-before-the-closing-quotes"),
    pytest.param("a = '''it''s'''\nc = 1", ("c",), (2, 1, 2, 5), id="multi-line-literal"),
    pytest.param('a = "\\"#"\nc = 1', ("c",), (2, 1, 2, 5), id="escaped-quote"),
    pytest.param("a = 1979-05-27 07:32:00 # x\nc = 1", ("c",), (2, 1, 2, 5), id="date-with-a-space"),
]


@pytest.mark.parametrize(("text", "path", "place"), CASES)
def test_place(text: str, path: KeyPath, place: tuple[int, int, int, int]) -> None:
    assert find_places(text)[path] == Place(*place)


@pytest.mark.parametrize("text", [case.values[0] for case in CASES], ids=[str(case.id) for case in CASES])
def test_finds_just_what_the_parser_reads(text: str) -> None:
    assert set(find_places(text)) == paths_of(tomli.loads(text))


@pytest.mark.parametrize("text", ["", "\n", "# only\n# comments", "   "])
def test_nothing_to_find(text: str) -> None:
    assert find_places(text) == {}


def test_depth_is_bounded_and_told_with_its_line() -> None:
    fits = "a = " + "[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1)
    find_places(fits)
    with pytest.raises(TooDeepError) as caught:
        find_places("b = 1\n" + ".".join("a" * (MAX_DEPTH + 1)) + " = 1")
    assert caught.value.line == 2


def test_count_is_bounded() -> None:
    assert len(find_places("a = [" + "1," * (MAX_PLACES - 1) + "]")) == MAX_PLACES
    with pytest.raises(TooManyError):
        find_places("a = [" + "1," * MAX_PLACES + "]")


# --- any document ---

space = st.sampled_from(["", " ", "  ", "\t"])
gap = st.sampled_from(["", " ", "\n", " # ] } = [\n", "\n\n  "])
plain_text = st.text(st.sampled_from("ab#=[]{}.,'é \\\"\n"), max_size=6)


def _basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


key_names = st.one_of(st.sampled_from(["a", "b", "c-1", "1"]), plain_text)
scalars = st.one_of(
    st.sampled_from(["1", "-2.5e3", "true", "nan", "0xff", "1979-05-27 07:32:00", "07:32:00", "''", '"""\n"x"""']),
    plain_text.map(_basic),
)


def _key(name: str) -> str:
    return name if name and name.isascii() and name.replace("-", "").isalnum() else _basic(name)


@st.composite
def values(draw: st.DrawFn, depth: int = 3) -> str:
    kind = draw(st.sampled_from(["scalar", "list", "table"])) if depth else "scalar"
    if kind == "scalar":
        return draw(scalars)
    if kind == "list":
        items = [draw(gap) + draw(values(depth - 1)) + draw(gap) for _ in range(draw(st.integers(0, 3)))]
        return "[" + ",".join(items) + draw(gap) + "]"
    names = draw(st.lists(key_names, max_size=3, unique=True))
    pairs = [draw(gap) + _key(name) + draw(space) + "=" + draw(space) + draw(values(depth - 1)) for name in names]
    return "{" + ",".join(pairs) + draw(gap) + "}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines: list[str] = []
    tables = st.tuples(key_names, st.lists(key_names, max_size=3, unique=True))
    for table, names in draw(st.lists(tables, max_size=3, unique_by=lambda table: table[0])):
        header = f"[[{_key(table)}]]" if draw(st.booleans()) else f"[{_key(table)}]"
        lines += [draw(gap), "\n", header, "\n"]
        lines += [f"{_key(name)}{draw(space)}={draw(space)}{draw(values())}{draw(space)}\n" for name in names]
    return "".join(lines)


@given(documents())
def test_finds_just_what_the_parser_reads_in_any_document(text: str) -> None:
    places = find_places(text)
    assert set(places) == paths_of(tomli.loads(text))
    lines = text.split("\n")
    for path, place in places.items():
        assert place.line <= place.value_line <= len(lines)
        assert place.column <= len(lines[place.line - 1]) + 1
        if path[-1] in ("a", "b", "c-1"):
            assert lines[place.line - 1][place.column - 1 :].startswith((str(path[-1]), f'"{path[-1]}"'))
