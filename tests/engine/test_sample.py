"""The drawn data set: the same from the same seed, boxes that fit the pixels, nothing half written."""

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from engine.sample import SAMPLE_CLASSES, SampleCounts, Scene, draw_scene, write_sample
from engine.sample import scene as scene_module
from engine.sample import write as write_module
from engine.sample.keyboard import keyboard
from engine.sample.laptop import laptop
from engine.sample.layout import Builder, Placed, _put, far_first
from engine.sample.mug import mug
from engine.sample.scene import measure, render, visible_box
from engine.sample.space import Camera, light_from, look_at_desk

FEW = SampleCounts(train=3, val=1, test=1)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(0, "train", index) for index in range(24)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "desks"
    write_sample(folder, seed=5, counts=FEW)
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_arguments_draw_the_same_scene() -> None:
    first, second = draw_scene(3, "val", 7), draw_scene(3, "val", 7)
    assert first.objects == second.objects
    assert first.jpeg_quality == second.jpeg_quality
    assert first.image.tobytes() == second.image.tobytes()


@pytest.mark.parametrize(
    "other", [(4, "val", 7), (3, "test", 7), (3, "val", 8)], ids=["another seed", "another split", "another index"]
)
def test_other_arguments_draw_another_scene(other: tuple[int, str, int]) -> None:
    assert draw_scene(*other).image.tobytes() != draw_scene(3, "val", 7).image.tobytes()


@pytest.mark.parametrize("size", [(160, 120), (120, 160), (200, 200)], ids=str)
def test_a_scene_has_the_size_asked_for(size: tuple[int, int]) -> None:
    assert draw_scene(0, "train", 1, size).image.size == size


