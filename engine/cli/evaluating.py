"""What a model is evaluated on, and where the evaluation goes: for `engine evaluate` and `engine compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine.annotations import ImageRecord, group, read_split
from engine.annotations.codes import IMAGE_UNREADABLE
from engine.errors import DataError, EngineError, Problem
from engine.modelfile import ModelFile
from engine.recipe.schema import AskedPrecision, Classes, Dataset, SplitName

if TYPE_CHECKING:
    from engine.analysis import Analysis
    from engine.analysis.runfiles import EvaluationFiles

Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Photos:
    """The photos to evaluate on.

    Attributes:
        name: What the evaluation is called: a split, or "data-" and the folder's or recipe's name.
        split: Which split of the dataset.
        dataset: Where they are, and what to do about dirt.
        classes: The model's classes, with the other spellings that the labels may use.
    """

    name: str
    split: SplitName
    dataset: Dataset
    classes: Classes

    def read(self) -> tuple[Sequence[ImageRecord], list[Problem]]:
        """The images, and those that can't be read.

        Raises:
            DataError: Labels are at fault, or there is no image.
        """
        read = read_split(self.dataset, self.classes, self.split)
        errors = [problem for problem in read.problems if problem.severity == "error"]
        if any(problem.code != IMAGE_UNREADABLE for problem in errors) or (errors and not read.records):
            raise DataError(group(errors))
        return read.records, errors


def photos_of_run(file: ModelFile, split: SplitName) -> Photos:
    """A split of the recipe that a model was trained by.

    Raises:
        EngineError: There is no recipe by the model (X308), or it has no such split (X309).
    """
    from engine.recipe.load import read_resolved

    if file.run_dir is None:
        raise EngineError.of(
            "X308", str(file.checkpoint), "no recipe lies by this checkpoint that says which photos to evaluate it on",
            "name a folder of labelled photos, or a recipe, with --data",
        )
    recipe = read_resolved(file.run_dir.resolved)
    if not recipe.dataset.roots(split):
        raise EngineError.of(
            "X309", str(file.run_dir.resolved), f"the recipe of this run has no split {split}",
            "name a folder of labelled photos with --data, or another --split",
        )
    return Photos(split, split, recipe.dataset, recipe.classes)


def photos_in(data: Path, split: SplitName | None, file: ModelFile, names: Sequence[str]) -> Photos:
    """The photos of a recipe, or of a folder that nobody has described.

    Args:
        data: A recipe file, or a folder.
        split: Which split; None for the recipe's val, or the only one of the folder.
        file: The model, whose recipe says how its classes are spelt otherwise.
        names: The model's classes.

    Raises:
        DataError: There is nothing to evaluate on.
        RecipeError: The recipe can't be read.
        EngineError: Its classes aren't the model's (X310), or there are several splits (X309).
    """
    name = name_of_data(data, split)
    if data.is_dir():
        return _photos_in_folder(data, split, file, names, name)
    return _photos_of_recipe(data, split or "val", names, name)


def name_of_data(data: Path, split: SplitName | None) -> str:
    """What an evaluation on other photos is called."""
    return f"data-{data.resolve().stem}" + (f"-{split}" if split else "")


def _photos_of_recipe(data: Path, split: SplitName, names: Sequence[str], name: str) -> Photos:
    from engine.recipe.load import load_recipes

    recipe = load_recipes(data)[0].recipe
    unknown = [one for one in recipe.classes.names if one not in names]
    if unknown:
        raise EngineError.of(
            "X310", str(data),
            f"the model doesn't know the class(es) {', '.join(unknown)}; it knows {', '.join(names)}",
            "evaluate a model of these classes, or put the others into classes.ignore or classes.aliases",
        )
    if not recipe.dataset.roots(split):
        raise EngineError.of("X309", str(data), f"the recipe has no split {split}", "name another --split")
    # What the model knows is demanded of it, even if that recipe leaves it out.
    classes = Classes(
        names=tuple(names),
        aliases={alias: target for alias, target in recipe.classes.aliases.items() if alias not in names},
        ignore=tuple(one for one in recipe.classes.ignore if one not in names),
    )
    return Photos(name, split, recipe.dataset, classes)


def _photos_in_folder(
    data: Path, split: SplitName | None, file: ModelFile, names: Sequence[str], name: str
) -> Photos:
    from engine.recipe.load import read_resolved
    from engine.scaffold.formats import layouts, yolo_names
    from engine.scaffold.survey import as_dataset
    from engine.scaffold.tree import look_through

    tree = look_through(data)
    found = layouts(tree)
    if not found:
        raise DataError.of(
            "D003", str(data), "no labelled images in it or below that belong together",
            "name a folder that holds both photos and their Pascal VOC, COCO or YOLO labels",
        )
    layout = found[0]
    # A folder of a single kind of photos is read as "train", whatever its name says.
    only: SplitName | None = "train" if len(layout.splits) == 1 else split
    if only is None or only not in layout.splits:
        raise EngineError.of(
            "X309", str(data), f"this folder holds the splits {', '.join(layout.splits)}",
            "name one of them with --split",
        )
    described = as_dataset(layout, yolo_names(tree) if layout.format == "yolo" else None)
    recipe = read_resolved(file.run_dir.resolved) if file.run_dir else None
    if recipe is None:
        return Photos(name, only, _whole(described), Classes(names=tuple(names)))
    places = ("format", "train", "val", "test", "val_fraction", "names_file")
    policies = recipe.dataset.model_copy(update={key: getattr(described, key) for key in places})
    if described.format != "voc":
        policies = policies.model_copy(update={"first_pixel": 0})  # means nothing there
    return Photos(name, only, _whole(policies), recipe.classes)


def _whole(dataset: Dataset) -> Dataset:
    """The dataset without a share set aside for measuring: all of it is measured on."""
    return dataset.model_copy(update={"val_fraction": None})


def refuse_overwriting(out_dir: Path) -> None:
    """Stop before a person's file is overwritten; a former evaluation may be.

    Raises:
        DataError: A file to be written is there and no former evaluation is.
    """
    from engine.analysis.runfiles import EvaluationFiles, read_analysis
    from engine.report.evaluation_plots import PLOTS

    files = EvaluationFiles.in_folder(out_dir)
    if read_analysis(files.analysis) is not None:
        return
    for path in (*files.written(), *(files.plots / name for name in PLOTS)):
        if path.exists():
            raise DataError.of("X104", str(path), "this file would be overwritten", "name another folder with --out")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An evaluation that was made.

    Attributes:
        analysis: What it says.
        files: Where it was written; None when nobody asked for that.
        problems: Images that can't be read.
    """

    analysis: Analysis
    files: EvaluationFiles | None
    problems: Sequence[Problem]


