"""The previews panel: every key, old runs, vanished and rubbish files; what it sends, and when."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from textual.geometry import Region, Size
from textual.pilot import Pilot

from engine.events import EventLog, Preview, PreviewEvent, RunEnded, RunStarted
from engine.previewfile import EpochPreviews, FoundBox, PreviewImage, TrueBox, encode_previews
from engine.rundir import RunDir
from tests.tui.build import EVENING
from tests.tui.test_app import miss, running, screen_text, see, settle, until
from tests.tui.test_snapshots import Compare, MakeApp
from tui.app import WatchApp
from tui.gallery import Drawing, Gallery
from tui.theme import DARK, LIGHT
from tui.widgets.picture import Picture
from tui.widgets.picture_canvas import PictureCanvas

NAMES = ("mug", "laptop")
MUG, LAPTOP, FAR = (40.0, 40.0, 120.0, 160.0), (160.0, 60.0, 380.0, 220.0), (20.0, 240.0, 90.0, 290.0)
NUM_EPOCHS = 4


def image_of(index: int, epoch: int, kind: str = "fixed") -> PreviewImage:
    """The mug is found better and better, the laptop from the third epoch on, something false up to then."""
    found = [FoundBox(0, MUG, 0.4 + 0.15 * epoch), FoundBox(1, LAPTOP if epoch > 1 else FAR, 0.7)]
    return PreviewImage(
        name=f"{kind}_{index}.jpg", photo=f"previews/photos/{index:06d}.jpg", width=400, height=300, kind=kind,
        truth=(TrueBox(0, MUG), TrueBox(1, LAPTOP)), found=tuple(sorted(found, key=lambda one: -one.score)),
    )  # type: ignore[arg-type]


def boxes_of(epoch: int, num_images: int = 4, names: tuple[str, ...] = NAMES) -> EpochPreviews:
    images = [image_of(index, epoch) for index in range(num_images)]
    worst = [image_of(index, epoch, "worst") for index in (5, 6)] if epoch < 3 else []
    return EpochPreviews(epoch=epoch, class_names=names, images=(*images, *worst))


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A finished run of four epochs with boxes and photos."""
    monkeypatch.chdir(tmp_path)
    run_dir = RunDir(Path("runs") / "0001-desk")
    for index in range(9):
        path = run_dir.preview_photo(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 300), (90 + 10 * index, 80, 60)).save(path)
    started = RunStarted(
        time=EVENING, attempt=1, device="cpu", num_train_images=9, num_val_images=9, num_epochs=NUM_EPOCHS, num_steps=4,
        class_names=NAMES,
    )  # fmt: skip
    with EventLog(run_dir.events) as log:
        log.append(started)
        for epoch in range(NUM_EPOCHS):
            write_boxes(run_dir, epoch, encode_previews(boxes_of(epoch)))
            drawn = Preview(f"previews/{epoch:04d}/00.jpg", "fixed_0.jpg", 2, 2)
            boxes = run_dir.relative(run_dir.preview_boxes(epoch))
            log.append(PreviewEvent(time=EVENING + epoch, epoch=epoch, previews=(drawn,), boxes=boxes))
        log.append(RunEnded(time=EVENING + 9, outcome="finished", reason=""))
    return run_dir


def write_boxes(run_dir: RunDir, epoch: int, content: bytes) -> None:
    path = run_dir.preview_boxes(epoch)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    Image.new("RGB", (80, 60)).save(run_dir.preview(epoch, 0))


async def press(pilot: Pilot[None], app: WatchApp, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot, app)


async def open_previews(pilot: Pilot[None], app: WatchApp) -> None:
    app._main.action_panel("pictures")
    await settle(pilot, app)


async def test_the_detector_is_seen_learning(run_dir: RunDir, make_app: MakeApp) -> None:
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await see(pilot, app, "✔ 2 right · ✘ 0 wrong · ○ 0 missed")
        await see(pilot, app, "✔ mug 0.85━")
        await press(pilot, app, "left")
        await see(pilot, app, "epoch 3 · image 1/4 · fixed_0.jpg")
        await press(pilot, app, "h", "h")
        await see(pilot, app, "✔ 0 right · ✘ 1 wrong · ○ 2 missed")
        await see(pilot, app, "✘ laptop 0.70")
        await see(pilot, app, "○ mug╌")
        await press(pilot, app, "l", "right")
        await see(pilot, app, "epoch 3")


async def test_the_score_is_a_key(run_dir: RunDir, make_app: MakeApp) -> None:
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "left_square_bracket")
        await see(pilot, app, "score ≥ 0.45")
        await press(pilot, app, *["right_square_bracket"] * 6)
        await see(pilot, app, "score ≥ 0.75")
        await see(pilot, app, "✔ 1 right · ✘ 0 wrong · ○ 1 missed")
        await press(pilot, app, *["right_square_bracket"] * 6)
        await see(pilot, app, "score ≥ 0.95")
        await see(pilot, app, "✔ 0 right · ✘ 0 wrong · ○ 2 missed")


