"""Problems as they are told: safe to print, with their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, Diverged, EngineError, Problem, TrainingError, Where, has_errors, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("Tasse/é/杯", "Tasse/é/杯", id="letters stay"),
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="terminal escape"),
        pytest.param("a\rb\nc\td", "a\\rb\\nc\\td", id="line ends"),
        pytest.param("a\u202egpj", "a\\u202egpj", id="right-to-left override"),
        pytest.param("a\u2066b\u2069", "a\\u2066b\\u2069", id="bidi isolate"),
        pytest.param("a\u200bb", "a\\u200bb", id="zero width"),
        pytest.param("a\u2028b", "a\\u2028b", id="line separator"),
        pytest.param("a\udce9", "a\\udce9", id="undecodable byte of a file name"),
        pytest.param("\x9b31m", "\\x9b31m", id="one-byte control sequence"),
    ],
)
def test_printable_escapes_what_can_move_or_hide_text(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_is_on_one_line_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown  # a lone surrogate would raise


@pytest.mark.parametrize(
    ("where", "told"),
    [
        pytest.param(Where(), "", id="nowhere"),
        pytest.param(Where("a.toml"), "a.toml", id="file"),
        pytest.param(Where("a.toml", 3), "a.toml:3", id="line"),
        pytest.param(Where("a.toml", 3, 7, "training.epochs"), "a.toml:3:7  training.epochs", id="all"),
        pytest.param(Where("a.toml", column=7), "a.toml", id="a column needs its line"),
        pytest.param(Where(item="model.weights"), "model.weights", id="item"),
        pytest.param(Where("a\x1b.toml"), "a\\x1b.toml", id="hostile name"),
    ],
)
def test_a_place_is_told_as_editors_open_it(where: Where, told: str) -> None:
    assert str(where) == told


def test_a_problem_tells_place_code_finding_and_remedy() -> None:
    problem = Problem("D102", Where("a.xml", 4), "the box is \x1b empty", "delete it")
    assert str(problem) == "a.xml:4: D102 the box is \\x1b empty (fix: delete it)"
    assert str(Problem("D102", Where(), "empty", "delete it")) == "D102 empty (fix: delete it)"


def test_a_problem_as_plain_values_keeps_everything() -> None:
    problem = Problem("D102", Where("a.xml", 4, item="object 1"), "empty", "delete it", "warning")
    assert problem.as_dict() == {
        "code": "D102", "where": {"path": "a.xml", "line": 4, "column": None, "item": "object 1"},
        "found": "empty", "fix": "delete it", "severity": "warning",
    }


@pytest.mark.parametrize(
    ("severities", "stops"),
    [
        pytest.param((), False, id="none"),
        pytest.param(("warning", "note"), False, id="only lesser ones"),
        pytest.param(("note", "error"), True, id="one error"),
    ],
)
def test_only_errors_stop_a_run(severities: tuple[str, ...], stops: bool) -> None:
    assert has_errors(Problem("D1", Where(), "", "", severity) for severity in severities) is stops  # type: ignore[arg-type]


def test_an_error_of_a_kind_stays_of_that_kind_and_tells_its_problems() -> None:
    error = DataError.of("D100", "a.xml", "missing", "write it")
    assert type(error) is DataError
    assert str(error) == "a.xml: D100 missing (fix: write it)"
    assert str(EngineError()) == ""


def test_an_error_behaves_as_exceptions_do() -> None:
    first, second = (DataError.of("D100", "a.xml", "missing", "write it") for _ in range(2))
    assert first != second
    assert len({first, second}) == 2


def test_a_divergence_has_its_recorded_cause() -> None:
    assert isinstance(Diverged(), TrainingError)
    assert (Diverged().cause, TrainingError().cause) == ("diverged", "error")