def evaluate_model(
    file: ModelFile, choose: Callable[[Sequence[str]], Photos], device: str, out_dir: Path | None, tell: Tell,
    precision: AskedPrecision = "fp32",
) -> Outcome:
    """Detect in photos, and analyse and write what was found.

    Args:
        file: The model.
        choose: Given the model's classes, says which photos.
        device: Where to compute.
        out_dir: Where to write; the run's folder when it is None and the model is a run's best.
        tell: Told images done and in all.
        precision: Number format of the convolutions and products.

    Raises:
        EngineError: Model and photos don't go together, or can't be read.
        OSError: The disk is full.
    """
    from engine.analysis.runfiles import (
        EvaluationFiles,
        analyse_content,
        encode_measured,
        save_analysis,
        save_measured,
    )
    from engine.evaluation.evaluate import evaluate
    from engine.evaluation.predict import load_predictor

    predictor = load_predictor(file, device, precision)
    photos = choose(predictor.class_names)
    records, unreadable = photos.read()
    evaluated = evaluate(predictor, records, tell)
    problems = [*unreadable, *evaluated.problems]
    if problems and evaluated.speed is None:
        raise DataError(problems)  # there is nothing to tell of
    content = encode_measured(
        evaluated.ground_truth, evaluated.detections, model=file.name, split=photos.name, epoch=predictor.epoch
    )
    files: EvaluationFiles | None = None
    if out_dir is not None:
        files = EvaluationFiles.in_folder(out_dir)
    elif file.run_dir is not None and file.checkpoint == file.run_dir.best_checkpoint:
        files = EvaluationFiles.of_run(file.run_dir, photos.name)
    analysis = analyse_content(content, files or EvaluationFiles.in_folder(Path()), evaluated.speed)
    if files is not None:
        save_measured(files, content)
        save_analysis(files, analysis)
    return Outcome(analysis, files, problems)


def as_split(word: str | None) -> SplitName | None:
    """What click has checked already."""
    return cast("SplitName | None", word)
