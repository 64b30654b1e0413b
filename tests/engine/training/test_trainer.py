"""Real training of a real small detector: it learns, it repeats, it resumes, and it stops before harm is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.analysis import coco_figures, read_measured, read_thresholds
from engine.errors import Diverged
from engine.events import CheckpointEvent, EpochEvent, EventLog, MessageEvent, PreviewEvent, RunStarted, rewind
from engine.models.checkpoint import Content, load_checkpoint
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training.trainer import TrainingResult, train
from tests.builders import (
    events_of,
    fill_run_dir,
    load_recipe,
    steps_of,
    write_recipe,
)

# 6 photos in batches of 2.
STEPS_PER_EPOCH = 3


class Runs:
    """Makes recipes for the shared dataset, and trains them in folders of their own."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self.folder, self.dataset = folder, dataset

    def recipe(self, **sections: Any) -> Recipe:
        return load_recipe(write_recipe(self.folder, self.dataset, **sections))

    def run_dir(self, name: str, recipe: Recipe) -> RunDir:
        return fill_run_dir(RunDir(self.folder / name), recipe)

    def train(self, name: str, recipe: Recipe, **options: Any) -> RunDir:
        run_dir = self.run_dir(name, recipe)
        run(recipe, run_dir, **options)
        return run_dir


def run(
    recipe: Recipe, run_dir: RunDir, *, resume: bool = False, stop_after: int | None = None, attempt: int = 1
) -> TrainingResult:
    """Train as the worker does; `stop_after` asks for a stop once so many steps were made."""
    resume_from: Content | None = None
    if resume:
        resume_from = load_checkpoint(run_dir.last_checkpoint)
        rewind(run_dir.events, resume_from["events_bytes"])
    with EventLog(run_dir.events) as events:
        return train(
            recipe, run_dir, events, attempt=attempt, resume_from=resume_from, stop_requested=_stop(run_dir, stop_after)
        )


def _stop(run_dir: RunDir, after: int | None) -> Callable[[], bool]:
    return lambda: after is not None and len(steps_of(run_dir)) >= after


def losses_of(run_dir: RunDir) -> list[tuple[int, float | None, dict[str, float | None], float]]:
    return [(event.step, event.loss, event.losses, event.lr) for event in steps_of(run_dir)]


def weights_of(run_dir: RunDir) -> dict[str, torch.Tensor]:
    return load_checkpoint(run_dir.last_checkpoint)["model"]


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
    assert different == []


@pytest.fixture
def runs(tmp_path: Path, dataset: Path) -> Runs:
    return Runs(tmp_path, dataset)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> RunDir:
    """Two epochs without an interruption; flips, warm-up and clipping on."""
    made = Runs(tmp_path_factory.mktemp("whole"), dataset)
    return made.train("whole", made.recipe(**TWO_EPOCHS))


TWO_EPOCHS: dict[str, Any] = {
    "training": {"epochs": 2, "clip_grad_norm": 5.0}, "schedule": {"kind": "cosine", "warmup_steps": 2},
    "early_stopping": {"patience": 5}, "augmentation": {"horizontal_flip": 0.5},
}


def test_a_run_tells_what_it_does(whole: RunDir) -> None:
    events = events_of(whole)
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert (started.num_train_images, started.num_val_images, started.num_steps) == (6, 3, 2 * STEPS_PER_EPOCH)
    assert started.class_names == ("mug", "laptop")
    steps = steps_of(whole)
    assert [event.step for event in steps] == list(range(2 * STEPS_PER_EPOCH))
    assert [event.epoch for event in steps] == [0, 0, 0, 1, 1, 1]
    assert all(event.loss == pytest.approx(sum(event.losses.values())) for event in steps)  # type: ignore[arg-type]
    epochs = [event for event in events if isinstance(event, EpochEvent)]
    assert all(event.memory_bytes > 10**8 for event in epochs)  # torch alone takes as much
    assert [event.step for event in epochs] == [2, 5]
    for epoch, event in enumerate(epochs):
        own = [step.loss for step in steps if step.epoch == epoch]
        assert event.train_loss == pytest.approx(sum(own) / len(own))  # type: ignore[arg-type]
        assert event.val_loss == pytest.approx(sum(event.val_losses.values()))  # type: ignore[arg-type]
    previews = [preview for event in events if isinstance(event, PreviewEvent) for preview in event.previews]
    assert len(previews) == 2
    assert all((whole.path / preview.path).is_file() for preview in previews)


