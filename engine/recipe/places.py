"""Where each key and value of a TOML text stands.

Works on text that the TOML parser has accepted, so it only finds its way and judges nothing but
depth. A scanner of our own rather than a grammar library: multi-line inline tables and the other
additions of TOML 1.1 are found too, columns are characters, and huge files stay cheap.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import tomli

KeyPath = tuple[str | int, ...]

# Recipes need six levels. Past this, a file is refused rather than walked.
MAX_DEPTH = 32
# Far more than the keys and class names of any recipe; it bounds the time that judging them takes.
MAX_PLACES = 20_000

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_KEY = re.compile(r"""[^\s.=\[\]{},"'#]++|"(?:[^"\\]|\\.)*+"|'[^']*+'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*+'{3,5}|"(?:[^"\\]|\\.)*+"|'[^']*+\'''',
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]*+")


@dataclass(frozen=True, slots=True)
class Place:
    """One-based position of a key and of its value; a list's items have no key of their own."""

    line: int
    column: int
    value_line: int
    value_column: int


class TooDeepError(Exception):
    """Tables or lists nested beyond `MAX_DEPTH`; holds the line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class TooManyError(Exception):
    """More than `MAX_PLACES` keys and list items."""


def find_places(text: str) -> Mapping[KeyPath, Place]:
    r"""Find every key, table and list item of a TOML text.

    Args:
        text: Valid TOML, with "\n" or "\r\n" line ends.

    Returns:
        Key path (list items by zero-based index) to place.

    Raises:
        TooDeepError: Something is nested beyond `MAX_DEPTH`.
        TooManyError: There are more than `MAX_PLACES` keys and list items.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.places


class _Scanner:
    def __init__(self, text: str) -> None:
        self.places: dict[KeyPath, Place] = {}
        self._text = text
        self._at = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._table_counts: dict[KeyPath, int] = {}  # of arrays of tables

    def scan(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip_blank(self) -> bool:
        """Skip spaces, line ends and comments; False at the end of the text."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _header(self) -> KeyPath:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        parts = self._key_parts()
        self._skip_blank()
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        for index, (part, offset) in enumerate(parts):
            path = (*path, part)
            self._note(path, offset, offset)
            if is_array and index == len(parts) - 1:
                self._table_counts[path] = self._table_counts.get(path, 0) + 1
            if path in self._table_counts:
                path = (*path, self._table_counts[path] - 1)
                self._note(path, start, start)
        return path

    def _pair(self, table: KeyPath) -> None:
        path = table
        parts = self._key_parts()
        self._skip_blank()
        self._at += 1  # the "="
        self._skip_blank()
        for part, offset in parts:
            path = (*path, part)
            self._note(path, offset, self._at)
        self._value(path)

    def _key_parts(self) -> list[tuple[str, int]]:
        """A dotted key, each part with its offset."""
        parts: list[tuple[str, int]] = []
        while True:
            self._skip_blank()
            match = _KEY.match(self._text, self._at)
            if match is None:  # not reached on valid TOML; never loop on anything else
                self._at += 1
                return parts
            parts.append((_unquoted(match.group()), self._at))
            self._at = match.end()
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._items(path, "]")
        elif opening == "{":
            self._items(path, "}")
        else:
            match = (_STRING if opening in ("'", '"') else _SCALAR).match(self._text, self._at)
            self._at = match.end() if match else self._at + 1

    def _items(self, path: KeyPath, closing: str) -> None:
        self._at += 1
        index = 0
        while self._skip_blank():
            char = self._text[self._at]
            if char == closing:
                self._at += 1
                return
            if char == ",":
                self._at += 1
            elif closing == "}":
                self._pair(path)
            else:
                item = (*path, index)
                self._note(item, self._at, self._at)
                self._value(item)
                index += 1

    def _note(self, path: KeyPath, offset: int, value_offset: int) -> None:
        if len(path) > MAX_DEPTH:
            raise TooDeepError(bisect_right(self._line_starts, offset))
        if path not in self.places:
            if len(self.places) == MAX_PLACES:
                raise TooManyError
            self.places[path] = Place(*self._position(offset), *self._position(value_offset))

    def _position(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1


def _unquoted(key: str) -> str:
    if key[0] not in "\"'":
        return key
    if key[0] == '"' and "\\" in key:
        return str(tomli.loads(f"k = {key}")["k"])
    return key[1:-1]
