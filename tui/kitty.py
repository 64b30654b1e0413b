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
# A mark over a placeholder tells a number: that many places down this list, kitty's own (rowcolumn-diacritics.txt).
# textual-image has it as well, but asks the terminal when it is imported, and Textual would read the answers.
_MARKS = (
    "0305 030D 030E 0310 0312 033D 033E 033F 0346 034A 034B 034C 0350 0351 0352 0357 035B 0363 0364 0365 0366 0367 "
    "0368 0369 036A 036B 036C 036D 036E 036F 0483 0484 0485 0486 0487 0592 0593 0594 0595 0597 0598 0599 059C 059D "
    "059E 059F 05A0 05A1 05A8 05A9 05AB 05AC 05AF 05C4 0610 0611 0612 0613 0614 0615 0616 0617 0657 0658 0659 065A "
    "065B 065D 065E 06D6 06D7 06D8 06D9 06DA 06DB 06DC 06DF 06E0 06E1 06E2 06E4 06E7 06E8 06EB 06EC 0730 0732 0733 "
    "0735 0736 073A 073D 073F 0740 0741 0743 0745 0747 0749 074A 07EB 07EC 07ED 07EE 07EF 07F0 07F1 07F3 0816 0817 "
    "0818 0819 081B 081C 081D 081E 081F 0820 0821 0822 0823 0825 0826 0827 0829 082A 082B 082C 082D 0951 0953 0954 "
    "0F82 0F83 0F86 0F87 135D 135E 135F 17DD 193A 1A17 1A75 1A76 1A77 1A78 1A79 1A7A 1A7B 1A7C 1B6B 1B6D 1B6E 1B6F "
    "1B70 1B71 1B72 1B73 1CD0 1CD1 1CD2 1CDA 1CDB 1CE0 1DC0 1DC1 1DC3 1DC4 1DC5 1DC6 1DC7 1DC8 1DC9 1DCB 1DCC 1DD1 "
    "1DD2 1DD3 1DD4 1DD5 1DD6 1DD7 1DD8 1DD9 1DDA 1DDB 1DDC 1DDD 1DDE 1DDF 1DE0 1DE1 1DE2 1DE3 1DE4 1DE5 1DE6 1DFE "
    "20D0 20D1 20D4 20D5 20D6 20D7 20DB 20DC 20E1 20E7 20E9 20F0 2CEF 2CF0 2CF1 2DE0 2DE1 2DE2 2DE3 2DE4 2DE5 2DE6 "
    "2DE7 2DE8 2DE9 2DEA 2DEB 2DEC 2DED 2DEE 2DEF 2DF0 2DF1 2DF2 2DF3 2DF4 2DF5 2DF6 2DF7 2DF8 2DF9 2DFA 2DFB 2DFC "
    "2DFD 2DFE 2DFF A66F A67C A67D A6F0 A6F1 A8E0 A8E1 A8E2 A8E3 A8E4 A8E5 A8E6 A8E7 A8E8 A8E9 A8EA A8EB A8EC A8ED "
    "A8EE A8EF A8F0 A8F1 AAB0 AAB2 AAB3 AAB7 AAB8 AABE AABF AAC1 FE20 FE21 FE22 FE23 FE24 FE25 FE26 10A0F 10A38 "
    "1D185 1D186 1D187 1D188 1D189 1D1AA 1D1AB 1D1AC 1D1AD 1D242 1D243 1D244 "
)
MARKS = tuple(int(code, 16) for code in _MARKS.split())
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
