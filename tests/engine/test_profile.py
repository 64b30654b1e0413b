"""Profiles: parts that add up to the step, advice drawn from figures, and the command from recipe to table."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from rich.console import Console

from engine.cli import profile_table
from engine.cli.profile_table import bar, print_profile, seconds_words
from engine.models import build_detector
from engine.profile import Advice, Epoch, Loading, Part, Profile, with_rests
from engine.profileadvice import advise
from engine.profiler import Clock, modules_of, run
from engine.profiling import _death, profile_recipe
from engine.recipe.schema import Model, Recipe
from engine.training.starvation import Supplied
from tests.builders import load_recipe, make_voc_dataset, write_recipe
from tests.engine.cli.conftest import Ask, engine  # noqa: F401 - the fixture by its name

SUPPLIED = Supplied(num_workers=1, num_cores=4, on_cpu=True, photo_pixels=3e5, input_pixels=3e5)


def made_profile(**values: object) -> Profile:
    parts = {"waiting": 0.05, "forward": 0.4, "forward/backbone": 0.2, "backward": 0.4, "optimizer": 0.05}
    usual: dict[str, object] = {
        "recipe": "desk", "arch": "fasterrcnn_resnet50_fpn", "device": "cpu", "precision": "fp32",
        "allocator": "tcmalloc", "num_threads": 4, "num_cores": 4, "num_workers": 1, "batch_size": 2,
        "micro_batch_size": 2, "input_size": (400, 600), "num_steps": 2, "steps_s": (0.9, 1.1),
        "parts": tuple(with_rests({"": 1.0, **parts}, {name: name for name in parts}, {})),
        "loading": Loading(decode_s=0.02, augment_s=0.01, num_photos=9, photo_pixels=3e5),
        "epoch": Epoch(num_steps=50, training_s=50.0, evaluation_s=10.0, num_evaluated=8, checkpoint_s=0.5),
        "peak_bytes": 10**9,
    }
    return Profile(**(usual | values))  # type: ignore[arg-type]


def with_part(name: str, seconds: float) -> Profile:
    words = ("waiting", "forward", "forward/backbone", "forward/roi", "backward", "optimizer")
    parts = {"": 1.0, "forward": 0.2, name: seconds}
    if "/" in name:
        parts["forward"] = max(parts["forward"], seconds)
    return made_profile(parts=tuple(with_rests(parts, {word: word for word in words}, {})))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("profile")
    return load_recipe(write_recipe(folder, make_voc_dataset(folder / "data")))


# --- parts ---


def test_what_is_within_a_part_adds_up_to_it() -> None:
    words = {name: name for name in ("a", "b", "b/x", "b/y", "c")}
    parts = list(with_rests({"": 10.0, "a": 1.0, "b": 6.0, "b/x": 2.0, "b/y": 0.0}, words, {"b": "others"}))
    assert [(part.name, part.seconds) for part in parts] == [
        ("a", 1.0), ("b", 6.0), ("b/x", 2.0), ("b/rest", 4.0), ("rest", 3.0),
    ]
    assert [part.depth for part in parts] == [0, 0, 1, 1, 0]
    assert parts[3].words == "others"


def test_clocks_that_overlap_by_a_hair_leave_no_negative_rest() -> None:
    [_, rest] = with_rests({"": 1.0, "a": 1.0001}, {"a": "a"}, {})
    assert rest.seconds == 0.0


def test_without_parts_there_is_nothing() -> None:
    assert list(with_rests({"": 1.0}, {"a": "a"}, {})) == []


@pytest.mark.parametrize(
    ("arch", "parts"),
    [
        ("fasterrcnn_mobilenet_v3_large_fpn", {"transform", "backbone", "pyramid", "rpn", "rpn/head", "roi",
                                               "roi/pooling", "roi/head", "roi/predictor"}),
        ("ssdlite320_mobilenet_v3_large", {"transform", "backbone", "head"}),
        ("retinanet_resnet50_fpn_v2", {"transform", "backbone", "pyramid", "head"}),
        ("fcos_resnet50_fpn", {"transform", "backbone", "pyramid", "head"}),
    ],
)
def test_each_detector_is_divided_into_modules_that_are_called(arch: str, parts: set[str]) -> None:
    size = {} if arch.startswith("ssd") else {"min_size": 64, "max_size": 64, "fpn_channels": 64}
    detector = build_detector(Model.model_validate({"arch": arch, "weights": "none", **size}), ["a"]).train()
    clock = Clock(torch.device("cpu"))
    modules = modules_of(detector)
    assert {name.removeprefix("forward/") for name in modules} == parts
    hooks = [hook for name, module in modules.items() for hook in clock.watch(module, name)]
    target = {"boxes_xyxy": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([0])}
    detector.losses([torch.rand(3, 64, 64)] * 2, [target, target])  # type: ignore[list-item]
    assert set(clock.seconds) == set(modules)
    for hook in hooks:
        hook.remove()


def test_a_recipe_is_profiled_whole_and_leaves_nothing(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told: list[str] = []
    averaged = recipe.training.model_copy(update={"ema_decay": 0.9, "micro_batch_size": 1})
    answer = run(recipe.model_copy(update={"training": averaged}), 4, told.append)
    profile = answer.profile
    assert profile is not None
    assert answer.problems == ()
    assert len(profile.steps_s) == profile.num_steps == 4
    assert profile.epoch.num_steps == 3  # more steps than an epoch has were measured
    tops = [part for part in profile.parts if part.depth == 0]
    assert sum(part.seconds for part in tops) == pytest.approx(profile.step_s, rel=0.02)
    for name in ("forward", "forward/roi", "forward/rpn"):
        inner = [part for part in profile.parts if part.name.rpartition("/")[0] == name]
        assert sum(part.seconds for part in inner) == pytest.approx(profile.seconds_of(name), rel=0.05)
    assert profile.seconds_of("backward") > 0
    assert profile.loading.num_photos == 6
    assert profile.epoch.evaluation_s > 0
    assert profile.epoch.checkpoint_s > 0
    assert "step 4 of 4" in told
    assert list(tmp_path.iterdir()) == []


def test_a_profile_survives_its_way_between_processes() -> None:
    profile = made_profile(advice=(Advice("slow", "faster"),))
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


# --- advice ---


def advice(profile: Profile, recipe: Recipe, supplied: Supplied = SUPPLIED, *, is_limited: bool = False) -> str:
    return "\n".join(f"{one.found} -> {one.fix}" for one in advise(profile, recipe, supplied, is_limited=is_limited))


def big(recipe: Recipe, **values: object) -> Recipe:
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=values)})


def test_where_nothing_stands_out_nothing_is_advised(recipe: Recipe) -> None:
    assert advice(made_profile(), recipe) == ""


def test_waiting_is_told_with_what_loading_consists_of(recipe: Recipe) -> None:
    words = advice(with_part("waiting", 0.4), recipe, replace(SUPPLIED, num_workers=0))
    assert "a step waits for photos 40% of its time; loading one takes 30 ms, mostly decoding" in words
    assert "hardware.num_workers = 1" in words


def test_an_evaluation_longer_than_training_is_told(recipe: Recipe) -> None:
    epoch = Epoch(num_steps=5, training_s=10.0, evaluation_s=20.0, num_evaluated=8, checkpoint_s=6.0)
    words = advice(made_profile(epoch=epoch), recipe)
    assert "evaluation takes 20.0 s, 2.0 times an epoch's training" in words
    assert "writing the state takes 6.0 s" in words


@pytest.mark.parametrize(
    ("changes", "is_limited", "words"),
    [
        ({"num_threads": 1}, True, "1 of 4 cores compute"),
        ({"num_threads": 2}, False, ""),
        ({"num_workers": 4}, False, "4 loader processes and the training share 4 cores -> set hardware.num_workers"),
        ({"num_workers": 4, "device": "cuda (A card)"}, False, ""),
        ({"micro_batch_size": 1, "device": "cuda (A card)"}, False, "1 of a batch's 2 images"),
        ({"micro_batch_size": 1}, False, ""),
    ],
)
def test_threads_and_loaders(changes: dict[str, object], is_limited: bool, words: str, recipe: Recipe) -> None:
    told = advice(made_profile(**changes), recipe, is_limited=is_limited)
    assert words in told
    assert bool(words) == bool(told)


def test_the_systems_allocator_is_told_under_linux(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.profileadvice.sys.platform", "linux")
    assert "install tcmalloc" in advice(made_profile(allocator="system"), recipe)
    assert advice(made_profile(allocator="system", device="cuda (A card)"), recipe) == ""


def test_long_box_heads_advise_fewer_samples(recipe: Recipe) -> None:
    assert "model.box_samples = 256" in advice(with_part("forward/roi", 0.5), big(recipe, box_samples=512))
    assert advice(with_part("forward/roi", 0.5), recipe) == ""  # it has 32


def test_a_smaller_input_is_advised_with_what_it_would_take(recipe: Recipe) -> None:
    profile = msgspec.structs.replace(with_part("backward", 0.8), input_size=(800, 1333))
    words = advice(profile, recipe)
    assert "model.min_size = 608 with max_size = 1013 would take about 662 ms a step" in words
    assert advice(msgspec.structs.replace(profile, input_size=(320, 640)), recipe) == ""


def test_a_long_optimizer_step_advises_a_larger_batch(recipe: Recipe) -> None:
    assert "a larger training.batch_size (now 2)" in advice(with_part("optimizer", 0.2), recipe)


# --- what people see ---


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.00421, "4.2 ms"), (0.31, "310 ms"), (1.254, "1.25 s"), (12.54, "12.5 s"), (187.0, "3:07 min"), (0.0, "0.0 ms")],
)
def test_seconds_are_told_in_their_unit(seconds: float, words: str) -> None:
    assert seconds_words(seconds) == words


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, ""), (0.5, "█████"), (1.0, "██████████"), (1.7, "██████████"), (-1.0, ""), (0.0125, "▏")]
)
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share, 10) == drawn


@pytest.mark.parametrize("width", [72, 80, 120])
def test_the_table_fits_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=io.StringIO(), width=width, markup=False)
    monkeypatch.setattr(profile_table, "console", lambda: out)
    print_profile(made_profile(notes=("a note",), advice=(Advice("[red]slow", "faster"),), recipe="[b]desk\x1b[31m"))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert "[b]desk" in shown
    assert "[red]slow" in shown
    assert "\x1b" not in shown
    assert any(line.startswith("forward") and "40%" in line for line in lines)
    assert any(line.startswith("  forward/backbone") and "20%" in line for line in lines)


def test_how_profiling_died_is_a_problem() -> None:
    assert _death(-9, "").code == "T301"
    assert "ended with exit code 3: boom" in _death(3, "x\nboom\n").found
    assert "was killed by signal 11" in _death(-11, "").found


def test_a_crash_of_the_process_is_told(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.profiling.sys.executable", "/bin/false")
    answer = profile_recipe(recipe, 1)
    assert answer.profile is None
    assert [problem.code for problem in answer.problems] == ["T302"]


def test_a_broken_recipe_is_told_before_anything_is_measured(engine: Ask, tmp_path: Path) -> None:  # noqa: F811
    path = write_recipe(tmp_path, tmp_path / "nowhere")
    answer = engine("profile", str(path))
    assert answer.code == 1
    assert "D10" in answer.err


def test_the_command_prints_a_profile_as_json(engine: Ask, tmp_path: Path) -> None:  # noqa: F811
    path = write_recipe(tmp_path, make_voc_dataset(tmp_path / "data"), training={"batch_size": "auto"})
    answer = engine("profile", str(path), "--steps", "2", "--json", "--device", "cpu")
    assert answer.code == 0, answer.err
    profile = msgspec.json.decode(answer.out, type=Profile)
    assert (profile.batch_size, profile.num_steps, profile.device) == (4, 2, "cpu")
    assert any("batch_size" in note for note in profile.notes)
    assert isinstance(profile.parts[0], Part)
    assert not (tmp_path / "runs").exists()
