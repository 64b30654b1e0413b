"""`engine export` with a trained model, the gate, and the bundle on a machine without engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image

from engine.export.bundle import NAMES
from engine.models import build_detector
from engine.models.checkpoint import load_checkpoint, save_checkpoint
from engine.recipe.schema import Recipe
from engine.rundir import RunDir
from tests.builders import fill_run_dir, load_recipe, process_environment, write_photo, write_recipe
from tests.engine.cli.conftest import Ask
from tests.engine.export.lively import enlivened
from tests.engine.models.builders import FCOS, RETINANET, SSD, SSD300, model

# Runs a program where only what a device has can be imported.
NOT_THERE = (
    "engine", "tui", "torch", "torchvision", "onnx", "onnxslim", "cv2", "picamera2", "pydantic", "msgspec", "click",
    "rich", "matplotlib", "tqdm", "psutil", "lxml", "textual",
)
ON_A_DEVICE = f"""
import importlib.abc, runpy, sys
class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_THERE!r}:
            raise ImportError(name + " isn't on the device")
sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def lively_run(folder: Path, recipe: Recipe) -> RunDir:
    """A run in `folder`/runs whose model finds a lot, if nothing that is there."""
    run_dir = fill_run_dir(RunDir(folder / "runs" / "0001-tiny"), recipe)
    torch.manual_seed(0)
    detector = enlivened(build_detector(recipe.model, recipe.classes.names))
    save_checkpoint(run_dir.best_checkpoint, {
        "model": detector.network.state_dict(), "epoch": 2, "arch": recipe.model.arch,
        "class_names": list(recipe.classes.names), "model_settings": recipe.model.model_dump(mode="json"),
    })
    return run_dir


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> RunDir:
    """A run with a model that finds a lot, exported; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    run_dir = lively_run(folder, load_recipe(write_recipe(folder, dataset)))
    asked = [sys.executable, "-m", "engine.cli.main", "export", "tiny", "--bundle", "device"]
    subprocess.run(asked, cwd=folder, env=process_environment(), check=True, capture_output=True)
    return run_dir


@pytest.fixture
def run(exported: RunDir, tmp_path: Path) -> RunDir:
    """A copy of that run in tmp_path/runs, to be changed; its bundle beside it."""
    shutil.copytree(exported.path.parent, tmp_path / "runs")
    shutil.copytree(exported.path.parent.parent / "device", tmp_path / "device")
    return RunDir(tmp_path / "runs" / exported.run_id)


@pytest.fixture
def bare(run: RunDir) -> RunDir:
    """The same without its export."""
    shutil.rmtree(run.exports)
    return run


def on_a_device(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ON_A_DEVICE, *arguments]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=120)


# --- the file ---


def test_what_an_export_leaves(run: RunDir) -> None:
    assert {path.name for path in run.exports.iterdir()} == {"model.onnx", "model.onnx.gate.json"}
    told = json.loads((run.exports / "model.onnx.gate.json").read_bytes())
    assert told["passed"]
    assert told["num_images"] == 3
    assert told["num_detections"] > 30
    assert told["agreement"] > 0.995
    assert told["torch"]["ap"] == pytest.approx(told["exported"]["ap"], abs=0.002)


def test_the_file_says_what_it_is(run: RunDir) -> None:
    model = onnx.load(run.exports / "model.onnx")
    told = {one.key: one.value for one in model.metadata_props}
    assert json.loads(told["class_names"]) == ["mug", "laptop"]
    assert (told["arch"], told["epoch"]) == ("fasterrcnn_mobilenet_v3_large_fpn", "3")
    assert json.loads(told["preprocessing"])["resize"] == {"min": 48, "max": 64}
    assert float(told["threshold"]) == 0.5
    assert [one.name for one in model.graph.output] == ["boxes_xyxy", "labels", "scores"]


def test_a_former_export_is_kept_and_reused(engine: Ask, run: RunDir) -> None:
    before = (run.exports / "model.onnx").read_bytes()
    answer = engine("export", "tiny")
    assert answer.code == 1
    assert "X402" in answer.err
    assert (run.exports / "model.onnx").read_bytes() == before
    answer = engine("export", "tiny", "--bundle", "other.zip")
    assert answer.code == 0
    assert "there already" in answer.out


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_formats(engine: Ask, bare: RunDir, precision: str) -> None:
    # Random weights have no margin between one class and another; AP tells nothing here.
    engine("export", "tiny", "--precision", precision, "--max-ap-drop", 1)
    [path] = bare.exports.glob(f"*model-{precision}.onnx")
    kinds = {one.data_type for one in onnx.load(path).graph.initializer if len(one.dims) == 4}
    small = {"fp16": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.INT8}[precision]
    assert small in kinds
    told = json.loads(bare.export_gate(path).read_bytes())
    assert told["precision"] == precision
    assert told["agreement"] > 0.5


def test_torchscript(engine: Ask, bare: RunDir) -> None:
    answer = engine("export", "tiny", "--to", "torchscript", "--json")
    assert answer.code == 0
    told = json.loads(answer.out)
    assert told["passed"]
    assert told["file"].endswith("export/model.torchscript")
    assert engine("export", "tiny", "--to", "torchscript", "--check", bare.exports / "model.torchscript").code == 0


# --- the gate ---


def test_another_model_is_refused_with_its_images(engine: Ask, run: RunDir) -> None:
    content = load_checkpoint(run.best_checkpoint)
    content["model"] = {
        name: -value if name.endswith("cls_score.weight") else value for name, value in content["model"].items()
    }
    save_checkpoint(run.best_checkpoint, content)
    answer = engine("export", "tiny", "--check", run.exports / "model.onnx")
    assert answer.code == 1
    assert "X408" in answer.err
    assert "of the detections agree" in answer.err
    assert "val00.jpg (" in answer.err
    # A bundle isn't made of what the checkpoint no longer is.
    assert engine("export", "tiny", "--bundle", "other").code == 1
    assert not (run.path.parent.parent / "other").exists()


def test_a_refused_export_is_put_aside(engine: Ask, bare: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    # An export that suppresses nothing.
    monkeypatch.setattr("engine.export.forward.nms", lambda _boxes, scores, _threshold: scores.argsort(descending=True))
    answer = engine("export", "tiny", "--to", "torchscript")
    assert answer.code == 1
    assert "X408" in answer.err
    assert "put aside" in answer.out
    names = {path.name for path in bare.exports.iterdir()}
    assert names == {"rejected-model.torchscript", "rejected-model.torchscript.gate.json"}


@pytest.mark.slow
@pytest.mark.parametrize("arch", [RETINANET, "retinanet_resnet50_fpn_v2", FCOS, SSD, SSD300, "fasterrcnn_resnet18_fpn"])
def test_every_family_passes(engine: Ask, tmp_path: Path, dataset: Path, arch: str) -> None:
    recipe = load_recipe(write_recipe(tmp_path, dataset)).model_copy(update={"model": model(arch)})
    run_dir = lively_run(tmp_path, recipe)
    assert engine("export", "tiny").code == 0
    told = json.loads((run_dir.exports / "model.onnx.gate.json").read_bytes())
    assert told["num_detections"] > 30


# --- what people get wrong ---


def test_a_damaged_file(engine: Ask, run: RunDir) -> None:
    path = run.exports / "model.onnx"
    path.write_bytes(path.read_bytes()[:5000])
    answer = engine("export", "tiny", "--check", path)
    assert answer.code == 1
    assert "X404" in answer.err
    assert "damaged" in answer.err


def test_a_run_without_a_model(engine: Ask, run: RunDir) -> None:
    run.best_checkpoint.unlink()
    answer = engine("export", "tiny")
    assert answer.code == 1
    assert "X101" in answer.err


def test_a_missing_library(engine: Ask, bare: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    answer = engine("export", "tiny")
    assert answer.code == 1
    assert 'pip install "detection-engine[export]"' in answer.err


def test_a_number_format_that_isnt_there(engine: Ask, bare: RunDir) -> None:
    assert "X403" in engine("export", "tiny", "--to", "torchscript", "--precision", "int8").err


def test_validation_images_that_are_gone(engine: Ask, bare: RunDir, tmp_path: Path) -> None:
    text = bare.resolved.read_text()
    bare.resolved.write_text(text.replace("/val/", "/gone/"))
    answer = engine("export", "tiny")
    assert answer.code == 1
    assert "/gone/" in answer.err
    assert not bare.exports.exists()


def test_a_place_that_is_taken(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    for options in ((), ("--overwrite",)):
        answer = engine("export", "tiny", "--bundle", "mine", *options)
        assert answer.code == 1
        assert "X409" in answer.err
    assert mine.read_text() == "mine"


# --- the bundle ---


def test_the_bundle_detects_with_three_packages(run: RunDir, tmp_path: Path) -> None:
    write_photo(tmp_path / "photos" / "a.png", [("mug", (10, 10, 40, 40))])
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    assert {path.name for path in (tmp_path / "device").iterdir()} == NAMES
    options = ("device/detect.py", "photos", "--threshold", "0.05", "--json", "--save", "drawn")
    ended = on_a_device(tmp_path, *options)
    assert ended.returncode == 1
    assert "broken.jpg" in ended.stderr
    assert "Traceback" not in ended.stderr
    [line] = ended.stdout.splitlines()
    told = json.loads(line)
    assert told["detections"]
    assert {one["label"] for one in told["detections"]} <= {"mug", "laptop"}
    with Image.open(tmp_path / "drawn" / "a.jpg") as drawn:
        assert drawn.size == (64, 48)


def test_a_zip_is_the_same(engine: Ask, run: RunDir, tmp_path: Path) -> None:
    assert engine("export", "tiny", "--bundle", "device.zip").code == 0
    with zipfile.ZipFile(tmp_path / "device.zip") as archive:
        assert {Path(name).name for name in archive.namelist()} == NAMES
        for name in NAMES:
            assert archive.read(f"device/{name}") == (tmp_path / "device" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--camera",), "a camera needs picamera2"),
        (("gone.jpg",), "no such file"),
        (("detect.py", "--model", "labels.txt"), "damaged or not an ONNX model"),
        (("detect.py", "--model", "gone.onnx"), "there is no such file"),
    ],
    ids=["no camera library", "no photo", "a damaged model", "no model"],
)
def test_the_runner_says_what_is_wrong(run: RunDir, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = on_a_device(tmp_path / "device", "detect.py", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
