"""The order of images: a pure function of seed and epoch, whatever is repeated or set aside."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.data.dataset import Draw
from engine.data.order import EpochOrder, FixedOrder, repeat_factors, substitute
from engine.errors import DataError
from tests.builders import record

FACTORS = st.lists(st.floats(1, 6), min_size=1, max_size=40).map(np.array)


def places(order: EpochOrder | FixedOrder) -> list[list[int]]:
    return [[drawn.place for drawn in batch] for batch in order]


def epoch_order(
    num_images: int = 10, batch_size: int = 4, seed: int = 0, epoch: int = 0, first: int = 0,
    factors: NDArray[np.float64] | None = None,
) -> EpochOrder:
    order = EpochOrder(num_images, batch_size, seed, factors)
    order.epoch, order.first_batch = epoch, first
    return order


@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_an_epoch_shows_every_image_once(num_images: int, batch_size: int, seed: int, epoch: int) -> None:
    order = epoch_order(num_images, batch_size, seed, epoch)
    batches = places(order)
    assert sorted(place for batch in batches for place in batch) == list(range(num_images))
    assert len(batches) == len(order)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert {drawn.epoch for batch in order for drawn in batch} <= {epoch}


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_fixed_order_is_the_records_order(num_images: int, batch_size: int) -> None:
    order = FixedOrder([(64, 48)] * num_images, batch_size)
    assert [place for batch in places(order) for place in batch] == list(range(num_images))
    assert len(places(order)) == len(order)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=40), st.integers(1, 9))
def test_a_batch_of_the_fixed_order_is_of_one_size(sizes: list[tuple[int, int]], batch_size: int) -> None:
    order = FixedOrder(sizes, batch_size)
    assert sorted(place for batch in places(order) for place in batch) == list(range(len(sizes)))
    assert all(len({sizes[place] for place in batch}) == 1 and len(batch) <= batch_size for batch in places(order))
    assert len(places(order)) == len(order)


def test_the_shuffle_is_the_one_that_former_runs_were_trained_with() -> None:
    assert places(epoch_order(seed=3, epoch=5)) == [[0, 5, 8, 4], [7, 2, 6, 3], [1, 9]]


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = places(epoch_order(seed=3, epoch=5))
    torch.manual_seed(2)
    assert places(epoch_order(seed=3, epoch=5)) == first
    others = [places(epoch_order(seed=seed, epoch=epoch)) for seed, epoch in ((3, 6), (4, 5), (5, 3))]
    assert all(other != first for other in others)


@pytest.mark.parametrize("factors", [None, np.linspace(1, 3, 10)], ids=["each once", "repeated"])
@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_an_epoch_can_be_entered_in_its_middle(first: int, factors: NDArray[np.float64] | None) -> None:
    assert list(epoch_order(first=first, factors=factors)) == list(epoch_order(factors=factors))[first:]


# --- images of rare classes come more often ---


@given(FACTORS, st.integers(1, 9), st.integers(0, 99), st.integers(0, 99))
def test_an_image_comes_as_often_as_its_factor_rounded_up_or_down(
    factors: NDArray[np.float64], batch_size: int, seed: int, epoch: int
) -> None:
    order = epoch_order(len(factors), batch_size, seed, epoch, factors=factors)
    batches = list(order)
    counts = Counter(drawn.place for batch in batches for drawn in batch)
    assert all(int(factor) <= counts[place] <= np.ceil(factor) for place, factor in enumerate(factors))
    assert len(batches) == len(order)
    assert sum(counts.values()) == order.num_draws
    assert abs(order.num_draws - factors.sum()) <= 1


@given(FACTORS, st.integers(0, 99), st.integers(0, 99))
def test_every_epoch_is_as_long_as_any_other(factors: NDArray[np.float64], one: int, other: int) -> None:
    lengths = {
        sum(len(batch) for batch in epoch_order(len(factors), 4, 0, epoch, factors=factors)) for epoch in (one, other)
    }
    assert len(lengths) == 1


def test_over_many_epochs_each_image_comes_as_often_as_its_factor_says() -> None:
    factors = np.array([1.0, 1.0, 1.25, 2.5, 3.1, 1.15])
    counts: Counter[int] = Counter()
    for epoch in range(800):
        counts.update(place for batch in places(epoch_order(6, 4, 0, epoch, factors=factors)) for place in batch)
    assert [counts[place] / 800 for place in range(6)] == pytest.approx(factors, abs=0.06)
    assert counts[0] == counts[1] == 800


def test_factors_of_one_bring_each_image_once() -> None:
    order = epoch_order(factors=np.ones(10))
    assert sorted(place for batch in places(order) for place in batch) == list(range(10))


def test_each_repetition_of_an_image_is_a_draw_of_its_own() -> None:
    draws = [drawn for batch in epoch_order(3, factors=np.array([1.0, 3.0, 2.0])) for drawn in batch]
    assert sorted(draws) == [Draw(0, 0), Draw(0, 1, 0), Draw(0, 1, 1), Draw(0, 1, 2), Draw(0, 2, 0), Draw(0, 2, 1)]


def test_no_images_need_no_factors() -> None:
    assert list(epoch_order(0, factors=np.ones(0))) == []
    assert len(epoch_order(0, factors=np.ones(0))) == 0


def test_factors_of_another_dataset_are_refused() -> None:
    with pytest.raises(ValueError, match="10 images"):
        epoch_order(factors=np.ones(9))


BOX = [1, 1, 9, 9]


def test_factors_are_those_of_the_paper() -> None:
    """The class 1 is in 1 of 4 images; at a threshold of 1 it gets sqrt(1 / 0.25), class 0 sqrt(1 / 0.75)."""
    records = [
        record([BOX, BOX], [0, 0]), record([BOX], [0]), record([BOX, BOX], [0, 1]), record([], []),
    ]
    assert repeat_factors(records, 3, 1.0) == pytest.approx([(4 / 3) ** 0.5, (4 / 3) ** 0.5, 2.0, 1.0])
    assert repeat_factors(records, 3, 0.3) == pytest.approx([1, 1, (0.3 / 0.25) ** 0.5, 1])
    assert repeat_factors(records, 3, 0.25) == pytest.approx([1, 1, 1, 1])


def test_crowds_make_no_class_frequent_and_no_image_rare() -> None:
    records = [record([BOX, BOX], [0, 1], crowd=[1]), record([BOX], [0]), record([BOX], [0]), record([BOX], [1])]
    assert repeat_factors(records, 2, 0.5) == pytest.approx([1, 1, 1, 2**0.5])


def test_factors_without_images_or_objects() -> None:
    assert repeat_factors([], 2, 0.5).shape == (0,)
    assert repeat_factors([record([], [])] * 2, 2, 0.5).tolist() == [1, 1]


# --- images that are set aside ---


@given(st.integers(2, 30), st.data(), st.integers(0, 99), st.integers(0, 99))
def test_what_is_set_aside_never_comes(num_images: int, data: st.DataObject, seed: int, epoch: int) -> None:
    aside = data.draw(st.sets(st.integers(0, num_images - 1), max_size=num_images - 1))
    order = epoch_order(num_images, 4, seed, epoch)
    before = [place for batch in places(order) for place in batch]
    order.set_aside = aside
    after = list(order)
    for drawn, place in zip((drawn for batch in after for drawn in batch), before, strict=True):
        assert drawn.place not in aside
        assert drawn.avoid == aside
        if place not in aside:
            assert drawn.place == place
        else:
            assert drawn.place == substitute(seed, epoch, place, num_images, aside)
    assert list(order) == after


def test_what_is_set_aside_in_the_middle_counts_from_the_next_batch() -> None:
    order = epoch_order()
    batches = iter(order)
    first = next(batches)
    last = places(epoch_order())[1][0]
    order.set_aside.add(last)
    assert first == next(iter(epoch_order()))
    assert last not in [drawn.place for batch in batches for drawn in batch]


@given(st.integers(3, 30), st.integers(0, 99), st.integers(0, 99), st.data())
def test_one_more_set_aside_changes_only_what_fell_on_it(
    num_images: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, num_images - 1))
    chosen = substitute(seed, epoch, place, num_images, ())
    other = data.draw(st.integers(0, num_images - 1).filter(lambda one: one not in (place, chosen)))
    assert substitute(seed, epoch, place, num_images, {other}) == chosen != place


@pytest.mark.parametrize(("num_images", "excluded"), [(1, ()), (3, {0, 1, 2}), (3, {0, 2})])
def test_when_nothing_is_left_that_is_told(num_images: int, excluded: set[int]) -> None:
    with pytest.raises(DataError) as caught:
        substitute(0, 0, 1 if num_images > 1 else 0, num_images, excluded)
    [problem] = caught.value.problems
    assert problem.code == "T211"
    assert f"none of the {num_images} training images" in problem.found


def test_an_order_of_which_everything_is_set_aside_says_so() -> None:
    order = epoch_order(3)
    order.set_aside = {0, 1, 2}
    with pytest.raises(DataError, match="T211"):
        list(order)
