"""`engine weights`: what a person asks for, and what they are told."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalogue import ARCHS, WeightsFile
from tests.builders import write_recipe
from tests.engine.cli.conftest import Ask
from tests.test_contracts import HEAVY, _loaded_by

ARCH = "fasterrcnn_resnet18_fpn"
CONTENT = b"weights" * 1000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torch hub keeps weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hub: Path) -> WeightsFile:
    """A small file that counts as a detector's published backbone, and is served."""
    file = WeightsFile(f"tiny-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth", 1)
    monkeypatch.setitem(ARCHS, ARCH, replace(ARCHS[ARCH], imagenet=file))
    server = tmp_path / "server"
    server.mkdir()
    (server / file.name).write_bytes(CONTENT)
    monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", f"{server.as_uri()}/")
    return file


def test_the_list_tells_what_is_here(engine: Ask, hub: Path, weights: WeightsFile) -> None:
    (hub / weights.name).write_bytes(CONTENT)
    answer = engine("weights", "list")
    assert answer.code == 0
    [line] = [line for line in answer.out.splitlines() if line.startswith("tiny-")]
    assert ARCH in line
    assert "not here" not in line
    assert all(name in answer.out for name in ("fcos_resnet50_fpn_coco-99b0c9b7.pth", "not here", str(hub)))
    assert answer.out.splitlines()[-1].startswith("1 of ")


def test_the_list_for_scripts(engine: Ask, hub: Path, weights: WeightsFile) -> None:
    (hub / weights.name).write_bytes(b"damaged")
    answer = engine("weights", "list", "--json", "--here", "--check")
    [one] = json.loads(answer.out)
    assert (one["file"], one["state"], one["archs"]) == (weights.name, "damaged", [ARCH])
    assert one["path"] == str(hub / weights.name)


def test_nothing_here(engine: Ask, hub: Path) -> None:
    assert json.loads(engine("weights", "list", "--here", "--json").out) == []


def test_the_list_loads_no_torch(tmp_path: Path) -> None:
    assert _loaded_by(tmp_path, ("weights", "list")).isdisjoint(HEAVY)


def test_fetching_by_detector_file_and_recipe(
    engine: Ask, tmp_path: Path, hub: Path, weights: WeightsFile, dataset: Path
) -> None:
    recipe = write_recipe(tmp_path, dataset, model={
        "arch": ARCH, "weights": "imagenet",
    })
    answer = engine("weights", "fetch", ARCH, weights.name, recipe)
    assert answer.code == 0, answer.err
    assert answer.out.count("fetched to") == 1
    assert (hub / weights.name).read_bytes() == CONTENT
    assert "is here already, and sound" in engine("weights", "fetch", ARCH).out


def test_fetching_replaces_a_damaged_file(engine: Ask, hub: Path, weights: WeightsFile) -> None:
    (hub / weights.name).write_bytes(b"damaged")
    assert "fetched to" in engine("weights", "fetch", ARCH).out
    assert (hub / weights.name).read_bytes() == CONTENT


def test_a_recipe_that_starts_from_nothing(engine: Ask, tmp_path: Path, dataset: Path, hub: Path) -> None:
    answer = engine("weights", "fetch", write_recipe(tmp_path, dataset))
    assert answer.code == 0
    assert "starts from no published weights" in answer.out


def test_one_wrong_name_keeps_nobody_from_the_others(engine: Ask, hub: Path, weights: WeightsFile) -> None:
    answer = engine("weights", "fetch", "fasterrcnn_resnet18_fp", ARCH, "nowhere.toml")
    assert answer.code == 1
    assert (hub / weights.name).exists()
    assert 'did you mean "fasterrcnn_resnet18_fpn"?' in answer.err
    assert "W108" in answer.err
    assert "nowhere.toml" in answer.err


def test_out_of_reach(engine: Ask, hub: Path, unreachable: None) -> None:
    answer = engine("weights", "fetch", ARCH)
    assert answer.code == 1
    assert "W101" in answer.err
    assert not list(hub.iterdir())


def test_importing(engine: Ask, tmp_path: Path, hub: Path, weights: WeightsFile) -> None:
    good, bad = tmp_path / "from-a-stick.bin", tmp_path / "cat.jpg"
    good.write_bytes(CONTENT)
    bad.write_bytes(b"a cat")
    answer = engine("weights", "import", bad, good)
    assert answer.code == 1
    assert "W106" in answer.err
    assert f"is the imagenet weights of {ARCH}" in answer.out
    assert (hub / weights.name).read_bytes() == CONTENT