def test_boxes_lie_within_the_image_and_are_not_empty(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            xmin, ymin, xmax, ymax = thing.box_xyxy
            assert 0 <= xmin < xmax <= scene.image.width
            assert 0 <= ymin < ymax <= scene.image.height


def test_all_classes_and_no_others_are_shown(scenes: list[Scene]) -> None:
    assert {thing.name for scene in scenes for thing in scene.objects} == set(SAMPLE_CLASSES)
    assert max(len(scene.objects) for scene in scenes) <= 5


def test_only_pictures_meant_to_be_empty_show_no_object(scenes: list[Scene]) -> None:
    assert [not scene.objects for scene in scenes] == [scene_module.is_empty(0, "train", k) for k in range(len(scenes))]
    assert all(draw_scene(0, "val", index).objects for index in range(8))


def test_an_object_that_touches_no_edge_is_not_truncated(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.objects:
            xmin, ymin, xmax, ymax = thing.box_xyxy
            at_edge = xmin == 0 or ymin == 0 or xmax == scene.image.width or ymax == scene.image.height
            assert at_edge or not thing.truncated


def camera() -> Camera:
    return look_at_desk((640, 480), distance=75.0, elevation=0.8, roll=0.0, zoom=1.0)


def rendered_on_green(things: tuple[Placed, ...]) -> scene_module.Rendered:
    light = light_from(0.5, 1.0, ambient=0.5, shadow=0.0, softness=0.1)
    return render(Image.new("RGB", (640, 480), (0, 255, 0)), camera(), light, things)


@pytest.mark.parametrize("build", [mug, laptop, keyboard], ids=lambda build: build.__name__)
def test_a_box_is_tight_around_the_pixels_that_were_painted(build: Builder) -> None:
    placed = _put(build(np.random.default_rng(2)), 2.0, 1.0, 0.3)
    rendered = rendered_on_green((placed,))
    # Independent of the masks: whatever is no longer the ground's hue, shadows included, was painted.
    pixels = np.asarray(rendered.canvas, dtype=int)
    painted = (pixels[..., 0] > 25) | (pixels[..., 2] > 25)
    (thing,) = measure((placed,), rendered)
    assert np.abs(np.subtract(thing.box_xyxy, visible_box(painted))).max() <= 1
    assert not thing.occluded
    assert not thing.truncated


def test_what_stands_in_front_shortens_the_box_behind() -> None:
    rng = np.random.default_rng(0)
    far, near = _put(keyboard(rng), 0.0, 12.0, 0.0), _put(laptop(rng), 12.0, -8.0, 0.0)
    alone = measure((far,), rendered_on_green((far,)))[0]
    both = measure((far, near), rendered_on_green((far, near)))[0]
    assert both.occluded
    assert not alone.occluded
    assert np.less_equal(alone.box_xyxy[:2], both.box_xyxy[:2]).all()
    assert np.greater_equal(alone.box_xyxy[2:], both.box_xyxy[2:]).all()


def test_a_mug_before_a_long_keyboard_is_painted_after_it() -> None:
    rng = np.random.default_rng(1)
    board, cup = _put(keyboard(rng), 0.0, 0.0, 0.5), _put(mug(rng), 15.0, -1.0, 0.0)
    assert far_first([cup, board], camera().eye[:2]) == [board, cup]
    assert far_first([board, cup], camera().eye[:2]) == [board, cup]


def test_nothing_visible_has_no_box() -> None:
    assert visible_box(np.zeros((8, 8), dtype=bool)) == (0, 0, 0, 0)


def test_the_folder_holds_what_was_asked_for(sample: Path) -> None:
    for split, number in (("train", 3), ("val", 1), ("test", 1)):
        images = sorted(path.stem for path in (sample / split / "images").glob("*.jpg"))
        annotations = sorted(path.stem for path in (sample / split / "annotations").glob("*.xml"))
        assert images == annotations == [f"desk_{k:04d}" for k in range(1, number + 1)]
    assert "seed 5" in (sample / "README.md").read_text(encoding="utf-8")
    marker = json.loads((sample / ".engine-sample.json").read_text(encoding="utf-8"))
    assert marker == {"format": 1, "seed": 5, "counts": {"train": 3, "val": 1, "test": 1}}


def test_annotations_tell_what_was_drawn(sample: Path) -> None:
    for index in range(FEW.train):
        scene = draw_scene(5, "train", index)
        root = ET.parse(sample / f"train/annotations/desk_{index + 1:04d}.xml").getroot()  # noqa: S314
        with Image.open(sample / "train" / "images" / str(root.findtext("filename"))) as image:
            assert image.size == scene.image.size
        assert (root.findtext("size/width"), root.findtext("size/height")) == tuple(map(str, scene.image.size))
        told = [
            (
                node.findtext("name"),
                tuple(int(node.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")),
                *(bool(int(node.findtext(flag, ""))) for flag in ("truncated", "occluded", "difficult")),
            )
            for node in root.findall("object")
        ]
        assert told == [(o.name, o.box_xyxy, o.truncated, o.occluded, o.difficult) for o in scene.objects]


def test_some_training_pictures_are_empty_and_still_annotated() -> None:
    empty = Scene(Image.new("RGB", (32, 24)), (), 80)
    root = ET.fromstring(write_module.voc_xml(empty, "desk_0001.jpg"))  # noqa: S314
    assert root.findall("object") == []
    shown = [scene_module.is_empty(0, "train", index) for index in range(240)]
    assert 5 <= sum(shown) <= 20
    assert not any(scene_module.is_empty(0, "val", index) for index in range(60))


def test_a_picture_does_not_depend_on_how_many_are_drawn(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "more", seed=5, counts=SampleCounts(train=2, val=2, test=0))
    fewer, more = digests(sample), digests(tmp_path / "more")
    shared = {name for name in fewer.keys() & more.keys() if name.startswith(("train", "val", "test"))}
    assert len(shared) == 6
    assert all(fewer[name] == more[name] for name in shared)


def test_an_empty_folder_is_filled_and_progress_is_told(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_sample(tmp_path, counts=SampleCounts(train=1, val=1, test=0), on_image=lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]
    assert (tmp_path / "val" / "images" / "desk_0001.jpg").is_file()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not empty"):
        write_sample(tmp_path, counts=FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "desks"
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not a folder"):
        write_sample(target, counts=FEW)
    assert target.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("seed", "counts"), [(-1, FEW), (0, SampleCounts(train=-1))], ids=["negative seed", "negative count"]
)
def test_negative_numbers_are_refused(tmp_path: Path, seed: int, counts: SampleCounts) -> None:
    with pytest.raises(ValueError, match="negative"):
        write_sample(tmp_path / "desks", seed=seed, counts=counts)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "desks", counts=FEW, on_image=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_filled_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "desks"

    def fill(done: int, total: int) -> None:
        if done == total:
            target.mkdir()
            (target / "thesis.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(FileExistsError, match="not empty"):
        write_sample(target, counts=SampleCounts(train=1, val=0, test=0), on_image=fill)
    assert [path.name for path in tmp_path.rglob("*")] == ["desks", "thesis.txt"]
