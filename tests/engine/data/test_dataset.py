"""Images and boxes together: what happens to one happens to the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.annotations import ImageRecord
from engine.data.dataset import BrokenSample, DetectionDataset, Draw, Sample, load_image
from engine.data.loading import make_loader
from engine.data.order import EpochOrder
from engine.recipe.schema import Augmentation
from tests.builders import Box, record, write_photo

CPU = torch.device("cpu")
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


ALL = Augmentation(
    vertical_flip=0.5, photometric=0.5, zoom_out=0.5, iou_crop=0.5, mosaic=0.5, scale_jitter=(0.5, 1.5), min_visible=0.3
)


def same(one: Sample, other: Sample) -> bool:
    return (
        torch.equal(one.image, other.image)
        and torch.equal(one.target["boxes_xyxy"], other.target["boxes_xyxy"])
        and torch.equal(one.target["labels"], other.target["labels"])
        and one[2:] == other[2:]
    )


def photos(tmp_path: Path, count: int) -> list[ImageRecord]:
    boxes = [(3, 5, 20, 30)]
    return [
        record(boxes, [0], path=write_photo(tmp_path / f"{index}.png", [("mug", boxes[0])], seed=index))
        for index in range(count)
    ]


def test_every_repetition_of_an_image_is_changed_otherwise(tmp_path: Path) -> None:
    data = DetectionDataset(photos(tmp_path, 4), ALL, seed=1)
    drawn = [data[Draw(0, 2, repeat)] for repeat in range(4)]
    again = [data[Draw(0, 2, repeat)] for repeat in range(4)]
    assert all(isinstance(one, Sample) for one in drawn)
    assert all(same(one, other) for one, other in zip(drawn, again, strict=True))  # type: ignore[arg-type]
    assert len({(one.image.shape, int(one.image.sum())) for one in drawn}) == 4  # type: ignore[union-attr]


def test_loader_processes_change_images_as_the_process_itself_would(tmp_path: Path) -> None:
    data = DetectionDataset(photos(tmp_path, 8), ALL, seed=2)
    alone, helped = (list(make_loader(data, EpochOrder(8, 3, 2), num_workers=num, device=CPU)) for num in (0, 1))
    for ours, theirs in zip(alone, helped, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours.images, theirs.images, strict=True))
        assert [one["boxes_xyxy"].tolist() for one in ours.targets] == [
            other["boxes_xyxy"].tolist() for other in theirs.targets
        ]


def test_a_target_is_plain_tensors_with_storage_of_their_own_size(tmp_path: Path) -> None:
    """What a loader process hands over is the sample, not the picture that it was cut from."""
    big = record([(90, 90, 200, 200)], [0], path=write_photo(tmp_path / "a.png", [], size=(400, 300)), size=(400, 300))
    data = DetectionDataset([big], Augmentation(horizontal_flip=0, iou_crop=1.0))
    sample = load(data)
    assert type(sample.target["boxes_xyxy"]) is Tensor
    assert sample.image.untyped_storage().nbytes() == sample.image.numel() < 3 * 400 * 300


MOSAIC = Augmentation(horizontal_flip=0, mosaic=1.0, min_visible=0.0)


def test_a_mosaic_names_its_partners(tmp_path: Path) -> None:
    sample = load(DetectionDataset(photos(tmp_path, 6), MOSAIC), index=2)
    assert len({*sample.partners, 2}) == 4
    assert len(sample.target["labels"]) + sample.num_dropped == 4


def test_a_broken_partner_is_replaced_by_another(tmp_path: Path) -> None:
    records = photos(tmp_path, 5)
    records[1].image_path.unlink()
    records[3].image_path.write_bytes(b"")
    data = DetectionDataset(records, MOSAIC)
    for epoch in range(10):
        sample = load(data, epoch)
        assert set(sample.partners) <= {2, 4}
        assert len(sample.target["labels"]) + sample.num_dropped == 4


@pytest.mark.parametrize("count", [1, 2])
def test_where_others_are_too_few_the_picture_itself_comes_again(tmp_path: Path, count: int) -> None:
    sample = load(DetectionDataset(photos(tmp_path, count), MOSAIC))
    assert sample.partners == (1,) * (count - 1)
    assert len(sample.target["labels"]) + sample.num_dropped == 4


def test_what_is_set_aside_comes_into_no_mosaic_either(tmp_path: Path) -> None:
    data = DetectionDataset(photos(tmp_path, 6), MOSAIC)
    for epoch in range(10):
        sample = data[Draw(epoch, 0, avoid=frozenset({1, 2}))]
        assert isinstance(sample, Sample)
        assert sample.partners
        assert not {1, 2} & set(sample.partners)


def test_a_mosaic_stays_the_same_unless_one_of_its_partners_is_set_aside(tmp_path: Path) -> None:
    """What was loaded ahead is what would be loaded now, but for those that name a partner set aside since."""
    data = DetectionDataset(photos(tmp_path, 8), MOSAIC)
    before = load(data)
    others = frozenset(range(1, 8)) - set(before.partners)
    assert same(before, data[Draw(0, 0, avoid=others)])  # type: ignore[arg-type]
    assert not same(before, data[Draw(0, 0, avoid=frozenset(before.partners[:1]))])  # type: ignore[arg-type]


def test_the_last_epochs_go_with_flips_only(tmp_path: Path) -> None:
    calm = MOSAIC.model_copy(update={"off_last_epochs": 2})
    data = DetectionDataset(photos(tmp_path, 6), calm, num_epochs=5)
    assert [bool(load(data, epoch).partners) for epoch in range(5)] == [True, True, True, False, False]


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
    assert sample.place == 0
