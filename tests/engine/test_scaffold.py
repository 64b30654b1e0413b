"""`scaffold`: recipes for folders of every layout, format and state, each of which `engine check` can read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from engine.annotations import Audit, audit
from engine.catalogue import ARCHS
from engine.errors import EngineError
from engine.recipe.load import load_recipes
from engine.recipe.schema import Recipe
from engine.scaffold import Plan, default_path, scaffold
from engine.scaffold.layout import split_of
from engine.scaffold.model import input_side
from engine.scaffold.write import recipe_name
from tests.builders import SIZE, make_voc_dataset, record, write_photo, write_voc

SHARED = Path(__file__).parents[3] / "shared" / "data"
OBJECTS: list[tuple[str, tuple[int, int, int, int]]] = [("mug", (4, 4, 30, 40)), ("laptop", (34, 4, 60, 40))]
FOUR_NAMES = "mug\nlaptop\nkeyboard\nmouse\n"


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, no weights, no network, and a folder of its own to work in."""
    monkeypatch.setattr("engine.machine.num_cuda_devices", lambda: 0)
    monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", "http://127.0.0.1:9/")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "desk photos"
    folder.mkdir()
    return folder


_seed = iter(range(1, 10**6))


def photo(path: Path, objects: Sequence[tuple[str, tuple[int, int, int, int]]] = OBJECTS) -> None:
    write_photo(path, objects, seed=next(_seed))


def voc(image: Path, label: Path) -> None:
    photo(image)
    write_voc(label, OBJECTS)


def yolo(image: Path, label: Path, ids: Sequence[int] = (0, 1)) -> None:
    photo(image)
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text("".join(f"{number} 0.25 0.5 0.3 0.6\n" for number in ids))