def test_best_and_last_are_kept(whole: RunDir) -> None:
    best = load_checkpoint(whole.best_checkpoint)
    told = [event for event in events_of(whole) if isinstance(event, EpochEvent) and event.best]
    assert best["epoch"] == told[-1].epoch
    assert best["class_names"] == ["mug", "laptop"]
    last = load_checkpoint(whole.last_checkpoint)
    assert last["step"] == 2 * STEPS_PER_EPOCH
    kinds = [event.kind for event in events_of(whole) if isinstance(event, CheckpointEvent)]
    assert kinds.count("best") == len(told)


def test_what_the_best_model_found_is_kept(whole: RunDir) -> None:
    measured, best = read_measured(whole), load_checkpoint(whole.best_checkpoint)
    assert measured is not None
    assert (measured.source.model, measured.source.split, measured.source.epoch) == (whole.run_id, "val", best["epoch"])
    assert len(measured.truth.images) == 3
    assert all(Path(image.path or "").is_file() for image in measured.truth.images)
    [told] = [event for event in events_of(whole) if isinstance(event, EpochEvent) and event.epoch == best["epoch"]]
    assert coco_figures(measured.truth, measured.found).ap == pytest.approx(told.ap, abs=1e-6)
    thresholds = read_thresholds(whole)
    assert best["thresholds"] == (thresholds and msgspec.structs.asdict(thresholds))


def test_the_same_seed_trains_the_same_and_another_does_not(runs: Runs, whole: RunDir) -> None:
    again = runs.train("again", runs.recipe(**TWO_EPOCHS))
    assert losses_of(again) == losses_of(whole)
    assert_same_weights(weights_of(again), weights_of(whole))
    other = runs.recipe(training={"epochs": 1, "seed": 1})
    assert losses_of(runs.train("other", other))[0][1] != losses_of(whole)[0][1]


def test_loader_processes_change_nothing(runs: Runs, whole: RunDir) -> None:
    helped = runs.train("helped", runs.recipe(**TWO_EPOCHS, hardware={"num_workers": 1}))
    assert losses_of(helped) == losses_of(whole)


