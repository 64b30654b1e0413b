"""What a run leaves of its measuring, and what is made of it when somebody asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.analysis import load_analysis, read_measured, read_thresholds
from engine.analysis.runfiles import Content, EvaluationFiles, encode_measured, save_measured, thresholds_in
from engine.errors import DataError
from engine.rundir import RunDir
from tests.engine.analysis.cases import random_case, results_json, truth_json

BOX, OTHER = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 40.0, 80.0)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "0001-desk")


def keep(run_dir: RunDir, truth: dict[str, Any], results: list[dict[str, Any]], epoch: int = 3) -> None:
    content = encode_measured(truth, results, model=run_dir.run_id, split="val", epoch=epoch)
    save_measured(EvaluationFiles.of_run(run_dir, "val"), content)


def test_a_run_that_was_never_measured_has_no_analysis(run_dir: RunDir) -> None:
    assert read_measured(run_dir) is None
    assert load_analysis(run_dir) is None
    assert read_thresholds(run_dir) is None


def test_an_analysis_is_made_once_and_kept(run_dir: RunDir) -> None:
    keep(run_dir, *random_case(1))
    made = load_analysis(run_dir)
    kept = run_dir.analysis("val").stat()
    assert load_analysis(run_dir) == made
    assert run_dir.analysis("val").stat().st_mtime_ns == kept.st_mtime_ns
    assert made is not None
    assert (made.source.model, made.source.split, made.source.epoch) == ("0001-desk", "val", 3)


def test_an_analysis_of_former_detections_is_never_told(run_dir: RunDir) -> None:
    truth = truth_json([(1, 1, BOX)])
    keep(run_dir, truth, [])
    before = load_analysis(run_dir)
    keep(run_dir, truth, results_json([(1, 1, BOX, 0.9)]), epoch=4)
    after = load_analysis(run_dir)
    assert before is not None
    assert after is not None
    assert (before.figures.ap, after.figures.ap, after.source.epoch) == (0, pytest.approx(1), 4)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 99}'], ids=["empty", "a list", "newer"])
def test_an_analysis_that_cannot_be_read_is_made_anew(run_dir: RunDir, content: bytes) -> None:
    keep(run_dir, *random_case(2))
    made = load_analysis(run_dir)
    run_dir.analysis("val").write_bytes(content)
    assert load_analysis(run_dir) == made


def test_damaged_detections_are_told(run_dir: RunDir) -> None:
    keep(run_dir, *random_case(3))
    run_dir.detections("val").write_bytes(b'[{"image_id"')
    with pytest.raises(DataError) as told:
        load_analysis(run_dir)
    assert told.value.problems[0].code == "X303"
    assert read_thresholds(run_dir) is None


def test_the_thresholds_lie_between_what_is_right_and_what_is_wrong(run_dir: RunDir) -> None:
    truth = truth_json([(1, 1, BOX), (1, 2, OTHER)])
    keep(run_dir, truth, results_json([
        (1, 1, BOX, 0.9), (1, 1, OTHER, 0.3), (1, 2, OTHER, 0.6), (1, 2, BOX, 0.5),
    ]))
    thresholds = read_thresholds(run_dir)
    assert thresholds is not None
    assert 0.3 < thresholds.per_class["mug"] <= 0.9
    assert 0.5 < thresholds.per_class["laptop"] <= 0.6
    assert 0.5 < thresholds.overall <= 0.6
    assert thresholds.per_class["keyboard"] == thresholds.overall  # there was none to find


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_alone_are_those_of_the_analysis(run_dir: RunDir, seed: int) -> None:
    truth, results = random_case(seed, num_images=12, jitter=4)
    keep(run_dir, truth, results)
    files = EvaluationFiles.of_run(run_dir, "val")
    content = Content(files.ground_truth.read_bytes(), files.detections.read_bytes())
    assert thresholds_in(content) == read_thresholds(run_dir) is not None


def test_without_a_right_detection_there_is_no_threshold(run_dir: RunDir) -> None:
    keep(run_dir, truth_json([(1, 1, BOX)]), results_json([(1, 1, OTHER, 0.9)]))
    assert read_thresholds(run_dir) is None
    assert load_analysis(run_dir) is not None
    files = EvaluationFiles.of_run(run_dir, "val")
    assert thresholds_in(Content(files.ground_truth.read_bytes(), files.detections.read_bytes())) is None
