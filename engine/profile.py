"""What a profile of a recipe's steps is: seconds of each part, and what they advise. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.errors import Problem


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a training step."""

    name: str
    """A path: "forward/rpn/head" is within "forward/rpn"."""
    words: str
    seconds: float
    """Of a step, on average; what is within it included."""

    @property
    def depth(self) -> int:
        """How many parts it is within."""
        return self.name.count("/")


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """What a training photo costs a loader process, in seconds on average."""

    decode_s: float
    augment_s: float
    """Changing it, and loading what a mosaic puts beside it."""
    num_photos: int
    """Photos that were measured."""
    photo_pixels: float
    """Pixels of a photo of the training split."""


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch by what was measured, in seconds."""

    num_steps: int
    training_s: float
    evaluation_s: float
    num_evaluated: int
    """Validation photos that were measured; the rest is reckoned."""
    checkpoint_s: float
    """Writing the state to go on from, where temporary files lie."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.training_s + self.evaluation_s + self.checkpoint_s


class Advice(msgspec.Struct, frozen=True):
    """Something measured that could be better, and what to do about it."""

    found: str
    fix: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recipe's time goes, on this machine and with the dataset's own photos."""

    recipe: str
    arch: str
    device: str
    precision: str
    allocator: str
    num_threads: int
    num_cores: int
    num_workers: int
    batch_size: int
    micro_batch_size: int
    input_size: tuple[int, int]
    """Least and greatest side in pixels that photos are resized to."""
    num_steps: int
    """Steps that were measured, after those that warmed up."""
    steps_s: tuple[float, ...]
    """Seconds of each, waiting for photos included."""
    parts: tuple[Part, ...]
    """In the order in which they come; those within a part follow it and add up to it."""
    loading: Loading
    epoch: Epoch
    peak_bytes: int
    notes: tuple[str, ...] = ()
    """What to know about the figures."""
    advice: tuple[Advice, ...] = ()

    @property
    def step_s(self) -> float:
        """Seconds of a step, on average."""
        return sum(self.steps_s) / len(self.steps_s)

    def seconds_of(self, name: str) -> float:
        """Seconds of a part; 0 for one that this detector hasn't."""
        return next((part.seconds for part in self.parts if part.name == name), 0.0)

    def share_of(self, name: str) -> float:
        """A part's share of the step."""
        return self.seconds_of(name) / self.step_s if self.step_s else 0.0


class ProfileAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="profile"):
    """How profiling ended: a profile, or errors."""

    profile: Profile | None = None
    problems: tuple[Problem, ...] = ()


def with_rests(parts: dict[str, float], words: dict[str, str], rest_words: dict[str, str]) -> Iterator[Part]:
    """Parts by their names in order, each followed by what is within it, its rest last.

    Args:
        parts: Seconds by name, what is within included.
        words: Words by name, in the order in which parts come; those that took no time are left out.
        rest_words: Words for the rest of a part that has others within; "" names the whole step's.
    """
    yield from _within("", parts, words, rest_words)


def _within(name: str, parts: dict[str, float], words: dict[str, str], rest_words: dict[str, str]) -> Iterator[Part]:
    inner = [one for one in words if one.rpartition("/")[0] == name and parts.get(one, 0.0) > 0 and one != name]
    for one in inner:
        yield Part(name=one, words=words[one], seconds=parts[one])
        yield from _within(one, parts, words, rest_words)
    if inner:
        rest = max(0.0, parts[name] - sum(parts[one] for one in inner))
        path = f"{name}/rest" if name else "rest"
        yield Part(name=path, words=rest_words.get(name, "the rest"), seconds=rest)
