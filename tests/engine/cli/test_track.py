"""`engine track`, and each real tracker read back where it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import process_environment, wait_for
from tests.engine.cli.conftest import Ask
from tests.engine.report.nights import tracked_run

# As `tracked_run` makes it.
NUM_EPOCHS = 3


@pytest.fixture
def run_dir(tmp_path: Path, queue: RunQueue) -> RunDir:
    return tracked_run(queue, tmp_path)


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} isn't installed")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    return {name: [(one.step, one.value) for one in read.Scalars(name)] for name in read.Tags()["scalars"]}


def track(engine: Ask, *to: str) -> None:
    answer = engine("track", "1", *to)
    assert answer.code == 0, answer.err
    assert "0001-desk: told" in answer.out


def test_nobody_to_tell_names_the_choices(run_dir: RunDir, engine: Ask) -> None:
    answer = engine("track", run_dir.run_id)
    assert answer.code == 2
    assert "--to: tensorboard, mlflow=URI, wandb=online or wandb=offline" in answer.err


@installed("tensorboard")
@pytest.mark.filterwarnings("default")
def test_tensorboard_reads_it_back(run_dir: RunDir, engine: Ask) -> None:
    for _ in range(2):  # told again, it is written anew
        track(engine, "--to", "tensorboard")
        found = scalars(run_dir.tensorboard)
        assert [step for step, _ in found["train/loss"]] == list(range(1, 16))
        assert [step for step, _ in found["val/ap50"]] == [5, 10, 15]
        assert "train/loss_classifier" in found
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run_dir.tensorboard))
    read.Reload()
    assert read.Images("previews/IMG_1")[0].encoded_image_string == run_dir.preview(0, 0).read_bytes()
    assert b'name = "desk"' in read.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]


@installed("tensorboard")
@pytest.mark.filterwarnings("default")
def test_a_run_is_told_while_it_trains(run_dir: RunDir) -> None:
    """As the supervisor starts it: a process that is told to end when the attempt has."""
    content = run_dir.events.read_bytes()
    half = content.index(b'{"event":"step","step":8,')
    run_dir.events.write_bytes(content[:half])
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.tracking", str(run_dir.path)], env=process_environment(), stderr=subprocess.PIPE
    )
    wait_for(lambda: run_dir.tensorboard.is_dir() and len(scalars(run_dir.tensorboard).get("train/loss", ())) == 8)
    with run_dir.events.open("ab") as file:
        file.write(content[half:])
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert len(scalars(run_dir.tensorboard)["train/loss"]) == 15


@installed("mlflow")
@pytest.mark.filterwarnings("default")
def test_mlflow_keeps_it_in_a_local_store(
    run_dir: RunDir, tmp_path: Path, engine: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    for _ in range(2):
        track(engine, "--to", "mlflow=store")
    client = MlflowClient(tracking_uri=(tmp_path / "runs" / "store").as_uri())
    experiment = client.get_experiment_by_name("desks")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("0001-desk", "FINISHED")
    assert [one.step for one in client.get_metric_history(run.info.run_id, "train/loss")] == list(range(1, 16))
    assert len(client.get_metric_history(run.info.run_id, "val/ap50")) == NUM_EPOCHS
    assert run.data.params["optimizer.lr"] == "0.01"
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {"recipe.toml", "previews"}


@installed("wandb")
@pytest.mark.filterwarnings("default")
def test_wandb_keeps_it_offline(run_dir: RunDir, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine.cli.main", "track", "1", "--to", "wandb=offline"]
    done = subprocess.run(
        command, cwd=tmp_path, env=process_environment(), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    [kept] = (run_dir.path / "wandb").glob("offline-run-*/*.wandb")
    assert kept.stat().st_size > 1000
    assert b"val/ap50" in kept.read_bytes()
    state = json.loads((run_dir.path / "tracking.wandb.json").read_bytes())
    assert state["known_as"].startswith("0001-desk-")
    assert (state["step"], state["epoch"]) == (14, 2)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        pytest.param("neptune", 'no tracker "neptune"', id="unknown"),
        pytest.param("mlflow", "write mlflow=URI", id="no address"),
        pytest.param("wandb=maybe", "write wandb=online or wandb=offline", id="no such mode"),
    ],
)
def test_a_tracker_that_is_not_meant(run_dir: RunDir, engine: Ask, to: str, told: str) -> None:
    answer = engine("track", "1", "--to", to)
    assert answer.code == 2
    assert told in answer.err


def test_a_tracker_that_is_not_installed(run_dir: RunDir, engine: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.tracking.make.find_spec", lambda name: None if name == "wandb" else find_spec(name))
    answer = engine("track", "1", "--to", "wandb=offline")
    assert answer.code == 1
    assert "E111" in answer.err
    assert "pip install wandb" in answer.err
