"""Every bad input of a person: one clear message with its place, exit code 1, nothing queued."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.main import _place
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import make_voc_dataset, write_photo, write_recipe, write_voc
from tests.engine.cli.conftest import Ask

Spoil = Callable[[Path, Path], None]


def typo(recipe: Path, _: Path) -> None:
    recipe.write_text(recipe.read_text().replace("epochs =", "epocs ="))


def wrong_type(recipe: Path, _: Path) -> None:
    recipe.write_text(recipe.read_text().replace("epochs = 1", 'epochs = "1"'))


def not_toml(recipe: Path, _: Path) -> None:
    recipe.write_text(recipe.read_text() + "\n[broken\n")


def missing_recipe(recipe: Path, _: Path) -> None:
    recipe.unlink()


def recipe_is_a_folder(recipe: Path, _: Path) -> None:
    recipe.unlink()
    recipe.mkdir()


def not_text(recipe: Path, _: Path) -> None:
    recipe.write_bytes(b"\xff\xfe\x00name")


def missing_folder(_: Path, dataset: Path) -> None:
    (dataset / "train" / "images").rename(dataset / "train" / "pictures")


def unknown_class(_: Path, dataset: Path) -> None:
    write_voc(dataset / "train" / "annotations" / "train00.xml", [("mug", (1, 1, 20, 20)), ("mgu", (30, 1, 50, 20))])


def truncated_jpeg(_: Path, dataset: Path) -> None:
    path = dataset / "train" / "images" / "train00.jpg"
    path.write_bytes(path.read_bytes()[:-200])


def not_xml(_: Path, dataset: Path) -> None:
    (dataset / "train" / "annotations" / "train00.xml").write_text("<annotation>\n<object>\nmug, 1, 2")


def empty_box(_: Path, dataset: Path) -> None:
    write_voc(dataset / "val" / "annotations" / "val01.xml", [("mug", (41, 1, 41, 20))])


def lone_image(_: Path, dataset: Path) -> None:
    write_photo(dataset / "train" / "images" / "lone.jpg", [])


def missing_weights(recipe: Path, _: Path) -> None:
    recipe.write_text(recipe.read_text().replace('weights = "none"', 'weights = "mine.pth"'))


# What is spoilt, and what the message names; "@epocs" stands for the line where that is written.
BAD: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "a typo in a key": (typo, ("desk.toml:@epocs", "epocs", 'did you mean "epochs"?')),
    "a value of the wrong type": (wrong_type, ("desk.toml:@epochs", "training.epochs")),
    "not TOML": (not_toml, ("desk.toml:@broken",)),
    "a missing recipe": (missing_recipe, ("desk.toml",)),
    "a folder for a recipe": (recipe_is_a_folder, ("desk.toml",)),
    "a recipe that isn't text": (not_text, ("desk.toml",)),
    "a missing folder": (missing_folder, ("train/images",)),
    "a class that isn't in the map": (unknown_class, ("train00.xml:7", "mgu", "classes.names")),
    "a truncated JPEG": (truncated_jpeg, ("train00.jpg",)),
    "an XML that isn't XML": (not_xml, ("train00.xml:3",)),
    "an empty box": (empty_box, ("val01.xml:3", "width is 0")),
    "an image without annotation": (lone_image, ("lone.jpg",)),
    "missing weights": (missing_weights, ("desk.toml", "mine.pth")),
}


def with_line(word: str, recipe: Path) -> str:
    """Put the number of the line that holds what stands behind "@" in its place."""
    place, _, text = word.partition("@")
    if not text:
        return word
    lines = recipe.read_text().splitlines()
    return place + str(next(number for number, line in enumerate(lines, 1) if text in line))


@pytest.fixture
def spoilt(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    spoil, named = BAD[request.param]
    dataset = make_voc_dataset(tmp_path / "data", 3, 2)
    recipe = write_recipe(tmp_path, dataset, "desk")
    spoil(recipe, dataset)
    return recipe, named


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("spoilt", BAD, indirect=True)
def test_one_message_with_its_place_and_nothing_queued(
    engine: Ask, spoilt: tuple[Path, tuple[str, ...]], command: str, tmp_path: Path
) -> None:
    recipe, named = spoilt
    named = tuple(with_line(word, recipe) for word in named)
    answer = engine(command, recipe)
    told = answer.out if command == "check" else answer.err
    assert answer.code == 1
    for word in named:
        assert word in told
    assert told.count("fix: ") == told.count(" error ") == 1
    assert "Traceback" not in answer.out + answer.err
    assert f"  {tmp_path}" not in told  # places are told from the current folder
    assert not (tmp_path / "runs").exists()
    if command == "run":
        assert "nothing queued" in told


def test_every_problem_of_every_recipe_is_told_at_once(engine: Ask, tmp_path: Path) -> None:
    bad = write_recipe(tmp_path, make_voc_dataset(tmp_path / "data", 3, 2), "bad")
    typo(bad, tmp_path)
    worse = write_recipe(tmp_path, make_voc_dataset(tmp_path / "other", 3, 2, seed=1), "worse")
    write_voc(tmp_path / "other" / "train" / "annotations" / "train01.xml", [("mgu", (1, 1, 20, 20))])
    truncated_jpeg(worse, tmp_path / "other")
    lone_image(worse, tmp_path / "other")
    answer = engine("run", bad, worse, "missing.toml")
    assert answer.code == 1
    for word in (with_line("bad.toml:@epocs", bad), "train01.xml:3", "train00.jpg", "lone.jpg", "missing.toml"):
        assert word in answer.err
    assert not (tmp_path / "runs").exists()


def test_a_finding_that_two_recipes_share_is_told_once(engine: Ask, tmp_path: Path) -> None:
    dataset = make_voc_dataset(tmp_path / "data", 3, 2)
    truncated_jpeg(tmp_path, dataset)
    answer = engine("check", write_recipe(tmp_path, dataset, "a"), write_recipe(tmp_path, dataset, "b"))
    assert answer.code == 1
    assert answer.out.count("train00.jpg") == 1
    assert "as above" in answer.out


def test_one_bad_recipe_keeps_the_good_ones_out_too(engine: Ask, dataset: Path, tmp_path: Path) -> None:
    good = write_recipe(tmp_path, dataset, "good")
    assert engine("run", good, "missing.toml").code == 1
    assert not (tmp_path / "runs").exists()


def test_runs_is_a_file(engine: Ask, dataset: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, dataset)
    (tmp_path / "runs").write_text("mine")
    for arguments in (("run", recipe), ("status",), ("logs", "tiny")):
        answer = engine(*arguments)
        assert answer.code in (1, 2)
        assert "runs" in answer.err
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_runs_folder(engine: Ask, dataset: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, dataset)
    (tmp_path / "runs").mkdir(mode=0o555)
    answer = engine("run", recipe)
    assert answer.code == 1
    assert "writable" in answer.err


def test_a_runs_folder_below_a_file(engine: Ask, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = engine("run", write_recipe(tmp_path, dataset), "--runs", "file/runs")
    assert answer.code in (1, 2)
    assert "file/runs" in answer.err


@pytest.mark.parametrize("arguments", [("logs", "nobody"), ("predict", "nobody", "photo.jpg")], ids=["logs", "predict"])
def test_a_run_that_isnt_there(engine: Ask, arguments: tuple[str, ...]) -> None:
    answer = engine(*arguments)
    assert answer.code == 1
    assert 'no run "nobody"' in answer.err


NOWHERE = [
    ("evaluate", "4", "--out", "file/out"), ("predict", "4", "photo.png", "--out", "file/out"),
    ("compare", "4", "runs/0004-desk/../0005-other", "--out", "file/out"), ("export", "4", "--bundle", "file/out"),
]  # fmt: skip


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any work fails the test: loading a model or measuring."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("worked before it was known that the outcome can be written")

    for name in ("evaluation.predict.load_predictor", "cli.compare._contenders", "export.exporting.export_model"):
        monkeypatch.setattr(f"engine.{name}", work)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("arguments", NOWHERE, ids=[one[0] for one in NOWHERE])
def test_where_nothing_can_be_written_is_found_before_any_work(
    engine: Ask, run: RunDir, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shutil.copytree(run.path, run.path.with_name("0005-other"))
    (tmp_path / "file").touch()
    write_photo(tmp_path / "photo.png", [])
    answer = engine(*arguments)
    assert (answer.code, "error E101 nothing can be written here" in answer.err) == (1, True), answer.err


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("arguments", [("evaluate", "4"), ("predict", "4", "photo.png"), ("export", "4")])
def test_a_run_folder_that_can_only_be_read_is_found_before_any_work(
    engine: Ask, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    write_photo(tmp_path / "photo.png", [])
    # As the system answers of a read-only drive; to root, nothing else is.
    monkeypatch.setattr("engine.machine.os.access", lambda path, _mode: not Path(path).is_relative_to(run.path))
    answer = engine(*arguments)
    assert (answer.code, "is read-only" in answer.err) == (1, True), answer.err


@pytest.mark.parametrize(
    ("name", "told"),
    [("runs/0001-a/export/.model-x1.onnx", "runs/0001-a/export"), ("there/a.json", "there/a.json"), (None, "")],
)
def test_a_hidden_file_that_the_system_refused_is_told_by_its_folder(name: str | None, told: str) -> None:
    assert _place(PermissionError(13, "Permission denied", name)) == told


def test_a_queue_of_a_newer_engine(engine: Ask, tmp_path: Path) -> None:
    queue = RunQueue(tmp_path / "runs")
    queue._db.execute("PRAGMA user_version=9")
    queue.close()
    answer = engine("run")
    assert answer.code == 1
    assert "newer engine" in answer.err


def test_ctrl_c_is_told_in_a_word(engine: Ask, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_recipe(tmp_path, dataset, "desk")
    monkeypatch.setattr("engine.cli.check.preflight", interrupted)
    answer = engine("check", "desk.toml")
    assert (answer.code, answer.err.split()) == (130, ["stopped"])
