"""Where runs are executed side by side: `--devices` and `--parallel` made into places."""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.errors import EngineError, QueueError, Where
from engine.executors import WHOLE_MACHINE, Place
from engine.machine import num_cores, num_cuda_devices

_DEVICE = re.compile(r"cpu|mps|cuda(:\d{1,3})?")
_MOST_PLACES = 64


def make_places(devices: str | None, parallel: int | None, cores: int | None = None) -> tuple[Place, ...]:
    """The places that a command line asks for; one, the whole machine, when it asks for none.

    Args:
        devices: Such as "cuda:0,cuda:1": a run on each, whatever its recipe's hardware.device.
        parallel: That many runs on the device that each recipe names; the CPU's threads are shared out.
        cores: CPU cores; this process's when left out.

    Raises:
        QueueError: A device isn't one, isn't there, or is named twice.
    """
    named = [name.strip() for name in devices.split(",")] if devices is not None else [""] * (parallel or 1)
    if devices is not None and parallel is not None:
        raise _refuse("--parallel", "--devices says already how many runs go side by side", "leave one of the two out")
    if len(named) > _MOST_PLACES:
        raise _refuse("--devices" if devices else "--parallel", f"{len(named)} runs side by side", "ask for fewer")
    if devices is not None:
        _check(named)
    if len(named) == 1 and not named[0]:
        return (WHOLE_MACHINE,)
    threads = 0 if len(named) == 1 else max(1, (cores or num_cores()) // len(named))
    return tuple(Place(name, threads) for name in named)


def _check(names: Sequence[str]) -> None:
    cards = [name if ":" in name else f"{name}:0" for name in names if name.startswith("cuda")]
    known = num_cuda_devices()
    for name in names:
        if not _DEVICE.fullmatch(name):
            raise _refuse("--devices", f'"{name}" is no device', 'name devices like "cuda:0,cuda:1", or "cpu"')
    for card in cards:
        if cards.count(card) > 1:
            raise _refuse("--devices", f'"{card}" is named twice', "name each GPU once; one run has it for itself")
        if known is not None and int(card.partition(":")[2]) >= known:
            there = f"the last one here is cuda:{known - 1}" if known else "no GPU is found here"
            raise _refuse("--devices", f'"{card}" is asked for, but {there}', "name GPUs as nvidia-smi numbers them")


def _refuse(option: str, found: str, fix: str) -> EngineError:
    return QueueError.of("Q140", Where(option), found, fix)
