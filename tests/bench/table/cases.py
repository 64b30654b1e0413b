"""What the benchmark compares: detectors at their sizes, and ways of training them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.catalogue import ARCHS

Training = Literal["lesson", "reference", "ours"]

CLASS_NAMES = ("mug", "laptop", "keyboard")
PHOTO_SIZE = (1280, 960)


@dataclass(frozen=True, slots=True)
class Case:
    """A detector at its own input size.

    Attributes:
        arch: As in `model.arch`.
        batch_size: Photos in a step.
        num_warm_up: Steps of each process whose time isn't counted.
        num_steps: Steps of each process that count.
        num_photos: Photos that are detected in; the first one isn't counted.
    """

    arch: str
    batch_size: int = 2
    num_warm_up: int = 1
    num_steps: int = 2
    num_photos: int = 3

    @property
    def title(self) -> str:
        """In words, with the input size."""
        arch = ARCHS[self.arch]
        return f"{self.arch}, {arch.min_size}/{arch.max_size} px, batches of {self.batch_size}"


USUAL = (
    Case("fasterrcnn_resnet50_fpn"),
    Case("fasterrcnn_mobilenet_v3_large_320_fpn", num_warm_up=2, num_steps=6, num_photos=7),
    Case("fasterrcnn_mobilenet_v2_fpn", num_steps=4, num_photos=5),
)


def cases(names: str = "", *, full: bool = False) -> tuple[Case, ...]:
    """The usual ones, those of the catalogue whose names are given, or the whole catalogue."""
    known = {case.arch: case for case in USUAL}
    chosen = names.split(",") if names else list(ARCHS) if full else list(known)
    if unknown := [name for name in chosen if name not in ARCHS]:
        raise SystemExit(f"no detector is called {', '.join(unknown)}")
    return tuple(known.get(name, Case(name)) for name in chosen)


@dataclass(frozen=True, slots=True)
class Way:
    """How a detector is trained.

    Attributes:
        training: Whose loop.
        precision: Number format, of ours.
        allocator: Its name, "" for the system's own.
    """

    training: Training
    precision: Literal["fp32", "bf16"] = "fp32"
    allocator: str = ""

    @property
    def name(self) -> str:
        """In words."""
        words = {"lesson": "the lesson's script", "reference": "torchvision's reference loop"}
        own = "engine, exact" if self.precision == "fp32" else "engine, bf16"
        return words.get(self.training, own) + (f" + {self.allocator}" if self.allocator else "")


def ways(allocator: str) -> tuple[Way, ...]:
    """The four ways, and those that are compared with another allocator where one is installed."""
    plain = (Way("lesson"), Way("reference"), Way("ours"), Way("ours", "bf16"))
    if not allocator:
        return plain
    return (
        *plain, Way("lesson", allocator=allocator), Way("ours", allocator=allocator),
        Way("ours", "bf16", allocator=allocator),
    )
