"""Writing a drawn data set as a Pascal VOC folder, all of it or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from engine.sample.scene import SAMPLE_CLASSES, Scene, draw_scene

MARKER = ".engine-sample.json"
"""A file in a drawn data set by which it is known again."""
FORMAT_VERSION = 1
"""Raised whenever the same seed would draw other pictures."""


@dataclass(frozen=True)
class SampleCounts:
    """How many pictures each split gets."""

    train: int = 240
    val: int = 60
    test: int = 40


def write_sample(
    out_dir: Path,
    *,
    seed: int = 0,
    counts: SampleCounts = SampleCounts(),
    on_image: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a data set into ``out_dir``.

    Everything is drawn beside ``out_dir`` and moved there at the end: an interrupted drawing leaves
    nothing under that name.

    Args:
        out_dir: A folder that does not exist yet, or an empty one.
        seed: Zero or more; the same seed draws the same pictures.
        counts: Pictures in each split.
        on_image: Called after each picture with the number drawn and the number to draw.

    Raises:
        FileExistsError: ``out_dir`` is a file or a folder that holds something.
        ValueError: The seed or a count is negative.
    """
    if seed < 0 or min(asdict(counts).values()) < 0:
        raise ValueError(f"seed and counts must not be negative: seed {seed}, {counts}")
    out_dir = out_dir.absolute()  # "." has no name to put a draft beside
    _refuse_taken(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        _draw_into(draft, seed, counts, on_image)
        _publish(draft, out_dir)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _refuse_taken(out_dir: Path) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise FileExistsError(f"{out_dir} exists and is not a folder; nothing was drawn")
    if out_dir.is_dir() and any(out_dir.iterdir()):
        raise FileExistsError(f"{out_dir} is not empty; the sample is only drawn into a new or an empty folder")


def _publish(draft: Path, out_dir: Path) -> None:
    """Give the finished draft its name, unless something came to lie there meanwhile."""
    _refuse_taken(out_dir)
    if out_dir.is_dir():  # perhaps a shell's working directory, which must stay the same folder
        for path in sorted(draft.iterdir(), reverse=True):  # the marker last
            path.replace(out_dir / path.name)
        return
    draft.chmod(0o755)  # mkdtemp gives 0700, which a colleague could not read
    draft.replace(out_dir)


def _draw_into(folder: Path, seed: int, counts: SampleCounts, on_image: Callable[[int, int], None] | None) -> None:
    planned = [(split, index) for split, n in asdict(counts).items() for index in range(n)]
    for split in asdict(counts):
        (folder / split / "images").mkdir(parents=True)
        (folder / split / "annotations").mkdir()
    for done, (split, index) in enumerate(planned, start=1):
        scene = draw_scene(seed, split, index)
        name = f"desk_{index + 1:04d}"
        image_path = folder / split / "images" / f"{name}.jpg"
        scene.image.save(image_path, quality=scene.jpeg_quality)
        xml = voc_xml(scene, image_path.name)
        (folder / split / "annotations" / f"{name}.xml").write_text(xml, encoding="utf-8")
        if on_image is not None:
            on_image(done, len(planned))
    (folder / "README.md").write_text(_readme(seed, counts), encoding="utf-8")
    marker = {"format": FORMAT_VERSION, "seed": seed, "counts": asdict(counts)}
    (folder / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")


def voc_xml(scene: Scene, file_name: str) -> str:
    """Return a picture's annotation as LabelImg writes it."""
    root = ET.Element("annotation")
    _leaf(root, "folder", "images")
    _leaf(root, "filename", file_name)
    _leaf(ET.SubElement(root, "source"), "database", "engine sample")
    size = ET.SubElement(root, "size")
    for tag, value in zip(("width", "height", "depth"), (*scene.image.size, 3), strict=True):
        _leaf(size, tag, value)
    _leaf(root, "segmented", 0)
    for thing in scene.objects:
        node = ET.SubElement(root, "object")
        _leaf(node, "name", thing.name)
        _leaf(node, "pose", "Unspecified")
        for tag in ("truncated", "occluded", "difficult"):
            _leaf(node, tag, int(getattr(thing, tag)))
        box = ET.SubElement(node, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), thing.box_xyxy, strict=True):
            _leaf(box, tag, value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _leaf(parent: ET.Element, tag: str, value: object) -> None:
    ET.SubElement(parent, tag).text = str(value)


def _readme(seed: int, counts: SampleCounts) -> str:
    return f"""# Sample data: desks

Drawn by `engine sample` with seed {seed}; no photo was used. Classes: {", ".join(SAMPLE_CLASSES)}.

- `train/` {counts.train} pictures, about one in twenty without any object
- `val/` {counts.val} pictures
- `test/` {counts.test} pictures

Each split has `images/*.jpg` and `annotations/*.xml` (Pascal VOC as LabelImg writes it: corner
coordinates in pixels, `0 <= xmin < xmax <= width`). Boxes are tight around what is seen of an
object. Mugs, laptops and keyboards are labelled; other things on the desk are clutter.

The same seed draws the same pictures, so this folder can be deleted and drawn again.
"""
