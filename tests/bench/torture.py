"""Signal 9 to each process, each pair and all at once, at random moments: `python -m tests.bench.torture`.

A queue of three runs is worked off while supervisor, guardian, worker and loader are killed. After each
blow: is everything that should be gone, gone within 5 s? In the end: has every run finished, once, with
neither gap nor repeat in its log, and (real workers) with the very weights of a run that nobody
disturbed? `--fake` takes workers without torch, which makes a trial a second instead of ten.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from engine.events import EventTail, RunEnded, StepEvent
from engine.executors.leftovers import MARKER, read_marker
from engine.queuereader import read_queue
from engine.rundir import RunDir, list_run_dirs
from tests.builders import make_voc_dataset, process_environment, write_recipe

ROLES = ("supervisor", "guardian", "worker", "loader")
VICTIMS = [*((role,) for role in ROLES), *itertools.combinations(ROLES, 2), ROLES]
NAMES = ("anna", "bert", "carl")
GONE_WITHIN_S = 5.0
# Blows in a row before a new checkpoint: a run may die this often without being given up.
MOST_BLOWS_WITHOUT_PROGRESS = 3
_MARK = "TORTURE"
_PATIENCE_S = 300.0


@dataclass
class Figures:
    """What the torture found."""

    trials: int = 0
    by_victims: Counter[str] = field(default_factory=Counter)
    queues: int = 0
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)
    other_weights: list[str] = field(default_factory=list)
    slowest_end_s: float = 0.0
    attempts: int = 0

    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.gaps or self.survivors or self.other_weights)

    def lines(self) -> list[str]:
        return [
            f"trials      {self.trials} ({', '.join(f'{name} {n}' for name, n in sorted(self.by_victims.items()))})",
            f"runs        {self.runs} in {self.queues} queues, {self.attempts} attempts",
            f"lost        {len(self.lost)} {self.lost or ''}",
            f"doubled     {len(self.doubled)} {self.doubled or ''}",
            f"gaps        {len(self.gaps)} {self.gaps or ''}",
            f"survivors   {len(self.survivors)} {self.survivors or ''}",
            f"weights     {len(self.other_weights)} runs unlike an undisturbed one {self.other_weights or ''}",
            f"slowest end {self.slowest_end_s:.1f} s",
        ]


class World:
    """A runs folder, its supervisor, and all processes that come of it.

    Args:
        folder: A new folder.
        fake: Workers without torch.
        num_steps: Steps of each run.
    """

    def __init__(self, folder: Path, *, fake: bool, num_steps: int) -> None:
        self.folder, self.fake, self.num_steps = folder, fake, num_steps
        self.runs_dir = folder / "runs with ümlaut"
        self.mark = uuid.uuid4().hex
        self.supervisor: subprocess.Popen[bytes] | None = None
        self._recipes = [] if fake else self._write_recipes()

    def _write_recipes(self) -> list[Path]:
        dataset = make_voc_dataset(self.folder / "data", num_train=8, num_val=2)
        values = {
            "training": {"epochs": self.num_steps // 4, "batch_size": 2}, "previews": {"num_images": 0},
            "hardware": {"num_workers": 1, "device": "cpu"},
        }
        return [write_recipe(self.folder, dataset, name, **values) for name in NAMES]

    def queue(self) -> None:
        """Queue the runs; killed while doing so, nothing would be queued and the person would do it again."""
        fake = ["tests.fakecrew", "--queue-only", *NAMES]
        program = fake if self.fake else ["engine.cli.main", "add", *map(str, self._recipes)]
        subprocess.run(
            [sys.executable, "-m", *program, "--runs", str(self.runs_dir)], check=True, env=process_environment(),
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start a supervisor on what is queued."""
        program = ["tests.fakecrew"] if self.fake else ["engine.cli.main", "resume"]
        command = ["-m", *program, "--plain", "--runs", str(self.runs_dir)]
        settings = {"FAKE_STEPS": str(self.num_steps), "FAKE_STEP_S": "0.05", "FAKE_START_S": "0.2", _MARK: self.mark}
        with (self.folder / "output.txt").open("ab") as output:
            self.supervisor = subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**process_environment(), **settings},
            )

    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def alive(self) -> list[psutil.Process]:
        """Every living process that came of this world."""
        found = []
        for process in psutil.process_iter(["environ", "status"]):
            environ, status = process.info["environ"], process.info["status"]
            if environ and environ.get(_MARK) == self.mark and status != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def roles(self) -> dict[str, psutil.Process]:
        """Who is who among the living; a role that nobody has now is left out."""
        found: dict[str, psutil.Process] = {}
        if self.supervisor is None or self.supervisor.poll() is not None:
            return found
        found["supervisor"] = psutil.Process(self.supervisor.pid)
        markers = self.markers()
        for role, above in itertools.pairwise(ROLES):
            # Guardians of plots, and of workers that wait for a run, are no guardians of attempts.
            below = [child for child in _children(found[role]) if above == "loader" or _marker(child) in markers]
            if not below:
                break
            found[above] = below[0]
        return found

    def workers(self) -> Counter[str]:
        """Run folder -> processes that train it now."""
        found: Counter[str] = Counter()
        markers = self.markers()
        for process in self.alive():
            run = markers.get(_marker(process))
            try:
                parent = process.parent()
            except psutil.Error:
                continue
            # A loader's parent is a worker.
            if run is not None and not _guards(_line(process)) and (parent is None or _guards(_line(parent))):
                found[run] += 1
        return found

    def markers(self) -> dict[str | None, str]:
        """The marker that an attempt's processes carry -> its run."""
        found = {read_marker(run_dir): run_dir.run_id for run_dir in list_run_dirs(self.runs_dir)}
        found.pop(None, None)
        return found

    def checkpoints(self) -> dict[str, int]:
        """Run -> when its checkpoint was written."""
        found = {}
        for run_dir in list_run_dirs(self.runs_dir):
            if run_dir.last_checkpoint.exists():
                found[run_dir.run_id] = run_dir.last_checkpoint.stat().st_mtime_ns
        return found

    def end(self) -> None:
        """Leave nothing of this world behind."""
        while processes := self.alive():
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def is_over(self) -> bool:
        """Whether the supervisor has ended by itself."""
        return self.supervisor is not None and self.supervisor.poll() is not None


