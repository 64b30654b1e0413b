"""What changes a training image: boxes stay on their objects, and chance comes from the given generator alone."""

from __future__ import annotations

import random as python_random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.augment import augment, in_force, iou_crop, min_size_at, photometric, scale_jitter, zoom_out
from engine.data.mosaic import mosaic
from engine.data.picture import FILL_RGB, Picture
from engine.recipe.schema import Augmentation

Change = Callable[[Picture, np.random.Generator], Picture]
ALL = Augmentation(
    horizontal_flip=0.5, vertical_flip=0.5, photometric=0.5, zoom_out=0.5, iou_crop=0.5, mosaic=0.5,
    scale_jitter=(0.3, 2.0), min_visible=0.3,
)
GEOMETRY: dict[str, Change] = {
    "mirrored": lambda picture, _: picture.mirrored(),
    "upside down": lambda picture, _: picture.upside_down(),
    "zoom-out": zoom_out,
    "crop": lambda picture, random: iou_crop(picture, random, 0.2),
    "jitter down": lambda picture, random: scale_jitter(picture, (0.4, 1.0), random, 0.2),
    "jitter up": lambda picture, random: scale_jitter(picture, (1.0, 3.0), random, 0.2),
}


def painted(width: int, height: int, boxes: Sequence[Sequence[int]], channels: Sequence[int] | None = None) -> Picture:
    """A black picture; each object is bright in the colour channel that is its label."""
    channels = range(len(boxes)) if channels is None else channels
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for channel, (x0, y0, x1, y1) in zip(channels, boxes, strict=True):
        image[channel, y0:y1, x0:x1] = 255
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Picture.of(image, corners, torch.tensor(list(channels), dtype=torch.int64))


@st.composite
def pictures(
    draw: st.DrawFn, least: int = 0, channels: Sequence[int] = (0, 1, 2), size: int = 16, longest: int = 120
) -> Picture:
    """Pictures of any shape with at most one object a channel, `size` pixels or more wide and high."""
    width, height = draw(st.integers(size + 4, longest)), draw(st.integers(size + 4, longest))
    shown = draw(st.permutations(channels))[: draw(st.integers(least, len(channels)))]
    boxes = []
    for _ in shown:
        x0, y0 = draw(st.integers(0, width - size)), draw(st.integers(0, height - size))
        boxes.append((x0, y0, draw(st.integers(x0 + size, width)), draw(st.integers(y0 + size, height))))
    return painted(width, height, boxes, shown)


def generators() -> st.SearchStrategy[np.random.Generator]:
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def assert_sound(picture: Picture) -> None:
    """Boxes lie inside and have a size, and everything told about objects is in step."""
    boxes = picture.boxes_xyxy
    num = len(picture.labels)
    assert picture.image.dtype == torch.uint8
    assert picture.image.shape == (3, picture.height, picture.width)
    assert type(boxes) is torch.Tensor
    assert (boxes.shape, boxes.dtype) == ((num, 4), torch.float32)
    assert (picture.visible.shape, picture.labels.dtype) == ((num,), torch.int64)
    assert (boxes >= 0).all()
    assert (boxes[:, 2::2] <= picture.width).all()
    assert (boxes[:, 3::2] <= picture.height).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    assert (picture.visible > 0).all()
    assert (picture.visible <= 1.00001).all()


def assert_on_objects(picture: Picture) -> None:
    """Each object's colour reaches just as far as its box, to within a pixel."""
    for box, channel in zip(picture.boxes_xyxy.tolist(), picture.labels.tolist(), strict=True):
        bright = picture.image[channel] > 140  # halfway, and brighter than what lies beside a picture
        rows, columns = (bright.any(dim=dim).nonzero().flatten().tolist() for dim in (1, 0))
        extent = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert extent == pytest.approx(box, abs=1.001), (channel, picture.width, picture.height)