async def test_truth_detections_and_table_can_be_hidden(run_dir: RunDir, make_app: MakeApp) -> None:
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "i")
        await miss(pilot, app, "verdict")
        await press(pilot, app, "b")
        await see(pilot, app, "detections hidden")
        await miss(pilot, app, "mug 0.85")
        await see(pilot, app, "✔ mug╌")
        await press(pilot, app, "b", "u", "i")
        await see(pilot, app, "truth hidden")
        await see(pilot, app, "verdict")


async def test_the_worst_images_of_the_epoch(run_dir: RunDir, make_app: MakeApp) -> None:
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "w")
        await see(pilot, app, "no image of this epoch has an error")
        await press(pilot, app, "left")
        await see(pilot, app, "epoch 3 · worst 1/2 · worst_5.jpg")
        await see(pilot, app, "most errors first")
        await press(pilot, app, "n")
        await see(pilot, app, "worst 2/2 · worst_6.jpg")
        await press(pilot, app, "w")
        await see(pilot, app, "image 1/4 · fixed_0.jpg")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_grid_and_a_single_view(run_dir: RunDir, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(Path("runs"))
    async with running(app, size) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "v")
        for index in range(4):
            await see(pilot, app, f"fixed_{index}.jpg  ✔2 ✘0 ○0")
        await see(pilot, app, "▸ fixed_0.jpg")
        await press(pilot, app, "p")
        await see(pilot, app, "▸ fixed_3.jpg")
        await press(pilot, app, "v")
        await miss(pilot, app, "fixed_1.jpg")


async def test_nine_pictures_where_there_is_room(run_dir: RunDir, make_app: MakeApp) -> None:
    write_boxes(run_dir, 3, encode_previews(boxes_of(3, 12)))
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "v")
        assert [picture.display for picture in app.screen.query("#pictures-grid Picture")] == [True] * 9
        await see(pilot, app, "fixed_8.jpg")
        await press(pilot, app, *["n"] * 9)
        await see(pilot, app, "▸ fixed_9.jpg")
        await miss(pilot, app, "fixed_8.jpg")


async def test_the_epochs_play_by_themselves(run_dir: RunDir, make_app: MakeApp) -> None:
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await pilot.press("full_stop")
        await see(pilot, app, "epoch 1 · ")
        await see(pilot, app, "▶ playing")
        await see(pilot, app, "epoch 4 · latest")
        await miss(pilot, app, "▶ playing")
        await pilot.press("full_stop")
        await see(pilot, app, "▶ playing")
        await pilot.press("full_stop")
        await miss(pilot, app, "▶ playing")


async def test_pictures_are_switched_off_and_the_table_stands_alone(run_dir: RunDir, make_app: MakeApp) -> None:
    app = make_app(Path("runs"))
    async with running(app, (80, 24)) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "x")
        await see(pilot, app, "no pictures")
        await see(pilot, app, "40,40 80×120")
        await press(pilot, app, "x")
        await see(pilot, app, "blocks")


async def test_nothing_is_drawn_twice(run_dir: RunDir, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered: list[str] = []
    paint = Gallery.paint

    def counted(self: Gallery, *args: object) -> None:
        ordered.append("picture")
        paint(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Gallery, "paint", counted)
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        before = len(ordered)
        for _ in range(5):
            app._draw()
            await settle(pilot, app)
        assert len(ordered) == before
        await press(pilot, app, "left")
        assert len(ordered) == before + 1


# --- what may be wrong ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "the boxes are gone", id="vanished"),
        pytest.param(b'{"epoch":', "the boxes can't be read", id="torn"),
        pytest.param(b"\x00\xff" * 99, "the boxes can't be read", id="rubbish"),
    ],
)
async def test_without_boxes_the_drawn_picture_is_shown(
    run_dir: RunDir, make_app: MakeApp, content: bytes | None, words: str
) -> None:
    path = run_dir.preview_boxes(3)
    path.unlink() if content is None else path.write_bytes(content)
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await see(pilot, app, words)
        await see(pilot, app, "2 found, 2 true")
        await press(pilot, app, "w")
        await see(pilot, app, words)


async def test_vanished_photos_leave_the_table(run_dir: RunDir, make_app: MakeApp) -> None:
    shutil.rmtree(run_dir.preview_photo(0).parent)
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await see(pilot, app, "the file is gone")
        await see(pilot, app, "40,40 80×120")


