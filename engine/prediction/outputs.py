"""Where everything that is made of pictures goes, and that nothing of a person's is overwritten; no torch.

What lies in the folder:

- predictions.json: always; says whose the folder is
- IMG_1.jpg, clip.mp4: drawn pictures and videos
- clip.jsonl: what was found in a video, a stream or a watched folder, a line for each picture
- predictions.csv: a row for each object
- coco.json: images and objects with scores; coco_results.json: the list of results alone
- voc/, yolo/, data.yaml: label files named as the pictures are below the folder that was named
- frames/: of videos, the pictures that labels are about, and their labels
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from engine.errors import DataError, EngineError, Problem
from engine.prediction.inputs import Inputs, Picture

FORMS = ("pictures", "json", "coco", "voc", "yolo", "csv")
_LABEL_SUFFIXES: Mapping[str, str] = {"voc": ".xml", "yolo": ".txt"}


@dataclass(slots=True)
class Outputs:
    """The files of one folder of predictions.

    Attributes:
        target: The folder.
        forms: What is written besides predictions.json.
    """

    target: Path
    forms: frozenset[str]
    _taken: dict[str, Path] = field(default_factory=dict)

    @property
    def predictions(self) -> Path:
        """What was found, and by which model."""
        return self.target / "predictions.json"

    @property
    def table(self) -> Path:
        """What was found, a row for each object."""
        return self.target / "predictions.csv"

    @property
    def coco(self) -> Path:
        """Images and objects in COCO's form."""
        return self.target / "coco.json"

    @property
    def coco_results(self) -> Path:
        """COCO's list of results, with the ids of `coco`."""
        return self.target / "coco_results.json"

    @property
    def frames(self) -> Path:
        """Folder of a video's frames and their labels."""
        return self.target / "frames"

    @property
    def label_forms(self) -> list[str]:
        """The forms that are label files."""
        return [form for form in _LABEL_SUFFIXES if form in self.forms]

    def free_name(self, source: Path, stem: str, suffix: str) -> Path:
        """A file called after its source, always the same; names that would clash get a number."""
        name, number = f"{stem}{suffix}", 2
        while self._taken.setdefault(name.lower(), source) != source:
            name, number = f"{stem}-{number}{suffix}", number + 1
        return self.target / name

    def drawn(self, picture: Picture) -> Path:
        """Where a picture is drawn."""
        return self.free_name(picture.path, picture.path.stem, ".jpg")

    def label(self, form: str, picture: Picture, within: Path | None = None) -> Path:
        """The label file of a picture."""
        name = PurePosixPath(picture.name).with_suffix(_LABEL_SUFFIXES[form])
        return (within or self.target) / form / name

    def names_file(self, within: Path | None = None) -> Path:
        """The file that names YOLO's class ids."""
        return (within or self.target) / "data.yaml"

    def planned(self, inputs: Inputs) -> Iterable[Path]:
        """Every file that will be written, frames of videos left out."""
        yield self.predictions
        yield from (self.table,) if "csv" in self.forms else ()
        yield from (self.coco, self.coco_results) if "coco" in self.forms else ()
        yield from (self.names_file(),) if "yolo" in self.forms else ()
        for picture in inputs.pictures:
            yield from (self.drawn(picture),) if "pictures" in self.forms else ()
            yield from (self.label(form, picture) for form in self.label_forms)
        for path in inputs.videos:
            yield self.free_name(path, path.stem, ".jsonl")
            yield from (self.free_name(path, path.stem, ".mp4"),) if "pictures" in self.forms else ()

    def is_ours(self) -> bool:
        """Whether the folder holds former predictions, which may be overwritten."""
        try:
            content = json.loads(self.predictions.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(content, dict) and content.keys() >= {"run", "threshold", "images"}

    def require_free(self, inputs: Inputs) -> None:
        """Stop before a person's file is overwritten; only a folder of former predictions may be.

        Raises:
            DataError: A file to be written is there and isn't a former prediction (X104), or two pictures would
                share a label file (X110).
        """
        self._require_own_labels(inputs.pictures)
        sources = {path.resolve() for path in (*(one.path for one in inputs.pictures), *inputs.videos)}
        ours = self.is_ours()
        for path in self.planned(inputs):
            if path.resolve() in sources or (path.exists() and not ours):
                raise DataError.of(
                    "X104", str(path), "this file would be overwritten", "name another folder with --out"
                )

    def _require_own_labels(self, pictures: Collection[Picture]) -> None:
        problems: list[Problem] = []
        for form in self.label_forms[:1]:
            owners: dict[Path, Picture] = {}
            for picture in pictures:
                owner = owners.setdefault(self.label(form, picture), picture)
                if owner is not picture:
                    error = DataError.of(
                        "X110", str(picture.path), f"its label file would be that of {owner.path}",
                        "look at one folder at a time, and rename pictures that differ by their suffix only",
                    )
                    problems.extend(error.problems)
        if problems:
            raise DataError(problems)


def require_outside(target: Path, folder: Path) -> None:
    """Refuse to write where one watches: drawn pictures would be looked at again.

    Raises:
        EngineError: The folder of predictions lies within the watched one (X114).
    """
    if target.resolve().is_relative_to(folder.resolve()):
        raise EngineError.of(
            "X114", str(target), "the predictions would be written into the folder that is watched",
            "name a folder outside of it with --out",
        )
