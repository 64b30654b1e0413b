from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tui.series import Floats, StepTable


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def test_an_empty_table_has_no_rows() -> None:
    table = StepTable()
    assert table.length == 0
    assert len(table.column("step")) == 0
    assert len(table.column("loss")) == 0


def test_no_rows_change_nothing() -> None:
    table = StepTable()
    assert table.extended({"step": floats()}) is table


def test_older_tables_keep_what_they_had() -> None:
    first = StepTable().extended({"step": floats(0, 1), "loss": floats(3, 2)})
    second = first.extended({"step": floats(2), "loss": floats(1)})
    other = first.extended({"step": floats(2), "loss": floats(9)})
    assert_array_equal(first.column("loss"), [3, 2])
    assert_array_equal(second.column("loss"), [3, 2, 1])
    assert_array_equal(other.column("loss"), [3, 2, 9])


def test_growing_shares_memory() -> None:
    table = StepTable().extended({"step": floats(0)})
    longer = table.extended({"step": floats(1)})
    assert np.shares_memory(table.column("step"), longer.column("step"))


def test_columns_may_come_later() -> None:
    table = StepTable().extended({"step": floats(0)}).extended({"step": floats(1), "mask": floats(5)})
    assert_array_equal(table.column("mask"), [np.nan, 5])
    assert_array_equal(table.extended({"step": floats(2)}).column("mask"), [np.nan, 5, np.nan])


def test_repeated_steps_take_the_place_of_the_old_ones() -> None:
    table = StepTable().extended({"step": floats(0, 1, 2, 3), "loss": floats(4, 3, 2, 1)})
    resumed = table.extended({"step": floats(2), "loss": floats(7)})
    assert_array_equal(resumed.column("step"), [0, 1, 2])
    assert_array_equal(resumed.column("loss"), [4, 3, 7])
    assert_array_equal(table.column("loss"), [4, 3, 2, 1])


def test_a_log_of_rubbish_names_fills_no_memory() -> None:
    rows = {"step": floats(0)} | {f"part {index}": floats(1) for index in range(1000)}
    assert len(StepTable().extended(rows).names) == 24


@pytest.mark.parametrize("pieces", [(40, 1, 100, 3000, 17), (16, 16, 16)], ids=["uneven", "blocks"])
def test_what_was_summed_up_goes_on_in_larger_memory(pieces: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=sum(pieces)).astype(np.float32)
    table, done = StepTable(), 0
    for length in pieces:
        rows = slice(done, done + length)
        table = table.extended({"step": np.arange(rows.start, rows.stop, dtype=np.float32), "loss": values[rows]})
        table.prepare()
        done += length
    whole = StepTable().extended({"step": np.arange(done, dtype=np.float32), "loss": values})
    found, expected = table.blocks("loss", 0, done, 16), whole.blocks("loss", 0, done, 16)
    for name in ("low", "high", "counts", "first"):
        assert_array_equal(getattr(found, name), getattr(expected, name))


def test_two_continuations_of_a_table_are_summed_up_apart() -> None:
    first = StepTable().extended({"step": np.arange(64, dtype=np.float32), "loss": np.zeros(64, np.float32)})
    first.prepare()
    rest = np.arange(64, 128, dtype=np.float32)
    # Both need more memory than there is, and each has its own.
    one, other = (first.extended({"step": rest, "loss": np.full(64, value, np.float32)}) for value in (1, 2))
    for table, value in ((one, 1), (other, 2), (first, 0)):
        assert table.blocks("loss", 0, table.length, 2).high.max() == value


def test_a_column_that_rows_lack_is_blank_in_them() -> None:
    table = StepTable().extended({"step": floats(0), "loss": floats(3)}).extended({"step": floats(1)})
    assert_array_equal(table.column("loss"), [3, np.nan])