@pytest.mark.parametrize("change", GEOMETRY.values(), ids=GEOMETRY.keys())
@settings(max_examples=60, deadline=None)
@given(pictures(), generators())
def test_boxes_stay_on_their_objects(change: Change, picture: Picture, random: np.random.Generator) -> None:
    before = picture.image.clone(), picture.boxes_xyxy.tolist()
    changed = change(picture, random)
    assert_sound(changed)
    assert_on_objects(changed)
    assert len(changed.labels) + changed.num_dropped == len(picture.labels)
    assert bool(len(changed.labels)) == bool(len(picture.labels))
    assert torch.equal(picture.image, before[0])
    assert picture.boxes_xyxy.tolist() == before[1]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*(pictures(1, [channel], 30) for channel in range(3)), pictures(0, [])).flatmap(st.permutations),
    generators(),
)
def test_boxes_of_a_mosaic_are_on_their_objects(four: list[Picture], random: np.random.Generator) -> None:
    made = mosaic(four[0], four[1:], random, 0.1)
    assert (made.width, made.height) == (four[0].width, four[0].height)
    assert_sound(made)
    assert_on_objects(made)
    assert len(made.labels) + made.num_dropped == 3


@settings(max_examples=150, deadline=None)
@given(pictures(size=1, longest=60), pictures(size=1, longest=60), st.integers(0, 2**32 - 1))
def test_everything_together_is_sound_and_follows_from_the_generator(
    picture: Picture, partner: Picture, seed: int
) -> None:
    def changed() -> Picture:
        return augment(picture, ALL, np.random.default_rng(seed), lambda _: [partner] * 3)

    first, again = changed(), changed()
    assert_sound(first)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.boxes_xyxy, again.boxes_xyxy)
    assert first.labels.tolist() == again.labels.tolist()
    if len(picture.labels):
        assert len(first.labels)


def test_no_shared_random_state_is_read_or_moved() -> None:
    picture = painted(60, 40, [(5, 5, 25, 25)])

    def run(seed: int) -> list[int]:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the very state that must not count
        python_random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), python_random.getstate()  # noqa: NPY002
        sums = []
        for index in range(30):
            made = augment(picture, ALL, np.random.default_rng(index), lambda _: [picture] * 3)
            sums.append(int(made.image.sum()))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
        assert python_random.getstate() == before[2]
        return sums

    assert run(1) == run(2)


def test_whether_to_mirror_is_the_first_thing_drawn() -> None:
    """Runs with flips only, begun by former versions, go on as they would have."""
    picture = painted(60, 40, [(5, 5, 25, 25)])
    for seed in range(20):
        mirrored = augment(picture, Augmentation(), np.random.default_rng(seed), lambda _: []).boxes_xyxy[0, 0] != 5
        assert mirrored == (np.random.default_rng(seed).random() < 0.5)


def test_twice_mirrored_is_as_before_to_the_bit() -> None:
    boxes = torch.tensor([[3.3, 5.1, 20.7, 30.9]])
    picture = Picture.of(torch.randint(0, 255, (3, 33, 61), dtype=torch.uint8), boxes, torch.tensor([0]))
    once = picture.mirrored()
    expected = torch.stack([61 - boxes[:, 2], boxes[:, 1], 61 - boxes[:, 0], boxes[:, 3]], dim=1)
    assert once.boxes_xyxy.tolist() == expected.tolist()
    assert torch.equal(once.image, picture.image.flip(-1))
    assert torch.equal(once.mirrored().image, picture.image)
    assert torch.equal(picture.upside_down().image, picture.image.flip(-2))


# --- objects that are cut ---


def test_an_object_is_dropped_with_its_label_when_too_little_is_left() -> None:
    picture = painted(100, 100, [(0, 0, 40, 40), (60, 0, 100, 40)])
    part = picture.cut(0, 0, 100, 70, min_visible=0.3)  # a quarter of the second is left
    assert (part.labels.tolist(), part.boxes_xyxy.tolist(), part.num_dropped) == ([0], [[0, 0, 40, 40]], 1)
    more = picture.cut(0, 0, 100, 70, min_visible=0.2)
    assert (more.labels.tolist(), more.boxes_xyxy[1].tolist()) == ([0, 1], [60, 0, 70, 40])


