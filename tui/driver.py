"""Textual's driver, with answers to our own questions taken out of the keys, and keys from before it began put in."""

from __future__ import annotations

import os
import select
from codecs import getincrementaldecoder
from collections.abc import Iterable
from typing import ClassVar

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui.inquiry import Inquiry

_LOOK_S = 0.1
_LOOK_IN_ANSWER_S = 0.05


class SharingDriver(LinuxDriver):
    """Reads keys as Textual's own does, but for what an inquiry takes."""

    inquiry: ClassVar[Inquiry]

    def start_application_mode(self) -> None:
        """Textual asks questions as well; what it asks is answered once this one is."""
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._writer_thread is not None:  # else it has no terminal
            self.write(self.inquiry.asked_more())

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events."""
        parser, inquiry = XTermParser(self._debug), self.inquiry
        decoder = getincrementaldecoder("utf-8")(errors="replace")
        data = inquiry.early()
        while True:
            text = decoder.decode(data)
            if text:  # nothing at all would mean the end to the parser
                self._tell(parser.feed(text))
            self._tell(parser.tick())
            if self.exit_event.is_set():
                return
            patience = _LOOK_IN_ANSWER_S if inquiry.is_open else _LOOK_S
            if not select.select([self.fileno], [], [], patience)[0]:
                data = inquiry.kept()
                continue
            read = os.read(self.fileno, 4096)
            if not read:  # its end; the guard sees to it
                self.exit_event.wait(_LOOK_S)
            data = inquiry.typed(read)

    def _tell(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)


def driver_for(inquiry: Inquiry) -> type[SharingDriver]:
    """A driver that shares its terminal with an inquiry."""

    class Driver(SharingDriver):
        """Of one terminal."""

    Driver.inquiry = inquiry
    return Driver
