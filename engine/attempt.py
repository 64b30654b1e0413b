"""What one attempt at a run leaves for the next, and what the next learns from how it ended.

A worker that the system kills for want of memory can't say so. It notes what it began with, and how
often the system had killed for memory by then; the next worker compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.queuereader import last_word
from engine.rundir import RunDir, write_bytes_atomic

_OWN_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")


class AttemptNotes(msgspec.Struct, frozen=True):
    """What an attempt began with.

    Attributes:
        attempt: Its number.
        micro_batch_size: Images in memory at a time.
        oom_kills: Processes that the system had killed for want of memory by then.
    """

    attempt: int
    micro_batch_size: int
    oom_kills: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the attempt before tells about how to go on.

    Attributes:
        killed_for_memory: The system killed it, or another process meanwhile, for want of memory.
        stalled: Nothing moved any more, so it ended itself.
        micro_batch_size: What it had begun with; None when unknown.
        reason: Its last words; "" without any.
    """

    killed_for_memory: bool = False
    stalled: bool = False
    micro_batch_size: int | None = None
    reason: str = ""


def leave_notes(run_dir: RunDir, attempt: int, micro_batch_size: int) -> None:
    """Write down what an attempt begins with."""
    notes = AttemptNotes(attempt, micro_batch_size, num_oom_kills())
    write_bytes_atomic(run_dir.attempt_notes, msgspec.json.encode(notes))


def learn(run_dir: RunDir, attempt: int) -> Lesson:
    """What the attempt before this one tells; to be asked before its events are rewound.

    Args:
        run_dir: The run.
        attempt: The attempt that begins.
    """
    try:
        notes = msgspec.json.decode(run_dir.attempt_notes.read_bytes(), type=AttemptNotes)
    except (OSError, msgspec.DecodeError):
        return Lesson()
    if notes.attempt >= attempt:
        return Lesson()
    ended = last_word(run_dir, notes.attempt)
    if ended is not None:
        return Lesson(stalled=ended.cause == "stalled", micro_batch_size=notes.micro_batch_size, reason=ended.reason)
    return Lesson(num_oom_kills() > notes.oom_kills, micro_batch_size=notes.micro_batch_size)


def num_oom_kills() -> int:
    """How many processes the system has killed for want of memory; 0 where it doesn't say.

    Counted in this process's control group where there is one, else on the whole machine since it started.
    """
    return _counted(_own_group() / "memory.events") or _counted(_VMSTAT)


def _own_group() -> Path:
    try:
        group = _OWN_CGROUP.read_text().strip().rpartition("::")[2]
    except OSError:
        return _CGROUPS
    return _CGROUPS / group.lstrip("/")


def _counted(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