def coco(path: Path, images: Sequence[str], names: Sequence[str] = ("mug", "laptop")) -> None:
    content = {
        "images": [{"id": n, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for n, name in enumerate(images)],
        "categories": [{"id": 10 + n, "name": name} for n, name in enumerate(names)],
        "annotations": [
            {"id": 2 * n + k, "image_id": n, "category_id": 10 + k, "bbox": [4 + 30 * k, 4, 20, 30]}
            for n in range(len(images)) for k in range(min(2, len(names)))
        ],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def recipe_of(plan: Plan) -> Recipe:
    [loaded] = load_recipes(plan.path)
    return loaded.recipe


def checked(plan: Plan) -> Audit:
    recipe = recipe_of(plan)
    return audit(recipe.dataset, recipe.classes)


def errors(found: Audit) -> list[str]:
    return [problem.code for problem in found.problems if problem.severity == "error"]


def uncomment(path: Path) -> None:
    """Take every suggested policy."""
    policy = re.compile(r'^# (\w+ = "(?:drop|skip|clip|use_image|warn)")', re.MULTILINE)
    path.write_text(policy.sub(r"\1", path.read_text()))


# --- layouts ---


def split_folders(data: Path) -> None:
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for n in range(count):
            voc(data / split / "images" / f"{n}.jpg", data / split / "annotations" / f"{n}.xml")


def folders_of_splits(data: Path) -> None:
    for split, count in (("train2017", 3), ("val2017", 2), ("test2017", 1)):
        for n in range(count):
            yolo(data / "images" / split / f"{n}.jpg", data / "labels" / split / f"{n}.txt")
    (data / "data.yaml").write_text("names: [mug, laptop]\n")


def side_by_side(data: Path) -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        for n in range(count):
            voc(data / split / f"{n}.JPG", data / split / f"{n}.xml")


def pascal(data: Path) -> None:
    for n in range(6):
        voc(data / "JPEGImages" / f"{n}.jpg", data / "Annotations" / f"{n}.xml")
        photo(data / "SegmentationClass" / f"{n}.png", [])
    (data / "ImageSets" / "Main").mkdir(parents=True)
    (data / "ImageSets" / "Main" / "train.txt").write_text("0\n1\n")


def flat(data: Path) -> None:
    for n in range(6):
        voc(data / f"{n}.jpg", data / f"{n}.xml")


def one_label_folder(data: Path) -> None:
    for split, numbers in (("train", range(3)), ("val", range(3, 5)), ("test", range(5, 6))):
        for n in numbers:
            voc(data / "images" / split / f"{n}.jpg", data / "xml" / f"{n}.xml")


def nested_by_day(data: Path) -> None:
    for day in ("monday", "tuesday"):
        for n in range(3):
            voc(data / "photos" / day / f"{n}.jpg", data / "boxes" / day / f"{n}.xml")


def nested_side_by_side(data: Path) -> None:
    for day in ("monday", "tuesday"):
        for n in range(3):
            voc(data / day / f"{n}.jpg", data / day / f"{n}.xml")


def roboflow_coco(data: Path) -> None:
    for split, count in (("train", 3), ("valid", 2), ("test", 1)):
        for n in range(count):
            photo(data / split / f"{n}.jpg")
        coco(data / split / "_annotations.coco.json", [f"{n}.jpg" for n in range(count)])


def coco_2017(data: Path) -> None:
    for split, count in (("train2017", 3), ("val2017", 2), ("test2017", 1)):
        for n in range(count):
            photo(data / split / f"{n}.jpg")
        coco(data / "annotations" / f"instances_{split}.json", [f"{n}.jpg" for n in range(count)])
    (data / "annotations" / "captions_train2017.json").write_text('{"images": [], "annotations": []}')


def coco_with_paths(data: Path) -> None:
    for n in range(6):
        photo(data / "images" / "a" / f"{n}.jpg")
    coco(data / "labels.json", [f"a/{n}.jpg" for n in range(6)])


LAYOUTS: list[tuple[Callable[[Path], None], str, dict[str, int]]] = [
    (split_folders, "voc", {"train": 3, "val": 2, "test": 1}),
    (folders_of_splits, "yolo", {"train": 3, "val": 2, "test": 1}),
    (side_by_side, "voc", {"train": 3, "val": 2, "test": 1}),
    (pascal, "voc", {"all": 6}),
    (flat, "voc", {"all": 6}),
    (one_label_folder, "voc", {"train": 3, "val": 2, "test": 1}),
    (nested_by_day, "voc", {"all": 6}),
    (nested_side_by_side, "voc", {"all": 6}),
    (roboflow_coco, "coco", {"train": 3, "val": 2, "test": 1}),
    (coco_2017, "coco", {"train": 3, "val": 2, "test": 1}),
    (coco_with_paths, "coco", {"all": 6}),
]


@pytest.mark.parametrize(
    ("make", "form", "images"), [pytest.param(*layout, id=layout[0].__name__) for layout in LAYOUTS]
)
def test_every_usual_layout_is_found(
    data: Path, make: Callable[[Path], None], form: str, images: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(data)
    plan = scaffold(data)
    recipe = recipe_of(plan)
    found = checked(plan)
    assert recipe.dataset.format == form
    assert set(recipe.classes.names) == {"mug", "laptop"}
    counts = {split: summary.num_images for split, summary in found.summary.items()}
    if "all" in images:
        assert recipe.dataset.val_fraction == 0.2
        assert sum(counts.values()) == images["all"]
    else:
        assert counts == images
    # Six drawn images may leave val empty; that is the one fault of so small a dataset.
    assert set(errors(found)) <= {"D101"}


def test_paths_are_relative_to_the_recipe(data: Path, tmp_path: Path) -> None:
    split_folders(data)
    (tmp_path / "work" / "recipes").mkdir()
    plan = scaffold(data)
    assert plan.path == tmp_path / "work" / "recipes" / "desk-photos.toml"
    assert 'images = "../../desk photos/train/images"' in plan.path.read_text()
    assert str(tmp_path) not in plan.path.read_text()


@pytest.mark.parametrize("name", ["$HOME ${x}", "~", 'a"b\\c', "日本 é", "[x]#", "val"])
def test_odd_folder_names_stay_what_they_are(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "work" / name
    flat(folder / "inner")
    plan = scaffold(Path(name), Path("out.toml"))
    assert sum(summary.num_images for summary in checked(plan).summary.values()) == 6


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (["images", "train2017"], "train"),
        (["train", "images"], "train"),
        (["images_val"], "val"),
        (["Valid"], "val"),
        (["instances_test.json"], "test"),
        (["trainstation"], None),
        ([], None),
    ],
    ids=str,
)
def test_splits_are_told_by_words(names: list[str], split: str | None) -> None:
    assert split_of(*names) == split


# --- classes ---


def test_classes_come_by_frequency_with_their_counts(data: Path) -> None:
    for n in range(5):
        photo(data / f"{n}.jpg")
        write_voc(data / f"{n}.xml", [("laptop", (1, 1, 20, 20))] + ([("mug", (30, 1, 60, 20))] if n < 2 else []))
    plan = scaffold(data)
    assert recipe_of(plan).classes.names == ("laptop", "mug")
    text = plan.path.read_text()
    assert sum(plan.classes.names["laptop"].values()) == 5
    assert '"laptop",' in text


def test_names_of_class_ids_come_from_the_file_and_only_those_in_train_are_learnt(data: Path) -> None:
    for n, ids in enumerate([(2, 0), (2,), (0, 2)]):
        yolo(data / "images" / "train" / f"{n}.jpg", data / "labels" / "train" / f"{n}.txt", ids)
    yolo(data / "images" / "val" / "9.jpg", data / "labels" / "val" / "9.txt", (3, 0))
    (data / "data.yaml").write_text("nc: 5\nnames:\n  0: mug\n  1: laptop\n  2: keyboard\n  3: mouse\n  4: pen\n")
    plan = scaffold(data)
    recipe = recipe_of(plan)
    assert recipe.classes.names == ("mug", "keyboard")
    assert recipe.classes.ignore == ("mouse",)
    assert recipe.dataset.names_file == data / "data.yaml"
    assert "data.yaml names 2 more that no object has: laptop, pen" in plan.path.read_text()
    assert errors(checked(plan)) == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param(None, "", ("class0", "class1", "class2", "class3"), id="nothing-names-them"),
        pytest.param("obj.names", FOUR_NAMES, ("mug", "laptop", "keyboard", "mouse"), id="darknet"),
        pytest.param("labels/classes.txt", FOUR_NAMES, ("mug", "mouse"), id="labelimg"),
    ],
)
def test_class_ids_without_data_yaml(
    data: Path, name: str | None, content: str, expected: tuple[str, ...]
) -> None:
    for n in range(8):
        yolo(data / "images" / f"{n}.jpg", data / "labels" / f"{n}.txt", (0, 3))
    if name is not None:
        (data / name).write_text(content)
    plan = scaffold(data)
    assert recipe_of(plan).classes.names == expected
    assert set(errors(checked(plan))) <= {"D101"}


