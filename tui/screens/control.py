"""The part of the main screen that acts on runs: asks back where it must, and has the app carry it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.message import Message
from textual.screen import Screen

from engine.errors import printable
from engine.runqueue import ACTIVE
from tui.asking import Request, Verb
from tui.offering import targets
from tui.questions import Question, explanation, question_for, start_question
from tui.scene import Scene
from tui.screens.dialog import Choice, ChoiceDialog, ExplainScreen
from tui.view import RunView
from tui.widgets.inked import Piece


@dataclass
class Asked(Message):
    """Something is asked of the queue; the app carries it out."""

    request: Request


class ControlScreen(Screen[None]):
    """A screen whose keys act on the marked runs, or on the chosen one where none is marked.

    Args:
        runs_dir: The runs folder as the person named it.
    """

    def __init__(self, runs_dir: str) -> None:
        super().__init__()
        self.scene: Scene | None = None
        self.runs_dir = runs_dir

    def targets(self) -> list[RunView]:
        """The runs that a key acts on."""
        return targets(self.scene) if self.scene is not None else []

    def can_control(self) -> bool:
        """Whether there is a queue to control; says so where there is none."""
        if self.scene is None:
            return False
        if self.scene.fleet.trouble:
            self._say(self.scene.fleet.trouble)
        elif not self.scene.fleet.has_queue:
            self._say(f"There is no queue in {self.runs_dir}: its runs can be looked at, not controlled.")
        return self.scene.fleet.has_queue and not self.scene.fleet.trouble

    def action_ask(self, verb: Verb) -> None:
        """Do something to the runs that keys act on, after asking where it stops training or takes a run away."""
        views = self.targets()
        if not views or not self.can_control():
            return
        if verb == "stop":
            views = [view for view in views if view.state in ACTIVE]
            if not views:
                self._say("Nobody is at work on it. h keeps a queued run from being started; c cancels it.")
                return
        runs = tuple(view.run_id for view in views)
        self._ask(question_for(verb, views, self.runs_dir), Request(verb, runs))

    def action_pause_or_go_on(self) -> None:
        """Start nothing new, or go on with it."""
        if not self.can_control() or self.scene is None:
            return
        if self.scene.fleet.is_paused:
            self.post_message(Asked(Request("unpause")))
        else:
            self._ask(question_for("pause", [], self.runs_dir), Request("pause"))

    def action_start(self) -> None:
        """Have the queue worked on in the background, after asking."""
        if not self.can_control() or self.scene is None:
            return
        question = start_question(self.scene, self.runs_dir)
        if isinstance(question, str):
            self._say(question)
        else:
            self._ask(question, Request("start"))

    def _ask(self, question: Question | None, request: Request) -> None:
        if question is None:
            self.post_message(Asked(request))
            return
        choices = [Choice(answer.key, answer.words, answer.verb) for answer in question.answers]
        verbs = {answer.verb: answer.verb for answer in question.answers}

        def answered(answer: str | None) -> None:
            verb = verbs.get(answer)  # type: ignore[call-overload]  # any text may come
            if verb is not None:
                self.post_message(Asked(Request(verb, request.runs)))

        self.app.clear_notifications()  # they would lie over the answers
        self.app.push_screen(ChoiceDialog(question.title, question.lines, choices), answered)

    def action_explain(self) -> None:
        """Explain the chosen run, with what may be done next at hand."""
        scene = self.scene
        if scene is None or scene.chosen is None:
            return
        view = scene.chosen
        choices = [Choice("r", "queues it again", "go on")] if view.state in ("failed", "cancelled") else []
        choices += [Choice("r", "releases it", "go on")] if view.state == "held" else []
        choices += [Choice("l", "its log", "log")] if view.started is not None or scene.log else []

        def answered(answer: str | None) -> None:
            if answer == "go on" and self.can_control():
                self.post_message(Asked(Request("go on", (view.run_id,))))
            elif answer == "log":
                self.action_panel("log")

        title = printable(f"{view.run_id}: {view.state}")
        self.app.push_screen(ExplainScreen(title, explanation(view, scene), choices), answered)

    def action_panel(self, panel: str) -> None:
        """Open a panel."""
        raise NotImplementedError

    def _say(self, words: str) -> None:
        self.notify(printable(words), severity="warning", markup=False)


def failure_screen(told: Sequence[str]) -> ExplainScreen:
    """What could not be done and why, in full."""
    lines: list[list[Piece]] = [[("✘ " if index == 0 else "  ", "failed!"), (line, "text")]
                                for index, line in enumerate(line for line in told if line)]  # fmt: skip
    return ExplainScreen("Not started", lines, ())
