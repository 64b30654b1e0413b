"""What is asked before something stops training or takes a run away, and how a run is explained. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.errors import printable
from engine.events import CheckpointEvent, MessageEvent, RecoveryEvent
from engine.forecast import clock_words
from engine.rundir import SUPERVISOR_LOG
from engine.runqueue import ACTIVE, WAITING
from engine.standing import Reason, Remedy, explain_run
from tui.asking import Verb
from tui.columns import is_of, state_word
from tui.scene import Scene
from tui.view import RunView
from tui.widgets.inked import Piece
from tui.words import count, joined, sign

_NAMED = 6
_LAST_WORDS = 8
_NOTES = 4

Line = list[Piece]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what is typed for it, what it does, and what is asked of the queue then."""

    key: str
    words: str
    verb: Verb


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, what will be kept, and the answers there are."""

    title: str
    lines: tuple[Line, ...]
    answers: tuple[Answer, ...]


def num_runs(number: int) -> str:
    """A number of runs in words."""
    return f"{number} run{'' if number == 1 else 's'}"


def question_for(verb: Verb, views: Sequence[RunView], runs_dir: str) -> Question | None:
    """What to ask before doing something; None where it may be done at once, because it can be undone as easily."""
    match verb:
        case "stop":
            return _stop_question([view for view in views if view.state in ACTIVE])
        case "cancel":
            return _cancel_question(views)
        case "remove":
            return _remove_question(views, runs_dir)
        case "pause":
            return _pause_question()
    return None


def start_question(scene: Scene, runs_dir: str) -> Question | str:
    """What to ask before somebody is set to work on the queue, or why that makes no sense."""
    queued = [standing.row.run for standing in scene.board.standings if standing.row.state == "queued"]
    num_held = sum(standing.row.state == "held" for standing in scene.board.standings)
    if scene.fleet.is_supervised:
        return "Somebody is at work on the queue already; runs are started by their turns."
    if not queued:
        return (
            f"Nothing waits for its turn; {num_runs(num_held)} held. r releases what is held."
            if num_held
            else "Nothing waits in the queue. `engine run RECIPES` adds runs."
        )
    first = printable(queued[0])
    waiting = f"{first} waits" if len(queued) == 1 else f"{num_runs(len(queued))} wait; {first} goes first"
    until = scene.board.former_until
    lines: list[Line] = [
        [(f"{waiting}.", "strong")],
        *([[(f"{num_runs(num_held)} held; r releases what is held.", "text")]] if num_held else []),
        *([[(f"Work ends {clock_words(until, scene.now)}, as was asked before.", "text")]] if until else []),
        [],
        _kept("It goes on in the background, beyond this dashboard and this terminal, as with `engine run --detach`, "
              "and ends when nothing waits any more."),
        _kept("x stops a run, p pauses the queue."),
        [("What it prints goes to ", "muted"), (f"{printable(runs_dir)}{SUPERVISOR_LOG}", "text")],
    ]  # fmt: skip
    answer = Answer("s", "start", "start")
    if scene.board.paused is not None:
        lines.insert(0, [(f"The queue is paused ({printable(scene.board.paused)}).", "warning")])
        answer = Answer("s", "unpause the queue and start", "unpause and start")
    return Question("Start to work on the queue?", tuple(lines), (answer,))


def _stop_question(views: Sequence[RunView]) -> Question:
    lines = [
        *_named(views),
        [],
        _kept("Kept: every checkpoint, figure and picture."),
        _kept("It is held then; r lets it go on from its checkpoint."),
    ]
    lost = "; ".join(dict.fromkeys(_lost_words(view) for view in views))
    answers = (
        Answer("s", "save and stop now", "stop"),
        Answer("e", "stop once this epoch is done and measured", "stop after epoch"),
        Answer("k", f"kill it without saving: {lost}", "kill"),
    )
    return Question(f"Stop {_what(views)}?", tuple(lines), answers)


def _lost_words(view: RunView) -> str:
    saved = [event for event in view.journal if isinstance(event, CheckpointEvent) and event.kind != "best"]
    if not saved:
        return "all since the last checkpoint is lost"
    return f"all after step {saved[-1].step + 1:,} is lost"


def _cancel_question(views: Sequence[RunView]) -> Question:
    lines = [*_named(views), []]
    if any(view.state in ACTIVE for view in views):
        lines.append(_kept("What is at work saves and stops first."))
    lines += [
        _kept("Kept: the folder with every checkpoint, figure and picture."),
        _kept("r queues it again, and it goes on from its checkpoint."),
    ]
    return Question(f"Cancel {_what(views)}?", tuple(lines), (Answer("y", f"cancel {_it(views)}", "cancel"),))


def _remove_question(views: Sequence[RunView], runs_dir: str) -> Question:
    lines = [*_named(views), []]
    if any(view.state in ACTIVE for view in views):
        lines.append([("What is at work can't be removed; stop or cancel it first.", "warning")])
    undo = views[0].run_id if len(views) == 1 else "IDS"
    lines += [
        _kept("Kept: the whole folder, checkpoints and all. It moves to"),
        [(f"  {printable(runs_dir)}removed/", "text")],
        [("Taken back with ", "muted"), (printable(f"engine remove --undo {undo}"), "text")],
    ]
    return Question(f"Remove {_what(views)} from every list?", tuple(lines), (Answer("y", "remove", "remove"),))


def _pause_question() -> Question:
    lines: tuple[Line, ...] = (
        [("Nothing new is started until p is typed again, or `engine unpause`.", "text")],
        _kept("Kept: everything. The order of the queue stays as it is."),
    )
    answers = (
        Answer("p", "start nothing new; what is at work goes on", "pause"),
        Answer("s", "also save what is at work and put it back into the queue", "pause and put back"),
    )
    return Question("Pause the queue?", lines, answers)


def _kept(words: str) -> Line:
    return [(words, "muted")]


def _what(views: Sequence[RunView]) -> str:
    return printable(views[0].run_id) if len(views) == 1 else num_runs(len(views))


def _it(views: Sequence[RunView]) -> str:
    return "it" if len(views) == 1 else "them"


def _named(views: Sequence[RunView]) -> list[Line]:
    lines: list[Line] = [_named_line(view) for view in views[:_NAMED]]
    if len(views) > _NAMED:
        lines.append([(f"  and {num_runs(len(views) - _NAMED)} more", "muted")])
    return lines


def _named_line(view: RunView) -> Line:
    progress, (word, ink) = view.progress, state_word(view)
    where = f"epoch {progress.epoch}/{progress.num_epochs}" if progress.num_epochs else ""
    step = f"step {progress.step:,}/{count(progress.num_steps)}" if progress.num_steps else ""
    told = joined([word, where, step])
    return [(f"{sign(view.state)} ", f"{ink}!"), (printable(view.run_id), "strong"), (f"  {told}", "muted")]


# --- a run explained ---


def reasons_for(view: RunView, scene: Scene) -> list[Reason]:
    """Why a run is as it is and what to do about it; from its own files where there is no queue."""
    standing = next((one for one in scene.board.standings if one.row.run == view.run_id), None)
    board = scene.board
    if standing is not None and not is_of(view, standing):
        board = replace(board, standings=tuple(one for one in board.standings if one is not standing))
        standing = None
    row = standing.row if standing is not None else view.row
    if view.trouble and row is None:
        return [Reason(view.trouble)]
    if row is not None and row.asked and view.has_answered:
        return [Reason(view.reason or view.state)]
    if row is not None:
        return explain_run(row, board, view.progress)
    if view.state == "unknown":
        return [Reason("its worker ended without a word, or works on another machine")]
    words = joined([view.cause, view.reason], ": ")
    return [Reason(joined([view.state, words], ": "))]


QUEUE_KEYS: dict[Remedy, str] = {
    "release": "r", "retry": "r", "first": "F", "stop": "x", "unpause": "p", "start": "S", "log": "6",
}  # fmt: skip
"""The keys of the queue panel that do what a reason advises."""
_EXPLAIN_KEYS: dict[Remedy, str] = {"release": "r", "retry": "r", "log": "l"}


def why_lines(view: RunView, scene: Scene, keys: Mapping[Remedy, str] = QUEUE_KEYS) -> list[Line]:
    """A run's reasons and remedies, most important first.

    Args:
        view: The run.
        scene: The state of things.
        keys: What may be typed where the lines are shown.
    """
    lines: list[Line] = []
    for index, reason in enumerate(reasons_for(view, scene)):
        ink = ("failed" if view.state == "failed" else "strong") if index == 0 else "text"
        lines.append([(f"{sign(view.state)} " if index == 0 else "  ", f"{state_word(view)[1]}!"),
                      (printable(reason.words), ink)])  # fmt: skip
        if reason.fix:
            lines.append([("  → ", "accent"), *_fix(reason, keys.get(reason.remedy, ""))])
    return lines


def _fix(reason: Reason, key: str) -> list[Piece]:
    """What to do about it; before it the key that does the same, if any."""
    typed: list[Piece] = [(key, "accent!"), (" or ", "muted")] if key else []
    return [*typed, (printable(reason.fix), "text")]


def explanation(view: RunView, scene: Scene) -> list[Line]:
    """All there is to know of why a run is as it is: reasons, what was noted, the log's last words."""
    lines = why_lines(view, scene, _EXPLAIN_KEYS)
    if scene.board.paused is not None or not scene.fleet.is_supervised:
        lines += _general(view, scene)
    notes = [
        event.text
        for event in view.journal
        if isinstance(event, RecoveryEvent) or (isinstance(event, MessageEvent) and event.level != "note")
    ]
    if notes:
        lines += [[], [("It noted", "muted")]]
        lines += [[("  ! ", "warning"), (printable(note), "text")] for note in notes[-_NOTES:]]
    if scene.log and scene.chosen is not None and scene.chosen.run_id == view.run_id and view.state in _TELLING:
        lines += [[], [("The log's last words", "muted")]]
        lines += [[(f"  {line}", "text")] for line in scene.log[-_LAST_WORDS:]]
    if view.row is not None and view.row.recipe_path:
        lines += [[], [("recipe ", "muted"), (printable(view.row.recipe_path), "text")]]
    return lines


_TELLING = ("failed", "cancelled", "unknown", "queued", "held")


def _general(view: RunView, scene: Scene) -> list[Line]:
    """What keeps every run from being started, for one that was told nothing of it."""
    told = {piece[0] for line in why_lines(view, scene) for piece in line}
    general = {
        reason.words: reason.fix for one in scene.board.standings for reason in one.why if reason.is_general
    }
    if view.state not in WAITING:
        return []
    return [
        [("  ", ""), (printable(words), "warning"), (f"  → {printable(fix)}", "text")]
        for words, fix in general.items()
        if words not in told
    ]
