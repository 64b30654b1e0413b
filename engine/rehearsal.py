"""Before the night: recipes rehearsed, each in a process of its own, and what becomes of them.

A crash, a kill by the system or a broken GPU context ends that process, never this one, and is told
as the recipe's problem. Recipes that differ only in what costs neither memory nor time (seed,
learning rate, epochs, schedule) share one rehearsal. Imports no torch.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engine.alike import opening_key, rehearsal_key
from engine.allocator import choose
from engine.errors import Problem, Where, has_errors
from engine.forecast import Answer, Doing, Figures
from engine.recipe.load import LoadedRecipe, resolved_json

_COMMAND = (sys.executable, "-m", "engine.rehearse")
# As a worker's: what is measured should be what will be.
_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}
# glibc then gives memory back that it would hoard; slower, which matters to no search for what fits.
_SEARCH_ENVIRONMENT = {**_ENVIRONMENT, "MALLOC_MMAP_THRESHOLD_": "1000000"}
# A step of the largest images takes minutes on a slow machine; a dead network drive takes for ever.
_PATIENCE_S = 1200.0
# What the C++ runtime and OpenMP say when they end a process for want of memory.
_EXHAUSTED_WORDS = (
    "bad_alloc", "MemoryError", "Thread creation failed", "can't allocate memory", "Cannot allocate memory",
)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A recipe after its rehearsal.

    Attributes:
        loaded: The recipe as it should be queued: batch sizes are numbers that fit.
        figures: What was measured; None when the rehearsal failed.
        problems: What was found; but for what its learning rate does, the same for all recipes of one rehearsal.
    """

    loaded: LoadedRecipe
    figures: Figures | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether its run may be queued."""
        return not has_errors(self.problems)


# Told recipes done, recipes in all, the one being rehearsed, and what is being done with it.
Progress = Callable[[int, int, str, str], None]


def rehearse_recipes(
    loaded: Sequence[LoadedRecipe], *, at_work: bool = False, on_progress: Progress | None = None,
    command: Sequence[str] = _COMMAND,
) -> list[Rehearsed]:
    """Rehearse recipes; takes from seconds to minutes for each that differs.

    Args:
        loaded: The runs to come, checked already; may be empty.
        at_work: Whether another run computes on this machine now: then too little memory refuses nobody.
        on_progress: Told what is being done.
        command: The program that rehearses, for tests.

    Returns:
        One an item of `loaded`, in order.
    """
    groups: dict[bytes, list[int]] = {}
    for place, one in enumerate(loaded):
        groups.setdefault(rehearsal_key(one.recipe), []).append(place)
    done: dict[int, Rehearsed] = {}
    for places in groups.values():
        members = [loaded[place] for place in places]
        name = _names(members)

        def tell(words: str, name: str = name) -> None:
            if on_progress:
                on_progress(len(done), len(loaded), name, words)

        first_of: dict[tuple[bytes, float], LoadedRecipe] = {}
        for one in members:
            first_of.setdefault(_opening(one), one)
        answer = _rehearse(list(first_of.values()), command, tell)
        if at_work:
            answer = _beside_a_run(answer)
        own = dict(zip(first_of, answer.of_runs, strict=False))  # none where it ended before
        for place, one in zip(places, members, strict=True):
            found = tuple(_named(problem, members) for problem in answer.problems)
            found += tuple(_named(problem, [one]) for problem in own.get(_opening(one), ()))
            done[place] = Rehearsed(_settled(one, answer.figures, at_work=at_work), answer.figures, found)
    return [done[place] for place in range(len(loaded))]


def without_rehearsal(loaded: Sequence[LoadedRecipe]) -> list[Problem]:
    """What can't be had without a rehearsal: an error for each recipe whose batch size is "auto"."""
    return [
        Problem(
            "T307", _place(one, "training.batch_size"),
            f'{one.recipe.name}: batch_size = "auto" is found out by the rehearsal, which --no-rehearsal leaves out',
            "leave --no-rehearsal away, or write a number",
        )
        for one in loaded if one.recipe.training.batch_size == "auto"
    ]


def _opening(loaded: LoadedRecipe) -> tuple[bytes, float]:
    """What a run's first steps depend on, chance apart."""
    return opening_key(loaded.recipe), loaded.recipe.optimizer.lr


# --- one rehearsal ---


