"""A run's part of the report: what the template shows of it, in figures and words."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.analysis.runfiles import Measured
from engine.analysis.schema import Analysis, Interval, Operating
from engine.report.chart import Chart
from engine.report.figures import number, span
from engine.report.gallery import Gallery
from engine.report.story import RunStory

_CONFUSED_CLASSES = 40
_ERROR_WORDS = {
    "classification": "the right place, the wrong class", "localisation": "the right class, badly placed",
    "both": "the wrong class and badly placed", "duplicate": "a second box on what was found already",
    "background": "nothing was labelled there", "missed": "objects that no box found",
}


@dataclass
class Chapter:
    """A run as the template shows it.

    Attributes:
        story: What its folder tells.
        analysis: What is said of its detections; None where they weren't kept.
        measured: The detections themselves.
        rank: Its place; None without figures.
        is_open: Whether it is unfolded at first.
        charts: Its curves.
        gallery: Its photos, with boxes.
        previews: What was drawn while it trained, where there is no gallery.
    """

    story: RunStory
    analysis: Analysis | None = None
    measured: Measured | None = None
    rank: int | None = None
    is_open: bool = False
    charts: list[Chart] = field(default_factory=list)
    gallery: Gallery | None = None
    previews: list[dict[str, object]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Where links to it lead."""
        return f"run-{self.story.row.number or self.story.run}"

    # --- figures: the analysis' own where there is one, else those that training told ---

    @property
    def ap(self) -> float | None:
        """Of the weights that are kept; None where nothing was measured."""
        return self.analysis.figures.ap if self.analysis else self.story.best.ap if self.story.best else None

    @property
    def ap50(self) -> float | None:
        """Likewise."""
        return self.analysis.figures.ap50 if self.analysis else self.story.best.ap50 if self.story.best else None

    @property
    def ap75(self) -> float | None:
        """Likewise."""
        return self.analysis.figures.ap75 if self.analysis else self.story.best.ap75 if self.story.best else None

    @property
    def ar100(self) -> float | None:
        """Likewise."""
        return self.analysis.figures.ar100 if self.analysis else self.story.best.ar100 if self.story.best else None

    @property
    def interval(self) -> Interval | None:
        """Where AP would lie with other images, 19 times in 20."""
        return self.analysis.intervals.get("ap") if self.analysis else None

    @property
    def best_epoch(self) -> str:
        """One-based, of how many."""
        if self.story.best is None:
            return "–"
        return f"{self.story.best.epoch + 1} of {self.story.progress.num_epochs or len(self.story.epochs)}"

    @property
    def glance(self) -> str:
        """Its figures in one line."""
        return f"AP {number(self.ap)}, AP50 {number(self.ap50)}" if self.ap is not None else ""

    @property
    def tiles(self) -> list[tuple[str, str]]:
        """What is told largest."""
        if self.ap is None:
            return []
        best = self.analysis.best if self.analysis else None
        found = [("AP", number(self.ap)), ("AP50", number(self.ap50)), ("AP75", number(self.ap75)),
                 ("AR100", number(self.ar100))]
        if best is not None:
            found += [("best threshold", number(best.score, 2)), ("F1 there", number(best.f1))]
        return [*found, ("best epoch", self.best_epoch), ("time", span(self.story.progress.elapsed_s))]

    # --- forecast ---

    @property
    def foretold(self) -> float | None:
        """Seconds."""
        return self.story.forecast.run_s if self.story.forecast else None

    @property
    def is_whole(self) -> bool:
        """Whether it went through all of its epochs, as was foretold."""
        progress = self.story.progress
        return self.story.row.state == "finished" and progress.epochs_measured == progress.num_epochs

    @property
    def apart(self) -> str:
        """How much longer or shorter it took."""
        took = self.story.progress.elapsed_s
        if not self.foretold or not took or not self.is_whole:
            return ""
        return f"{took / self.foretold - 1:+.0%}".replace("-", "−")

    @property
    def step_foretold(self) -> str:
        """Seconds a step, in words."""
        return f"{self.story.forecast.figures.step_s:.3g} s" if self.story.forecast else "–"

    @property
    def step_took(self) -> str:
        """Likewise."""
        return f"{self.story.step_s:.3g} s" if self.story.step_s is not None else "–"

    @property
    def memory(self) -> str:
        """What the rehearsal's worst step took."""
        peak = self.story.forecast.figures.peak_bytes if self.story.forecast else 0
        return f"{peak / 1e9:.1f} GB" if peak else "–"

    @property
    def epochs_words(self) -> str:
        """Epochs measured, of how many."""
        progress = self.story.progress
        if progress.num_epochs is None:
            return "never started"
        words = f"{progress.epochs_measured} of {progress.num_epochs}"
        early = self.story.row.state == "finished" and progress.epochs_measured < progress.num_epochs
        return f"{words}, stopped early" if early else words

    # --- parts of its section ---

    @property
    def classes(self) -> dict[str, object] | None:
        """The table of classes."""
        if self.analysis is not None:
            rows = [
                {
                    "name": one.name, "ap": one.figures.ap,
                    "cells": [
                        number(one.figures.ap50), str(one.num_objects), str(one.num_images),
                        *_operating(one.best),
                    ],
                }
                for one in self.analysis.classes
            ]
            headings = ["class", "AP", "AP50", "objects", "images", "best threshold", "precision", "recall", "F1"]
            note = "Threshold, precision, recall and F1 are those of each class's highest F1 at IoU 0.50."
            return {"headings": headings, "rows": rows, "note": note}
        known = self.story.best.ap_per_class if self.story.best else {}
        if not known:
            return None
        plain: list[dict[str, object]] = [{"name": name, "ap": ap, "cells": []} for name, ap in known.items()]
        return {"headings": ["class", "AP"], "rows": plain, "note": ""}

    @property
    def errors(self) -> list[dict[str, object]]:
        """Kinds of errors, the dearest first."""
        costs = self.analysis.errors if self.analysis else ()
        return [
            {"kind": one.kind, "count": one.count, "cost": one.cost, "words": _ERROR_WORDS.get(one.kind, "")}
            for one in sorted(costs, key=lambda one: -one.cost)
        ]

    @property
    def confusion(self) -> dict[str, object] | None:
        """The confusion matrix; None for too many classes."""
        if self.analysis is None or len(self.analysis.classes) > _CONFUSED_CLASSES:
            return None
        names = [one.name for one in self.analysis.classes]
        last = len(names)
        rows = []
        for true, counts in enumerate(self.analysis.confusion.counts):
            total = sum(counts) or 1
            cells = [
                {
                    "count": count, "share": count / total,
                    "kind": "none" if true == column == last else "right" if true == column else "wrong",
                }
                for column, count in enumerate(counts)
            ]
            rows.append({"name": names[true] if true < last else "background", "cells": cells})
        return {"columns": [*names, "nothing"], "rows": rows, "score": self.analysis.confusion.score}

    @property
    def environment(self) -> list[tuple[str, str]]:
        """What it was executed on and with."""
        started, forecast = self.story.started, self.story.forecast
        if started is None:
            return []
        facts = [("device", self.story.row.device or started.device)]
        if started.allocator not in ("", "system"):
            facts.append(("memory allocator", started.allocator))
        facts += [(name.replace("detection-engine", "engine"), version) for name, version in started.versions.items()]
        facts += [("training images", str(started.num_train_images)),
                  ("validation images", str(started.num_val_images)), ("attempts", str(max(1, self.story.row.attempt)))]
        if forecast is not None:
            facts.append(("images in memory at a time", str(forecast.figures.micro_batch_size)))
        facts.append(("folder", str(self.story.run_dir.path)))
        return facts

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Ids and words of its headings, for the contents."""
        return [
            (key, words)
            for key, words, is_there in (
                ("curves", "Curves", self.charts), ("classes", "Classes", self.classes),
                ("errors", "Errors", self.errors), ("confusion", "Confusion", self.confusion),
                ("photos", "Photos", self.gallery or self.previews),
                ("mended", "Mended", self.story.recoveries or self.story.warnings),
                ("recipe", "Recipe", self.story.recipe_text), ("environment", "Environment", self.environment),
            )
            if is_there
        ]


def _operating(best: Operating | None) -> list[str]:
    """Cells of a class at its best threshold."""
    if best is None:
        return ["–"] * 4
    return [number(best.score, 2), number(best.precision), number(best.recall), number(best.f1)]
