"""Rehearsals as processes: what is shared, what a death means, and what becomes of the recipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine import rehearsal
from engine.alike import rehearsal_key
from engine.recipe.load import LoadedRecipe, load_recipes
from engine.rehearsal import Rehearsed, rehearse_recipes, without_rehearsal
from tests.builders import write_recipe

MB = 10**6


def load(folder: Path, dataset: Path, name: str = "tiny", *overrides: str) -> LoadedRecipe:
    [loaded] = load_recipes(write_recipe(folder, dataset, name), overrides=overrides)
    return loaded


def codes(rehearsed: Rehearsed) -> list[str]:
    return [problem.code for problem in rehearsed.problems]


# --- what is shared ---


@pytest.mark.parametrize(
    "same",
    ["training.seed=7", "optimizer.lr=0.2", "training.epochs=9", 'schedule.kind="cosine"', "queue.priority=3",
     "previews.num_images=0", "optimizer.weight_decay=0.1", "augmentation.off_last_epochs=1"],
)  # fmt: skip
def test_what_costs_neither_time_nor_memory_is_shared(tmp_path: Path, dataset: Path, same: str) -> None:
    one, other = load(tmp_path, dataset), load(tmp_path, dataset, "other", same)
    assert rehearsal_key(one.recipe) == rehearsal_key(other.recipe)


@pytest.mark.parametrize(
    "other",
    ["training.batch_size=3", "training.micro_batch_size=1", "model.min_size=32", 'optimizer.name="adamw"',
     "optimizer.momentum=0", "hardware.memory_limit_gb=2", "training.ema_decay=0.9", "augmentation.mosaic=0.5",
     'hardware.precision="bf16"', "model.trainable_layers=1", 'dataset.empty_boxes="drop"'],
)  # fmt: skip
def test_what_does_is_not(tmp_path: Path, dataset: Path, other: str) -> None:
    one = load(tmp_path, dataset)
    assert rehearsal_key(one.recipe) != rehearsal_key(load(tmp_path, dataset, "other", other).recipe)


# --- processes that are no rehearsal ---

_ACTOR = """
import json, os, pathlib, signal, sys
log, *says = sys.argv[1:]
says, arguments = says[: says.index("--")], says[says.index("--") + 1 :]
with open(log, "a") as file: file.write(" ".join(arguments[1:]) + "\\n")
most = int(arguments[2]) if "--most-images" in arguments else 8
for say in says:
    if say == "die": os.kill(os.getpid(), signal.SIGKILL)
    elif say == "segfault": os.kill(os.getpid(), signal.SIGSEGV)
    elif say == "exit": print("boom at last", file=sys.stderr); sys.exit(3)
    elif say == "bad_alloc": print("what():  std::bad_alloc", file=sys.stderr); os.abort()
    elif say == "hang": signal.pause()
    elif say == "step":
        doing = dict(words="the largest images", micro_batch_size=most, images=["a.jpg"])
        print(json.dumps(dict(type="doing", **doing)), flush=True)
    elif say == "die unless 2" and most > 2: os.kill(os.getpid(), signal.SIGKILL)
    elif say == "answer":
        figures = dict(device="cpu", batch_size=8, micro_batch_size=most, startup_s=1, step_s=1, evaluate_image_s=1,
                       peak_bytes=1, available_bytes=2, num_train_images=6, num_val_images=3)
        print(json.dumps(dict(type="answer", figures=figures)), flush=True)