def test_a_rare_misspelling_is_pointed_out(data: Path) -> None:
    for n in range(12):
        photo(data / f"{n}.jpg")
        write_voc(data / f"{n}.xml", [("keybord" if n == 7 else "keyboard", (1, 1, 20, 20))])
    text = scaffold(data).path.read_text()
    assert '# aliases = { keybord = "keyboard" }' in text


@pytest.mark.parametrize(
    "name",
    [
        "", "a" * 300, "mug\nlaptop", 'a "quoted" #name', "\x1b[31mred", "caf\u00e9", "cafe\u0301", "class id 3",
        "true", "]",
    ],
    ids=ascii,
)
def test_odd_class_names_are_kept_or_told(data: Path, name: str) -> None:
    for n in range(12):
        photo(data / "images" / f"{n}.jpg")
    coco(data / "labels.json", [f"images/{n}.jpg" for n in range(12)], ["mug", name])
    plan = scaffold(data)
    assert "mug" in recipe_of(plan).classes.names
    assert set(errors(checked(plan))) <= {"D105"}
    assert "\x1b" not in plan.path.read_text()


@pytest.mark.parametrize(
    "content", ["mug\nmug\n", "mug\n\nlaptop\n", "a" * 300, "\n"], ids=["twice", "gap", "long", "blank"]
)
def test_names_that_are_no_names_are_passed_over(data: Path, content: str) -> None:
    for n in range(12):
        yolo(data / f"{n}.jpg", data / f"{n}.txt", (0, 1))
    (data / "obj.names").write_text(content)
    assert recipe_of(scaffold(data)).classes.names == ("class0", "class1")


