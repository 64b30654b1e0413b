"""Batches as loader processes bring them."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from torch.utils.data import DataLoader

from engine.annotations import ImageRecord
from engine.data.batch import Batch
from engine.data.dataset import DetectionDataset
from engine.data.loading import BatchStream, LoaderTrouble, make_loader, pick_num_workers
from engine.data.order import FixedOrder
from engine.errors import DataError
from tests.builders import process_environment, record, wait_for, write_photo

CPU = torch.device("cpu")
BOX = (5, 5, 20, 20)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    return [
        record([BOX], [0], path=write_photo(tmp_path / f"{index}.png", [("mug", BOX)], seed=index))
        for index in range(5)
    ]


def loader(records: list[ImageRecord], num_workers: int) -> DataLoader[Batch]:
    return make_loader(DetectionDataset(records), FixedOrder.of(records, 2), num_workers=num_workers, device=CPU)


def test_loader_processes_bring_what_the_process_itself_would(records: list[ImageRecord]) -> None:
    alone, helped = list(loader(records, 0)), list(loader(records, 1))
    assert [batch.places for batch in helped] == [[0, 1], [2, 3], [4]]
    for ours, theirs in zip(alone, helped, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours.images, theirs.images, strict=True))


def test_a_loader_process_that_dies_between_two_epochs_is_told_as_trouble(records: list[ImageRecord]) -> None:
    stream = BatchStream(DetectionDataset(records), FixedOrder.of(records, 2), num_workers=1, device=CPU)
    assert len(list(stream.batches(lambda: 60.0))) == 3
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    with pytest.raises(LoaderTrouble, match="exited unexpectedly"):
        list(stream.batches(lambda: 60.0))
    stream.restart(1)
    assert len(list(stream.batches(lambda: 60.0))) == 3
    stream.close()


def test_a_batch_on_its_device_is_scaled_to_one(records: list[ImageRecord]) -> None:
    batch = next(iter(loader(records, 0)))
    moved = batch.to(CPU)
    assert batch.images[0].dtype == torch.uint8
    assert torch.equal(moved.images[0], batch.images[0].float() / 255)
    assert moved.places == batch.places
    assert moved.targets[0]["boxes_xyxy"].tolist() == [[5, 5, 20, 20]]


def test_an_empty_batch() -> None:
    moved = Batch([]).to(CPU)
    assert (moved.images, moved.targets, moved.places) == ([], [], [])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_picture_that_breaks_later_is_named(records: list[ImageRecord], num_workers: int) -> None:
    broken = records[3].image_path
    broken.write_bytes(broken.read_bytes()[:200])
    batches = iter(loader(records, num_workers))
    next(batches).to(CPU)
    with pytest.raises(DataError) as caught:
        next(batches).to(CPU)
    assert [problem.where.path for problem in caught.value.problems] == [str(broken)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loading_draws_nothing_from_the_random_state_that_training_uses(
    records: list[ImageRecord], num_workers: int
) -> None:
    """A resumed epoch starts its loader once more often than an uninterrupted one."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(records, num_workers))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("wanted", "device", "cores", "expected"),
    [
        pytest.param(3, "cpu", 16, 3, id="a number is meant"),
        pytest.param(0, "cuda", 16, 0, id="none is a number too"),
        pytest.param("auto", "cpu", 16, 1, id="beside training on the CPU"),
        pytest.param("auto", "cpu", 1, 0, id="a single core"),
        pytest.param("auto", "cuda", 16, 8, id="beside a GPU"),
        pytest.param("auto", "cuda", 4, 3, id="beside a GPU, few cores"),
        pytest.param("auto", "cuda", 1, 1, id="beside a GPU, a single core"),
    ],
)
def test_how_many_loader_processes(
    monkeypatch: pytest.MonkeyPatch, wanted: int | str, device: str, cores: int, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert pick_num_workers(wanted, torch.device(device)) == expected


_ORPHANS = """
import os, signal, sys, multiprocessing
from pathlib import Path
import torch
from engine.data.dataset import DetectionDataset
from engine.data.loading import BatchStream
from engine.data.order import FixedOrder
from tests.builders import record
records = [record([(5, 5, 20, 20)], [0], path=Path(sys.argv[1])) for _ in range(4)]
stream = BatchStream(DetectionDataset(records), FixedOrder.of(records, 2), num_workers=2, device=torch.device("cpu"))
next(stream.batches(lambda: 60.0))
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own signal at a parent's death is Linux's")
def test_loader_processes_die_with_a_killed_parent_at_once(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png", [("mug", BOX)])
    done = subprocess.run(
        [sys.executable, "-c", _ORPHANS, str(photo)], capture_output=True, text=True, env=process_environment(),
        check=False,
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), 2, lambda: f"{pids} live on")
