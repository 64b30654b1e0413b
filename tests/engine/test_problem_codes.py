"""Every problem code in the source has its section in the documentation, and the other way round."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from engine.annotations.codes import TITLES
from engine.recipe.codes import CODES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "problems.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "recipe-reference.md").read_text("utf-8")
# A code by itself in quotes, as in Problem("D102", ...); prose that mentions one doesn't count.
CODE = re.compile(r'"([A-Z]\d{3})"')
HEADING = re.compile(r"^### ([A-Z]\d{3}):? (.+)$", re.MULTILINE)
# The example that explains what a code is.
NOT_RAISED = frozenset({"engine/errors.py"})


def raised() -> dict[str, str]:
    """Code -> a source file that holds it."""
    found: dict[str, str] = {}
    for path in sorted([*(ROOT / "engine").rglob("*.py"), *(ROOT / "tui").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if name not in NOT_RAISED:
            found |= dict.fromkeys(CODE.findall(path.read_text("utf-8")), name)
    return found


def documented() -> list[str]:
    return [code for page in (PAGE, REFERENCE) for code, _ in HEADING.findall(page)]


@pytest.mark.parametrize(("code", "file"), raised().items())
def test_every_code_is_documented(code: str, file: str) -> None:
    assert code in documented(), f"{file} raises it"


def test_nothing_is_documented_that_is_never_raised() -> None:
    assert set(documented()) - set(raised()) == set()


def test_no_code_is_documented_twice() -> None:
    assert [code for code, count in Counter(documented()).items() if count > 1] == []


def test_each_section_says_what_to_do() -> None:
    sections = HEADING.split(PAGE)[1:]
    for code, _, text in zip(sections[::3], sections[1::3], sections[2::3], strict=True):
        assert len(text.split()) >= 5, code


def test_titles_are_those_of_the_source() -> None:
    titles = dict(HEADING.findall(PAGE + REFERENCE))
    assert {code: titles[code] for code in TITLES} == TITLES
    assert {code: titles[code] for code in CODES} == {code: told.title for code, told in CODES.items()}


def test_areas_are_known() -> None:
    assert {code[0] for code in raised()} <= set("RDWEQTX")