# --- dirt ---


def test_dirt_is_counted_and_its_policy_suggested(data: Path) -> None:
    split_folders(data)
    for n in range(3):
        write_voc(data / "train" / "annotations" / f"{n}.xml", [("mug", (5, 5, 5, 20)), *OBJECTS])
    (data / "train" / "annotations" / "2.xml").unlink()
    write_voc(data / "val" / "annotations" / "0.xml", [("mug", (5, 5, 90, 20)), *OBJECTS])
    (data / "val" / "images" / "1.jpg").write_bytes(b"\xff\xd8 not a picture")
    plan = scaffold(data)
    text = plan.path.read_text()
    assert '# empty_boxes = "drop"' in text
    assert "empty box, 2 times: first train/annotations/0.xml" in text
    assert '# missing_annotations = "skip"' in text
    assert '# outside_boxes = "clip"' in text
    assert '# unreadable_images = "skip"' in text
    assert errors(checked(plan)) != []
    uncomment(plan.path)
    assert errors(checked(plan)) == []


def test_dirt_without_a_policy_is_told_with_its_remedy(data: Path) -> None:
    split_folders(data)
    photo(data / "train" / "images" / "0.png")
    text = scaffold(data).path.read_text()
    assert "# To be mended: several images share one annotation, once" in text


def test_what_is_left_out_is_told(data: Path) -> None:
    split_folders(data)
    for n in range(4):
        photo(data / "unlabelled" / f"more{n}.jpg")
    text = scaffold(data).path.read_text()
    assert "# Left out: unlabelled with 4 images, which no annotations belong to." in text


# --- the model ---


def test_without_weights_or_network_training_begins_from_nothing(data: Path) -> None:
    flat(data)
    model = recipe_of(scaffold(data)).model
    assert (model.arch, model.weights) == ("fasterrcnn_resnet18_fpn", "none")


def test_weights_at_hand_are_used(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(data)
    monkeypatch.setattr("engine.needs._fault_of", lambda _path, _prefix: "")
    weights = ARCHS["fasterrcnn_mobilenet_v2_fpn"].imagenet
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / weights.name).touch()
    model = recipe_of(scaffold(data)).model
    assert (model.arch, model.weights) == ("fasterrcnn_mobilenet_v2_fpn", "imagenet")


