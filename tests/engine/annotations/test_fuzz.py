"""Label files that were mutated at random: each is read or refused with a problem, soon, and never otherwise."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from engine.annotations.coco import read_coco
from engine.annotations.findings import Findings
from engine.annotations.judge import Judge
from engine.annotations.labels import LabelMap
from engine.annotations.picture import PictureFacts
from engine.annotations.raw import RawAnnotation
from engine.annotations.voc import read_voc
from engine.annotations.yolo import read_names, read_yolo
from engine.errors import DataError
from engine.recipe.schema import Dataset
from tests.engine.annotations.builders import classes, voc_xml

MAX_S = 1.0
FACTS = PictureFacts(64, 48, 1, "JPEG", "RGB")

VOC = voc_xml(
    [("mug", (1, 2, 30, 40)), ("lid", (5.5, 6, 7, 8)), ("cup", (60, 40, 70, 50))], extra="<difficult>1</difficult>"
)
YOLO = "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.2 0.2\n0 0.1 0.1 0.5 0.1 0.5 0.5\n"
NAMES = "path: .\nnames:\n  0: mug\n  1: lid\n"
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}, {"id": 2, "file_name": "sub/b.jpg"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 0,
                "bbox": [1, 2, 30.5, 40],
                "iscrowd": 0,
                "segmentation": [[1, 2]],
            },
            {"id": 2, "image_id": 2, "category_id": 7, "bbox": [1, 2, 0, 40], "iscrowd": 1},
        ],
        "categories": [{"id": 0, "name": "mug"}, {"id": 7, "name": "lid", "supercategory": "x"}],
    }
)
# What breaks parsers: odd numbers, odd characters, structure in excess, bombs.
SPICE = [
    *("nan", "inf", "-inf", "1e999", "-1e-999", "9" * 400, "0x10", "1_0", "-0", "1e", "", " ", "true", "null", "٣"),
    *("\0", "\ufeff", "\u202e", "\x1b[31m", "\ud7ff", "é", "\r\n", "\t", "\\", '"', "'", "\\u0000", "\\ud800"),
    *("<", ">", "&", "&amp;", "&x;", "&#0;", "&#x110000;", "]]>", "<!--", "<![CDATA[", "<?xml?>", "</object>"),
    *("<object>", "<bndbox>", "<bndbox/>", "<name>" + "m" * 70_000, "<a xmlns='b'>", "<x:y/>", "<object>" * 300),
    *('<!DOCTYPE a [<!ENTITY x "y">]>', '<?xml version="1.0" encoding="utf-7"?>', "<?xml encoding='x'?>"),
    *('<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>', "&c;"),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "[" * 3000,
        '{"a":' * 3000,
        '"images"',
        '"bbox"',
        "[]",
        "{}",
        "- " * 3000,
        "!!python",
    ),
    *("&a [*a]", "*a", "? ", "%YAML 9.9\n---\n", "0.5 " * 3000, "0 " * 5, "99999999999", "-1", "2.0", "0.5"),
]


def mutated(text: str, rng: random.Random) -> bytes:
    """The text with one to five random wounds."""
    data = text.encode()
    for _ in range(rng.randint(1, 5)):
        start = rng.randrange(len(data) + 1)
        end = min(start + rng.choice((0, 1, 3, 20, 200)), len(data))
        head, middle, tail = data[:start], data[start:end], data[end:]
        spice = rng.choice(SPICE).encode("utf-8", "replace")
        data = rng.choice(
            (
                head + tail,
                head + middle * rng.choice((2, 50)) + tail,
                head + spice + tail,
                head + spice + middle + tail,
                head + rng.randbytes(len(middle)) + tail,
                head,
                middle + head + tail,
            )
        )
    return data


def only(raw: RawAnnotation) -> Iterable[RawAnnotation]:
    return (raw,)


def names_only(path: Path) -> Iterable[RawAnnotation]:
    assert read_names(path)
    return ()


READERS: dict[str, tuple[str, Callable[[Path], Iterable[RawAnnotation]]]] = {
    "voc": (VOC, lambda path: only(read_voc(path))),
    "coco": (COCO, lambda path: read_coco(path).images.values()),
    "yolo": (YOLO, lambda path: only(read_yolo(path, {0: "mug", 1: "lid"}))),
    "names": (NAMES, names_only),
}


def survive(form: str, seed: int, path: Path) -> bool:
    """Read and judge one mutation; whether it was accepted."""
    text, read = READERS[form]
    content = mutated(text, random.Random(seed))
    path.write_bytes(content)
    place = {"images": path.parent, "annotations": path.parent}
    dataset = Dataset.model_validate({"train": place, "val": place, "outside_boxes": "clip", "first_pixel": seed % 2})
    findings = Findings("train", "")
    started = time.process_time()  # what other programs do to this machine is no fault here
    try:
        for raw in read(path):
            record = Judge.of(dataset, LabelMap.of(classes("mug", "lid")), findings).record(
                "a.jpg", str(path), FACTS, raw
            )
            if record is not None:
                boxes = record.boxes_xyxy
                assert (boxes[:, 2:] > boxes[:, :2]).all(), content
                assert boxes.min(initial=0) >= 0, content
                assert boxes[:, 2].max(initial=0) <= 64, content
        problems, accepted = findings.problems(), True
    except DataError as error:
        problems, accepted = tuple(error.problems), False
        assert problems, content
    assert all(len(str(problem)) < 3000 and str(problem).isprintable() for problem in problems), content
    assert time.process_time() - started < MAX_S, content
    return accepted


@pytest.mark.parametrize("form", READERS)
def test_mutated_label_files(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    accepted = sum(survive(form, seed, path) for seed in range(300))
    assert 10 < accepted < 290  # neither all refused nor all let through


@pytest.mark.slow
@pytest.mark.parametrize("form", READERS)
def test_ten_thousand_mutated_label_files(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for seed in range(300, 10_300):
        survive(form, seed, path)


@pytest.mark.parametrize("form", READERS)
def test_what_is_mutated_is_sound(form: str, tmp_path: Path) -> None:
    text, read = READERS[form]
    (tmp_path / "a.yaml").write_text(text)
    for raw in read(tmp_path / "a.yaml"):
        assert len(raw.objects) > 0


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_a_file_of_a_hundred_thousand_unknown_objects_is_judged_in_time(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if form == "voc":
        path.write_text(voc_xml((f"mug{index}", (1, 1, 2, 2)) for index in range(60_000)))
    else:
        path.write_text("".join(f"{index} 0.5 0.5 0.1 0.1\n" for index in range(2, 100_000)))
    raw = read_voc(path) if form == "voc" else read_yolo(path, {0: "mug"})
    place = {"images": tmp_path, "annotations": tmp_path}
    dataset = Dataset.model_validate({"train": place, "val": place})
    findings = Findings("train", "")
    names = classes(*(f"class {index}" for index in range(80)))
    started = time.process_time()  # what other programs do to this machine is no fault here
    Judge.of(dataset, LabelMap.of(names), findings).record("a.jpg", str(path), FACTS, raw)
    assert time.process_time() - started < 5
    assert len(findings.problems()) > 50_000
