"""A pass over a split: it measures, and leaves everything as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.annotations import read_split
from engine.data.dataset import DetectionDataset
from engine.data.loading import make_loader
from engine.data.order import FixedOrder
from engine.evaluation.previews import draw_previews, pick_preview_images
from engine.evaluation.validate import Validation, validate
from engine.models import Detection, Detector, build_detector
from engine.rundir import RunDir
from tests.builders import CLASS_NAMES, load_recipe, record, write_recipe

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
    loader = make_loader(data, FixedOrder(len(data), batch_size), num_workers=0, device=CPU)
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


def test_the_loss_is_a_mean_over_images_not_batches(detector: Detector, data: DetectionDataset) -> None:
    """The last, smaller batch counts for less."""
    whole = measure(detector, data, batch_size=4)
    parts = [measure(detector, DetectionDataset(data.records[part])) for part in (slice(0, 4), slice(4, 6))]
    batch = next(iter(make_loader(data, FixedOrder(len(data), 4), num_workers=0, device=CPU))).to(CPU)
    _, alone = detector.detect_with_losses(batch.images, batch.targets)
    # What counts in a loss is drawn at random; that of the proposals hardly depends on the draw.
    assert parts[0].losses["loss_objectness"] == pytest.approx(alone["loss_objectness"].item(), rel=0.01)
    expected = (4 * parts[0].losses["loss_objectness"] + 2 * parts[1].losses["loss_objectness"]) / 6
    assert whole.losses["loss_objectness"] == pytest.approx(expected, rel=0.01)


def test_an_empty_split_measures_nothing(detector: Detector) -> None:
    validation = measure(detector, DetectionDataset(()))
    assert (validation.loss, validation.detections, validation.figures.ap) == (0, [], None)


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