def test_with_a_network_weights_are_fetched(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(data)
    monkeypatch.setattr("engine.needs._why_unreachable", lambda _url: "")
    model = recipe_of(scaffold(data)).model
    assert (model.arch, model.weights) == ("fasterrcnn_mobilenet_v3_large_320_fpn", "coco")


@pytest.mark.parametrize("num_gpus", [1, None], ids=["one", "nobody-knows"])
def test_a_gpu_gets_the_most_accurate(data: Path, monkeypatch: pytest.MonkeyPatch, num_gpus: int | None) -> None:
    flat(data)
    monkeypatch.setattr("engine.machine.num_cuda_devices", lambda: num_gpus)
    model = recipe_of(scaffold(data)).model
    assert (model.arch, model.weights) == ("fasterrcnn_resnet50_fpn", "coco")


@pytest.mark.parametrize(
    ("box_px", "expected"), [(100, 320), (60, 480), (40, 640), (5, 640), (None, 320)], ids=str
)
def test_small_objects_get_larger_images(box_px: int | None, expected: int) -> None:
    records = [record([], [], size=(4000, 3000))]
    if box_px is not None:
        records += [record([[0, 0, box_px, 400]], [0], size=(4000, 3000))]
    assert input_side(records) == expected


# --- refusals ---


def refused(folder: Path, path: Path | None = None) -> tuple[str, str]:
    with pytest.raises(EngineError) as caught:
        scaffold(folder, path)
    [problem] = caught.value.problems
    return problem.code, problem.found


def test_an_existing_recipe_is_never_overwritten(data: Path) -> None:
    flat(data)
    path = Path("mine.toml")
    path.write_text("precious")
    assert refused(data, path)[0] == "E108"
    assert path.read_text() == "precious"


def test_a_dangling_link_is_not_written_through(data: Path) -> None:
    flat(data)
    Path("mine.toml").symlink_to("elsewhere.toml")
    assert refused(data, Path("mine.toml"))[0] == "E108"


def test_a_folder_that_is_not_there_for_the_recipe(data: Path) -> None:
    flat(data)
    assert refused(data, Path("missing") / "mine.toml")[0] == "E101"


def only_photos(data: Path) -> None:
    photo(data / "1.jpg")
    photo(data / "2.jpg")


def strangers(data: Path) -> None:
    photo(data / "1.jpg")
    write_voc(data / "2.xml", OBJECTS)


def other_text(data: Path) -> None:
    photo(data / "1.jpg")
    (data / "1.txt").write_text("a nice photo of a mug\n")
    (data / "1.json").write_text('{"name": "x"}')
    (data / "1.xml").write_text("<svg></svg>")


def no_objects(data: Path) -> None:
    photo(data / "1.jpg")
    write_voc(data / "1.xml", [])


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        pytest.param(lambda _: None, "0 images, 0 xml files", id="empty"),
        pytest.param(only_photos, "2 images, 0 xml files", id="only-photos"),
        pytest.param(strangers, "1 images, 1 xml files", id="names-of-others"),
        pytest.param(other_text, "1 images, 1 xml files, 1 json files, 1 txt files", id="other-files"),
        pytest.param(no_objects, "names an object", id="no-objects"),
    ],
)
def test_nothing_usable_is_one_clear_problem(data: Path, make: Callable[[Path], None], seen: str) -> None:
    make(data)
    code, found = refused(data)
    assert code == "D003"
    assert seen in found
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("what", ["missing", "file", "unreadable"])
def test_a_folder_that_cannot_be_listed(tmp_path: Path, what: str) -> None:
    folder = tmp_path / what
    if what == "file":
        folder.touch()
    elif what == "unreadable":
        folder.mkdir(mode=0)
        if os.access(folder, os.R_OK):
            pytest.skip("this user may read everything")
    assert refused(folder)[0] == "D003"


def test_a_loop_of_links_ends(data: Path) -> None:
    flat(data)
    (data / "again").symlink_to(data)
    assert checked(scaffold(data)).summary["train"].num_images >= 1


def test_a_folder_of_absurd_size_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(data)
    monkeypatch.setattr("engine.scaffold.tree.MAX_ENTRIES", 5)
    assert refused(data)[0] == "D003"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("desk photos", "desk-photos"), ("été", "t"), ("日本", "dataset"), (".x", "x"), ("a" * 99, "a" * 64)],
)
def test_the_runs_name_comes_from_the_folder(folder: str, name: str) -> None:
    assert recipe_name(Path(folder)) == name


def test_the_folder_may_be_named_by_dots(tmp_path: Path) -> None:
    assert default_path(Path("..")).name == f"{recipe_name(tmp_path)}.toml"


# --- real ones ---


@pytest.mark.parametrize(
    ("name", "form", "classes", "dirt"),
    [
        pytest.param("bccd", "voc", ("RBC", "WBC", "Platelets"), {"empty_boxes": 2}, id="bccd"),
        pytest.param("raccoon", "voc", ("raccoon",), {}, id="raccoon"),
        pytest.param("coco128-yolo", "yolo", None, {"missing_images": 2, "missing_annotations": 2}, id="coco128"),
    ],
)
def test_real_datasets(name: str, form: str, classes: tuple[str, ...] | None, dirt: dict[str, int]) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip("the dataset isn't here")
    plan = scaffold(SHARED / name)
    recipe = recipe_of(plan)
    assert recipe.dataset.format == form
    assert len(recipe.classes.names) == 61 if classes is None else recipe.classes.names == classes
    assert {kind.setting.split(" = ")[0]: kind.count for kind in plan.dirt} == dirt
    uncomment(plan.path)
    assert errors(checked(plan)) == []


def test_the_sample_dataset_checks_clean(tmp_path: Path) -> None:
    plan = scaffold(make_voc_dataset(tmp_path / "sample"))
    assert plan.dirt == ()
    assert errors(checked(plan)) == []
    assert "dirty" not in plan.path.read_text()