def _rehearse(firsts: Sequence[LoadedRecipe], command: Sequence[str], tell: Callable[[str], None]) -> Answer:
    """Rehearse, with half as many images at a time whenever memory doesn't suffice; each try in a new process.

    The first one is rehearsed; the others differ from it in their first steps only.

    What a failed try leaves behind in a process, scattered over its heap, would fail the next one too.
    """
    with tempfile.TemporaryDirectory(prefix="engine-rehearsal-") as folder:
        output = Path(folder) / "output.txt"
        resolved, *others = (Path(folder) / f"resolved-{number}.json" for number in range(len(firsts)))
        for path, one in zip([resolved, *others], firsts, strict=True):
            path.write_bytes(resolved_json(one.recipe))
        sharing = ["--sharing", *map(str, others)] if others else []
        options: list[str] = []
        allocator = choose(firsts[0].recipe.hardware.allocator).environment(os.environ)
        while True:
            environment = {**_ENVIRONMENT, **os.environ, **allocator}
            ended = _execute([*command, str(resolved), *options, *sharing], output, tell, environment)
            images = ended.doing.micro_batch_size
            if not ended.out_of_memory or not images:
                return ended.answer or _death(ended)
            if images == 1:
                searching = {**_SEARCH_ENVIRONMENT, **os.environ}
                searched = _execute([*command, str(resolved), "--search-size"], output, tell, searching)
                return searched.answer or _death(ended)
            options = ["--most-images", str(images // 2)]


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a rehearsal's process ended."""

    answer: Answer | None
    doing: Doing
    code: int
    said: str
    hung: bool

    @property
    def out_of_memory(self) -> bool:
        """Whether memory didn't suffice, by its own word or by how it died."""
        if self.answer is not None:
            return self.answer.out_of_memory
        return not self.hung and (
            self.code == -signal.SIGKILL or any(words in self.said for words in _EXHAUSTED_WORDS)
        )


def _execute(
    command: Sequence[str], output: Path, tell: Callable[[str], None], environment: Mapping[str, str]
) -> _Ended:
    answer: Answer | None = None
    doing = Doing(words="starting")
    hung = False
    with output.open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True,
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
    try:
        for message in _messages(process):
            match message:
                case Answer():
                    answer = message
                case Doing():
                    doing = message
                    tell(_doing_words(doing))
                case None:
                    hung = True
        if not hung:
            process.wait()
    finally:
        _end(process)
    text = output.read_text(errors="replace")
    return _Ended(answer, doing, process.returncode, text, hung)


def _messages(process: subprocess.Popen[bytes]) -> Iterator[Answer | Doing | None]:
    """What a rehearsal tells, until it ends; None and no more when it tells nothing for too long."""
    decoder: msgspec.json.Decoder[Answer | Doing] = msgspec.json.Decoder(Answer | Doing)
    assert process.stdout is not None
    pending, deadline = b"", time.monotonic() + _PATIENCE_S
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            yield None
            return
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        deadline = time.monotonic() + _PATIENCE_S
        yield from (decoder.decode(line) for line in lines)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started, and close its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _doing_words(doing: Doing) -> str:
    if not doing.micro_batch_size:
        return doing.words
    return f"{doing.words}, {doing.micro_batch_size} at a time"


def _death(ended: _Ended) -> Answer:
    images = f" ({', '.join(ended.doing.images)})" if ended.doing.images else ""
    at = f"at {_doing_words(ended.doing)}{images}"
    lines = [line for line in ended.said.strip().splitlines() if line.strip()]
    last = f": {lines[-1].strip()}" if lines and ended.code >= 0 else ""
    if ended.hung:
        found = f"the rehearsal told nothing for {_PATIENCE_S / 60:.0f} min {at}"
        return _error("T302", found, "look whether the images' drive answers; --no-rehearsal goes without")
    if ended.out_of_memory:
        found = f"the system killed the rehearsal {at}; mostly that is for want of memory"
        fix = "end other programs, lower model.min_size and max_size, or set hardware.memory_limit_gb"
        return msgspec.structs.replace(_error("T301", found, fix), out_of_memory=True)
    how = f"was killed by {_signal_name(-ended.code)}" if ended.code < 0 else f"ended with exit code {ended.code}"
    return _error("T302", f"the rehearsal {how} {at}{last}", "if the recipe is right, engine or torch is at fault")


def _error(code: str, found: str, fix: str) -> Answer:
    return Answer(problems=(Problem(code, Where(), found, fix),))


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


# --- what becomes of the recipes ---


def _beside_a_run(answer: Answer) -> Answer:
    """Too little memory while another run holds some says nothing about later."""
    if not answer.out_of_memory:
        return answer
    fix = "nothing to do if the run at work leaves enough; it is noticed and mended while training, too"
    softened = [
        replace(problem, severity="warning", found=f"not rehearsed beside the run at work: {problem.found}", fix=fix)
        if problem.code == "T301" else problem
        for problem in answer.problems
    ]
    return msgspec.structs.replace(answer, problems=tuple(softened))


def _settled(loaded: LoadedRecipe, figures: Figures | None, *, at_work: bool) -> LoadedRecipe:
    """The recipe with batch sizes that are numbers and fit; its text stays as written."""
    training = loaded.recipe.training
    if figures is None:
        return loaded
    micro = training.micro_batch_size
    if figures.micro_batch_size < (micro or figures.batch_size) and not at_work:
        micro = figures.micro_batch_size
    elif micro is not None and micro > figures.batch_size:  # the batch size was "auto"
        micro = None
    settled = training.model_copy(update={"batch_size": figures.batch_size, "micro_batch_size": micro})
    return replace(loaded, recipe=loaded.recipe.model_copy(update={"training": settled}))


def _names(members: Sequence[LoadedRecipe]) -> str:
    first, *more = [one.recipe.name for one in members]
    return f"{first} and {len(more)} more" if more else first


def _named(problem: Problem, members: Sequence[LoadedRecipe]) -> Problem:
    """A problem of a rehearsal, with the recipes it is about and their line where one is to blame."""
    found = f"{_names(members)}: {problem.found}"
    where = problem.where
    if not where.path:
        where = _place(members[0], where.item) if where.item else Where(str(members[0].path))
    return replace(problem, where=where, found=found)


def _place(loaded: LoadedRecipe, key: str) -> Where:
    source = loaded.sources.get(key)
    if source is None or not source.path:
        return Where(str(loaded.path), item=key)
    return Where(source.path, source.value_line or source.line, source.value_column, item=key)
