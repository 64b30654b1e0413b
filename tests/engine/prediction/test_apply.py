"""A model applied to pictures in memory, and its face for notebooks."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import engine
from engine.errors import DataError, EngineError
from engine.evaluation.predict import load_predictor
from engine.prediction.apply import Applier
from engine.prediction.choices import Choices
from engine.prediction.model import Model
from engine.rundir import RunDir
from tests.builders import process_environment, write_photo


def picture(seed: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def applier(saved_run: RunDir) -> Applier:
    return Applier(load_predictor(saved_run, "cpu"))


ALL = Choices(threshold=0)


def test_pictures_of_any_sizes_come_back_in_order(applier: Applier) -> None:
    pictures = [picture(0), picture(1, (64, 48)), picture(2), picture(3, (30, 90)), picture(4)]
    found = applier.apply(pictures, ALL)
    for one, pixels in zip(found, pictures, strict=True):
        [alone] = applier.apply([pixels], ALL)
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-4)
        height, width, _ = pixels.shape
        assert (one.boxes_xyxy >= 0).all()
        assert (one.boxes_xyxy <= [width, height, width, height]).all()


def test_the_same_as_the_plain_detector(applier: Applier, saved_run: RunDir) -> None:
    pixels = picture(0)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    [wanted] = load_predictor(saved_run, "cpu").detector.detect([image])
    [found] = applier.apply([pixels], ALL)
    np.testing.assert_allclose(found.scores, wanted["scores"], atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, wanted["boxes_xyxy"], atol=0.1)


def test_no_pictures(applier: Applier) -> None:
    assert applier.apply([], ALL) == []


def test_thresholds_and_classes(applier: Applier) -> None:
    [all_found] = applier.apply([picture(0)], ALL)
    assert all_found.scores is not None
    middle = float(np.median(all_found.scores))
    [some] = applier.apply([picture(0)], Choices(threshold=middle))
    assert len(some.labels) == (all_found.scores >= np.float32(middle)).sum()
    [mugs] = applier.apply([picture(0)], Choices(0, classes=("mug",)))
    assert len(mugs.labels) == (all_found.labels == 0).sum()
    [each] = applier.apply([picture(0)], Choices(0, thresholds={"mug": 1.0}))
    assert set(each.labels.tolist()) <= {1}
    with pytest.raises(EngineError, match=r"X108.*'cup'.*mug, laptop"):
        applier.apply([picture(0)], Choices(0, classes=("cup",)))


def test_tiles_see_more_of_a_large_picture(applier: Applier) -> None:
    large = picture(0, (150, 200))
    [found] = applier.apply([large], Choices(0, tile=64))
    assert found.scores is not None
    assert (np.diff(found.scores) <= 0).all()
    widths = found.boxes_xyxy[:, 2] - found.boxes_xyxy[:, 0]
    [whole] = applier.apply([large], ALL)
    assert widths.min() < (whole.boxes_xyxy[:, 2] - whole.boxes_xyxy[:, 0]).min()


def test_memory_that_holds_one_picture_at_a_time(saved_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.prediction import apply

    real, limit = apply.detect_prepared, 1

    def small(detector: object, images: list[torch.Tensor], sizes: list[tuple[int, int]]) -> object:
        if len(images) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(detector, images, sizes)  # type: ignore[arg-type]

    monkeypatch.setattr(apply, "detect_prepared", small)
    applier = Applier(load_predictor(saved_run, "cpu"), batch_size=4)
    assert len(applier.apply([picture(seed) for seed in range(4)], ALL)) == 4
    assert applier.batch_size == 1
    limit = 0
    with pytest.raises(EngineError, match="X109"):
        applier.apply([picture(0)], ALL)


# --- the face ---


@pytest.fixture(scope="module")
def model(saved_run: RunDir) -> Model:
    return engine.load(saved_run.path, "cpu")


def test_what_a_model_says_of_itself(model: Model, saved_run: RunDir) -> None:
    assert (model.name, model.class_names, model.threshold) == ("0004-desk", ("mug", "laptop"), 0.5)
    assert repr(model) == "<Model 0004-desk: fasterrcnn_mobilenet_v3_large_fpn, mug, laptop, on cpu>"
    assert engine.load("desk", "cpu", runs_dir=saved_run.path.parent).name == "0004-desk"


def test_every_kind_of_picture_gives_the_same(model: Model, tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.png", [("mug", (10, 10, 40, 40))])
    with Image.open(path) as image:
        photo = image.convert("RGB")
    results = model.predict([path, str(path), photo, np.asarray(photo), np.asarray(photo)[:, :, :]], threshold=0)
    assert len(results) == 5
    for result in results:
        np.testing.assert_allclose(result.scores, results[0].scores, atol=1e-5)
        assert set(result.labels) <= {"mug", "laptop"}
        assert result.boxes_xyxy.shape == (len(result), 4)


def test_transparency_and_rotation_are_as_in_training(model: Model) -> None:
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    assert (model.predict(clear, threshold=1).pixels == 255).all()
    file = io.BytesIO()
    turned = Image.new("RGB", (40, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(file, "JPEG", exif=exif)
    assert model.predict(Image.open(file), threshold=1).pixels.shape == (40, 30, 3)


def test_a_result_is_drawn_and_told(model: Model) -> None:
    result = model.predict(picture(0), threshold=0)
    assert result.draw().size == (64, 48)
    assert result._repr_png_().startswith(b"\x89PNG")
    assert (result.pixels == picture(0)).all(), "drawing leaves the picture as it was"
    assert len(result.as_dicts()) == len(result)
    assert repr(model.predict(picture(0), threshold=1)) == "<Result: nothing, in 64 x 48 px>"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((4, 4), np.uint8), r"\(H, W, 3\) uint8"), (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "not"), (3, "not int"),
    ],
    ids=["grey", "float", "empty", "number"],
)
def test_what_is_no_picture(model: Model, wrong: object, told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        model.predict(wrong)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ({"threshold": 2}, ValueError, "threshold is a number from 0 to 1, not 2"),
        ({"threshold": float("nan")}, ValueError, "not nan"),
        ({"threshold": "best"}, TypeError, "threshold is a number, not 'best'"),
        ({"tile": 10}, ValueError, "tile is 32 to 8192 pixels, not 10"),
        ({"tile": 640.0}, TypeError, "whole number of pixels"),
        ({"overlap": 1.0}, ValueError, "overlap is a number from 0 to 0.9"),
        ({"classes": ["cup"]}, ValueError, "no class 'cup'; it knows mug, laptop"),
        ({"classes": "mug"}, TypeError, "classes is a list of class names, not 'mug'"),
    ],
    ids=str,
)
def test_wrong_arguments(model: Model, wrong: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        model.predict(picture(0), **wrong)


def test_arguments_of_numpy_are_numbers_too(model: Model) -> None:
    assert len(model.predict(picture(0), threshold=np.float32(1), tile=np.int64(64), classes=("mug",))) == 0


def test_wrong_arguments_of_load(saved_run: RunDir) -> None:
    with pytest.raises(TypeError, match='device is a name such as "cpu", not 0'):
        engine.load(saved_run.path, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='precision is "fp32", "bf16" or "auto"'):
        engine.load(saved_run.path, "cpu", "fp8")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a run's name or a path, not None"):
        engine.load(None)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="E104"):
        engine.load(saved_run.path, "gpu")
    assert engine.load(4, "cpu", runs_dir=saved_run.path.parent).name == "0004-desk"


def test_a_file_that_is_no_picture(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.jpg"):
        model.predict(tmp_path / "a.jpg")


def test_importing_engine_loads_nothing_heavy() -> None:
    told = "import sys, engine; print(engine.load.__name__, *{'torch', 'numpy'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", told], env=process_environment(), check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["load"]
