"""What a person names, and where the answers go."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import DataError
from engine.prediction.inputs import Inputs, Picture, camera_of, find_inputs
from engine.prediction.outputs import Outputs
from tests.builders import write_photo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "deep/b.JPG", ".hidden.jpg"):
        write_photo(Path("photos") / name, [])
    Path("photos/clip.mp4").write_bytes(b"")
    Path("photos/notes.txt").write_text("no picture")
    return tmp_path


def names(inputs: Inputs) -> list[str]:
    return [picture.name for picture in inputs.pictures]


@pytest.mark.parametrize(
    ("words", "pictures", "videos"),
    [
        (["photos"], ["a.png", "deep/b.JPG"], ["photos/clip.mp4"]),
        (["photos/*"], ["a.png"], ["photos/clip.mp4"]),
        (["photos/**/*.JPG"], ["b.JPG"], []),
        (["photos/a.png", "photos", "./photos/a.png"], ["a.png", "deep/b.JPG"], ["photos/clip.mp4"]),
        (["photos/clip.mp4"], [], ["photos/clip.mp4"]),
    ],
    ids=["folder", "pattern", "pattern over folders", "each once", "video"],
)
def test_files(folder: Path, words: list[str], pictures: list[str], videos: list[str]) -> None:
    found = find_inputs(words)
    assert names(found) == pictures
    assert [path.as_posix() for path in found.videos] == videos


def test_a_folder_alone(folder: Path) -> None:
    assert names(find_inputs(["photos"], recursive=False)) == ["a.png"]


def test_cameras_and_streams(folder: Path) -> None:
    words = ("camera:0", "rtsp://user:secret@cam.local/1", "http://host/clip.mp4")
    assert find_inputs(words).streams == words
    assert [camera_of(word) for word in words] == ["0", None, None]


def test_everything_missing_is_told_at_once(folder: Path) -> None:
    with pytest.raises(DataError) as raised:
        find_inputs(["gone.jpg", "photos/a.png", "photos/*.gif"])
    assert [(problem.code, problem.where.path) for problem in raised.value.problems] == [
        ("X103", "gone.jpg"), ("X103", "photos/*.gif"),
    ]


def test_names_that_clash_get_a_number_and_keep_it(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, frozenset({"pictures"}))
    pictures = [Picture(Path(name), name) for name in ("x/a.jpg", "y/A.png", "x/a.jpg")]
    assert [outputs.drawn(picture).name for picture in pictures] == ["a.jpg", "A-2.jpg", "a.jpg"]


def test_labels_are_named_as_the_pictures_below_their_folder(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, frozenset({"voc"}))
    assert outputs.label("voc", Picture(Path("photos/deep/b.1.JPG"), "deep/b.1.JPG")) == tmp_path / "voc/deep/b.1.xml"


def test_pictures_that_would_share_a_label_are_refused(tmp_path: Path) -> None:
    pictures = (Picture(Path("x/a.jpg"), "a.jpg"), Picture(Path("x/a.png"), "a.png"))
    Outputs(tmp_path, frozenset({"pictures"})).require_free(Inputs(pictures))
    with pytest.raises(DataError, match="X110"):
        Outputs(tmp_path, frozenset({"yolo"})).require_free(Inputs(pictures))


@pytest.mark.parametrize("name", ["voc/a.xml", "data.yaml", "predictions.csv", "coco.json", "a.jpg", "clip.mp4"])
def test_no_file_of_a_person_is_overwritten(tmp_path: Path, name: str) -> None:
    forms = frozenset({"pictures", "voc", "yolo", "csv", "coco"})
    inputs = Inputs((Picture(Path("photos/a.png"), "a.png"),), (Path("photos/clip.mp4"),))
    Outputs(tmp_path, forms).require_free(inputs)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match="X104"):
        Outputs(tmp_path, forms).require_free(inputs)
