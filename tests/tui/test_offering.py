"""What is offered for runs as they are, and what is said when one leaves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from engine.runqueue import QueueRow, State
from tests.tui.test_view import row
from tui.asking import Verb
from tui.feed import Fleet
from tui.offering import those_that_can
from tui.parting import parting_words
from tui.view import RunView

_OF_RUNS = [
    verb for verb in get_args(Verb)
    if "pause" not in verb and verb not in {"start", "kill", "stop after epoch"}
]  # fmt: skip


def view(state: State, **values: object) -> RunView:
    queued: QueueRow = replace(row(state), **values)  # type: ignore[arg-type]
    return RunView("0001-a", queued)


@pytest.mark.parametrize(
    ("run", "offered"),
    [
        pytest.param(view("finished"), {"remove"}, id="finished"),
        pytest.param(view("failed"), {"retry", "go on", "remove"}, id="failed"),
        pytest.param(view("cancelled"), {"retry", "go on", "remove"}, id="cancelled"),
        pytest.param(view("running"), {"stop", "cancel"}, id="running"),
        pytest.param(
            view("running", asked="stop after epoch"), {"stop", "cancel", "release", "go on"}, id="stops soon"
        ),
        pytest.param(
            view("queued"), {"hold", "cancel", "up", "down", "first", "last", "raise", "lower", "remove"}, id="queued"
        ),
        pytest.param(
            view("queued", not_before=9e9),
            {"hold", "cancel", "up", "down", "first", "last", "raise", "lower", "remove", "release", "go on"},
            id="postponed",
        ),
        pytest.param(
            view("held"), {"release", "go on", "cancel", "first", "last", "raise", "lower", "remove"}, id="held"
        ),
        pytest.param(RunView("0001-a"), set(), id="of no queue"),
    ],
)
def test_only_what_can_be_done_is_offered(run: RunView, offered: set[str]) -> None:
    assert {verb for verb in _OF_RUNS if those_that_can(verb, [run])} == offered


@pytest.mark.parametrize(
    ("fleet", "views", "words"),
    [
        pytest.param(Fleet(), [view("running")], "", id="no queue"),
        pytest.param(Fleet(has_queue=True), [view("finished"), view("failed")], "", id="all over"),
        pytest.param(
            Fleet(has_queue=True, is_supervised=True), [view("running"), view("queued")],
            "Training goes on: 1 at work, 1 more waits. `engine watch` opens this again.", id="at work",
        ),
        pytest.param(
            Fleet(has_queue=True), [view("queued"), view("queued")],
            "Nobody is at work, and 2 runs wait. `engine resume --detach` starts.", id="nobody",
        ),
        pytest.param(
            Fleet(has_queue=True, is_supervised=True, is_paused=True), [view("queued")],
            "The queue is paused, a run waits. `engine unpause` goes on.", id="paused",
        ),
        pytest.param(
            Fleet(has_queue=True, is_supervised=True), [view("queued")],
            "The queue is worked on, a run waits. `engine watch` opens this again.", id="between runs",
        ),
    ],
)  # fmt: skip
def test_what_goes_on_is_said_when_one_leaves(fleet: Fleet, views: list[RunView], words: str) -> None:
    assert parting_words(fleet, views, Path("runs")) == words


def test_another_folder_is_named_when_one_leaves() -> None:
    busy, fleet = [view("running")], Fleet(has_queue=True, is_supervised=True)
    assert "`engine watch 'my runs'`" in parting_words(fleet, busy, Path("my runs"))
    assert "`engine watch runs/0001-a`" in parting_words(fleet, busy, Path("runs"), "0001-a")
    assert "`engine resume --detach --runs 'my runs'`" in parting_words(
        Fleet(has_queue=True), [view("queued")], Path("my runs")
    )
