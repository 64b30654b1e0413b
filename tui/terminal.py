"""Leaves the terminal as it was found, however the dashboard ends.

Textual restores it when it leaves by itself and after an exception. It doesn't on a signal, and when
its terminal is gone it spins or blocks. The guard turns signals into an orderly leave, ends
the process when the terminal vanishes, and goes by force when the orderly way takes too long.
It begins before anything slow is imported: from then on nothing that is typed, or that the terminal
answers, is echoed, and all of it waits for the app.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from tui.inquiry import Inquiry

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_LOOK_S = 1.0
_PATIENCE_S = 3.0
# Of what termios tells.
_INPUT_FLAGS, _LOCAL_FLAGS, _CHARACTERS = 0, 3, 6

# Main screen, no mouse, no focus reports, no bracketed paste, wrapping, kitty keys off, cursor, plain.
_RESET = (
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l"
    b"\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"
)


def missing_terminal() -> str:
    """Which of the standard streams isn't a terminal; "" when all are."""
    streams = {"input": sys.__stdin__, "output": sys.__stdout__, "error output": sys.__stderr__}
    return next((name for name, stream in streams.items() if stream is None or not stream.isatty()), "")


class TerminalGuard:
    """Watches over the terminal while the dashboard has it.

    Attributes:
        leave: Ends the dashboard in order with an exit status; called in another thread. None as long as there
            is nothing to be left.
        inquiry: What is asked of the terminal.
    """

    def __init__(self) -> None:
        self.leave: Callable[[int], None] | None = None
        self._input = sys.__stdin__.fileno() if sys.__stdin__ else 0
        self._output = sys.__stderr__.fileno() if sys.__stderr__ else 2
        self.inquiry = Inquiry(self._input, self._output)
        self._modes: list[Any] = []
        self._handlers: dict[int, Any] = {}
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._modes = termios.tcgetattr(self._input)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and the like ask us not to listen
                self._handlers[number] = signal.signal(number, self._on_signal)
        self._hush()
        threading.Thread(target=self._watch, name="terminal-guard", daemon=True).start()
        return self

    def _hush(self) -> None:
        """No echo, every key at once, and Enter as Textual wants it; Ctrl+C goes on to end the program."""
        modes = termios.tcgetattr(self._input)
        modes[_INPUT_FLAGS] &= ~termios.ICRNL
        modes[_LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
        modes[_CHARACTERS][termios.VMIN] = 1
        modes[_CHARACTERS][termios.VTIME] = 0
        termios.tcsetattr(self._input, termios.TCSANOW, modes)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with contextlib.suppress(termios.error, OSError):  # it may be gone
            self.inquiry.drain()
            termios.tcsetattr(self._input, termios.TCSANOW, self._modes)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # The leave needs the event loop, which this handler may have interrupted: let a thread ask.
        threading.Thread(target=self._leave_or_force, args=(128 + number,), daemon=True).start()

    def _leave_or_force(self, status: int) -> None:
        if self.leave is not None:
            self.leave(status)
        if self.leave is None or not self._ended.wait(_PATIENCE_S):
            self._restore()
            os._exit(status)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            if not self._is_there():
                # Nothing to restore and nobody to tell. Textual's writer may be stuck: don't wait for it.
                os._exit(128 + signal.SIGHUP)

    def _is_there(self) -> bool:
        try:
            termios.tcgetattr(self._input)
        except (termios.error, OSError):
            return False
        return True

    def _restore(self) -> None:
        try:
            os.set_blocking(self._output, False)
            os.write(self._output, _RESET)
            termios.tcsetattr(self._input, termios.TCSANOW, self._modes)
        except (termios.error, OSError):
            return