def test_a_backbone_that_cannot_be_compiled_costs_a_warning_and_nothing_else(
    runs: Runs, whole: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("this Python can't be compiled")

    monkeypatch.setattr(torch, "compile", refuse)
    tried = runs.train("tried", runs.recipe(**TWO_EPOCHS, hardware={"compile": True}))
    assert losses_of(tried) == losses_of(whole)
    assert_same_weights(weights_of(tried), weights_of(whole))
    [told] = [event for event in events_of(tried) if isinstance(event, MessageEvent)]
    assert told.level == "warning"
    assert "this Python can't be compiled" in told.text


def test_batches_sent_ahead_change_nothing(runs: Runs, whole: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, with a stop on the way: the batch that was on its way then comes again."""
    from engine.data import loading
    from tests.engine.data.test_sidestream import Noted

    side = Noted()
    monkeypatch.setattr(loading, "side_stream_of", lambda _: side)
    monkeypatch.setattr(loading, "_INSTANT_S", 60.0)
    recipe = runs.recipe(**TWO_EPOCHS, hardware={"num_workers": 1})
    run_dir = runs.run_dir("ahead", recipe)
    assert run(recipe, run_dir, stop_after=2).outcome == "stopped"
    assert run(recipe, run_dir, resume=True, attempt=2).outcome == "finished"
    assert losses_of(run_dir) == losses_of(whole)
    assert_same_weights(weights_of(run_dir), weights_of(whole))
    assert _figures(run_dir) == _figures(whole)
    assert {word for word, _ in side.log} == {"begin", "finish"}


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([1], id="in the first epoch"),
        pytest.param([3], id="at an epoch's end"),
        pytest.param([5], id="in the last epoch"),
        pytest.param([1, 2, 4], id="again and again"),
    ],
)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(runs: Runs, whole: RunDir, stops: list[int]) -> None:
    recipe = runs.recipe(**TWO_EPOCHS)
    run_dir = runs.run_dir("resumed", recipe)
    for attempt, stop_after in enumerate(stops):
        torch.manual_seed(99)  # a new process starts with another random state
        result = run(recipe, run_dir, resume=attempt > 0, stop_after=stop_after, attempt=attempt + 1)
        assert result.outcome == "stopped"
        assert f"step {stop_after} of 6" in result.reason
    torch.manual_seed(99)
    assert run(recipe, run_dir, resume=True, attempt=9).outcome == "finished"
    assert losses_of(run_dir) == losses_of(whole)
    assert_same_weights(weights_of(run_dir), weights_of(whole))
    assert _figures(run_dir) == _figures(whole)
    notes = [event.text for event in events_of(run_dir) if isinstance(event, MessageEvent)]
    assert notes[-1] == f"going on from step {stops[-1]} of 6"


def _figures(run_dir: RunDir) -> list[tuple[Any, ...]]:
    return [
        (event.epoch, event.train_loss, event.val_losses, event.ap, event.best)
        for event in events_of(run_dir) if isinstance(event, EpochEvent)
    ]


def test_a_run_asked_to_stop_before_its_first_step_saves_and_goes_on(runs: Runs, whole: RunDir) -> None:
    recipe = runs.recipe(**TWO_EPOCHS)
    run_dir = runs.run_dir("early", recipe)
    assert run(recipe, run_dir, stop_after=0).outcome == "stopped"
    assert steps_of(run_dir) == []
    run(recipe, run_dir, resume=True)
    assert losses_of(run_dir) == losses_of(whole)


def test_a_finished_run_taken_up_again_has_nothing_to_do(runs: Runs) -> None:
    recipe = runs.recipe()
    run_dir = runs.train("done", recipe)
    before = losses_of(run_dir)
    assert run(recipe, run_dir, resume=True, attempt=2).outcome == "finished"
    assert losses_of(run_dir) == before


def test_early_stopping_ends_the_run_with_its_reason_also_when_taken_up_again(runs: Runs) -> None:
    # Nothing is learnt at this rate, so that nothing improves by the margin.
    recipe = runs.recipe(
        training={"epochs": 6}, optimizer={"lr": 1e-9},
        early_stopping={"metric": "val_loss", "patience": 1, "min_delta": 5.0},
    )
    run_dir = runs.run_dir("early", recipe)
    result = run(recipe, run_dir)
    assert result.outcome == "finished"
    assert "val_loss has not improved for 1 epochs" in result.reason
    assert len(_figures(run_dir)) == 2
    # Killed between the last checkpoint and its last word:
    assert run(recipe, run_dir, resume=True, attempt=2).reason == result.reason
    assert len(_figures(run_dir)) == 2


def test_the_loss_goes_down(runs: Runs) -> None:
    recipe = runs.recipe(
        training={"epochs": 12}, optimizer={"name": "adamw", "lr": 0.002, "weight_decay": 0.0},
        previews={"num_images": 0}, augmentation={"horizontal_flip": 0.0},
    )
    run_dir = runs.train("learning", recipe)
    epochs = [event.train_loss for event in events_of(run_dir) if isinstance(event, EpochEvent)]
    assert epochs[-1] < 0.6 * epochs[0]  # type: ignore[operator]
    assert not (run_dir.path / "previews").exists()


def test_a_rate_far_too_high_diverges_where_no_way_back_is_allowed(runs: Runs) -> None:
    with pytest.raises(Diverged) as caught:
        runs.train(
            "wild", runs.recipe(training={"epochs": 30}, optimizer={"lr": 100.0}, recovery={"max_rollbacks": 0})
        )
    assert "went back to a checkpoint 0 times" in caught.value.problems[0].found


def test_a_checkpoint_of_the_first_version_is_gone_on_from(runs: Runs, whole: RunDir) -> None:
    recipe = runs.recipe(**TWO_EPOCHS)
    run_dir = runs.run_dir("older", recipe)
    run(recipe, run_dir, stop_after=4)
    state = load_checkpoint(run_dir.last_checkpoint)
    for key in ("scaler", "average", "num_summed", "num_measured", "plateau", "troubles", "set_aside",
                "micro_batch_size", "measure_batch_size"):
        del state[key]
    rewind(run_dir.events, state["events_bytes"])
    with EventLog(run_dir.events) as events:
        train(recipe, run_dir, events, resume_from=state, attempt=2)
    assert losses_of(run_dir) == losses_of(whole)
    assert _figures(run_dir) == _figures(whole)
