"""How much room runs need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.diskroom import LEAST_FREE_BYTES, free_bytes_to_start, least_free_bytes, size_words

_SIZES = st.integers(0, 10**11)


def test_three_states_and_200_mb_are_kept_free() -> None:
    assert least_free_bytes(10**9) == 3 * 10**9 + 200 * 10**6
    assert least_free_bytes(0) == LEAST_FREE_BYTES
    assert least_free_bytes(10**9, others=5) == 3 * 10**9 + 5 + 200 * 10**6


@given(state=_SIZES, written=_SIZES, others=_SIZES)
def test_a_run_that_may_start_isnt_parked_by_what_it_writes_itself(state: int, written: int, others: int) -> None:
    free = free_bytes_to_start(state, written, others)
    still_to_come = max(0, 3 * state - written)
    assert free - still_to_come >= least_free_bytes(state, others)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 MB"), (2e8, "200 MB"), (999e6, "999 MB"), (1e9, "1.0 GB"), (2.14e9, "2.1 GB")]
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert size_words(size) == words
