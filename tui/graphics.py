"""Which way pictures are drawn in this terminal: asked of the terminal before Textual takes it over."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

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


def choose_graphics(asked: str) -> Graphic:
    """The way to draw pictures, and those that may be switched to.

    Pixels can only be switched to where the terminal was asked at the start: it is too late once Textual
    reads its answers.

    Args:
        asked: One of `GRAPHICS_CHOICES`. "auto" asks the terminal (it may take some 0.2 s to answer), inside
            tmux also what the terminal round it takes.
    """
    if asked in {"none", "halfblock"} or not _has_size():
        return Graphic("none" if asked == "none" else "halfblock")
    found, cell = _probe()
    in_tmux = "TMUX" in os.environ
    if asked == "auto" and is_multiplexed():
        found = _round_tmux(found) if in_tmux else "halfblock"
    ways: dict[str, Graphics] = {"sixel": "sixel", "kitty": "kitty"}
    way = ways.get(asked, found)
    choices: tuple[Graphics, ...] = ("halfblock", "none")
    return Graphic(way, (way, *choices) if way not in choices else ("sixel", "kitty", *choices), cell, in_tmux)


def _has_size() -> bool:
    """Whether the terminal knows its size; a serial line may not, and textual-image then divides by zero."""
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


def _probe() -> tuple[Graphics, tuple[int, int]]:
    """Ask the terminal. textual-image does so on import, and learns the size of a cell as well."""
    from textual_image._terminal import get_cell_size  # noqa: PLC0415
    from textual_image.renderable import Image, SixelImage, TGPImage  # noqa: PLC0415

    size = get_cell_size()
    cell = (max(1, size.width), max(1, size.height))
    if Image is SixelImage:
        return "sixel", cell
    return ("kitty" if Image is TGPImage else "halfblock"), cell
