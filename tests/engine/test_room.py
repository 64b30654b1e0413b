"""Whether memory is really free for a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from engine import room
from engine.executors import WHOLE_MACHINE, Place
from engine.forecast import Figures, Forecast, forecast_bytes
from engine.room import Need, Room, read_need
from engine.rundir import RunDir


def forecast(folder: Path, name: str, peak_gb: float, device: str = "cpu") -> RunDir:
    run_dir = RunDir(folder / name)
    run_dir.path.mkdir()
    figures = Figures(
        device=device, batch_size=2, micro_batch_size=2, startup_s=1.0, step_s=1.0, evaluate_image_s=1.0,
        peak_bytes=int(peak_gb * 1e9), available_bytes=0, num_train_images=1, num_val_images=1,
    )
    told = Forecast(figures=figures, num_epochs=1, run_s=1.0, may_end_early=False, rehearsed_at=0.0)
    run_dir.forecast.write_bytes(forecast_bytes(told))
    return run_dir


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Free memory in GB, as the machine tells it."""
    amounts = {"cpu": 4.0, "0": 10.0, "1": 1.0}
    monkeypatch.setattr(room, "available_memory_bytes", lambda: int(amounts["cpu"] * 1e9))
    monkeypatch.setattr(room, "free_cuda_bytes", lambda index: int(amounts[str(index)] * 1e9))
    return amounts


def test_a_run_that_fits_starts(tmp_path: Path) -> None:
    assert Room().refusal(forecast(tmp_path, "a", 3.9), WHOLE_MACHINE, []) == ""


def test_a_run_that_doesnt_fit_waits_and_says_for_what(tmp_path: Path) -> None:
    told = Room().refusal(forecast(tmp_path, "a", 4.1), WHOLE_MACHINE, [])
    assert told == "waits for memory: needs 4.1 GB, 4.0 GB is free"


def test_the_gpu_of_its_place_counts(tmp_path: Path) -> None:
    run_dir = forecast(tmp_path, "a", 5.0, device="cuda")
    assert Room().refusal(run_dir, WHOLE_MACHINE, []) == ""
    assert Room().refusal(run_dir, Place("cuda:0"), []) == ""
    assert "1.0 GB is free" in Room().refusal(run_dir, Place("cuda:1"), [])


def test_a_run_that_has_just_begun_will_take_what_it_needs(tmp_path: Path) -> None:
    run_dir, other = forecast(tmp_path, "a", 2.5), forecast(tmp_path, "b", 2.0)
    now = time.monotonic()
    assert "2.0 GB is free" in Room().refusal(run_dir, WHOLE_MACHINE, [(other, WHOLE_MACHINE, now)])
    assert Room().refusal(run_dir, WHOLE_MACHINE, [(other, WHOLE_MACHINE, now - 1000)]) == ""
    assert Room().refusal(run_dir, WHOLE_MACHINE, [(other, Place("cuda:0"), now)]) == ""


def test_what_others_hold_is_waited_for_for_minutes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir, other = forecast(tmp_path, "a", 5.0), forecast(tmp_path, "b", 0.1)
    clock = time.monotonic()
    monkeypatch.setattr(room.time, "monotonic", lambda: clock)
    memory = Room()
    assert memory.refusal(run_dir, WHOLE_MACHINE, [])
    clock += 200
    assert memory.refusal(run_dir, WHOLE_MACHINE, [])
    clock += 200
    assert memory.refusal(run_dir, WHOLE_MACHINE, []) == ""
    assert memory.refusal(run_dir, WHOLE_MACHINE, [(other, WHOLE_MACHINE, 0.0)])


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"figures": 3}', '{"figures": {"device": "cpu"}}'])
def test_a_run_without_a_forecast_is_never_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        RunDir(tmp_path).forecast.write_text(content)
    assert read_need(RunDir(tmp_path), WHOLE_MACHINE) is None
    assert Room().refusal(RunDir(tmp_path), WHOLE_MACHINE, []) == ""


def test_a_device_whose_memory_nobody_tells_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_cuda_bytes", lambda _: None)
    assert Room().refusal(forecast(tmp_path, "a", 99.0, "cuda"), WHOLE_MACHINE, []) == ""
    assert Room().refusal(forecast(tmp_path, "b", 99.0, "mps"), WHOLE_MACHINE, []) == ""


def test_the_need_is_what_the_forecast_says(tmp_path: Path) -> None:
    run_dir = forecast(tmp_path, "a", 3.0, "cuda")
    assert read_need(run_dir, WHOLE_MACHINE) == Need("cuda", 3_000_000_000)
    assert read_need(run_dir, Place("cuda:1")) == Need("cuda:1", 3_000_000_000)
    assert json.loads(run_dir.forecast.read_bytes())["figures"]["peak_bytes"] == 3_000_000_000


_SMI = """#!/bin/sh
case "$*" in *--id=0*) echo 1234 ;; *--id=1*) echo "[N/A]" ;; *) echo no such device; exit 6 ;; esac
"""


@pytest.mark.parametrize(("index", "free_bytes"), [(0, 1234 * 2**20), (1, None), (2, None)])
def test_nvidia_smi_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: int, free_bytes: int | None
) -> None:
    monkeypatch.undo()
    program = tmp_path / "nvidia-smi"
    program.write_text(_SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert room.free_cuda_bytes(index) == free_bytes


def test_without_nvidia_smi_nobody_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert room.free_cuda_bytes(0) is None
