"""Tells the person who sleeps: a command, a webhook, a bell, when a run or the queue has ended.

A notice that can't be delivered is written to a log and disturbs nothing. Deliveries happen on a thread
of their own, one after another, with short time limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.errors import printable
from engine.settings import Notice, Occasion

COMMAND_TIMEOUT_S = 30.0
WEBHOOK_TIMEOUT_S = 10.0
# A network that is just coming up; after that the log has to do.
_WEBHOOK_TRIES = 2
_RETRY_AFTER_S = 2.0
_MOST_LOG_BYTES = 200_000
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """One notice; these are the keys of the JSON.

    Attributes:
        event: What happened.
        text: In words, one line.
        run: The run's id; "" for the queue.
        state: The run's state.
        reason: Why, in words.
        cause: The recorded kind of failure.
        best_ap50: The run's best AP50, in [0, 1].
        runs_dir: The runs folder.
        counts: For the end of the queue, how many of its runs are in each state.
        report: Where the report of the queue is; "" without one.
        time: When, seconds since 1970.
    """

    event: Occasion
    text: str
    run: str = ""
    state: str = ""
    reason: str = ""
    cause: str = ""
    best_ap50: float | None = None
    runs_dir: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    report: str = ""
    time: float = 0.0


def run_notice(
    run: str, state: str, reason: str, cause: str, best_ap50: float | None, runs_dir: Path
) -> Told | None:
    """What to tell of a run that ended; None when it isn't over for good."""
    if state not in ("finished", "failed"):
        return None
    if state == "failed":
        text = f"{run} failed: {reason}"
    else:
        text = f"{run} finished" + ("" if best_ap50 is None else f", best AP50 {best_ap50:.3f}")
    return Told(
        "finished" if state == "finished" else "failed", printable(text), run, state, reason, cause, best_ap50,
        str(runs_dir.resolve()), time=time.time(),
    )


def queue_notice(counts: dict[str, int], runs_dir: Path, report: Path | None = None) -> Told:
    """What to tell when the queue has been worked off; `counts` are of the runs worked on."""
    words = ", ".join(f"{number} {state}" for state, number in counts.items()) or "nothing was to be done"
    return Told("queue ended", f"the queue has ended: {words}", runs_dir=str(runs_dir.resolve()), counts=dict(counts),
                report="" if report is None else str(report.resolve()), time=time.time())


class Notices:
    """Delivers notices as the settings ask, without ever holding its caller up.

    Args:
        settings: `[notice]` of the settings.
        log_path: Where deliveries that failed are told.
        ring: Rings the bell; None where there is no terminal.
    """

    def __init__(self, settings: Notice, log_path: Path, ring: Callable[[], None] | None = None) -> None:
        self._settings, self._log_path, self._ring = settings, log_path, ring
        self._waiting: queue.Queue[Told | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def tell(self, told: Told) -> None:
        """Deliver a notice soon; returns at once."""
        if told.event not in self._settings.on:
            return
        if self._settings.bell and self._ring is not None:
            self._ring()
        if not (self._settings.command or self._settings.webhook):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver_all, name="notices", daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(told)

    def close(self, timeout_s: float = COMMAND_TIMEOUT_S + 2 * WEBHOOK_TIMEOUT_S) -> None:
        """Wait until all is delivered, but no longer than this."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            self._thread.join(timeout_s)

    def _deliver_all(self) -> None:
        while (told := self._waiting.get()) is not None:
            body = json.dumps({key: value for key, value in asdict(told).items() if value not in ("", None, {})})
            for kind, deliver in (("command", self._run_command), ("webhook", self._post)):
                try:
                    trouble = deliver(told, body.encode())
                except Exception as error:  # noqa: BLE001 - no fault of a hook may reach the queue
                    trouble = f"{type(error).__name__}: {error}"
                if trouble:
                    self._log(f"{kind} not delivered ({trouble}): {told.text}")

    def _run_command(self, told: Told, body: bytes) -> str:
        """Run the command; returns what went wrong, "" for nothing."""
        if not self._settings.command:
            return ""
        words = {
            "ENGINE_EVENT": told.event, "ENGINE_TEXT": told.text, "ENGINE_RUN": told.run, "ENGINE_STATE": told.state,
        }
        process = subprocess.Popen(
            ["/bin/sh", "-c", self._settings.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **words},
        )
        try:
            output, _ = process.communicate(body, timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            return f"not done within {COMMAND_TIMEOUT_S:g} s"
        if process.returncode == 0:
            return ""
        said = output.decode(errors="replace").strip().splitlines()
        return f"exit code {process.returncode}{': ' + printable(said[-1]) if said else ''}"

    def _post(self, told: Told, body: bytes) -> str:  # noqa: ARG002 - as `_run_command`
        """Post to the webhook; returns what went wrong, "" for nothing."""
        if not self._settings.webhook:
            return ""
        trouble = ""
        for attempt in range(_WEBHOOK_TRIES):
            if attempt:
                time.sleep(_RETRY_AFTER_S)
            trouble, again = _post_once(self._settings.webhook, body)
            if not again:
                return trouble
        return trouble

    def _log(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):
            if self._log_path.exists() and self._log_path.stat().st_size > _MOST_LOG_BYTES:
                self._log_path.replace(self._log_path.with_suffix(".before.log"))
            with self._log_path.open("a", encoding="utf-8") as file:
                file.write(f"{stamp} {printable(line)}\n")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, 9)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _post_once(url: str, body: bytes) -> tuple[str, bool]:
    """Post once; returns what went wrong, and whether to try again."""
    headers = {"Content-Type": "application/json", "User-Agent": "engine"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - settings hold http(s) only
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):  # noqa: S310
            return "", False
    except urllib.error.HTTPError as error:
        error.close()
        return f"the server answered {error.code}", error.code >= 500
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__, True
