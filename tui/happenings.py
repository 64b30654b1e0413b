"""What happened to a run and when, as signs below its curves and as words beside the cursor. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import printable
from engine.events import CheckpointEvent, MessageEvent, RecoveryEvent, RunEnded, RunStarted
from tui.look import Look, Scale
from tui.plot import PlotMark
from tui.view import RunView

# Kind -> sign, ink, its plural, and whether a line goes up from it; the gravest last, since it lies on top.
KINDS = {
    "checkpoint": ("▪", "muted", "checkpoints", False),
    "resume": ("»", "text", "resumes", True),
    "warning": ("!", "warning", "warnings", False),
    "recovery": ("↺", "warning", "recoveries", True),
    "error": ("✘", "error", "errors", True),
}


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened.

    Attributes:
        num_done: Steps done by then.
        kind: A key of `KINDS`.
        words: What happened; safe to show.
    """

    num_done: int
    kind: str
    words: str

    @property
    def sign(self) -> str:
        """Its sign."""
        return KINDS[self.kind][0]

    @property
    def ink(self) -> str:
        """Name of its colour."""
        return KINDS[self.kind][1]


def happenings(view: RunView) -> list[Happening]:
    """Everything worth a mark, in the order in which it happened."""
    return list(_happenings(view))


def _happenings(view: RunView) -> Iterator[Happening]:
    for num_done, event in zip(view.journal_steps, view.journal, strict=True):
        match event:
            case RecoveryEvent():
                yield Happening(event.step, "recovery", printable(f"{event.kind}: {event.text}"))
            case MessageEvent(level="warning" | "error"):
                yield Happening(num_done, event.level, printable(event.text))
            case RunStarted() if event.first_step or event.attempt > 1:
                yield Happening(event.first_step, "resume", f"attempt {event.attempt} goes on here")
            case CheckpointEvent():
                yield Happening(num_done, "checkpoint", f"the {event.kind} weights were saved")
            case RunEnded(outcome="failed"):
                yield Happening(num_done, "error", printable(f"failed: {event.reason or event.cause}"))
            case _:
                pass


def plot_marks(view: RunView, look: Look) -> tuple[PlotMark, ...]:
    """The marks of a plot, the gravest on top."""
    scale, order = Scale(view, look.kind), list(KINDS)
    marks = [
        PlotMark(scale.at_step(one.num_done), one.sign, one.ink, KINDS[one.kind][3])
        for one in sorted(happenings(view), key=lambda one: order.index(one.kind))
    ]
    return tuple(marks)


def near(view: RunView, look: Look, columns: int) -> list[Happening]:
    """What happened at the cursor, within half a column of the picture; the gravest first."""
    if look.cursor is None:
        return []
    scale, order = Scale(view, look.kind), list(KINDS)
    low, high = look.window or scale.whole()
    reach = (high - low) / max(1, columns - 1) * 0.75
    found = [one for one in happenings(view) if abs(scale.at_step(one.num_done) - look.cursor) <= reach]
    return sorted(found, key=lambda one: -order.index(one.kind))
