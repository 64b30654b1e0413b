"""What is shown of a training set is what the training gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.annotations import read_split
from engine.data.dataset import BrokenSample, DetectionDataset, Sample
from engine.data.order import EpochOrder
from engine.data.preview import Seen, look, repeats
from engine.recipe.schema import Recipe
from tests.builders import load_recipe, make_voc_dataset, record, write_recipe

AUGMENTATION = {"mosaic": 0.5, "iou_crop": 0.5, "zoom_out": 0.5, "vertical_flip": 0.5}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_voc_dataset(tmp_path / "data", num_train=7)


def recipe(tmp_path: Path, dataset: Path, **sections: dict[str, object]) -> Recipe:
    return load_recipe(write_recipe(tmp_path, dataset, **sections))


def seen(recipe: Recipe, epoch: int = 0, num_images: int = 100) -> list[Seen]:
    records = read_split(recipe.dataset, recipe.classes, "train").records
    found = list(look(recipe, records, epoch=epoch, num_images=num_images))
    assert all(isinstance(one, Seen) for one in found)
    return found  # type: ignore[return-value]


def test_the_images_are_those_that_the_epoch_begins_with(tmp_path: Path, dataset: Path) -> None:
    ours = recipe(tmp_path, dataset, augmentation=AUGMENTATION, training={"epochs": 4, "seed": 5})
    records = read_split(ours.dataset, ours.classes, "train").records
    order = EpochOrder(len(records), 2, 5)
    order.epoch = 2
    data = DetectionDataset(records, ours.augmentation, 5, 4)
    samples = [data[drawn] for batch in order for drawn in batch]
    found = seen(ours, epoch=2)
    assert len(found) == len(samples) == 7
    for one, sample in zip(found, samples, strict=True):
        assert isinstance(sample, Sample)
        shown = [records[place].image_path for place in (sample.place, *sample.partners)]
        assert [record.image_path for record in one.records] == shown
        assert one.labels.tolist() == sample.target["labels"].tolist()
        scale = one.pixels.shape[1] / sample.image.shape[2]
        assert one.boxes_xyxy == pytest.approx(sample.target["boxes_xyxy"].numpy() * scale, rel=0.03, abs=0.5)
        assert one.num_dropped == sample.num_dropped
    assert len(seen(ours, epoch=2, num_images=3)) == 3


def test_another_epoch_and_another_seed_show_something_else(tmp_path: Path, dataset: Path) -> None:
    def pictures(seed: int, epoch: int) -> list[int]:
        ours = recipe(tmp_path, dataset, augmentation=AUGMENTATION, training={"epochs": 4, "seed": seed})
        return [int(one.pixels.sum()) for one in seen(ours, epoch)]

    assert pictures(0, 0) == pictures(0, 0)
    assert len({tuple(pictures(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize(
    ("model", "augmentation", "sizes"),
    [
        pytest.param({}, {}, {(48, 64)}, id="the model's size"),
        pytest.param({"min_size": 96, "max_size": 128}, {}, {(96, 128)}, id="larger"),
        pytest.param({}, {"multi_scale": [36, 48]}, {(36, 48), (48, 64)}, id="several"),
    ],
)
def test_images_have_the_input_size_of_the_network(
    tmp_path: Path, dataset: Path, model: dict[str, object], augmentation: dict[str, object],
    sizes: set[tuple[int, int]],
) -> None:
    ours = recipe(tmp_path, dataset, model=model, augmentation=augmentation)
    assert {one.pixels.shape[:2] for one in seen(ours)} == sizes


def test_a_detector_of_fixed_size_stretches(tmp_path: Path, dataset: Path) -> None:
    path = write_recipe(tmp_path, dataset)
    text = path.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("min_size", "max_size", "fpn", "box_"))]
    path.write_text("\n".join(lines).replace("fasterrcnn_mobilenet_v3_large_fpn", "ssdlite320_mobilenet_v3_large"))
    [one, *_] = seen(load_recipe(path))
    assert one.pixels.shape == (320, 320, 3)
    assert one.boxes_xyxy.max() > 64


def test_an_image_that_broke_is_told(tmp_path: Path, dataset: Path) -> None:
    ours = recipe(tmp_path, dataset)
    records = read_split(ours.dataset, ours.classes, "train").records
    records[3].image_path.write_bytes(b"")
    broken = [one for one in look(ours, records, epoch=0, num_images=9) if isinstance(one, BrokenSample)]
    assert [one.problems[0].where.path for one in broken] == [str(records[3].image_path)]


def test_repeats(tmp_path: Path, dataset: Path) -> None:
    records = [record([[1, 1, 9, 9]], [index == 0], path=Path(f"{index}.jpg")) for index in range(9)]
    assert repeats(recipe(tmp_path, dataset), records) is None
    found = repeats(recipe(tmp_path, dataset, training={"repeat_threshold": 1.0}), records)
    assert found is not None
    assert (found.num_images, found.num_repeated) == (9, 9)
    assert found.greatest == pytest.approx(3)
    assert found.num_draws == 12  # 3 + 8 * sqrt(9 / 8) = 11.5, and at least one repetition by chance
    assert repeats(recipe(tmp_path, dataset, training={"repeat_threshold": 0.01}), records).num_repeated == 0  # type: ignore[union-attr]
