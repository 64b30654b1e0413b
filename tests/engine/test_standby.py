"""The process that waits to be a worker: ready or not, it becomes one; without an order it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from engine import standby
from tests.builders import process_environment


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "engine.standby"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env=process_environment(),
    ) as process:
        yield process
        process.kill()


def test_it_ends_when_its_input_does(waiting: subprocess.Popen[str]) -> None:
    assert waiting.stdin is not None
    waiting.stdin.close()
    assert waiting.wait(60) == 0


def test_an_order_that_comes_before_it_is_ready_is_obeyed(waiting: subprocess.Popen[str]) -> None:
    told, _ = waiting.communicate(json.dumps(["--no-such-option"]) + "\n", timeout=200)
    assert waiting.returncode == 2
    assert "engine.worker: error" in told


def test_one_that_isnt_ready_begins_anew_as_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[list[str]] = []

    class ExecutedError(Exception):
        pass

    def execute(program: str, command: list[str]) -> None:
        executed.append(command)
        raise ExecutedError

    release = threading.Event()
    monkeypatch.setattr(standby, "_import_worker", lambda: release.wait(60))
    monkeypatch.setattr(standby, "_wait_for_arguments", lambda: ["/runs/0001-a", "--attempt", "1"])
    monkeypatch.setattr("os.execv", execute)
    begun = time.monotonic()
    with pytest.raises(ExecutedError):
        standby.main()
    release.set()
    assert time.monotonic() - begun < 50
    assert executed == [[sys.executable, "-m", "engine.worker", "/runs/0001-a", "--attempt", "1"]]
