"""How much room on the disk runs need: to be started, and to go on without losing what they have learnt.

Pure. A state is what a run goes on from (`last.pt`); the one before is kept beside it, and a new one is
written whole before it takes its place. The best model is smaller than a state.
"""

from __future__ import annotations

# Pictures, logs, the queue itself, and what other programs write while nobody looks.
LEAST_FREE_BYTES = 200 * 10**6
_STATES_TO_GO_ON = 3


def least_free_bytes(state_bytes: int, others: int = 0) -> int:
    """What has to be free while a run is at work; with less it is saved and parked.

    Three states and 200 MB: enough to save it several times over.

    Args:
        state_bytes: Size of its state; 0 where nobody knows.
        others: Sizes of the states of the runs at work beside it, added up: they have to save too.
    """
    return _STATES_TO_GO_ON * state_bytes + others + LEAST_FREE_BYTES


def free_bytes_to_start(state_bytes: int, written_bytes: int = 0, others: int = 0) -> int:
    """What has to be free before a run is started, so that it isn't parked as soon as it has written something.

    Args:
        state_bytes: Size of its state; 0 where nobody knows.
        written_bytes: What its checkpoints take already.
        others: As for `least_free_bytes`.
    """
    still_to_write = max(0, _STATES_TO_GO_ON * state_bytes - written_bytes)
    return least_free_bytes(state_bytes, others) + still_to_write


def size_words(size_bytes: float) -> str:
    """A size for people: "350 MB", "2.1 GB"."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
