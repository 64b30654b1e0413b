"""What goes wrong in a night, really done to a real training: spoilt steps, no memory, hanging loaders, lost files."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.order import EpochOrder
from engine.errors import DataError, Diverged, MemoryExhausted
from engine.events import EpochEvent, EventLog, MessageEvent, RecoveryEvent, rewind
from engine.models import Detector
from engine.models.checkpoint import load_checkpoint
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from engine.training.optim import set_lr
from engine.training.replay import MAX_BUNDLES, repeat
from engine.training.step import spoilers_among
from engine.training.trainer import TrainingResult, train
from tests.builders import events_of, make_voc_dataset, random_objects, steps_of, write_photo, write_voc
from tests.engine.training.test_trainer import Runs, assert_same_weights, losses_of, weights_of

# 6 photos in batches of 2.
STEPS_PER_EPOCH = 3
# The width in pixels of a photo that can be told from all others, also as a tensor.
ODD_WIDTH = 70

Heartbeat = Callable[[], None]


@pytest.fixture
def own(tmp_path: Path) -> Runs:
    """Recipes for a dataset that the test may damage."""
    return Runs(tmp_path, make_voc_dataset(tmp_path / "dataset"))


def run(recipe: Recipe, run_dir: RunDir, *, heartbeat: Heartbeat = lambda: None, **options: Any) -> TrainingResult:
    with EventLog(run_dir.events) as events:
        return train(recipe, run_dir, events, heartbeat=heartbeat, **options)


def recoveries(run_dir: RunDir) -> list[RecoveryEvent]:
    return [event for event in events_of(run_dir) if isinstance(event, RecoveryEvent)]


def kinds(run_dir: RunDir) -> list[str]:
    return [event.kind for event in recoveries(run_dir)]


def assert_every_step_is_told_once(run_dir: RunDir, num_steps: int) -> None:
    assert [event.step for event in steps_of(run_dir)] == list(range(num_steps))


def train_image(runs: Runs, index: int) -> Path:
    return runs.dataset / "train" / "images" / f"train{index:02d}.jpg"


def after_step(step: int, run_dir: RunDir, act: Callable[[], object]) -> Heartbeat:
    """Acts once, after so many steps."""
    done = []

    def beat() -> None:
        if not done and len(steps_of(run_dir)) >= step:
            done.append(True)
            act()

    return beat


# --- spoilt steps ---


def spoil(monkeypatch: pytest.MonkeyPatch, when: Callable[[Detector, list[torch.Tensor]], bool], value: float) -> None:
    """Have the classification loss be multiplied by a value for certain batches."""
    original = Detector.losses

    def losses(self: Detector, images: list[torch.Tensor], *rest: Any) -> dict[str, torch.Tensor]:
        found = original(self, images, *rest)
        if when(self, images):
            found["loss_classifier"] = found["loss_classifier"] * value
        return found

    monkeypatch.setattr(Detector, "losses", losses)


def add_odd_image(runs: Runs) -> Path:
    """A training photo of another size than all others."""
    import numpy as np

    objects, size = random_objects(np.random.default_rng(5)), (ODD_WIDTH, 48)
    write_voc(runs.dataset / "train" / "annotations" / "odd.xml", objects, size=size)
    return write_photo(runs.dataset / "train" / "images" / "odd.jpg", objects, size=size)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9], ids=["not a number", "infinite", "huge"])
def test_an_image_that_spoils_the_loss_is_named_then_set_aside(
    own: Runs, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    odd = add_odd_image(own)
    recipe = own.recipe(training={"epochs": 4}, model={"norm": "batch"}, previews={"num_images": 0})
    run_dir = own.run_dir("spoilt", recipe)
    spoil(monkeypatch, lambda _, images: any(image.shape[-1] == ODD_WIDTH for image in images), value)
    assert run(recipe, run_dir).outcome == "finished"

    assert kinds(run_dir) == ["discarded step", "discarded step", "set aside"]
    assert all(event.images == (str(odd),) for event in recoveries(run_dir))
    first = recoveries(run_dir)[0]
    assert "before" not in first.text
    assert f"at step {first.step + 1} (loss_classifier = " in first.text
    assert first.losses.keys() >= {"loss_classifier", "loss_rpn_box_reg"}
    assert_every_step_is_told_once(run_dir, 16)
    spoilt = [event.step for event in recoveries(run_dir) if event.kind == "discarded step"]
    assert {step // 4 for step in spoilt} == {0, 1}  # once an epoch; from the third on it isn't drawn
    state = load_checkpoint(run_dir.last_checkpoint)
    assert state["set_aside"] == [str(odd)]
    assert all(tensor.isfinite().all() for tensor in state["model"].values() if tensor.is_floating_point())
    for event in events_of(run_dir):
        if isinstance(event, EpochEvent):
            good = [step for step in steps_of(run_dir) if step.epoch == event.epoch and step.step not in spoilt]
            mean = sum(step.loss or 0 for step in good) / len(good)
            assert event.train_loss == pytest.approx(mean)


def test_a_discarded_step_changes_nothing(own: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    # The last step of an epoch is spoilt: what is saved then must be what was there before it.
    recipe = own.recipe(model={"norm": "batch"}, recovery={"checkpoint_minutes": 1e-9}, previews={"num_images": 0})
    run_dir = own.run_dir("nothing", recipe)
    spoil(monkeypatch, lambda *_: len(steps_of(run_dir)) == STEPS_PER_EPOCH - 1, math.nan)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        if run_dir.last_checkpoint.exists() and len(steps_of(run_dir)) == STEPS_PER_EPOCH - 1:
            seen.append(load_checkpoint(run_dir.last_checkpoint))

    run(recipe, run_dir, heartbeat=look)
    before, after = seen[-1], load_checkpoint(run_dir.last_checkpoint)
    assert (before["step"], after["step"]) == (2, 3)
    assert_same_weights(before["model"], after["model"])
    assert str(before["optimizer"]) == str(after["optimizer"])


def test_a_replay_repeats_the_step_and_finds_the_image(own: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = add_odd_image(own)
    recipe = own.recipe(training={"epochs": 2, "micro_batch_size": 1}, previews={"num_images": 0})
    run_dir = own.run_dir("replayed", recipe)
    spoil(monkeypatch, lambda _, images: any(image.shape[-1] == ODD_WIDTH for image in images), math.nan)
    run(recipe, run_dir)
    event = recoveries(run_dir)[0]
    odd.unlink()  # a bundle needs nothing of the dataset
    weights = run_dir.last_checkpoint.read_bytes()
    repeated = repeat(recipe, run_dir.path / event.replay)
    assert repeated.is_the_same
    assert repeated.step == event.step
    assert repeated.losses.keys() == event.losses.keys()
    for name, value in event.losses.items():
        assert value is None or repeated.losses[name] == value
    suspects = [path for path, loss in zip(repeated.image_paths, repeated.alone, strict=True) if math.isnan(loss)]
    assert suspects == [str(odd)]
    assert run_dir.last_checkpoint.read_bytes() == weights


def test_steps_that_are_all_spoilt_send_the_run_back_with_a_lower_rate(
    own: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = own.recipe(
        training={"epochs": 3}, optimizer={"lr": 0.02}, previews={"num_images": 0}, schedule={"kind": "constant"},
        recovery={"max_discarded_steps": 2, "rollback_lr_factor": 0.1},
    )
    run_dir = own.run_dir("back", recipe)
    rates: list[float] = []

    def noted(optimizer: torch.optim.Optimizer, lr: float) -> None:
        rates.append(lr)
        set_lr(optimizer, lr)

    monkeypatch.setattr("engine.training.trainer.set_lr", noted)
    # At the full rate all goes wrong in the second epoch.
    spoil(monkeypatch, lambda *_: len(steps_of(run_dir)) >= STEPS_PER_EPOCH and rates[-1] > 0.01, math.nan)
    assert run(recipe, run_dir).outcome == "finished"
    assert kinds(run_dir) == ["discarded step", "discarded step", "rolled back"]
    assert_every_step_is_told_once(run_dir, 9)
    rates_told = [event.lr for event in steps_of(run_dir)]
    assert rates_told == pytest.approx([0.02] * 3 + [0.002] * 6)
    back = recoveries(run_dir)[-1]
    assert back.step == STEPS_PER_EPOCH
    assert "learning rate times 0.1" in back.text
    assert (run_dir.path / "events.before-1.jsonl").exists()


def test_an_image_set_aside_since_the_checkpoint_stays_so_after_going_back(
    own: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = own.recipe(
        training={"epochs": 3}, optimizer={"lr": 0.02}, previews={"num_images": 0}, schedule={"kind": "constant"},
        recovery={"max_discarded_steps": 2, "rollback_lr_factor": 0.1},
    )
    run_dir = own.run_dir("back", recipe)
    order = EpochOrder(6, 2, 0)
    order.epoch = 1
    lost = train_image(own, list(order)[1][0].place)  # drawn in the second step after the checkpoint
    rates: list[float] = []

    def noted(optimizer: torch.optim.Optimizer, lr: float) -> None:
        rates.append(lr)
        set_lr(optimizer, lr)

    monkeypatch.setattr("engine.training.trainer.set_lr", noted)
    spoil(monkeypatch, lambda *_: len(steps_of(run_dir)) >= 5 and rates[-1] > 0.01, math.nan)
    damage = after_step(STEPS_PER_EPOCH + 1, run_dir, lambda: lost.write_bytes(lost.read_bytes()[:-300]))
    run(recipe, run_dir, heartbeat=damage)
    assert kinds(run_dir).count("set aside") == 1
    assert "rolled back" in kinds(run_dir)
    assert load_checkpoint(run_dir.last_checkpoint)["set_aside"] == [str(lost)]


def test_a_rate_far_too_high_is_lowered_until_it_trains(own: Runs) -> None:
    recipe = own.recipe(
        training={"epochs": 6}, optimizer={"lr": 100.0}, previews={"num_images": 0},
        recovery={"rollback_lr_factor": 1e-3, "max_discarded_steps": 1},
    )
    run_dir = own.run_dir("wild", recipe)
    assert run(recipe, run_dir).outcome == "finished"
    assert "rolled back" in kinds(run_dir)
    assert_every_step_is_told_once(run_dir, 18)


def test_a_run_that_always_diverges_fails_with_its_reason(own: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = own.recipe(training={"epochs": 3}, recovery={"max_rollbacks": 2}, previews={"num_images": 0})
    run_dir = own.run_dir("lost", recipe)
    spoil(monkeypatch, lambda *_: len(steps_of(run_dir)) >= 4, math.nan)
    with pytest.raises(Diverged) as caught:
        run(recipe, run_dir)
    [problem] = caught.value.problems
    assert "went back to a checkpoint 2 times" in problem.found
    assert "optimizer.lr" in problem.fix
    # First to the end of the first epoch; then, as that did not help, to the very start.
    assert [event.step for event in recoveries(run_dir) if event.kind == "rolled back"] == [3, 0]
    assert len(list(run_dir.replays.glob("*.pt"))) <= MAX_BUNDLES


# --- memory ---


def short_of_memory(monkeypatch: pytest.MonkeyPatch, when: Callable[[list[torch.Tensor]], bool], name: str) -> None:
    """Have a method of the detector run out of memory for certain images, after having computed with them."""
    original = getattr(Detector, name)

    def method(self: Detector, images: list[torch.Tensor], *rest: Any) -> Any:
        found = original(self, images, *rest)
        if when(images):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return found

    monkeypatch.setattr(Detector, name, method)


def test_a_batch_that_does_not_fit_is_taken_in_halves_as_if_the_recipe_had_said_so(
    own: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    same: dict[str, Any] = {"model": {"norm": "batch"}, "previews": {"num_images": 0}}
    wanted = own.train("wanted", own.recipe(training={"epochs": 2, "micro_batch_size": 1}, **same))
    recipe = own.recipe(training={"epochs": 2}, **same)
    run_dir = own.run_dir("halved", recipe)
    short_of_memory(monkeypatch, lambda images: len(images) > 1, "losses")
    assert run(recipe, run_dir).outcome == "finished"
    [event] = recoveries(run_dir)
    assert event.kind == "out of memory"
    assert "at step 1; going on with 1 image in memory at a time (the batch stays 2" in event.text
    assert losses_of(run_dir) == losses_of(wanted)
    assert_same_weights(weights_of(run_dir), weights_of(wanted))
    assert load_checkpoint(run_dir.last_checkpoint)["micro_batch_size"] == 1


def test_an_image_for_which_memory_never_suffices_fails_with_the_size_that_would_fit(
    own: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = own.recipe(model={"min_size": 96, "max_size": 128})
    run_dir = own.run_dir("too large", recipe)
    original = Detector.losses

    def losses(self: Detector, images: list[torch.Tensor], *rest: Any) -> Any:
        if self.network.transform.min_size[0] > 64:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
        return original(self, images, *rest)

    monkeypatch.setattr(Detector, "losses", losses)
    with pytest.raises(MemoryExhausted) as caught:
        run(recipe, run_dir)
    [problem] = caught.value.problems
    assert "a single image" in problem.found
    assert "model.min_size = 61 with model.max_size = 81 would fit" in problem.fix


def test_memory_that_runs_out_while_measuring_shrinks_the_batches(own: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = own.recipe(previews={"num_images": 1})
    run_dir = own.run_dir("measured", recipe)
    short_of_memory(monkeypatch, lambda images: len(images) > 1, "detect_with_losses")
    assert run(recipe, run_dir).outcome == "finished"
    [event] = recoveries(run_dir)
    assert "measuring anew with 1 image(s) at a time" in event.text
    [epoch] = [event for event in events_of(run_dir) if isinstance(event, EpochEvent)]
    assert epoch.val_loss is not None
    assert epoch.ap is not None


def test_memory_that_runs_out_while_weights_change_goes_back_to_the_checkpoint(
    own: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.training import step as step_module

    recipe = own.recipe(training={"epochs": 2}, previews={"num_images": 0})
    run_dir = own.run_dir("update", recipe)
    original, failed = step_module.apply_gradients, []

    def apply_gradients(*given: Any) -> Any:
        done = original(*given)
        if len(steps_of(run_dir)) == 4 and not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("HIP out of memory")
        return done

    monkeypatch.setattr(step_module, "apply_gradients", apply_gradients)
    assert run(recipe, run_dir).outcome == "finished"
    [event] = recoveries(run_dir)
    assert (event.kind, event.step) == ("out of memory", 3)
    assert_every_step_is_told_once(run_dir, 6)


# --- files and loaders ---


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("damage", ["vanished", "cut off"])
def test_a_file_that_breaks_in_the_night_is_set_aside(own: Runs, num_workers: int, damage: str) -> None:
    recipe = own.recipe(training={"epochs": 3}, hardware={"num_workers": num_workers}, previews={"num_images": 0})
    run_dir = own.run_dir("damaged", recipe)
    lost = train_image(own, 2)

    def act() -> None:
        if damage == "vanished":
            lost.unlink()
        else:
            lost.write_bytes(lost.read_bytes()[:200])

    assert run(recipe, run_dir, heartbeat=after_step(1, run_dir, act)).outcome == "finished"
    [event] = recoveries(run_dir)
    assert event.kind == "set aside"
    assert event.images == (str(lost),)
    assert "training goes on without it (1 of at most 1 set aside)" in event.text
    assert_every_step_is_told_once(run_dir, 9)
    assert load_checkpoint(run_dir.last_checkpoint)["set_aside"] == [str(lost)]


def test_a_file_lost_between_the_check_and_the_start_costs_one_image_not_the_run(own: Runs) -> None:
    recipe = own.recipe(training={"epochs": 1}, previews={"num_images": 0})
    run_dir = own.run_dir("lost", recipe)
    train_image(own, 2).unlink()
    assert run(recipe, run_dir).outcome == "finished"
    [event] = recoveries(run_dir)
    assert event.kind == "set aside"
    assert "train02" in event.text
    assert "since the check" in event.text


def test_many_files_lost_before_the_start_end_the_run(own: Runs) -> None:
    recipe = own.recipe()
    for index in range(3):
        train_image(own, index).unlink()
    with pytest.raises(DataError):
        run(recipe, own.run_dir("lost", recipe))


def test_a_resumed_run_keeps_its_place_when_the_dataset_has_shrunk(own: Runs) -> None:
    recipe = own.recipe(training={"epochs": 3}, previews={"num_images": 0})
    run_dir = own.run_dir("shrunk", recipe)
    with pytest.raises(KeyboardInterrupt):
        _go_on(recipe, run_dir, 1, _kill_after(3, run_dir))  # after the first epoch of three steps
    for index in (0, 1):
        (own.dataset / "train" / "annotations" / f"train{index:02d}.xml").unlink()
        train_image(own, index).unlink()
    _go_on(recipe, run_dir, 2, lambda: None)
    assert [event.epoch for event in events_of(run_dir) if isinstance(event, EpochEvent)] == [0, 1, 2]
    warnings = [event.text for event in events_of(run_dir) if isinstance(event, MessageEvent)]
    assert "an epoch has 2 steps instead of 3, for the dataset has changed" in warnings


@pytest.mark.parametrize(
    ("losses", "spoilers"),
    [
        pytest.param({0: 1.0, 1: math.nan}, [1], id="one is no number"),
        pytest.param({0: 9_000.0, 1: 12_000.0}, [], id="all are huge"),
        pytest.param({0: 2.0, 1: 12_000.0}, [1], id="one stands out"),
        pytest.param({0: math.nan, 1: math.inf}, [0, 1], id="none is a number"),
        pytest.param({3: 12_000.0}, [3], id="alone"),
        pytest.param({}, [], id="nothing"),
    ],
)
def test_images_are_blamed_only_where_they_stand_out(losses: dict[int, float], spoilers: list[int]) -> None:
    assert spoilers_among(losses, 10_000.0) == spoilers


def test_more_broken_files_than_allowed_end_the_run(own: Runs) -> None:
    recipe = own.recipe(training={"epochs": 3}, previews={"num_images": 0})
    run_dir = own.run_dir("many", recipe)

    def act() -> None:
        for index in range(5):
            train_image(own, index).unlink()

    with pytest.raises(DataError) as caught:
        run(recipe, run_dir, heartbeat=after_step(1, run_dir, act))
    [problem] = caught.value.problems
    assert problem.code == "T212"
    assert "recovery.max_set_aside = 0.05 allows 1" in problem.found


def test_a_validation_image_that_breaks_is_left_out_of_the_figures(own: Runs) -> None:
    recipe = own.recipe(training={"epochs": 2}, previews={"num_images": 0})
    run_dir = own.run_dir("val", recipe)
    lost = own.dataset / "val" / "images" / "val01.jpg"
    run(recipe, run_dir, heartbeat=after_step(4, run_dir, lost.unlink))
    [event] = recoveries(run_dir)
    assert event.kind == "set aside"
    assert "measured without 1 validation image" in event.text


def test_an_image_that_never_loads_is_noticed_named_and_set_aside(own: Runs, capfd: pytest.CaptureFixture[str]) -> None:
    recipe = own.recipe(
        training={"epochs": 3}, hardware={"num_workers": 2}, previews={"num_images": 0},
        recovery={"stall_min_seconds": 2.0, "stall_factor": 3.0},
    )
    run_dir = own.run_dir("hangs", recipe)
    pipe = train_image(own, 3)

    def act() -> None:
        pipe.unlink()
        os.mkfifo(pipe)  # opening it waits for a writer that never comes, as a dead network drive would

    assert run(recipe, run_dir, heartbeat=after_step(1, run_dir, act)).outcome == "finished"
    assert kinds(run_dir) == ["stalled", "set aside"]
    stalled, aside = recoveries(run_dir)
    assert "going on with 1 loader process instead of 2" in stalled.text
    assert aside.images == (str(pipe),)
    assert "picture.py" in capfd.readouterr().err  # where it hung
    assert_every_step_is_told_once(run_dir, 9)


def test_a_loader_process_that_is_killed_is_replaced(own: Runs) -> None:
    same: dict[str, Any] = {"training": {"epochs": 3}, "previews": {"num_images": 0}}
    whole = own.train("whole", own.recipe(**same))
    recipe = own.recipe(**same, hardware={"num_workers": 1})
    run_dir = own.run_dir("killed", recipe)

    def act() -> None:
        for process in multiprocessing.active_children():
            process.kill()

    run(recipe, run_dir, heartbeat=after_step(1, run_dir, act))
    assert "loader restarted" in kinds(run_dir)
    assert "loading in the training process instead of 1" in recoveries(run_dir)[0].text
    assert losses_of(run_dir) == losses_of(whole)
    assert_same_weights(weights_of(run_dir), weights_of(whole))


# --- resuming ---

_EVERYTHING: dict[str, dict[str, Any]] = {
    "averaged": {"training": {"ema_decay": 0.9}},
    "thawed": {"training": {"freeze_epochs": 1}, "model": {"norm": "batch"}},
    "in parts": {"training": {"batch_size": 3, "micro_batch_size": 2}},
    "half": {"hardware": {"precision": "bf16"}},
    "scaled": {"hardware": {"precision": "fp16"}},
    "augmented": {
        "augmentation": {
            "photometric": 0.5, "zoom_out": 0.5, "iou_crop": 0.5, "mosaic": 0.5, "multi_scale": [40, 48, 56],
            "off_last_epochs": 1,
        },
    },
    "repeated": {"training": {"repeat_threshold": 1.0}},
    "plateau": {"schedule": {"kind": "plateau", "patience": 1}},
    "two rates": {"optimizer": {"name": "adamw", "backbone_lr_factor": 0.1}},
}


_EVERY_ONE = [  # few CPUs compute in fp16
    pytest.param(value, id=name, marks=pytest.mark.slow if name == "scaled" else ())
    for name, value in _EVERYTHING.items()
]


@pytest.mark.parametrize("sections", _EVERY_ONE)
def test_a_killed_run_equals_one_never_interrupted(own: Runs, sections: dict[str, dict[str, Any]]) -> None:
    sections = {name: dict(values) for name, values in sections.items()}
    sections.setdefault("training", {})["epochs"] = 3
    sections["recovery"] = {"checkpoint_minutes": 1e-9}
    recipe = own.recipe(**sections, previews={"num_images": 0})
    whole = own.train("whole", recipe)
    assert kinds(whole) == []
    run_dir = own.run_dir("killed", recipe)
    num_steps = len(steps_of(whole))
    for attempt, killed_at in enumerate((1, 4, num_steps - 1)):
        torch.manual_seed(99)
        with pytest.raises(KeyboardInterrupt):
            _go_on(recipe, run_dir, attempt, _kill_after(killed_at, run_dir))
    _go_on(recipe, run_dir, 9, lambda: None)
    assert losses_of(run_dir) == losses_of(whole)
    assert_same_weights(weights_of(run_dir), weights_of(whole))
    assert _measured(run_dir) == _measured(whole)


def _kill_after(step: int, run_dir: RunDir) -> Heartbeat:
    def beat() -> None:
        if len(steps_of(run_dir)) > step:
            raise KeyboardInterrupt

    return beat


def _go_on(recipe: Recipe, run_dir: RunDir, attempt: int, heartbeat: Heartbeat) -> None:
    state = load_checkpoint(run_dir.last_checkpoint) if run_dir.last_checkpoint.exists() else None
    rewind(run_dir.events, state["events_bytes"] if state else 0)
    run(recipe, run_dir, heartbeat=heartbeat, resume_from=state, attempt=attempt)


def _measured(run_dir: RunDir) -> Iterator[Any]:
    return [
        (event.epoch, event.train_loss, event.val_losses, event.ap, event.best, event.weights)
        for event in events_of(run_dir) if isinstance(event, EpochEvent)
    ]


def test_averaged_weights_are_kept_where_they_are_better(own: Runs) -> None:
    # A rate at which the weights jump about, so that their average is the better model by its loss.
    recipe = own.recipe(
        training={"epochs": 8, "ema_decay": 0.8}, optimizer={"lr": 0.05}, schedule={"kind": "constant"},
        evaluation={"best_metric": "val_loss"}, previews={"num_images": 0},
    )
    run_dir = own.train("averaged", recipe)
    epochs = [event for event in events_of(run_dir) if isinstance(event, EpochEvent)]
    assert "averaged" in {event.weights for event in epochs}
    best = [event for event in epochs if event.best][-1]
    content = load_checkpoint(run_dir.best_checkpoint)
    assert content["weights"] == best.weights
