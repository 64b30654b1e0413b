"""What a run does about steps that went wrong: pure decisions, and the memory they need.

A step whose loss or gradients aren't finite, or whose loss exploded, is discarded. Images that spoil
steps again and again are set aside; many discarded steps in a row mean that the weights themselves
went astray, and the run goes back to a checkpoint with a lower learning rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.recipe.schema import Recovery


@dataclass(frozen=True, slots=True)
class Troubles:
    """What went wrong so far; part of every checkpoint.

    Attributes:
        in_a_row: Discarded steps since the last good one.
        offences: (place, number of discarded steps) of images that were part of some.
        rollbacks: How often the run went back to a checkpoint.
        lr_scale: What the learning rate is multiplied by since.
        back_to: Step of the checkpoint that the run went back to last.
        wrong_at: Step at which it had gone wrong.
    """

    in_a_row: int = 0
    offences: tuple[tuple[int, int], ...] = ()
    rollbacks: int = 0
    lr_scale: float = 1.0
    back_to: int | None = None
    wrong_at: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Troubles:
        """What `as_dict` made, read back."""
        offences = tuple((place, count) for place, count in values["offences"])
        return cls(**{**values, "offences": offences})


def after_good_step(troubles: Troubles) -> Troubles:
    """The memory after a step that went well."""
    return replace(troubles, in_a_row=0) if troubles.in_a_row else troubles


def suspects_of(troubles: Troubles, places: Sequence[int], alone: Collection[int]) -> tuple[int, ...]:
    """The images that may have spoilt a step.

    Args:
        troubles: Before the step.
        places: The images of its batch.
        alone: Those of them that spoil the loss by themselves.

    Returns:
        Those that are proven; all of the batch where nothing is proven and the step before was good;
        none where the weights must be to blame.
    """
    if 0 < len(alone) < len(places):
        return tuple(alone)
    only_weights = troubles.in_a_row > 0 or len(alone) == len(places) > 1
    return () if only_weights else tuple(places)


def after_discarded_step(
    troubles: Troubles, suspects: Iterable[int], settings: Recovery
) -> tuple[Troubles, tuple[int, ...]]:
    """The memory after a discarded step, and the images to set aside because of it.

    Args:
        troubles: Before the step.
        suspects: Places of the images that may have spoilt it.
        settings: The recipe's `[recovery]`.
    """
    counts = Counter(dict(troubles.offences))
    counts.update(set(suspects))
    guilty = tuple(sorted(place for place in set(suspects) if counts[place] >= settings.set_aside_after))
    offences = tuple(sorted((place, count) for place, count in counts.items() if place not in guilty))
    return replace(troubles, in_a_row=troubles.in_a_row + 1, offences=offences), guilty


def num_may_be_set_aside(num_images: int, settings: Recovery) -> int:
    """How many images a run may do without; at least one unless the recipe says none."""
    return max(1, int(num_images * settings.max_set_aside)) if settings.max_set_aside else 0


def wants_rollback(troubles: Troubles, settings: Recovery) -> bool:
    """Whether so many steps in a row were discarded that the weights must be the reason."""
    return troubles.in_a_row >= settings.max_discarded_steps


def rollback_before(troubles: Troubles, step: int) -> int:
    """Only checkpoints of fewer steps than this are worth going back to.

    The newest will do, unless the run went back to it already and did not get past the place where it
    had gone wrong: then an older one is needed.
    """
    if troubles.back_to is not None and troubles.wrong_at is not None and step <= troubles.wrong_at:
        return troubles.back_to
    return step + 1


def after_rollback(troubles: Troubles, restored: Troubles, *, step: int, back_to: int, settings: Recovery) -> Troubles:
    """The memory with which the run goes on from a checkpoint.

    Args:
        troubles: When it went wrong.
        restored: As the checkpoint has it.
        step: Where it went wrong.
        back_to: Step of the checkpoint.
        settings: The recipe's `[recovery]`.
    """
    return replace(
        restored, in_a_row=0, rollbacks=troubles.rollbacks + 1,
        lr_scale=troubles.lr_scale * settings.rollback_lr_factor, back_to=back_to, wrong_at=step,
    )