def test_what_is_left_counts_from_the_whole_object_however_often_it_is_cut() -> None:
    picture = painted(100, 100, [(0, 0, 100, 100)])
    once = picture.cut(0, 0, 60, 100, 0.5).resized(30, 50)
    assert once.visible.tolist() == pytest.approx([0.6])
    assert once.cut(0, 0, 15, 50, 0.5).labels.tolist() == []
    assert once.cut(0, 0, 15, 50, 0.25).visible.tolist() == pytest.approx([0.3])


def test_with_min_visible_0_everything_with_a_size_stays() -> None:
    picture = painted(100, 100, [(0, 0, 40, 40), (69, 0, 100, 40), (70, 0, 100, 40)])
    assert picture.cut(0, 0, 100, 70, min_visible=0.0).labels.tolist() == [0, 1]


def test_objects_that_shrink_to_nothing_are_dropped() -> None:
    picture = painted(100, 100, [(0, 0, 40, 40), (50, 50, 53, 90)])
    assert picture.resized(30, 30).labels.tolist() == [0]


def test_a_picture_keeps_its_size_rather_than_lose_its_last_object() -> None:
    """The one object is so small that hardly a window shows it, and shrinking makes it vanish."""
    picture = painted(100, 100, [(0, 0, 1, 1)])
    for seed in range(20):
        random = np.random.default_rng(seed)
        assert scale_jitter(picture, (0.1, 0.9), random, 0.5) is picture
        assert len(iou_crop(picture, random, 0.5).labels) == 1
        assert len(scale_jitter(picture, (5.0, 8.0), random, 0.5).labels) == 1
        assert augment(picture, Augmentation(mosaic=1.0), random, lambda _: [painted(9, 9, [])] * 3).num_dropped == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_pictures_of_a_few_pixels(size: tuple[int, int]) -> None:
    picture = painted(*size, [(0, 0, *size)])
    for seed in range(40):
        assert_sound(augment(picture, ALL, np.random.default_rng(seed), lambda _: [picture] * 3))


# --- what each one does ---


def test_zoom_out_shows_the_whole_picture_on_a_canvas_of_its_proportions() -> None:
    picture = painted(80, 40, [(0, 0, 80, 40)], [0])
    sizes = set()
    for seed in range(30):
        made = zoom_out(picture, np.random.default_rng(seed))
        assert (made.image[0] == 255).sum() == 80 * 40
        assert (made.image[:, made.image[0] != 255].unique(dim=1).flatten().tolist()) in ([], list(FILL_RGB))
        assert made.width / made.height == pytest.approx(2, rel=0.05)
        sizes.add(made.width)
    assert 80 <= min(sizes) < 130
    assert 250 < max(sizes) <= 320


@pytest.mark.parametrize(("width", "bound"), [(900, 2048), (3000, 3000)])
def test_zoom_out_makes_no_huge_canvas(width: int, bound: int) -> None:
    picture = painted(width, 300, [(10, 10, 600, 290)])
    for seed in range(5):
        made = zoom_out(picture, np.random.default_rng(seed))
        assert made.width <= bound
        assert_sound(made)
        assert_on_objects(made)


def test_scale_jitter_keeps_the_size_and_scales_the_content() -> None:
    picture = painted(100, 80, [(40, 30, 60, 50)])
    widths = []
    for seed in range(200):
        made = scale_jitter(picture, (0.5, 2.0), np.random.default_rng(seed), 0.9)
        assert (made.width, made.height) == (100, 80)
        x0, _, x1, _ = made.boxes_xyxy[0].tolist()
        widths.append((x1 - x0) / 20)
    assert 0.45 <= min(widths) < 0.65
    assert 1.7 < max(widths) <= 2.05
    assert scale_jitter(picture, (1.0, 1.0), np.random.default_rng(0), 0.9).boxes_xyxy.tolist() == [[40, 30, 60, 50]]


