"""A worker ahead of its run: `python -m engine.standby`, started by `engine/executors/standby.py`.

Imports what every worker needs, at a low priority, so that the training at work doesn't notice; waits for a line on
its standard input, a JSON list of a worker's arguments; and is that worker from then on. One that isn't ready by
then begins anew at the usual priority. When the input closes before, it ends at once: it has nothing to save.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
from typing import NoReturn

_MOST_LINE_BYTES = 65_536
_PATIENCE_S = 0.2
# Beside a training that uses all cores, imports take a tenth of one.
_NICENESS = 10


def main() -> NoReturn:
    """Get ready, wait, be a worker."""
    importing = threading.Thread(target=_import_worker, daemon=True, name="imports")
    importing.start()
    arguments = _wait_for_arguments()
    importing.join(_PATIENCE_S)
    if importing.is_alive():
        # Beside busy programs a thread of low priority may take minutes. The same process to everyone who watches it.
        os.execv(sys.executable, [sys.executable, "-m", "engine.worker", *arguments])  # noqa: S606 - no shell wanted
    from engine import worker  # noqa: PLC0415 - the thread has imported it, or this tells why it can't be

    worker.leave(worker.main(arguments))


def _import_worker() -> None:
    if sys.platform == "linux":
        # Of this thread alone: a process that gave way as a whole could not take its place back.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    with contextlib.suppress(Exception):  # told when the worker is imported again, in the run's log
        importlib.import_module("engine.worker")


def _wait_for_arguments() -> list[str]:
    line = b""
    while not line.endswith(b"\n"):
        # No more than the line: what comes after it is the worker's to read.
        byte = os.read(0, 1)
        if not byte or len(line) > _MOST_LINE_BYTES:
            os._exit(0)
        line += byte
    return [str(part) for part in json.loads(line)]


if __name__ == "__main__":
    main()
