"""Small datasets under a test's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from engine.errors import Problem
from engine.recipe.schema import Classes, Dataset

SHARED_DATA = Path(__file__).parents[3] / "../shared/data"
MUG = ("mug", (10, 10, 30, 30))


def write_image(path: Path, size: tuple[int, int] = (64, 48), *, orientation: int | None = None, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def voc_xml(
    objects: Iterable[tuple[str, tuple[Any, ...]]] = (MUG,),
    size: tuple[Any, Any] | None = (64, 48),
    extra: str = "",
) -> str:
    lines = ["<annotation>", ""]
    if size is not None:
        lines.append(f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>")
    for name, box in objects:
        sides = "".join(
            f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        lines += ["<object>", f"<name>{escape(name)}</name>{extra}", f"<bndbox>{sides}</bndbox>", "</object>"]
    return "\n".join([*lines, "</annotation>"])


class VocFolder:
    """A VOC dataset that grows picture by picture; each picture differs from the others."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = 0
        for split in ("train", "val"):
            for part in ("images", "annotations"):
                (root / split / part).mkdir(parents=True)

    def add(
        self,
        split: str = "train",
        stem: str = "a",
        *,
        xml: str | None = None,
        suffix: str = ".jpg",
        size: tuple[int, int] = (64, 48),
        orientation: int | None = None,
    ) -> VocFolder:
        self._count += 1
        write_image(self.image(split, stem, suffix), size, orientation=orientation, seed=self._count)
        self.label(split, stem, voc_xml() if xml is None else xml)
        return self

    def label(self, split: str, stem: str, xml: str) -> None:
        path = self.root / split / "annotations" / f"{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml, encoding="utf-8")

    def image(self, split: str, stem: str, suffix: str = ".jpg") -> Path:
        return self.root / split / "images" / f"{stem}{suffix}"

    def dataset(self, **policies: Any) -> Dataset:
        splits = {
            split: {"images": self.root / split / "images", "annotations": self.root / split / "annotations"}
            for split in ("train", "val")
        }
        return Dataset.model_validate({**splits, **policies})


def classes(*names: str, **more: Any) -> Classes:
    return Classes(names=names or ("mug",), **more)


def codes_of(problems: Iterable[Problem]) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity) for problem in problems]


def shared_dataset(name: str, splits: Iterable[str], **policies: Any) -> Dataset:
    root = SHARED_DATA / name
    paths: Mapping[str, Any] = {
        split: {"images": root / split / "images", "annotations": root / split / "annotations"} for split in splits
    }
    return Dataset.model_validate({**paths, **policies})


class Labelled:
    """A dataset of one format under a folder; each picture differs from the others."""

    def __init__(self, root: Path, form: str, names: tuple[str, ...] = ("mug", "lid")) -> None:
        self.root, self.form, self.names = root, form, names
        self._count = 0
        self._coco: dict[str, dict[str, Any]] = {}
        for split in ("train", "val"):
            (root / split / "images").mkdir(parents=True)
            (root / split / "labels").mkdir(parents=True)

    def add(
        self,
        split: str,
        name: str,
        objects: Iterable[tuple[str, tuple[float, float, float, float]]] = (MUG,),
        size: tuple[int, int] = (64, 48),
    ) -> Labelled:
        """Add a picture with corner boxes in pixels."""
        self._count += 1
        write_image(self.root / split / "images" / name, size, seed=self._count)
        if self.form == "coco":
            self._add_coco(split, name, list(objects), size)
            return self
        suffix = {"voc": ".xml", "yolo": ".txt"}[self.form]
        label = (self.root / split / "labels" / name).with_suffix(suffix)
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(voc_xml(objects, size) if self.form == "voc" else self._yolo(objects, size), encoding="utf-8")
        return self

    def _yolo(self, objects: Iterable[tuple[str, tuple[float, float, float, float]]], size: tuple[int, int]) -> str:
        w, h = size
        return "\n".join(
            f"{self.names.index(name)} {(a + c) / 2 / w!r} {(b + d) / 2 / h!r} {(c - a) / w!r} {(d - b) / h!r}"
            for name, (a, b, c, d) in objects
        )

    def _add_coco(self, split: str, name: str, objects: list[Any], size: tuple[int, int]) -> None:
        file = self.coco(split)
        image_id = 100 + len(file["images"])
        file["images"].append({"id": image_id, "file_name": name, "width": size[0], "height": size[1]})
        for category, (a, b, c, d) in objects:
            file["annotations"].append(
                {
                    "id": len(file["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 7 * self.names.index(category),
                    "bbox": [a, b, c - a, d - b],
                    "iscrowd": 0,
                }
            )
        self.save_coco(split)

    def coco(self, split: str) -> dict[str, Any]:
        categories = [{"id": 7 * index, "name": name} for index, name in enumerate(self.names)]
        return self._coco.setdefault(split, {"images": [], "annotations": [], "categories": categories})

    def save_coco(self, split: str) -> None:
        (self.root / split / "labels/coco.json").write_text(json.dumps(self.coco(split)), encoding="utf-8")

    def place(self, split: str) -> dict[str, Any]:
        labels = self.root / split / "labels"
        return {
            "images": self.root / split / "images",
            "annotations": labels / "coco.json" if self.form == "coco" else labels,
        }

    def dataset(self, **policies: Any) -> Dataset:
        given = {"format": self.form, "train": self.place("train"), "val": self.place("val"), **policies}
        return Dataset.model_validate({key: value for key, value in given.items() if value is not None})
