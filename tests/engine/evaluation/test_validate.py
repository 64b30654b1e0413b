"""A pass over a split: it measures, and leaves everything as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.annotations import read_split
from engine.data.batch import Batch
from engine.data.dataset import DetectionDataset, Draw, Sample, load_image
from engine.data.loading import make_loader
from engine.data.order import FixedOrder
from engine.evaluation.coco import coco_figures
from engine.evaluation.previews import draw_previews, pick_preview_images
from engine.evaluation.validate import Validation, validate
from engine.models import Detection, Detector, build_detector
from engine.rundir import RunDir
from tests.builders import CLASS_NAMES, load_recipe, record, write_photo, write_recipe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> DetectionDataset:
    recipe = load_recipe(write_recipe(tmp_path_factory.mktemp("recipe"), dataset))
    return DetectionDataset(read_split(recipe.dataset, recipe.classes, "train").records)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Detector:
    torch.manual_seed(0)
    # Large enough that there are more boxes than count in the loss, so that chance picks some.
    larger = {"min_size": 160, "max_size": 240, "box_samples": 8}
    recipe = load_recipe(write_recipe(tmp_path_factory.mktemp("recipe"), dataset, model=larger))
    return build_detector(recipe.model, CLASS_NAMES)


def measure(detector: Detector, data: DetectionDataset, batch_size: int = 4, **options: object) -> Validation:
    loader = make_loader(data, FixedOrder.of(data.records, batch_size), num_workers=0, device=CPU)
    return validate(detector, data, loader, CPU, **options)  # type: ignore[arg-type]


def test_measuring_leaves_weights_and_chance_as_they_were(detector: Detector, data: DetectionDataset) -> None:
    detector.train()
    weights = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    before = torch.get_rng_state()
    measure(detector, data)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in detector.state_dict().items())
    assert not any(module.training for module in detector.modules())


def test_the_same_weights_measure_the_same_whatever_came_before(detector: Detector, data: DetectionDataset) -> None:
    torch.manual_seed(1)
    first = measure(detector, data)
    torch.manual_seed(2)
    second = measure(detector, data)
    assert first.losses == second.losses
    assert first.figures == second.figures


def test_a_detection_an_image_in_order_and_progress_told(detector: Detector, data: DetectionDataset) -> None:
    done: list[int] = []
    validation = measure(detector, data, on_batch=done.append)
    assert done == [4, 6]
    assert len(validation.detections) == 6
    alone = measure(detector, DetectionDataset(data.records[4:5]))
    assert torch.allclose(alone.detections[0]["boxes_xyxy"], validation.detections[4]["boxes_xyxy"], atol=1e-3)
    assert validation.loss == pytest.approx(sum(validation.losses.values()))


def test_photos_of_several_sizes_are_measured_as_each_is_alone(detector: Detector, tmp_path: Path) -> None:
    sizes = [(64, 48), (48, 64), (80, 40), (48, 64), (64, 48)]
    records = [
        record([(5, 5, 25, 35)], [0], path=write_photo(tmp_path / f"{seed}.png", [], size=size, seed=seed), size=size)
        for seed, size in enumerate(sizes)
    ]
    validation = measure(detector, DetectionDataset(records))
    for one, found in zip(records, validation.detections, strict=True):
        [alone] = detector.detect([load_image(one).float().div(255)])
        assert torch.allclose(alone["scores"], found["scores"], atol=1e-5)
        assert torch.allclose(alone["boxes_xyxy"], found["boxes_xyxy"], atol=1e-3)


def test_the_loss_is_a_mean_over_images_not_batches(detector: Detector, data: DetectionDataset) -> None:
    """The last, smaller batch counts for less."""
    whole = measure(detector, data, batch_size=4)
    parts = [measure(detector, DetectionDataset(data.records[part])) for part in (slice(0, 4), slice(4, 6))]
    batch = next(iter(make_loader(data, FixedOrder.of(data.records, 4), num_workers=0, device=CPU))).to(CPU)
    _, alone = detector.detect_with_losses(batch.images, batch.targets)
    # What counts in a loss is drawn at random; that of the proposals hardly depends on the draw.
    assert parts[0].losses["loss_objectness"] == pytest.approx(alone["loss_objectness"].item(), rel=0.01)
    expected = (4 * parts[0].losses["loss_objectness"] + 2 * parts[1].losses["loss_objectness"]) / 6
    assert whole.losses["loss_objectness"] == pytest.approx(expected, rel=0.01)


def test_an_empty_split_measures_nothing(detector: Detector) -> None:
    validation = measure(detector, DetectionDataset(()))
    assert math.isnan(validation.loss)  # a loss of 0 would be the best there is
    assert (validation.losses, validation.detections, validation.measured) == ({}, [], ())
    assert validation.values["ap"] is None


def test_the_figures_that_may_decide_are_those_measured(detector: Detector, data: DetectionDataset) -> None:
    validation = measure(detector, data)
    figures = validation.figures
    assert validation.values == {
        "ap": figures.ap, "ap50": figures.ap50, "ap75": figures.ap75, "val_loss": validation.loss
    }


def test_an_error_on_the_way_leaves_chance_as_it_was(detector: Detector, data: DetectionDataset) -> None:
    def fail(_done: int) -> None:
        raise MemoryError

    before = torch.get_rng_state()
    with pytest.raises(MemoryError):
        measure(detector, data, on_batch=fail)
    assert torch.equal(torch.get_rng_state(), before)


# --- images that broke since the check ---


def with_broken(data: DetectionDataset, places: set[int], folder: Path) -> DetectionDataset:
    """The same records, some of whose files have vanished."""
    return DetectionDataset(
        [
            replace(record, image_path=folder / f"gone{place}.jpg") if place in places else record
            for place, record in enumerate(data.records)
        ]
    )


@pytest.mark.parametrize("gone", [{1}, {0, 1, 2, 3}, {0, 5}], ids=["one", "a whole batch", "first and last"])
def test_broken_images_are_left_out_of_every_figure_and_told(
    detector: Detector, data: DetectionDataset, tmp_path: Path, gone: set[int]
) -> None:
    broken = with_broken(data, gone, tmp_path)
    done: list[int] = []
    validation = measure(detector, broken, on_batch=done.append)
    kept = tuple(place for place in range(6) if place not in gone)
    assert validation.measured == kept
    assert sorted(Path(problem.where.path).name for problem in validation.broken) == [
        f"gone{place}.jpg" for place in sorted(gone)
    ]
    assert done == [4, 6]
    assert len(validation.detections) == 6
    assert all(len(validation.detections[place]["labels"]) == 0 for place in gone)
    records = [data.records[place] for place in kept]
    found = [validation.detections[place] for place in kept]
    assert validation.figures == coco_figures(records, found, CLASS_NAMES)


def test_a_batch_of_broken_images_changes_no_other_batchs_loss(
    detector: Detector, data: DetectionDataset, tmp_path: Path
) -> None:
    whole = [measure(detector, with_broken(data, {*range(6)} - kept, tmp_path)) for kept in ({0, 1}, {2, 3}, {4, 5})]
    together = measure(detector, data, batch_size=2)
    for name, loss in together.losses.items():
        assert loss == pytest.approx(sum(one.losses[name] for one in whole) / 3, rel=1e-5)


def test_nothing_can_be_measured_when_all_images_broke(
    detector: Detector, data: DetectionDataset, tmp_path: Path
) -> None:
    validation = measure(detector, with_broken(data, set(range(6)), tmp_path))
    assert (len(validation.broken), validation.measured, len(validation.detections)) == (6, (), 6)
    assert math.isnan(validation.loss)
    assert validation.figures.ap is None


# --- any grouping ---


@pytest.mark.parametrize("grouping", [[[0], [1], [2], [3], [4], [5]], [[4, 5], [2], [3, 1, 0]], [[0, 1, 2, 3, 4, 5]]])
def test_detections_are_in_the_records_order_however_they_come(
    detector: Detector, data: DetectionDataset, grouping: list[list[int]]
) -> None:
    usual = measure(detector, data)
    batches = [Batch([sample_of(data, place) for place in places]) for places in grouping]
    validation = validate(detector, data, batches, CPU)
    assert validation.measured == (0, 1, 2, 3, 4, 5)
    for one, other in zip(validation.detections, usual.detections, strict=True):
        assert torch.allclose(one["boxes_xyxy"], other["boxes_xyxy"], atol=1e-3)
        assert torch.equal(one["labels"], other["labels"])
    assert validation.loss == pytest.approx(usual.loss, rel=0.2)  # which boxes count is drawn anew
    assert validation.figures.ap == pytest.approx(usual.figures.ap, abs=1e-6)


def test_records_that_are_not_brought_do_not_count(detector: Detector, data: DetectionDataset) -> None:
    validation = validate(detector, data, [Batch([sample_of(data, 3)])], CPU)
    assert (validation.measured, validation.broken, len(validation.detections)) == ((3,), (), 6)
    assert validation.figures == coco_figures([data.records[3]], [validation.detections[3]], CLASS_NAMES)


def sample_of(data: DetectionDataset, place: int) -> Sample:
    sample = data[Draw(0, place)]
    assert isinstance(sample, Sample)
    return sample


# --- previews ---


@pytest.mark.parametrize(
    ("objects", "count", "chosen"),
    [
        pytest.param([1, 1, 1, 1, 1, 1], 3, [0, 2, 4], id="spread"),
        pytest.param([0, 1, 0, 1], 2, [1, 3], id="those with objects"),
        pytest.param([0, 1, 0], 4, [1], id="fewer than asked for"),
        pytest.param([0, 0], 1, [0], id="none has objects"),
        pytest.param([], 4, [], id="no images"),
        pytest.param([1, 1], 0, [], id="none wanted"),
    ],
)
def test_which_images_are_drawn(objects: list[int], count: int, chosen: list[int]) -> None:
    records = [record([(0, 0, 9, 9)] * number, [0] * number) for number in objects]
    assert pick_preview_images(records, count) == chosen


def test_previews_are_drawn_where_the_events_say(tmp_path: Path, data: DetectionDataset) -> None:
    found: Detection = {
        "boxes_xyxy": torch.tensor([[4.0, 4, 30, 30], [1, 1, 9, 9]]), "labels": torch.tensor([0, 1]),
        "scores": torch.tensor([0.9, 0.2]),
    }
    run_dir = RunDir(tmp_path)
    [preview] = draw_previews(run_dir, 3, data.records, [found] * 6, [5], CLASS_NAMES, 0.5)
    assert preview.path == "previews/0003/00.jpg"
    assert (run_dir.path / preview.path).stat().st_size > 500
    assert (preview.image, preview.num_detections) == (data.records[5].image_path.name, 1)
    assert preview.num_ground_truth == len(data.records[5].labels)


def test_an_image_that_broke_has_no_preview(tmp_path: Path, data: DetectionDataset) -> None:
    nothing: Detection = {
        "boxes_xyxy": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0),
    }
    records = with_broken(data, {0}, tmp_path / "gone").records
    previews = draw_previews(RunDir(tmp_path), 0, records, [nothing] * 6, [0, 3], CLASS_NAMES, 0.5)
    assert [preview.path for preview in previews] == ["previews/0000/01.jpg"]