class Torturer:
    """Strikes, and writes down what comes of it."""

    def __init__(self, *, fake: bool, seed: int) -> None:
        self.fake, self.random, self.figures = fake, random.Random(seed), Figures()
        self.order: list[tuple[str, ...]] = []
        self.blows = 0

    def next_victims(self) -> tuple[str, ...]:
        if not self.order:
            self.order = self.random.sample(VICTIMS, len(VICTIMS))
        return self.order.pop()

    def torture(self, world: World, num_trials: int) -> None:
        """Strike until so many trials are done or the queue is."""
        world.queue()
        world.start()
        before = world.checkpoints()
        while self.figures.trials < num_trials and not world.is_over():
            victims = self.next_victims()
            if not self.wait_for_moment(world, victims, before):
                self.order.append(victims)
                break
            before = world.checkpoints()
            self.strike(world, victims)
            if world.is_over() and "supervisor" in victims:
                world.start()
        self.finish(world)

    def wait_for_moment(self, world: World, victims: tuple[str, ...], before: dict[str, int]) -> bool:
        """Wait until the victims are there, and a random moment more; False when the queue is done."""
        progress = self.blows >= MOST_BLOWS_WITHOUT_PROGRESS or self.random.random() < 0.6
        deadline = time.monotonic() + _PATIENCE_S
        while not set(victims) <= set(world.roles()) or (progress and world.checkpoints() == before):
            if world.is_over():
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"{victims} never came; {world.output()[-2000:]}")
            time.sleep(0.02)
        time.sleep(self.random.uniform(0, 0.5 if self.fake else 3.0))
        self.blows = 0 if world.checkpoints() != before else self.blows + 1
        return True

    def strike(self, world: World, victims: tuple[str, ...]) -> None:
        roles = world.roles()
        struck = [role for role in victims if role in roles]
        if not struck:
            return
        family = [] if struck == ["supervisor"] else [roles[role] for role in ROLES[1:] if role in roles]
        for role in struck:
            try:
                roles[role].kill()
            except psutil.NoSuchProcess:
                continue
        begun = time.monotonic()
        self.figures.trials += 1
        self.figures.by_victims["+".join(struck)] += 1
        if "supervisor" in struck:
            assert world.supervisor is not None
            world.supervisor.wait()
            left = self.wait_until_gone(world.alive, begun)
        elif struck == ["loader"]:
            left = []  # the worker may mend that and live on
        else:
            left = self.wait_until_gone(lambda: [process for process in family if _lives(process)], begun)
        self.figures.survivors += [f"{'+'.join(struck)}: {_described(process)}" for process in left]
        doubled = [run for run, count in world.workers().items() if count > 1]
        self.figures.doubled += [f"{run}: two workers at once" for run in doubled]

    def wait_until_gone(self, living, begun: float) -> list[psutil.Process]:  # type: ignore[no-untyped-def]
        while left := living():
            if time.monotonic() - begun > GONE_WITHIN_S:
                return list(left)
            time.sleep(0.02)
        self.figures.slowest_end_s = max(self.figures.slowest_end_s, time.monotonic() - begun)
        return []

    # --- the morning after ---

    def finish(self, world: World) -> None:
        """Let the queue come to its end undisturbed, and look at what was made."""
        if world.is_over():
            world.start()
        assert world.supervisor is not None
        code = world.supervisor.wait(_PATIENCE_S)
        if code != 0:
            self.figures.lost.append(f"the last supervisor ended with {code}: {world.output()[-1000:]}")
        if left := self.wait_until_gone(world.alive, time.monotonic()):
            self.figures.survivors += [f"at the end: {_described(process)}" for process in left]
        rows = read_queue(world.runs_dir).rows
        self.figures.queues += 1
        self.figures.runs += len(NAMES)
        self.figures.attempts += sum(row.attempt for row in rows.values())
        unfinished = [row for row in rows.values() if row.state != "finished"]
        self.figures.lost += [f"{row.run}: {row.state}, {row.reason}" for row in unfinished]
        if len(rows) != len(NAMES) or len(list_run_dirs(world.runs_dir)) != len(NAMES):
            self.figures.doubled.append(f"{len(rows)} rows for {len(NAMES)} recipes")
        for run_dir in list_run_dirs(world.runs_dir):
            self.read_log(run_dir, world.num_steps)

    def read_log(self, run_dir: RunDir, num_steps: int) -> None:
        events = EventTail(run_dir.events).read_all()
        steps = [event.step for event in events if isinstance(event, StepEvent)]
        if steps != list(range(num_steps)):
            told = f"{len(steps)} steps, {len(set(steps))} different ones, of {num_steps}"
            self.figures.gaps.append(f"{run_dir.run_id}: {told}")
        ends = sum(isinstance(event, RunEnded) and event.outcome == "finished" for event in events)
        if ends > 1:
            self.figures.doubled.append(f"{run_dir.run_id}: finished {ends} times")

    def compare_weights(self, world: World, reference: RunDir) -> None:
        """Hold every run's weights against an undisturbed run's; all three recipes are the same but for their names."""
        wanted = _weights(reference)
        self.figures.other_weights += [
            run_dir.run_id for run_dir in list_run_dirs(world.runs_dir) if _weights(run_dir) != wanted
        ]


