"""Models side by side: the same images for all, and luck told from skill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.analysis.comparison import FEWEST_IMAGES, Contender, align, compare
from engine.analysis.schema import Source
from engine.errors import EngineError
from tests.engine.analysis.cases import Json, parsed, random_case, results_json, truth_json

BOX, OTHER = (0.0, 0.0, 100.0, 100.0), (150.0, 150.0, 80.0, 80.0)


def contender(name: str, truth: Json, results: list[Json]) -> Contender:
    ours, found = parsed(truth, results)
    return Contender(name, ours, found, Source(model=name, split="val", epoch=0))


def worse(results: list[Json], share: float, seed: int = 0) -> list[Json]:
    """The same detections, some of them gone."""
    random = np.random.default_rng(seed)
    return [one for one in results if random.random() > share]


def test_a_clear_difference_is_real_and_a_model_equals_itself() -> None:
    truth, results = random_case(1, num_images=80, jitter=1)
    compared = compare([
        contender("half", truth, worse(results, 0.5)), contender("whole", truth, results),
        contender("twin", truth, results),
    ])
    first, second, third = compared.comparison.models
    assert [one.name for one in compared.comparison.models] == ["whole", "twin", "half"]
    assert compared.order == (1, 2, 0)
    assert first.behind is None
    assert second.behind is not None
    assert second.behind.interval is not None
    assert (second.behind.ap, second.behind.interval.low, second.behind.interval.high) == (0, 0, 0)
    assert second.behind.real is False
    assert third.behind is not None
    assert third.behind.real is True
    assert third.behind.share_better == 0
    assert third.behind.ap == pytest.approx((first.figures.ap or 0) - (third.figures.ap or 0))


def test_pairing_tells_apart_what_two_intervals_do_not() -> None:
    # Images differ a lot, the models only a little, but in every image.
    truth, results = random_case(3, num_images=60, jitter=6)
    slightly = [one | {"bbox": [one["bbox"][0] + 1.5, *one["bbox"][1:]]} for one in results]
    first, second = compare([contender("a", truth, results), contender("b", truth, slightly)]).comparison.models
    assert first.ap_interval is not None
    assert second.ap_interval is not None
    assert second.behind is not None
    assert second.behind.interval is not None
    assert second.ap_interval.high > first.ap_interval.low  # they overlap
    apart = second.behind.interval.high - second.behind.interval.low
    assert apart < (first.ap_interval.high - first.ap_interval.low) / 2


def test_luck_is_called_luck() -> None:
    truth, results = random_case(5, num_images=FEWEST_IMAGES, jitter=3)
    compared = compare([
        contender(name, truth, worse(results, 0.2, seed)) for seed, name in enumerate(("a", "b"))
    ])
    behind = compared.comparison.models[1].behind
    assert behind is not None
    assert behind.real is False
    assert behind.share_better


@pytest.mark.parametrize("num_images", [1, 8, FEWEST_IMAGES - 1, FEWEST_IMAGES])
def test_few_images_tell_nothing_however_clear_they_are(num_images: int) -> None:
    truth, results = random_case(7, num_images=num_images, jitter=1)
    behind = compare([contender("all", truth, results), contender("none", truth, [])]).comparison.models[1].behind
    assert behind is not None
    assert behind.ap > 0
    assert behind.real is (True if num_images == FEWEST_IMAGES else None)


def test_models_are_compared_on_the_images_that_all_have() -> None:
    whole = truth_json([(1, 1, BOX), (2, 1, BOX), (3, 1, OTHER)], num_images=3)
    part: Json = {**whole, "images": whole["images"][1:], "annotations": whole["annotations"][1:]}
    right = results_json([(2, 1, BOX, 0.9), (3, 1, OTHER, 0.9)])
    compared = compare([contender("a", whole, right), contender("b", part, right)])
    assert compared.comparison.num_images == 2
    assert [one.figures.ap for one in compared.comparison.models] == pytest.approx([1, 1])
    assert "the 2 images that all were measured on" in compared.comparison.notes[0]


def test_classes_are_told_by_their_names() -> None:
    truth = truth_json([(1, 1, BOX), (1, 2, OTHER)], names=("mug", "laptop"))
    swapped = truth_json([(1, 2, BOX), (1, 1, OTHER)], names=("laptop", "mug", "spoon"))
    results = results_json([(1, 1, BOX, 0.9), (1, 2, OTHER, 0.9)])
    other = results_json([(1, 2, BOX, 0.9), (1, 1, OTHER, 0.9), (1, 3, BOX, 0.99)])
    compared = compare([contender("a", truth, results), contender("b", swapped, other)])
    assert compared.comparison.class_names == ("mug", "laptop")
    assert [one.figures.ap for one in compared.comparison.models] == pytest.approx([1, 1])
    assert "spoon" in compared.comparison.notes[0]


def test_labels_that_changed_in_between_are_told_and_all_are_judged_alike() -> None:
    before, after = truth_json([(1, 1, BOX)]), truth_json([(1, 1, BOX), (1, 1, OTHER)])
    results = results_json([(1, 1, BOX, 0.9)])
    compared = compare([contender("new", after, results), contender("old", before, results)])
    assert [one.figures.ar100 for one in compared.comparison.models] == [0.5, 0.5]
    assert "all are judged by those of new" in compared.comparison.notes[0]


def test_the_order_of_objects_is_no_change() -> None:
    truth = truth_json([(1, 1, BOX), (1, 2, OTHER)])
    other: Json = {**truth, "annotations": truth["annotations"][::-1]}
    _, notes = align([contender("a", truth, []), contender("b", other, [])])
    assert notes == []


@pytest.mark.parametrize(("truth", "code"), [
    ({"images": [{"id": 1, "file_name": "other.jpg"}]}, "X311"),
    ({"categories": [{"id": 1, "name": "spoon"}]}, "X312"),
], ids=["images", "classes"])
def test_nothing_in_common_is_told(truth: dict[str, Any], code: str) -> None:
    with pytest.raises(EngineError) as told:
        compare([contender("a", truth_json([]), []), contender("b", truth_json([]) | truth, [])])
    assert told.value.problems[0].code == code