def test_the_crop_shows_different_parts_with_an_object_each() -> None:
    picture = painted(120, 100, [(10, 10, 50, 60), (70, 30, 110, 90)])
    made = [iou_crop(picture, np.random.default_rng(seed), 0.25) for seed in range(60)]
    assert len({(one.width, one.height) for one in made}) > 40
    assert {len(one.labels) for one in made} == {1, 2}
    assert all(0.29 * 120 <= one.width <= 120 and 0.5 <= one.width / one.height <= 2 for one in made)


def test_a_crop_of_a_picture_without_objects_is_the_picture() -> None:
    picture = painted(50, 40, [])
    assert iou_crop(picture, np.random.default_rng(0), 0.25) is picture


def test_colours_change_and_nothing_else() -> None:
    picture = painted(60, 40, [(5, 5, 25, 25)])
    image = torch.randint(0, 255, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    made = [photometric(image, np.random.default_rng(seed)) for seed in range(40)]
    assert torch.equal(image, before)
    assert all(one.shape == image.shape and one.dtype == torch.uint8 for one in made)
    assert sum(not torch.equal(one, image) for one in made) > 30
    only = Augmentation(horizontal_flip=0, photometric=1)
    assert augment(picture, only, np.random.default_rng(1), lambda _: []).boxes_xyxy.tolist() == [[5, 5, 25, 25]]


def test_red_stays_redder_than_blue() -> None:
    """Channels are never swapped: the colour may be what tells classes apart."""
    red = torch.tensor([200, 60, 50], dtype=torch.uint8)[:, None, None].repeat(1, 8, 8)
    for seed in range(60):
        made = photometric(red, np.random.default_rng(seed)).float().mean(dim=(1, 2))
        assert made[0] > made[2]


def test_a_mosaic_shows_four_pictures_in_random_places() -> None:
    four = [Picture.of(torch.full((3, 40, 60), 50 * index, dtype=torch.uint8), torch.zeros(0, 4), torch.zeros(0).long())
            for index in range(1, 5)]  # fmt: skip
    arrangements = set()
    for seed in range(60):
        image = mosaic(four[0], four[1:], np.random.default_rng(seed), 0.25).image
        assert sorted(image.unique().tolist()) == [50, 100, 150, 200]
        arrangements.add(tuple(image[0, row, column].item() for row in (0, -1) for column in (0, -1)))
    assert len(arrangements) > 12


# --- when ---


@pytest.mark.parametrize(
    ("epoch", "num_epochs", "is_calm"),
    [(0, 10, False), (7, 10, False), (8, 10, True), (9, 10, True), (8, None, False), (0, 2, True), (0, 1, True)],
)
def test_the_last_epochs_go_with_flips_only(epoch: int, num_epochs: int | None, *, is_calm: bool) -> None:
    augmentation = ALL.model_copy(update={"off_last_epochs": 2, "multi_scale": (320, 480)})
    found = in_force(augmentation, epoch, num_epochs)
    assert (found.horizontal_flip, found.vertical_flip) == (0.5, 0.5)
    changing = [found.photometric, found.zoom_out, found.iou_crop, found.mosaic, found.scale_jitter, found.multi_scale]
    assert any(changing) != is_calm
    assert min_size_at(0, 0, found) in ((None,) if is_calm else (320, 480))


def test_without_off_last_epochs_none_is_calm() -> None:
    assert in_force(ALL, 9, 10) is ALL


def test_each_step_has_a_size_that_follows_from_seed_and_step() -> None:
    augmentation = Augmentation(multi_scale=(320, 400, 480))
    sizes = [min_size_at(step, 3, augmentation) for step in range(300)]
    assert sizes == [min_size_at(step, 3, augmentation) for step in range(300)]
    assert sizes != [min_size_at(step, 4, augmentation) for step in range(300)]
    assert all(70 < sizes.count(size) < 130 for size in (320, 400, 480))
    assert min_size_at(0, 0, Augmentation()) is None
