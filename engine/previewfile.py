"""What was found on an epoch's preview images, as numbers, so that whoever shows them draws the boxes.

A worker writes one file an epoch beside the drawn pictures; the dashboard reads it. The plain photos lie in
`previews/photos`, each written once a run.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

# Scores below are noise; more boxes than this show nobody anything.
LEAST_SCORE = 0.05
MOST_BOXES = 100
# A file of ours has some 5 kB an image; one beyond this is something else.
MOST_BYTES = 8_000_000

Kind = Literal["fixed", "worst"]
Box = tuple[float, float, float, float]
_Label = Annotated[int, msgspec.Meta(ge=0)]


class TrueBox(msgspec.Struct, frozen=True, array_like=True):
    """An object that is there to be found."""

    label: _Label
    """Place in the class names."""
    box_xyxy: Box
    """Pixels of the image as the model sees it, before any scaling."""
    excused: bool = False
    """A crowd or a difficult object: neither demanded nor held against a detection."""


class FoundBox(msgspec.Struct, frozen=True, array_like=True):
    """A detection."""

    label: _Label
    box_xyxy: Box
    score: float


class PreviewImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image with what there was and what was found, surest first."""

    name: str
    """File name of the photo."""
    photo: str
    """The plain photo, relative to the run directory; smaller than the image it was."""
    width: Annotated[int, msgspec.Meta(ge=1)]
    height: Annotated[int, msgspec.Meta(ge=1)]
    """Pixels that the boxes are in."""
    kind: Kind = "fixed"
    """The same image every epoch, or one of the worst of this one."""
    truth: tuple[TrueBox, ...] = ()
    found: tuple[FoundBox, ...] = ()


class EpochPreviews(msgspec.Struct, frozen=True, kw_only=True):
    """All preview images of an epoch; the worst ones come with the worst first."""

    epoch: int
    """Zero-based."""
    class_names: tuple[str, ...]
    score_threshold: float = 0.5
    """What the recipe draws from, and what the worst images were chosen at."""
    images: tuple[PreviewImage, ...] = ()

    def of(self, kind: Kind) -> tuple[PreviewImage, ...]:
        """The images of a kind, in their order."""
        return tuple(image for image in self.images if image.kind == kind)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(EpochPreviews)


def encode_previews(previews: EpochPreviews) -> bytes:
    """The content of a file."""
    return _encoder.encode(previews)


def decode_previews(content: bytes) -> EpochPreviews:
    """What a file says.

    Raises:
        ValueError: It isn't such a file, or speaks of classes that it doesn't name.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content):,} bytes are too many")
    try:
        previews = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it isn't a list of boxes: {error}") from None
    for image in previews.images:
        boxes: tuple[TrueBox | FoundBox, ...] = (*image.truth, *image.found)
        for one in boxes:
            if one.label >= len(previews.class_names):
                raise ValueError(f"class {one.label} has no name among {len(previews.class_names)}")
            if not all(math.isfinite(value) for value in one.box_xyxy):
                raise ValueError("a box isn't finite")
    return previews
