"""The dashboard's main screen: the queue on the left, the chosen run on the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL.Image import Image
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from engine.errors import printable
from engine.events import Preview, PreviewEvent
from tui.curves import loss_plot, precision_plot, rate_plot
from tui.feed import Fleet, PictureKey
from tui.graphics import Graphics
from tui.screens.help import HelpScreen
from tui.view import RunView
from tui.widgets.chart import Chart
from tui.widgets.facts import Facts
from tui.widgets.key_line import KeyLine
from tui.widgets.log import LogView
from tui.widgets.picture import Picture
from tui.widgets.queue import QueueList
from tui.widgets.run_header import RunHeader
from tui.widgets.scrubber import Scrubber
from tui.widgets.tabs import PanelTabs, Tab
from tui.widgets.top_bar import TopBar
from tui.widgets.welcome import Welcome
from tui.words import joined

PANELS = (
    Tab("overview", "Overview"),
    Tab("curves", "Curves"),
    Tab("pictures", "Pictures"),
    Tab("log", "Log"),
    Tab("facts", "Facts"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything the screen shows, as the app knows it now.

    Attributes:
        fleet: The runs folder.
        views: Its runs, by number.
        chosen: The run on the right.
        log: That run's log.
        now: Seconds since 1970.
    """

    fleet: Fleet
    views: tuple[RunView, ...]
    chosen: RunView | None
    log: tuple[str, ...]
    now: float


