"""Pictures by kitty's protocol, shown through placeholders: characters in whose place the terminal puts pixels.

Since placeholders are text, tmux moves, covers and cuts them like any other; only the picture itself has to be
passed through it. Known to kitty (0.28 or later) and Ghostty. Pure: makes what is to be sent.

Source:
    https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders
    tmux(1), allow-passthrough: an escape sequence within `ESC P tmux;`, every ESC of it doubled.
"""

from __future__ import annotations

import io
from base64 import standard_b64encode
from dataclasses import dataclass

from PIL import Image

_PLACEHOLDER = "\U0010eeee"
_CHUNK = 4096
_COLOURS = 256


@dataclass(frozen=True, slots=True)
class KittyId:
    """What a terminal calls a picture; a picture of the same id takes its place.

    The colour of a placeholder tells the lower byte and a mark the highest one. A colour out of 256 survives every
    tmux; one of 24 bits only those that were told of true colour.

    Attributes:
        session: Tells dashboards apart that share a terminal, in [1, 255].
        number: Tells pictures of a dashboard apart, in [16, 255].
    """

    session: int
    number: int

    @property
    def value(self) -> int:
        """As commands name it."""
        return self.session << 24 | self.number


def png_of(pixels: Image.Image) -> bytes:
    """A picture of at most 256 colours, a third of the bytes of one of all: the protocol takes no JPEG."""
    content = io.BytesIO()
    few = pixels.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(content, "PNG", compress_level=6)
    return content.getvalue()


def sending(name: KittyId, png: bytes, columns: int, rows: int, *, through_tmux: bool) -> str:
    """What hands a picture to the terminal, to be shown over so many cells wherever placeholders stand."""
    data = standard_b64encode(png).decode()
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    head = f"a=T,U=1,f=100,t=d,i={name.value},c={columns},r={rows},q=2,"
    heads = [head, *["q=2,"] * (len(chunks) - 1)]
    more = [*[1] * (len(chunks) - 1), 0]
    return "".join(
        _command(f"{first}m={goes_on};{chunk}", through_tmux=through_tmux)
        for first, goes_on, chunk in zip(heads, more, chunks, strict=True)
    )


def forgetting(name: KittyId, *, through_tmux: bool) -> str:
    """What has the terminal forget a picture."""
    return _command(f"a=d,d=I,i={name.value},q=2", through_tmux=through_tmux)


def placeholders(name: KittyId, columns: int, rows: int) -> list[str]:
    """The characters of each row, their colour around them."""
    from textual_image.renderable.tgp import _NUMBER_TO_DIACRITIC as MARKS  # noqa: PLC0415 - asks the terminal

    ends = chr(MARKS[name.session])
    return [
        f"\x1b[38;5;{name.number}m"
        + "".join(f"{_PLACEHOLDER}{chr(MARKS[row])}{chr(MARKS[column])}{ends}" for column in range(columns))
        + "\x1b[39m"
        for row in range(rows)
    ]


def _command(words: str, *, through_tmux: bool) -> str:
    sequence = f"\x1b_G{words}\x1b\\"
    if not through_tmux:
        return sequence
    doubled = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"
