"""`--devices` and `--parallel` as places."""

from __future__ import annotations

import pytest

from engine.errors import QueueError
from engine.executors import WHOLE_MACHINE, Place
from engine.executors.places import make_places
from engine.machine import num_cores


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.executors.places.num_cuda_devices", lambda: 2)


@pytest.mark.parametrize(
    ("devices", "parallel", "places"),
    [
        (None, None, (WHOLE_MACHINE,)),
        (None, 1, (WHOLE_MACHINE,)),
        (None, 2, (Place("", 4), Place("", 4))),
        (None, 20, (Place("", 1),) * 20),
        ("cuda:0,cuda:1", None, (Place("cuda:0", 4), Place("cuda:1", 4))),
        (" cuda:1 , cpu", None, (Place("cuda:1", 4), Place("cpu", 4))),
        ("cuda:1", None, (Place("cuda:1", 0),)),
        ("cpu,cpu,cpu", None, (Place("cpu", 2),) * 3),
    ],
)
def test_places(devices: str | None, parallel: int | None, places: tuple[Place, ...]) -> None:
    assert make_places(devices, parallel, cores=8) == places


@pytest.mark.parametrize(
    ("devices", "parallel", "told"),
    [
        ("", None, '"" is no device'),
        ("cuda:0,", None, '"" is no device'),
        ("gpu", None, '"gpu" is no device'),
        ("cuda:-1", None, '"cuda:-1" is no device'),
        ("cuda:0,cuda:0", None, "named twice"),
        ("cuda,cuda:0", None, '"cuda:0" is named twice'),
        ("cuda:2", None, "the last one here is cuda:1"),
        ("cpu", 2, "--devices says already"),
        (None, 65, "65 runs side by side"),
    ],
)
def test_what_makes_no_places_is_told(devices: str | None, parallel: int | None, told: str) -> None:
    with pytest.raises(QueueError, match=told):
        make_places(devices, parallel)


def test_a_machine_without_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.executors.places.num_cuda_devices", lambda: 0)
    with pytest.raises(QueueError, match="no GPU is found here"):
        make_places("cuda:0", None)


def test_there_is_a_core() -> None:
    assert num_cores() >= 1
