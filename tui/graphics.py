"""Which way pictures are drawn in this terminal, by what it answers (`tui/inquiry.py`) and what tmux says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tui.inquiry import Features

Graphics = Literal["sixel", "kitty", "halfblock", "none"]
GRAPHICS_CHOICES = ("auto", "sixel", "kitty", "halfblock", "none")
_TMUX_PATIENCE_S = 1.0
# Terminals that know kitty's placeholders, by the name they give themselves.
_KITTY_LIKE = ("xterm-kitty", "xterm-ghostty", "ghostty")


@dataclass(frozen=True, slots=True)
class Graphic:
    """How pictures are drawn.

    Attributes:
        way: In pixels of one kind or the other, in characters, or not at all.
        choices: The ways that a key goes through.
        cell: Pixels of a cell, (width, height).
        through_tmux: Whether what tmux doesn't know has to be passed through it.
    """

    way: Graphics = "halfblock"
    choices: tuple[Graphics, ...] = ("halfblock", "none")
    cell: tuple[int, int] = (10, 20)
    through_tmux: bool = False

    @property
    def is_pixels(self) -> bool:
        """Whether pixels are sent."""
        return self.way in {"sixel", "kitty"}


def asks_terminal(asked: str) -> bool:
    """Whether the way depends on what the terminal answers.

    One that doesn't know its size, such as a serial line, isn't asked: it shows no pixels.
    """
    return asked not in {"none", "halfblock"} and _has_size()


def choose_graphics(asked: str, answers: Callable[[], Features] | None) -> Graphic:
    """The way to draw pictures, and those that may be switched to.

    Pixels can only be switched to where the terminal was asked at the start.

    Args:
        asked: One of `GRAPHICS_CHOICES`. "auto" goes by the terminal, inside tmux also by what the terminal
            round it takes.
        answers: Waits for what the terminal says; None where it wasn't asked.
    """
    if answers is None:
        return Graphic("none" if asked == "none" else "halfblock")
    features = answers()
    # Konsole and WezTerm know both, but not kitty's placeholders; kitty knows no sixels.
    found: Graphics = "sixel" if features.has_sixel else "kitty" if features.has_kitty else "halfblock"
    in_tmux = "TMUX" in os.environ
    if asked == "auto" and is_multiplexed():
        found = _round_tmux(found) if in_tmux else "halfblock"
    ways: dict[str, Graphics] = {"sixel": "sixel", "kitty": "kitty"}
    way = ways.get(asked, found)
    choices: tuple[Graphics, ...] = ("halfblock", "none")
    ways_to_go = (way, *choices) if way not in choices else ("sixel", "kitty", *choices)
    return Graphic(way, ways_to_go, features.cell, in_tmux)


def _has_size() -> bool:
    try:
        return sys.__stdout__ is not None and os.get_terminal_size(sys.__stdout__.fileno()).columns > 0
    except OSError:
        return False


def is_multiplexed() -> bool:
    """Whether tmux or screen stands between us and the terminal."""
    return "TMUX" in os.environ or os.environ.get("TERM", "").startswith(("screen", "tmux"))


def _round_tmux(found: Graphics) -> Graphics:
    """What tmux hands on to the terminal round it.

    Since 3.4 it takes sixel itself, and says whether that terminal does too. Kitty's pictures are passed through
    unread, if the person allows that; whether somebody understands them only the terminal's name tells.
    """
    if found == "sixel" and "sixel" in _tmux_says("#{client_termfeatures}").split(","):
        return "sixel"
    name, _, allowed = _tmux_says("#{client_termname} #{allow-passthrough}").partition(" ")
    return "kitty" if name in _KITTY_LIKE and allowed in {"on", "all", "1", "2"} else "halfblock"


def _tmux_says(what: str) -> str:
    try:
        asked = subprocess.run(
            ["tmux", "display-message", "-p", what], capture_output=True, text=True, timeout=_TMUX_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return asked.stdout.strip()