async def test_old_runs_show_what_they_drew(evening: Path, make_app: MakeApp) -> None:
    app = make_app(evening)
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await see(pilot, app, "this run kept no boxes")
        await see(pilot, app, "3 true")
        await press(pilot, app, "v", "w", "right_square_bracket", "u", "b", "i", "full_stop", "pagedown")
        await see(pilot, app, "its worst images aren't known")


@pytest.mark.parametrize(
    "path", ["../../secret.json", "/etc/passwd", "previews", "\x1b]0;x\x07", "a" * 5000],
    ids=["out", "absolute", "folder", "escape", "long"],
)
async def test_paths_lead_nowhere_else(run_dir: RunDir, make_app: MakeApp, path: str) -> None:
    shutil.copy(run_dir.preview_boxes(3), "secret.json")
    with EventLog(run_dir.events) as log:
        log.append(PreviewEvent(time=EVENING + 20, epoch=7, previews=(Preview(path, "a.jpg", 1, 1),), boxes=path))
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await see(pilot, app, "the boxes")
        await miss(pilot, app, "verdict")


async def test_class_names_and_photos_cannot_inject_anything(run_dir: RunDir, make_app: MakeApp) -> None:
    evil = ("[bold red]mug[/]\x1b[2J\n", "x" * 3000)
    images = [
        PreviewImage(
            name=f"[/]{index}\x1b[31m.jpg", photo="previews/photos/000000.jpg", width=400, height=300,
            truth=(TrueBox(0, MUG),), found=(FoundBox(1, LAPTOP, 0.9),),
        )
        for index in range(4)
    ]  # fmt: skip
    write_boxes(run_dir, 3, encode_previews(EpochPreviews(epoch=3, class_names=evil, images=tuple(images))))
    app = make_app(Path("runs"))
    async with running(app) as pilot:
        await open_previews(pilot, app)
        await see(pilot, app, "[bold red]mug[/]")
        await press(pilot, app, "v")
        await see(pilot, app, "[/]2")
        assert "\x1b" not in screen_text(app)


@pytest.mark.parametrize("size", [(60, 20), (200, 60), (40, 12), (20, 5)])
async def test_every_size_works(run_dir: RunDir, make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(Path("runs"))
    async with running(app, size) as pilot:
        await open_previews(pilot, app)
        await press(pilot, app, "v", "w", "left", "i", "x", "v", "i", "x")
        assert app.screen.query(Picture)


# --- pictures of it ---


@pytest.mark.parametrize(
    ("size", "theme", "keys", "way"),
    [
        pytest.param((120, 40), DARK, ["left", "left"], "halfblock", id="single"),
        pytest.param((80, 24), LIGHT, ["left", "v"], "halfblock", id="grid-compact"),
        pytest.param((80, 24), DARK, ["left", "left", "w"], "none", id="table-alone"),
    ],
)
def test_screens(
    snap_compare: Compare, run_dir: RunDir, make_app: MakeApp, size: tuple[int, int], theme: str, keys: list[str],
    way: str,
) -> None:
    for index in range(9):  # one colour, so that no JPEG decoder changes the picture
        Image.new("RGB", (400, 300), (90, 80, 60)).save(run_dir.preview_photo(index), "PNG")
    app = make_app(Path("runs"), graphics=way, theme=theme)
    assert snap_compare(app, terminal_size=size, run_before=_press(app, keys))


def _press(app: WatchApp, keys: list[str]) -> Callable[[Pilot[None]], object]:
    async def run_before(pilot: Pilot[None]) -> None:
        await settle(pilot, app)
        await open_previews(pilot, app)
        await press(pilot, app, *keys)

    return run_before


async def test_in_sixels_a_picture_is_sent_once_a_change(
    run_dir: RunDir, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Drawing | None] = []

    def show(canvas: PictureCanvas, drawing: Drawing, room: Size, *, through_tmux: bool) -> None:
        shown.append(drawing)
        really_show(canvas, drawing, room, through_tmux=through_tmux)

    monkeypatch.setattr(PictureCanvas, "show", show)
    app = make_app(Path("runs"), graphics="sixel")
    async with running(app) as pilot:
        await open_previews(pilot, app)
        canvas = app.screen.query_one("#pictures-grid PictureCanvas", PictureCanvas)
        await until(pilot, lambda: bool(shown), "drawn")
        shown.clear()
        await press(pilot, app, "left")
        app._draw()
        await settle(pilot, app)
        assert len(shown) == 1
        lines = canvas.render_lines(Region(0, 0, *canvas.size))
        assert [line.cell_length for line in lines] == [canvas.size.width] * canvas.size.height
        assert sum(text.count("\x1bP") for line in lines for text, *_ in line) == 1
        cut = canvas.render_lines(Region(0, 0, 5, 2))
        assert not any("\x1b" in line.text for line in cut)


really_show = PictureCanvas.show
