"""Which way pictures are drawn in this terminal: asked of the terminal before Textual takes it over."""

from __future__ import annotations

import os
from typing import Literal

Graphics = Literal["sixel", "kitty", "halfblock", "none"]
GRAPHICS_CHOICES = ("auto", "sixel", "kitty", "halfblock", "none")


def choose_graphics(asked: str) -> Graphics:
    """The way to draw pictures.

    Args:
        asked: One of `GRAPHICS_CHOICES`. "auto" takes blocks inside tmux and screen, which hand
            pictures on poorly, and else asks the terminal (it may take some 0.2 s to answer).
    """
    match asked:
        case "halfblock" | "none":
            return asked
        case "sixel" | "kitty":
            _probe()
            return asked
        case _:
            return "halfblock" if _is_multiplexed() else _probe()


def _is_multiplexed() -> bool:
    return "TMUX" in os.environ or os.environ.get("TERM", "").startswith(("screen", "tmux"))


def _probe() -> Graphics:
    """Ask the terminal. textual-image does so on import, and learns the size of a cell as well."""
    import textual_image.widget  # noqa: F401, PLC0415
    from textual_image.renderable import Image, SixelImage, TGPImage  # noqa: PLC0415

    if Image is SixelImage:
        return "sixel"
    return "kitty" if Image is TGPImage else "halfblock"
