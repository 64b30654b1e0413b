"""The report as one HTML file that needs nothing else: style, script, curves and photos are inside it.

Text from files (names, reasons, recipes, logs) is escaped by the template; nothing is fetched, which the page's own
content policy holds browsers to.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from statistics import median

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from engine import __version__
from engine.analysis.runfiles import Measured, load_analysis, read_measured
from engine.analysis.schema import Analysis
from engine.errors import EngineError, printable
from engine.recipe.difference import differing
from engine.report.chapter import Chapter
from engine.report.chart import dots
from engine.report.figures import MOST_TOGETHER, charts_of, charts_together, number, span
from engine.report.gallery import make_gallery
from engine.report.photos import Album
from engine.report.story import RunStory

GENERATOR = "detection-engine report"
_STATE_WORDS = {
    "finished": "finished after", "failed": "failed after", "cancelled": "was cancelled after",
    "queued": "waits, after", "held": "is held, after", "running": "is at work, after",
    "stopping": "is being stopped, after",
}
_TYPED = re.compile("`([^`]+)`")


def render(stories: Sequence[RunStory], *, made_at: float | None = None, album: Album | None = None) -> str:
    """The page of one run, or of several.

    Args:
        stories: The runs, in any order.
        made_at: When, seconds since 1970; now when left out.
        album: How many bytes of photos there may be.
    """
    made_at, album = time.time() if made_at is None else made_at, album or Album()
    runs = _ranked([Chapter(story, *_analysis(story)) for story in stories])
    per_shelf = 6 if len(runs) == 1 else 4 if len(runs) <= 4 else 3
    for place, one in enumerate(runs):
        one.is_open = place == 0
        one.charts = charts_of(one.story)
        if one.measured is not None:
            best = one.analysis.best if one.analysis else None
            curve = one.analysis.f1_by_score if one.analysis else None
            score = best.score if best else 0.5
            one.gallery = make_gallery(one.measured, score, album, per_shelf=per_shelf, f1_by_score=curve or ())
        if one.gallery is None:
            one.previews = _previews(one.story, album)
    together = [one.story for one in runs]
    with_recipes = [one for one in runs if one.story.recipe is not None]
    differences = differing([one.story.recipe for one in with_recipes if one.story.recipe]) if len(runs) > 1 else {}
    return _template().render(
        runs=runs, night=len(runs) != 1, generator=GENERATOR, title=_title(runs), kicker=_kicker(runs, made_at),
        summary=_summary(runs), style=_part("style.css"), script=_part("script.js"), photos=album.embedded,
        failures=[one for one in runs if one.story.row.state == "failed"], mended=_mended(runs),
        together=charts_together(together) if len(runs) > 1 else [],
        num_untold=len([one for one in together if one.epochs]) - MOST_TOGETHER,
        has_intervals=any(one.interval for one in runs), several_datasets=len(_datasets(runs)) > 1,
        differing=differences, differing_runs=[one.story.run for one in with_recipes],
        footer=f"Made by engine {__version__} on {_clock(made_at)}. Nothing in this file is fetched from elsewhere.",
    )


def _template() -> Template:
    environment = Environment(
        loader=FunctionLoader(lambda name: str(_part(name))), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "span": span, "sentence": sentence, "dots": dots}
    return environment.get_template("page.html.j2")


def _part(name: str) -> Markup:
    return Markup((files("engine.report") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704 - our own


def sentence(text: str) -> Markup:
    """Words of a message as a sentence; what is `typed` is set as such."""
    text = printable(text).strip()
    text = text[:1].upper() + text[1:] + ("" if text[-1:] in ".!?:" or not text else ".")
    return Markup(_TYPED.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _analysis(story: RunStory) -> tuple[Analysis | None, Measured | None]:
    try:
        return load_analysis(story.run_dir), read_measured(story.run_dir)
    except (EngineError, OSError):
        return None, None


def _ranked(runs: list[Chapter]) -> list[Chapter]:
    """Best AP first; those without follow by number."""
    runs = sorted(runs, key=lambda one: (one.ap is None, -(one.ap or 0.0), one.story.row.number))
    for place, one in enumerate(runs):
        one.rank = place + 1 if one.ap is not None else None
    return runs


def _previews(story: RunStory, album: Album) -> list[dict[str, object]]:
    shown = []
    for path in story.previews:
        photo = album.add(path)
        if photo is not None:
            shown.append({"photo": photo.key, "name": path.name, "width": photo.width, "height": photo.height})
    return shown


def _mended(runs: Sequence[Chapter]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for one in runs:
        if one.story.row.state == "failed":
            continue  # its failure tells what was tried
        for kind, count in Counter(event.kind for event in one.story.recoveries).items():
            latest = [event.text for event in one.story.recoveries if event.kind == kind][-1]
            rows.append({"run": one.story.run, "anchor": one.anchor, "kind": kind, "count": count, "text": latest})
    return rows


def _datasets(runs: Sequence[Chapter]) -> set[str]:
    """What the ranked runs were measured on."""
    return {
        f"{one.story.recipe.dataset.val} {one.story.recipe.dataset.val_fraction} {one.story.recipe.dataset.split_seed}"
        f" {one.story.recipe.classes.names}"
        for one in runs
        if one.story.recipe is not None and one.ap is not None
    }


def _title(runs: Sequence[Chapter]) -> str:
    if len(runs) == 1:
        return runs[0].story.run
    return f"{len(runs)} runs" if runs else "No runs"


def _kicker(runs: Sequence[Chapter], made_at: float) -> str:
    begun = [one.story.row.started_at for one in runs if one.story.row.started_at]
    ended = [one.story.row.ended_at for one in runs if one.story.row.ended_at]
    if begun and ended:
        return f"{_clock(min(begun))} to {_clock(max(ended))}"
    return _clock(made_at)


def _clock(when: float) -> str:
    return time.strftime("%d %B %Y, %H:%M", time.localtime(when)).lstrip("0")


def _summary(runs: Sequence[Chapter]) -> str:
    """The night in two or three sentences."""
    if not runs:
        return "There is nothing to tell yet."
    worked = span(sum(one.story.progress.elapsed_s for one in runs))
    if len(runs) == 1:
        story = runs[0].story
        name = story.recipe.model.arch if story.recipe else "This run"
        words = f"{name} {_STATE_WORDS[story.row.state]} {worked} of work."
    else:
        states = Counter(one.story.row.state for one in runs)
        words = f"{', '.join(f'{count} {state}' for state, count in states.items())}; {worked} of work."
    best = runs[0]
    if best.ap is not None:
        name = "" if len(runs) == 1 else f" of {best.story.run}"
        words += f" The best AP{name} is {number(best.ap)} (AP50 {number(best.ap50)}), at epoch {best.best_epoch}."
    off = [one.story.progress.elapsed_s / one.foretold - 1 for one in runs if one.is_whole and one.foretold]
    if off:
        usual = median(off)
        side = "longer" if usual > 0 else "less"
        words += f" It took {abs(usual):.0%} {side} than foretold." if len(runs) == 1 else (
            f" Runs took {abs(usual):.0%} {side} than foretold, by the median.")
    return words
