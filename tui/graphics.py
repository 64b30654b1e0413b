"""Which way pictures are drawn in this terminal: asked of the terminal before Textual takes it over."""

from __future__ import annotations

import os
import sys
from typing import Literal

Graphics = Literal["sixel", "kitty", "halfblock", "none"]
GRAPHICS_CHOICES = ("auto", "sixel", "kitty", "halfblock", "none")


def choose_graphics(asked: str) -> Graphics:
    """The way to draw pictures.

    Args:
        asked: One of `GRAPHICS_CHOICES`. "auto" takes blocks inside tmux and screen, which hand
            pictures on poorly, and else asks the terminal (it may take some 0.2 s to answer).
    """
    if asked == "none":
        return "none"
    if asked == "halfblock" or not _has_size() or (asked == "auto" and _is_multiplexed()):
        return "halfblock"
    found = _probe()
    chosen: dict[str, Graphics] = {"sixel": "sixel", "kitty": "kitty"}
    return chosen.get(asked, found)


def _has_size() -> bool:
    """Whether the terminal knows its size; a serial line may not, and textual-image then divides by zero."""
    try:
        return sys.__stdout__ is not None and os.get_terminal_size(sys.__stdout__.fileno()).columns > 0
    except OSError:
        return False


def _is_multiplexed() -> bool:
    return "TMUX" in os.environ or os.environ.get("TERM", "").startswith(("screen", "tmux"))


def _probe() -> Graphics:
    """Ask the terminal. textual-image does so on import, and learns the size of a cell as well."""
    import textual_image.widget  # noqa: F401, PLC0415
    from textual_image.renderable import Image, SixelImage, TGPImage  # noqa: PLC0415

    if Image is SixelImage:
        return "sixel"
    return "kitty" if Image is TGPImage else "halfblock"
