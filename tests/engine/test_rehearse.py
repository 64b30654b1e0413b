"""What a rehearsal decides, without a process: the batch size of "auto", and what a person is told."""

from __future__ import annotations

import pytest

from engine.rehearse import Tried, chosen_batch_size, most_batch_size, next_to_try

MB = 10**6


def growing(base: int, each: int, *, speed: float = 10.0, gain: float = 1.5, up_to: int = 64) -> list[Tried]:
    """Tries whose memory grows by the image, each twice as large as the one before."""
    tried, rate = [Tried(0, base * MB)], speed
    size = 1
    while size <= up_to:
        tried.append(Tried(size, (base + each * size) * MB, rate))
        size, rate = 2 * size, rate * gain
    return tried


def auto(tries: list[Tried], budget: int, most: int, *, on_cpu: bool) -> tuple[int, int]:
    """The batch size chosen, and the largest that was tried on the way."""
    tried = tries[:1]
    while (size := next_to_try(tried, budget * MB, most, on_cpu=on_cpu)) is not None:
        [this] = [one for one in tries if one.num_images == size]
        tried.append(this)
    return chosen_batch_size(tried, budget * MB, on_cpu=on_cpu), tried[-1].num_images


@pytest.mark.parametrize("on_cpu", [False, True])
@pytest.mark.parametrize(
    ("budget", "size"),
    [
        pytest.param(100, 1, id="one-fits-hardly"), pytest.param(200, 1, id="one"), pytest.param(300, 2, id="two"),
        pytest.param(499, 2, id="almost-four"), pytest.param(500, 4, id="four"), pytest.param(10**6, 16, id="all"),
    ],
)
def test_the_largest_power_of_two_that_fits_and_none_beyond_is_tried(budget: int, size: int, *, on_cpu: bool) -> None:
    assert auto(growing(100, 100), budget, 16, on_cpu=on_cpu) == (size, size)


def test_a_peak_that_grows_faster_than_foretold_is_taken_back() -> None:
    tries = [Tried(0, 0), Tried(1, 10 * MB, 1), Tried(2, 20 * MB, 2), Tried(4, 100 * MB, 4)]
    assert auto(tries, 50, 16, on_cpu=False) == (2, 4)


def test_a_cpu_stops_where_larger_batches_are_no_quicker() -> None:
    flat = growing(0, 1, gain=1.05)
    assert auto(flat, 1000, 16, on_cpu=True) == (4, 8)
    assert auto(flat, 1000, 16, on_cpu=False) == (16, 16)


def test_up_to_the_usual_size_speed_does_not_matter() -> None:
    assert auto(growing(0, 1, gain=0.5), 1000, 16, on_cpu=True)[0] == 4


@pytest.mark.parametrize(
    ("device", "num_images", "most"),
    [
        ("cpu", 10_000, 16), ("cuda", 10_000, 64), ("cuda", 200, 25), ("cpu", 40, 5), ("cpu", 6, 4), ("cpu", 2, 2),
        ("cpu", 1, 1), ("cpu", 0, 1),
    ],
)  # fmt: skip
def test_an_epoch_keeps_its_steps(device: str, num_images: int, most: int) -> None:
    assert most_batch_size(device, num_images) == most
