"""Images and boxes together: what happens to one happens to the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.annotations import ImageRecord
from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample, augment, load_image
from engine.recipe.schema import Augmentation
from tests.builders import Box, record, write_photo

FLIP = Augmentation(horizontal_flip=1.0)
NO_FLIP = Augmentation(horizontal_flip=0.0)


def photo(tmp_path: Path, boxes: list[Box], size: tuple[int, int] = (64, 48)) -> ImageRecord:
    """A record whose picture shows a red rectangle wherever it says a mug is; lossless."""
    path = write_photo(tmp_path / "photo.png", [("mug", box) for box in boxes], size=size)
    return record(boxes, [0] * len(boxes), path=path, size=size)


def red_mask(image: Tensor) -> Tensor:
    return (image[0] > 200) & (image[1] < 60)


def box_mask(boxes_xyxy: Tensor, height: int, width: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes_xyxy.round().int().tolist():
        mask[y0:y1, x0:x1] = True
    return mask


def load(data: DetectionDataset, epoch: int = 0, index: int = 0) -> Sample:
    sample = data[Draw(epoch, index)]
    assert isinstance(sample, Sample)
    return sample


@pytest.mark.parametrize("augmentation", [None, NO_FLIP, FLIP], ids=["as it is", "flip off", "flip on"])
@pytest.mark.parametrize(
    "boxes",
    [
        pytest.param([], id="no objects"),
        pytest.param([(3, 5, 20, 30)], id="one"),
        pytest.param([(0, 0, 10, 10), (50, 40, 64, 48)], id="at the edges"),
        pytest.param([(0, 0, 64, 48)], id="the whole picture"),
    ],
)
def test_a_box_is_where_its_object_is(tmp_path: Path, boxes: list[Box], augmentation: Augmentation | None) -> None:
    sample = load(DetectionDataset([photo(tmp_path, boxes)], augmentation))
    assert sample.target["boxes_xyxy"].shape == (len(boxes), 4)
    assert torch.equal(red_mask(sample.image), box_mask(sample.target["boxes_xyxy"], 48, 64))


def test_a_flip_mirrors_the_picture_and_leaves_its_inputs_alone(tmp_path: Path) -> None:
    image = load_image(photo(tmp_path, [(3, 5, 20, 30)], size=(61, 33)))
    boxes = torch.tensor([[3.5, 5.0, 20.25, 30.0]])
    before = image.clone(), boxes.clone()
    flipped, moved = augment(image, boxes, FLIP, np.random.default_rng(0))
    assert torch.equal(flipped, before[0].flip(-1))
    assert moved.tolist() == [[61 - 20.25, 5.0, 61 - 3.5, 30.0]]
    assert torch.equal(image, before[0])
    assert torch.equal(boxes, before[1])


def test_twice_mirrored_is_as_before(tmp_path: Path) -> None:
    image = load_image(photo(tmp_path, [(3, 5, 20, 30)]))
    boxes = torch.tensor([[3.0, 5.0, 20.0, 30.0]])
    again = augment(*augment(image, boxes, FLIP, np.random.default_rng(0)), FLIP, np.random.default_rng(0))
    assert torch.equal(again[0], image)
    assert torch.equal(again[1], boxes)


def test_chance_follows_from_seed_epoch_and_image(tmp_path: Path) -> None:
    records = [photo(tmp_path, [(3, 5, 20, 30)])] * 12
    half = Augmentation(horizontal_flip=0.5)

    def flipped(seed: int, epoch: int) -> list[bool]:
        data = DetectionDataset(records, half, seed)
        return [load(data, epoch, index).target["boxes_xyxy"][0, 0].item() != 3 for index in range(len(records))]

    assert flipped(0, 0) == flipped(0, 0)
    drawn = {tuple(flipped(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(drawn) == 4
    assert all(0 < sum(one) < len(records) for one in drawn)


def test_crowds_are_left_out_of_the_target_and_difficult_objects_stay(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", [])
    boxes = [(0, 0, 10, 10), (10, 10, 20, 20), (20, 20, 30, 30)]
    data = DetectionDataset([record(boxes, [0, 1, 0], crowd=[1], difficult=[2], path=path)])
    target = load(data).target
    assert target["boxes_xyxy"].tolist() == [[0, 0, 10, 10], [20, 20, 30, 30]]
    assert target["labels"].tolist() == [0, 0]
    assert (target["boxes_xyxy"].dtype, target["labels"].dtype) == (torch.float32, torch.int64)


def test_only_crowds_leave_an_empty_target_of_the_right_shape(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", [])
    target = load(DetectionDataset([record([(0, 0, 9, 9)], [0], crowd=[0], path=path)], FLIP)).target
    assert target["boxes_xyxy"].shape == (0, 4)
    assert target["labels"].shape == (0,)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_picture_becomes_three_channels_of_bytes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (64, 48), (255, 0, 0)).convert(mode).save(path)
    image = load_image(record([], [], path=path))
    assert (image.shape, image.dtype) == ((3, 48, 64), torch.uint8)


@pytest.mark.parametrize("content", [b"", b"not a picture", None], ids=["empty", "text", "missing"])
def test_a_broken_picture_is_a_value_that_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    sample = DetectionDataset([record([], [], path=path)])[Draw(0, 0)]
    assert isinstance(sample, BrokenSample)
    assert [problem.where.path for problem in sample.problems] == [str(path)]
