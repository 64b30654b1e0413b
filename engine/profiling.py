"""Has a recipe profiled by a process of its own (`engine/profiler.py`), as its worker would be. Imports no torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine.allocator import choose
from engine.errors import Problem, Where
from engine.forecast import Doing
from engine.profile import ProfileAnswer
from engine.recipe.load import resolved_json
from engine.recipe.schema import Recipe

# As a worker's: what is measured should be what will be.
_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}


def profile_recipe(recipe: Recipe, num_steps: int, tell: Callable[[str], None] = lambda _: None) -> ProfileAnswer:
    """Profile a recipe; takes from seconds to minutes, and leaves nothing.

    Args:
        recipe: A checked one; its batch size is a number.
        num_steps: Steps to measure.
        tell: Told what is being done.
    """
    allocator = choose(recipe.hardware.allocator).environment(os.environ)
    with tempfile.TemporaryDirectory(prefix="engine-profiling-") as folder:
        resolved, output = Path(folder) / "resolved.json", Path(folder) / "output.txt"
        resolved.write_bytes(resolved_json(recipe))
        command = [sys.executable, "-m", "engine.profiler", str(resolved), "--steps", str(num_steps)]
        answer = None
        with output.open("wb") as said, _started(command, said.fileno(), allocator) as process:
            for message in _messages(process):
                if isinstance(message, ProfileAnswer):
                    answer = message
                else:
                    tell(message.words)
        return answer or ProfileAnswer(problems=(_death(process.returncode, output.read_text(errors="replace")),))


@contextmanager
def _started(command: list[str], errors: int, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        env={**_ENVIRONMENT, **os.environ, **variables, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:  # a person has seen enough
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _messages(process: subprocess.Popen[bytes]) -> Iterator[Doing | ProfileAnswer]:
    decoder: msgspec.json.Decoder[Doing | ProfileAnswer] = msgspec.json.Decoder(Doing | ProfileAnswer)
    assert process.stdout is not None
    for line in process.stdout:
        yield decoder.decode(line)


def _death(code: int, said: str) -> Problem:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    last = f": {lines[-1].strip()}" if lines else ""
    if code == -signal.SIGKILL:
        fix = "end other programs, lower training.batch_size, or set training.micro_batch_size"
        return Problem("T301", Where(), "the system killed it; mostly that is for want of memory", fix)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return Problem("T302", Where(), f"profiling {how}{last}", "if the recipe is right, engine or torch is at fault")
