"""Training that waits for its photos: when that is told, how often, and what is advised."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.data.dataset import DetectionDataset, Draw
from engine.events import EventLog, MessageEvent
from engine.rundir import RunDir
from engine.training.starvation import Starvation, Supplied, what_helps
from engine.training.trainer import train
from tests.builders import events_of, fill_run_dir, load_recipe, make_voc_dataset, write_recipe

SUPPLIED = Supplied(num_workers=1, num_cores=4, on_cpu=True, photo_pixels=3e5, input_pixels=3e5)


def an_epoch(starvation: Starvation, step_s: float, data_s: float, num_steps: int = 8) -> str:
    for _ in range(num_steps):
        starvation.add(step_s, data_s)
    return starvation.end_epoch(2, SUPPLIED)


def test_a_starved_epoch_is_told_with_its_figures() -> None:
    text = an_epoch(Starvation(), 0.8, 0.4)
    assert text.startswith("training waits for photos 50% of the time (0.4 s of a step's 0.8 s in epoch 3); what helps")


@pytest.mark.parametrize(
    ("step_s", "data_s", "num_steps"),
    [
        pytest.param(1.0, 0.2, 8, id="a fifth is no starving"),
        pytest.param(1.0, 0.9, 5, id="too few steps to tell"),
        pytest.param(0.004, 0.003, 8, id="milliseconds"),
        pytest.param(0.0, 0.0, 8, id="no time at all"),
        pytest.param(1.0, 0.9, 0, id="no steps"),
    ],
)
def test_otherwise_nothing_is_told(step_s: float, data_s: float, num_steps: int) -> None:
    assert an_epoch(Starvation(), step_s, data_s, num_steps) == ""


def test_the_first_wait_of_an_epoch_isnt_counted() -> None:
    starvation = Starvation()
    starvation.add(60.0, 59.0)
    assert an_epoch(starvation, 1.0, 0.1) == ""


def test_it_isnt_told_again_unless_it_is_much_worse() -> None:
    starvation = Starvation()
    assert an_epoch(starvation, 1.0, 0.3)
    assert [bool(an_epoch(starvation, 1.0, waiting)) for waiting in (0.3, 0.4, 0.1, 0.44)] == [False] * 4
    assert "50%" in an_epoch(starvation, 1.0, 0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_workers": 0}, "hardware.num_workers = 1, so that"),
        ({"num_workers": 1}, "hardware.num_workers = 2, if other"),
        ({"on_cpu": False}, "hardware.num_workers = 3"),
        ({"mosaic": 0.5}, "augmentation.mosaic (now 0.5)"),
        ({"photo_pixels": 12.2e6}, "12.2 megapixels where the network sees 0.3"),
        ({"num_workers": 4}, "a quicker drive"),
        ({"num_workers": 0, "num_cores": 1}, "a quicker drive"),
    ],
)
def test_what_helps_goes_by_what_is(changes: dict[str, float], words: str) -> None:
    assert words in what_helps(replace(SUPPLIED, **changes))


def test_a_run_that_starves_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = DetectionDataset.__getitem__

    def slowly(self: DetectionDataset, drawn: Draw) -> object:
        if self._augmentation is not None:  # training photos
            time.sleep(0.3)
        return load(self, drawn)

    monkeypatch.setattr(DetectionDataset, "__getitem__", slowly)
    dataset = make_voc_dataset(tmp_path / "data", num_train=7, num_val=1)
    recipe = load_recipe(write_recipe(
        tmp_path, dataset, training={"epochs": 2, "batch_size": 1}, previews={"num_images": 0},
    ))
    run_dir = fill_run_dir(RunDir(tmp_path / "0001-tiny"), recipe)
    with EventLog(run_dir.events) as events:
        train(recipe, run_dir, events)
    [told] = [event for event in events_of(run_dir) if isinstance(event, MessageEvent)]
    assert told.level == "warning"
    assert "training waits for photos" in told.text
