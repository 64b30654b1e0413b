"""A worker ahead of its run: `python -m engine.standby`, started by `engine/executors/standby.py`.

Imports what every worker needs, at the lowest priority, so that the training at work doesn't notice; waits for a
line on its standard input, a JSON list of a worker's arguments; and is that worker from then on. When the input
closes before, it ends at once: it has nothing to save.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading

_MOST_LINE_BYTES = 65_536


def main() -> int:
    """Get ready, wait, be a worker; returns its exit code."""
    importing = threading.Thread(target=_import_worker, daemon=True, name="imports")
    importing.start()
    arguments = _wait_for_arguments()
    importing.join()
    from engine import worker  # noqa: PLC0415 - the thread has imported it, or this tells why it can't be

    return worker.main(arguments)


def _import_worker() -> None:
    if sys.platform == "linux":
        # Of this thread alone: a process that gave way as a whole could not take its place back.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
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
    sys.exit(main())