"""


def acted(tmp_path: Path, loaded: Sequence[LoadedRecipe], *says: str, at_work: bool = False) -> list[Rehearsed]:
    script = tmp_path / "actor.py"
    script.write_text(_ACTOR)
    command = [sys.executable, "-S", str(script), str(tmp_path / "log"), *says, "--"]
    return rehearse_recipes(loaded, command=command, at_work=at_work)


def starts(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


def test_no_recipes_no_process(tmp_path: Path) -> None:
    assert acted(tmp_path, [], "answer") == []
    assert not (tmp_path / "log").exists()


def test_a_sweep_of_seeds_and_rates_costs_one_process(tmp_path: Path, dataset: Path) -> None:
    runs = [load(tmp_path, dataset, name, f"training.seed={seed}", f"optimizer.lr=0.{seed}1")
            for seed, name in enumerate("abc")]  # fmt: skip
    other = load(tmp_path, dataset, "other", "training.batch_size=1")
    found = acted(tmp_path, [runs[0], other, *runs[1:]], "answer")
    assert len(starts(tmp_path)) == 2
    assert [one.loaded.recipe.name for one in found] == ["a", "other", "b", "c"]
    assert all(one.ok and one.figures for one in found)


def test_killed_for_its_memory_it_is_tried_with_half_as_many_images(tmp_path: Path, dataset: Path) -> None:
    [found] = acted(tmp_path, [load(tmp_path, dataset)], "step", "die unless 2", "answer")
    assert starts(tmp_path) == ["", "--most-images 4", "--most-images 2"]
    assert (found.ok, found.loaded.recipe.training.micro_batch_size) == (True, 2)


@pytest.mark.parametrize("death", ["die", "bad_alloc"])
def test_when_one_image_is_too_many_that_is_the_end(tmp_path: Path, dataset: Path, death: str) -> None:
    [found] = acted(tmp_path, [load(tmp_path, dataset)], "step", death)
    assert starts(tmp_path) == ["", *(f"--most-images {count}" for count in (4, 2, 1)), "--search-size"]
    [problem] = found.problems
    assert (problem.code, found.ok, found.figures) == ("T301", False, None)
    assert problem.found.startswith("tiny: the system killed the rehearsal at the largest images, 1 at a time (a.jpg)")


def test_beside_a_run_at_work_too_little_memory_refuses_nobody(tmp_path: Path, dataset: Path) -> None:
    [found] = acted(tmp_path, [load(tmp_path, dataset)], "die", at_work=True)
    assert (codes(found), found.ok) == (["T301"], True)
    [found] = acted(tmp_path, [load(tmp_path, dataset)], "step", "die unless 2", "answer", at_work=True)
    assert found.loaded.recipe.training.micro_batch_size is None


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (("step", "segfault"), "was killed by signal 11 (SIGSEGV) at the largest images, 8 at a time (a.jpg)"),
        (("exit",), "ended with exit code 3 at starting: boom at last"),
        ((), "ended with exit code 0 at starting"),
    ],
)
def test_a_death_is_the_recipes_problem_and_the_next_is_rehearsed(
    tmp_path: Path, dataset: Path, says: Sequence[str], words: str
) -> None:
    two = [load(tmp_path, dataset), load(tmp_path, dataset, "other", "training.batch_size=1")]
    found = acted(tmp_path, two, *says)
    assert [codes(one) for one in found] == [["T302"], ["T302"]]
    assert words in found[0].problems[0].found
    assert found[1].problems[0].found.startswith("other: ")
    assert found[0].problems[0].where.path == str(tmp_path / "tiny.toml")


def test_one_that_tells_nothing_is_ended(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_PATIENCE_S", 0.5)
    [found] = acted(tmp_path, [load(tmp_path, dataset)], "hang")
    assert codes(found) == ["T302"]
    assert "told nothing" in found.problems[0].found


def test_auto_needs_a_rehearsal(tmp_path: Path, dataset: Path) -> None:
    auto = load(tmp_path, dataset, "tiny", 'training.batch_size="auto"')
    [problem] = without_rehearsal([load(tmp_path, dataset, "other"), auto])
    assert (problem.code, problem.found.split(":")[0]) == ("T307", "tiny")


# --- real ones ---


def test_a_real_one_finds_a_batch_size_and_figures(tmp_path: Path, dataset: Path) -> None:
    auto = load(tmp_path, dataset, "tiny", 'training.batch_size="auto"', "training.ema_decay=0.9")
    told: list[str] = []
    [found] = rehearse_recipes([auto], on_progress=lambda _done, _total, _name, words: told.append(words))
    assert codes(found) == ["T306"]
    assert found.loaded.recipe.training.batch_size == 4
    assert found.loaded.text == auto.text
    figures = found.figures
    assert figures is not None
    assert 200 * MB < figures.peak_bytes < 2000 * MB < figures.available_bytes
    assert 0 < figures.step_s < figures.startup_s + 60
    assert (figures.num_train_images, figures.num_val_images) == (6, 3)
    assert figures.state_bytes > figures.model_bytes > MB
    assert any(words.startswith("evaluating the largest images") for words in told)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to the limit")
def test_too_large_a_batch_for_a_limit_becomes_smaller_ones(tmp_path: Path, dataset: Path) -> None:
    large = ["model.min_size=400", "model.max_size=600", "training.batch_size=4", "hardware.memory_limit_gb=1.65"]
    [found] = rehearse_recipes([load(tmp_path, dataset, "tiny", *large)])
    assert codes(found)[0] == "T305", found.problems
    training = found.loaded.recipe.training
    assert training.batch_size == 4
    assert training.micro_batch_size in (1, 2)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to the limit")
def test_where_no_image_fits_a_size_that_does_is_named(tmp_path: Path, dataset: Path) -> None:
    large = ["model.min_size=1200", "model.max_size=1600", "hardware.memory_limit_gb=1.2"]
    [found] = rehearse_recipes([load(tmp_path, dataset, "tiny", *large)])
    [problem] = found.problems
    assert (problem.code, found.ok) == ("T301", False)
    assert "train0" in problem.found
    assert "set model.min_size = " in problem.fix


def test_a_learning_rate_that_spoils_the_first_steps_is_found(tmp_path: Path, dataset: Path) -> None:
    rates = {"fine": 0.01, "absurd": 100.0, "high": 1.0, "twin": 0.01}
    runs = [load(tmp_path, dataset, name, f"optimizer.lr={lr}", "training.epochs=5") for name, lr in rates.items()]
    fine, absurd, high, twin = rehearse_recipes(runs)
    assert [(codes(one), one.ok) for one in (fine, twin)] == [([], True)] * 2
    assert (codes(high), high.ok) == (["T308"], True)  # the run would go back and mend it
    assert "try lower ones, of which 0.125 goes well at first" in high.problems[0].found
    assert (codes(absurd), absurd.ok) == (["T308"], False)
    [problem] = absurd.problems
    assert problem.found.startswith("absurd: at the learning rate 100 the loss ")
    assert "likewise at 12.5, the lowest that the run would try by itself" in problem.found
    assert problem.where.item == "optimizer.lr"


def test_bad_weights_keep_their_own_code(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"not weights at all")
    bad = load(tmp_path, dataset, "tiny", f"model.weights={json.dumps(str(tmp_path / 'weights.pth'))}")
    [found] = rehearse_recipes([bad])
    assert codes(found) == ["W104"]
    assert "tiny: " in found.problems[0].found
    assert "weights.pth" in str(found.problems[0])