def _weights(run_dir: RunDir) -> str:
    """A hash of the weights of the last checkpoint, computed in a process of its own."""
    program = (
        "import hashlib, sys, torch\n"
        "model = torch.load(sys.argv[1], weights_only=True)['model']\n"
        "print(hashlib.sha256(b''.join(t.numpy().tobytes() for t in model.values())).hexdigest())"
    )
    command = [sys.executable, "-c", program, str(run_dir.last_checkpoint)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=process_environment()).stdout


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.Error:
        return []


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # among them one that has ended and waits to be reaped
        return []


def _marker(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARKER)
    except psutil.Error:
        return None


def _guards(line: list[str]) -> bool:
    return any(part.endswith("guardian.py") for part in line)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[-120:]}"
    except psutil.Error:
        return str(process.pid)


def torture(folder: Path, num_trials: int, *, fake: bool, seed: int, num_steps: int) -> Figures:
    """Torture queues in a folder until so many trials are done."""
    torturer = Torturer(fake=fake, seed=seed)
    reference: RunDir | None = None
    if not fake:
        undisturbed = World(_new(folder / "undisturbed"), fake=False, num_steps=num_steps)
        undisturbed.queue()
        undisturbed.start()
        assert undisturbed.supervisor is not None
        undisturbed.supervisor.wait()
        reference = list_run_dirs(undisturbed.runs_dir)[0]
    number = 0
    while torturer.figures.trials < num_trials:
        world = World(_new(folder / f"queue {number}"), fake=fake, num_steps=num_steps)
        try:
            torturer.torture(world, num_trials)
        finally:
            world.end()
        if reference is not None:
            torturer.compare_weights(world, reference)
        print(f"queue {number}:", *torturer.figures.lines(), sep="\n  ", flush=True)
        number += 1
    return torturer.figures


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    os.nice(5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        steps = arguments.steps or (200 if arguments.fake else 300)
        figures = torture(Path(folder), arguments.trials, fake=arguments.fake, seed=arguments.seed, num_steps=steps)
    return 0 if figures.is_clean() else 1


if __name__ == "__main__":
    sys.exit(main())
