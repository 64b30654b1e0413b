"""What else is known of a run: AP of each class, its data and speed, and what happened when."""

from __future__ import annotations

import time

import numpy as np
from textual.widgets import Static

from engine.errors import printable
from engine.events import CheckpointEvent, MessageEvent, RecoveryEvent, RunEnded, RunStarted
from tui.pyramid import Floats
from tui.recipes import RecipeReading, Setting
from tui.view import JournalEvent, RunView
from tui.widgets.hanging import HangingLines
from tui.widgets.inked import Piece
from tui.words import NOTHING, bar, count, duration, fit, joined, precision

_BAR_WIDTH = 24
_SPEED_STEPS = 100
_LONGEST_VALUE = 44
# The clock of an entry, with what is around it.
_LONGEST_NAME = 20
# Where a value came from -> sign and ink, and words.
_ORIGIN_LOOKS = {
    "recipe": ("•", "text"), "sweep": ("◆", "accent"), "base": ("↑", "val"), "command line": ("$", "rate"),
    "default": ("", "muted"),
}  # fmt: skip
_ORIGIN_WORDS = {
    "recipe": "", "sweep": "swept", "base": "from the recipe it extends", "command line": "set on the command line",
    "default": "",
}  # fmt: skip


class Facts(Static):
    """Text in sections; scrolls with what holds it."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[list[list[Piece]], str] = ([], "")

    def show(self, view: RunView, recipe: RecipeReading | None, *, whole_recipe: bool) -> None:
        """Write it all anew.

        Args:
            view: The run.
            recipe: Its recipe; None while it is read.
            whole_recipe: Whether values that are as by default are told as well.
        """
        lines = [*_classes(view), *_data(view), *_recipe(recipe, whole=whole_recipe), *_journal(view)]
        if (lines, self.app.theme) != self._shown:
            self._shown = lines, self.app.theme
            self.update(HangingLines(self, lines, _LONGEST_NAME))


def _heading(words: str) -> list[list[Piece]]:
    return [[(words, "accent!")]]


def _classes(view: RunView) -> list[list[Piece]]:
    """AP of each class at the latest evaluation, as bars."""
    if not view.epochs:
        return []
    epoch = view.epochs[-1]
    names = sorted(epoch.ap_per_class, key=lambda name: (-(epoch.ap_per_class[name] or 0.0), name))
    room = min(24, max((len(printable(name)) for name in names), default=0))
    lines = _heading(f"AP by class, epoch {epoch.epoch + 1}")
    for name in names:
        value = epoch.ap_per_class[name]
        done, rest = bar(value or 0.0, _BAR_WIDTH)
        label = printable(name)[:room].ljust(room)
        lines.append([(f"  {label}  ", "text"), (done, "ap"), (rest, "open"), (f"  {precision(value)}", "strong")])
    more = joined([f"AP75 {precision(epoch.ap75)}", f"AR100 {precision(epoch.ar100)}"], "   ")
    return [*lines, [(f"  {more}", "muted")], []]


def _data(view: RunView) -> list[list[Piece]]:
    started = view.started
    recipe = printable(view.row.recipe_path) if view.row else ""
    facts = [("recipe", recipe)]
    if started is not None:
        facts += [
            ("images", f"{count(started.num_train_images)} to train, {count(started.num_val_images)} to validate"),
            ("classes", printable(", ".join(started.class_names))),
            ("speed", _speed(view)),
            ("device", printable(started.device)),
            ("memory", f"by {printable(started.allocator)}" if started.allocator not in ("", "system") else ""),
            ("versions", printable(joined([f"{name} {number}" for name, number in started.versions.items()], ", "))),
        ]
    told = [[(f"  {name:<10}", "muted"), (value, "text")] for name, value in facts if value]
    return [*_heading("The run"), *told, []] if told else []


def _recipe(recipe: RecipeReading | None, *, whole: bool) -> list[list[Piece]]:
    """The recipe's values; those that somebody chose stand out, with where they came from and what they replace."""
    if recipe is None:
        return []
    if recipe.trouble:
        return [*_heading("Recipe"), [(f"  {recipe.trouble}", "warning")], []]
    chosen = [setting for setting in recipe.settings if setting.is_chosen]
    shown = recipe.settings if whole else chosen
    room = min(34, max((len(setting.key) for setting in shown), default=0))
    heading = "Recipe, all of it" if whole else "Recipe, what it changes"
    others = len(recipe.settings) - len(shown)
    told = [_setting(setting, room) for setting in shown]
    if not whole:
        told.append([(f"    {others} others are as by default; d shows them", "muted")])
    return [*_heading(heading), *told, []]


def _setting(setting: Setting, room: int) -> list[Piece]:
    sign, ink = _ORIGIN_LOOKS[setting.origin] if setting.is_chosen else ("", "muted")
    value = fit(printable(setting.value), _LONGEST_VALUE)
    line: list[Piece] = [
        (f"  {sign or ' '} ", f"{ink}!"), (printable(setting.key).ljust(room), ink if setting.is_chosen else "muted"),
        (f"  {value}", "strong" if setting.is_chosen else "text"),
    ]
    if setting.is_chosen:
        default = f"default {fit(printable(setting.default), _LONGEST_VALUE)}" if setting.default else ""
        words = joined([default, _ORIGIN_WORDS[setting.origin]])
        line.append((f"  {words}" if words else "", "muted"))
    return line


def _speed(view: RunView) -> str:
    """Seconds a step and the share of them spent waiting for data, over the latest steps."""
    step_s = _known(view.steps.column("step_s")[-_SPEED_STEPS:])
    data_s = _known(view.steps.column("data_s")[-_SPEED_STEPS:])
    if not len(step_s) or not step_s.mean() > 0:
        return ""
    waiting = f", {data_s.mean() / step_s.mean():.0%} of it waiting for data" if len(data_s) else ""
    return f"{step_s.mean():.3g} s a step{waiting}"


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _journal(view: RunView) -> list[list[Piece]]:
    if not view.journal:
        return []
    return [*_heading("What happened, latest first"), *(_entry(event) for event in reversed(view.journal))]


def _entry(event: JournalEvent) -> list[Piece]:
    when = (f"  {_clock(event.time)}  ", "muted")
    match event:
        case RunStarted():
            again = f", from step {event.first_step + 1}" if event.first_step else ""
            return [when, (f"attempt {event.attempt} begins on {printable(event.device)}{again}", "text")]
        case MessageEvent():
            return [when, (printable(event.text), event.level)]
        case RecoveryEvent():
            return [when, (printable(f"{event.kind}: {event.text}"), "warning")]
        case CheckpointEvent():
            return [when, (f"saved the {event.kind} weights, epoch {event.epoch + 1}", "muted")]
        case RunEnded():
            told = joined([event.cause, event.reason], ": ")
            ink = "error" if event.outcome == "failed" else "text"
            return [when, (printable(joined([event.outcome, told, f"after {duration(event.elapsed_s)}"])), ink)]


def _clock(seconds: float) -> str:
    try:
        return time.strftime("%d %b %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return NOTHING