class MainScreen(Screen[None]):
    """Queue, run header and panels.

    Args:
        runs_dir: The runs folder as the person named it.
        graphics: How pictures are drawn in this terminal.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (150, "-vast")]  # noqa: RUF012 - Textual's own form
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall"), (50, "-lofty")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave", "Leave; training goes on", show=False),
        Binding("j,down", "move(1)", "Next run", show=False),
        Binding("k,up", "move(-1)", "Previous run", show=False),
        Binding("g,home", "move(-100000)", "First run", show=False),
        Binding("G,end", "move(100000)", "Last run", show=False),
        Binding("a", "app.follow", "Follow the running run", show=False),
        *(
            Binding(str(digit), f"panel('{tab.panel}')", f"Panel: {tab.title}", show=False)
            for digit, tab in enumerate(PANELS, start=1)
        ),
        Binding("tab", "app.focus_next", "From queue to panel", show=False),
        Binding("shift+tab", "app.focus_previous", "From panel to queue", show=False),
        Binding("pageup", "page(-1)", "Scroll the panel up", show=False),
        Binding("pagedown", "page(1)", "Scroll the panel down", show=False),
        Binding("left", "epoch(-1)", "Previews: epoch before", show=False),
        Binding("right", "epoch(1)", "Previews: epoch after", show=False),
        Binding("n", "image(1)", "Previews: next image", show=False),
        Binding("p", "image(-1)", "Previews: image before", show=False),
        Binding("l", "log_axis", "Linear or log axis", show=False),
        Binding("s", "smooth", "Calm or raw curves", show=False),
        Binding("f", "full_width", "Hide or show the queue", show=False),
        Binding("t", "app.switch_theme", "Dark or light", show=False),
        Binding("ctrl+p", "app.command_palette", "Command palette", show=False),
        Binding("question_mark", "help", "Every key", show=False),
    ]

    class Ready(Message):
        """Every part is there; something may be shown."""

    @dataclass
    class PictureWanted(Message):
        """A preview should be loaded."""

        key: PictureKey

    def __init__(self, runs_dir: str, graphics: Graphics) -> None:
        super().__init__()
        self._scene: Scene | None = None
        self._panel = PANELS[0].panel
        self._log_axis = False
        self._smoothed = True
        self._epoch: int | None = None
        self._image = 0
        self._graphics = graphics
        self._runs_dir = runs_dir
        self._picture_key: PictureKey | None = None
        self.is_loading_picture = False
        self._picture: tuple[Image | None, str] = (None, "")

    def compose(self) -> ComposeResult:
        """Lay the parts out."""
        yield TopBar(self._runs_dir)
        with Horizontal(id="body"):
            yield QueueList(id="queue")
            with Vertical(id="run"):
                yield RunHeader()
                yield PanelTabs(PANELS)
                with ContentSwitcher(initial="overview", id="panels"):
                    yield from self._panels()
            yield Welcome(self._runs_dir)
        yield KeyLine()

    def _panels(self) -> ComposeResult:
        with Vertical(id="overview"):
            yield Chart("Loss by step", id="overview-loss")
            with Horizontal(id="overview-lower"):
                yield Chart("AP by epoch", id="overview-precision")
                yield Picture(self._graphics, id="overview-picture")
            yield LogView(id="overview-log")
        with Vertical(id="curves"):
            yield Chart("Loss by step", id="curves-loss")
            with Horizontal(id="curves-lower"):
                yield Chart("AP by epoch", id="curves-precision")
                yield Chart("Learning rate by step", id="curves-rate")
        with Vertical(id="pictures"):
            yield Picture(self._graphics, id="pictures-picture")
            yield Scrubber()
        yield LogView(id="log")
        with VerticalScroll(id="facts"):
            yield Facts()

    def on_mount(self) -> None:
        """The keys begin at the queue."""
        self.query_one(QueueList).focus()
        self.post_message(self.Ready())
        self.query_one("#overview-log").border_title = "Log"

    # --- what the app hands over ---

    @property
    def is_standing(self) -> bool:
        """Whether the first and the last part are there."""
        return bool(self.query(TopBar)) and bool(self.query(KeyLine))

    def show(self, scene: Scene) -> None:
        """Show the state of things."""
        old, self._scene = self._scene, scene
        if old is None or _run_id(old.chosen) != _run_id(scene.chosen):
            self._epoch = None
        self.query_one(TopBar).show(scene.fleet, scene.views, scene.now)
        if self.has_class("-empty") != (not scene.views):
            self.set_class(not scene.views, "-empty")
            # Some terminals kept what was there (pictures in pixels most of all) until the next resize.
            self.call_after_refresh(self.refresh, layout=True)
        self.query_one(QueueList).show(scene.views, _run_id(scene.chosen), scene.now)
        if scene.chosen is not None:
            self.query_one(RunHeader).show(scene.chosen, scene.now)
            self._show_panel(scene.chosen)

    def show_picture(self, key: PictureKey, image: Image | None, trouble: str) -> None:
        """A picture that was asked for has come, unless another one was asked for since."""
        if key == self._picture_key:
            self._picture = image, trouble
            self.is_loading_picture = False
            self._draw_picture()

    # --- panels ---

    def _show_panel(self, view: RunView) -> None:
        match self._panel:
            case "overview":
                self._show_loss(view, "#overview-loss")
                self._show_precision(view, "#overview-precision")
                self._show_previews(view)
                self._log_view("#overview-log")
            case "curves":
                self._show_loss(view, "#curves-loss")
                self._show_precision(view, "#curves-precision")
                words = "log axis" if self._log_axis else ""
                self.query_one("#curves-rate", Chart).show(rate_plot(view, log=self._log_axis), words)
            case "pictures":
                self._show_previews(view)
            case "log":
                self._log_view("#log")
            case "facts":
                self.query_one(Facts).show(view)

    def _show_loss(self, view: RunView, chart: str) -> None:
        plot = loss_plot(view, log=self._log_axis, smoothed=self._smoothed)
        words = joined(["log axis" if self._log_axis else "", "" if self._smoothed else "raw"])
        self.query_one(chart, Chart).show(plot, words)

    def _show_precision(self, view: RunView, chart: str) -> None:
        self.query_one(chart, Chart).show(precision_plot(view))

    def _log_view(self, log: str) -> None:
        assert self._scene is not None
        self.query_one(log, LogView).show(self._scene.log)

    # --- previews ---

    def _show_previews(self, view: RunView) -> None:
        event, preview, index = self._preview(view)
        if event is None or preview is None:
            self._picture_key, self._picture = None, (None, _no_preview_words(view))
            self.is_loading_picture = False
            self.query_one(Scrubber).show(0, 0, "", "")
            self._caption("")
            self._draw_picture()
            return
        key = PictureKey(view.run_id, preview.path)
        if key != self._picture_key:
            self._picture_key = key
            self.is_loading_picture = True
            self.post_message(self.PictureWanted(key))
        self._tell_preview(view, event, preview, index)

    def _preview(self, view: RunView) -> tuple[PreviewEvent | None, Preview | None, int]:
        """The chosen epoch's previews, the chosen one of them, and its index."""
        if not view.previews:
            return None, None, 0
        chosen = [event for event in view.previews if event.epoch == self._epoch]
        event = chosen[0] if chosen else view.previews[-1]
        if not event.previews:
            return event, None, 0
        index = self._image % len(event.previews)
        return event, event.previews[index], index

    def _tell_preview(self, view: RunView, event: PreviewEvent, preview: Preview, index: int) -> None:
        epoch = f"epoch {event.epoch + 1}"
        image = f"image {index + 1}/{len(event.previews)}"
        found = f"{preview.num_detections} found, {preview.num_ground_truth} true"
        self._caption(joined([epoch, image]))
        newest = "latest" if event is view.previews[-1] else ""
        self.query_one(Scrubber).show(
            view.previews.index(event),
            len(view.previews),
            joined([epoch, newest, image, printable(preview.image)]),
            found,
        )

    def _caption(self, words: str) -> None:
        picture, title = self.query_one("#overview-picture"), joined(["Preview", words])
        if picture.border_title != title:  # assigning it draws the picture again
            picture.border_title = title

    def _draw_picture(self) -> None:
        if self._panel in {"overview", "pictures"}:
            image, words = self._picture
            self.query_one(f"#{self._panel}-picture", Picture).show(image, printable(words))

    # --- keys ---

    def action_move(self, places: int) -> None:
        """Choose another run."""
        scene = self._scene
        if scene is None or not scene.views:
            return
        runs = [view.run_id for view in scene.views]
        chosen = _run_id(scene.chosen)
        at = runs.index(chosen) if chosen in runs else 0
        target = runs[max(0, min(len(runs) - 1, at + places))]
        self.post_message(QueueList.Chosen(target))

    def action_panel(self, panel: str) -> None:
        """Open a panel."""
        self._panel = panel
        self.query_one("#panels", ContentSwitcher).current = panel
        self.query_one(PanelTabs).show(panel)
        self._show_again()
        if panel in {"overview", "pictures"}:
            self._draw_picture()

    def action_next_panel(self) -> None:
        """Open the panel after this one."""
        panels = [tab.panel for tab in PANELS]
        self.action_panel(panels[(panels.index(self._panel) + 1) % len(panels)])

    def action_epoch(self, places: int) -> None:
        """Look at the previews of another epoch; at the last one, follow the new ones again."""
        view = self._scene.chosen if self._scene else None
        if view is None or not view.previews:
            return
        event, _, _ = self._preview(view)
        at = view.previews.index(event) if event else 0
        target = max(0, min(len(view.previews) - 1, at + places))
        self._epoch = None if target == len(view.previews) - 1 else view.previews[target].epoch
        self._show_again()

    def action_image(self, places: int) -> None:
        """Look at another image of the same epoch."""
        view = self._scene.chosen if self._scene else None
        event = self._preview(view)[0] if view else None
        if event is not None and event.previews:
            self._image = (self._image + places) % len(event.previews)
            self._show_again()

    def action_log_axis(self) -> None:
        """Logarithmic or linear axes."""
        self._log_axis = not self._log_axis
        self._show_again()

    def action_smooth(self) -> None:
        """Calm or raw curves."""
        self._smoothed = not self._smoothed
        self._show_again()

    def action_full_width(self) -> None:
        """Hide or show the queue."""
        self.toggle_class("-full")

    def action_page(self, pages: int) -> None:
        """Scroll what the open panel shows."""
        target = {"log": "#log", "facts": "#facts", "overview": "#overview-log"}.get(self._panel)
        if target is not None:
            panel = self.query_one(target)
            panel.scroll_relative(y=pages * max(1, panel.size.height - 2), animate=False)

    def action_help(self) -> None:
        """Every key."""
        self.app.push_screen(HelpScreen([binding for binding in self.BINDINGS if isinstance(binding, Binding)]))

    def _show_again(self) -> None:
        if self._scene is not None:
            self.show(self._scene)


def _run_id(view: RunView | None) -> str | None:
    return view.run_id if view is not None else None


def _no_preview_words(view: RunView) -> str:
    if view.state in {"queued", "held"}:
        return "pictures come with the first epoch"
    return "the first pictures come at the end of an epoch" if view.is_active else "this run drew no pictures"
