"""Every code of a dataset's problems is documented under its own title, and is raised somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import engine.annotations
from engine.annotations import codes

ROOT = Path(__file__).parents[3]
HEADINGS = dict(re.findall(r"^### ([A-Z]\d{3}) (.+)$", (ROOT / "docs/problems.md").read_text("utf-8"), re.MULTILINE))
SOURCES = "".join(path.read_text("utf-8") for path in Path(engine.annotations.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("code", codes.TITLES)
def test_every_code_is_documented_under_its_title(code: str) -> None:
    assert HEADINGS[code] == codes.TITLES[code]


def test_nothing_else_is_documented() -> None:
    assert {code for code in HEADINGS if code.startswith("D1")} == set(codes.TITLES)


def test_every_code_has_a_title_and_is_raised() -> None:
    named = {name: value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}
    assert sorted(named.values()) == sorted(codes.TITLES)
    assert [name for name in named if f"codes.{name}" not in SOURCES] == []


def test_codes_are_in_order() -> None:
    assert list(codes.TITLES) == sorted(codes.TITLES)
