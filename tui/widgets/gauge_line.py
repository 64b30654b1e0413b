"""One line on the machine: how long the supervisor has been at work, load, memory, GPUs, disk, the queue's end."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from engine.diskroom import LEAST_FREE_BYTES
from engine.errors import printable
from engine.forecast import clock_words
from tui.gauges import Gauges, GpuGauge
from tui.scene import Scene
from tui.widgets.inked import Piece, inked_text, width_of
from tui.words import bar, duration

_GAP: Piece = ("   ", "")
_FULL = 0.92
_LITTLE_DISK = 10 * LEAST_FREE_BYTES


class GaugeLine(Widget):
    """The machine at one glance; what matters least goes first where the screen is narrow."""

    DEFAULT_CSS = "GaugeLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._groups: list[list[Piece]] = []

    def show(self, scene: Scene) -> None:
        """Tell the gauges of now."""
        groups = gauge_groups(scene)
        if groups != self._groups:
            self._groups = groups
            self.refresh()

    def render(self) -> Text:
        """The line."""
        pieces: list[Piece] = []
        for group in self._groups:
            added = [*([_GAP] if pieces else []), *group]
            if width_of(pieces) + width_of(added) <= self.size.width:
                pieces += added
        return inked_text(self, pieces)


def gauge_groups(scene: Scene, start: str = "S") -> list[list[Piece]]:
    """What there is to tell, most important first.

    Args:
        scene: The state of things.
        start: What starts to work on the queue, as it is typed.
    """
    gauges = scene.gauges
    groups = [_at_work(scene, start), done_piece(scene), *(_gpu(gpu) for gpu in gauges.gpus)]
    groups += [_load(gauges), _memory(gauges), _disk(gauges)]
    return [group for group in groups if group]


def _at_work(scene: Scene, start: str) -> list[Piece]:
    if not scene.fleet.has_queue:
        return [("no queue here, only runs to look at", "warning")]
    if not scene.fleet.is_supervised:
        if not any(standing.row.state == "queued" for standing in scene.board.standings):
            return [("nobody is at work here", "muted")]
        return [("! nobody is at work here: ", "warning"), (start, "accent!"), (" starts", "warning")]
    since = scene.gauges.supervised_since
    return [("at work ", "muted"), (duration(scene.now - since) if since is not None else "", "text")]


def done_piece(scene: Scene) -> list[Piece]:
    """When all is done, or work ends; nothing where that can't be told."""
    board, now = scene.board, scene.now
    if board.queue_done_at is None or not board.is_supervised or board.paused is not None:
        return []
    if board.until is not None and board.until < board.queue_done_at:
        return [("work ends ", "muted"), (clock_words(board.until, now), "strong")]
    early = any(standing.at_the_latest for standing in board.standings)
    words = f"{'≤' if early else ''}{clock_words(board.queue_done_at, now)}"
    return [("queue done " if len(scene.views) > 1 else "done ", "muted"), (words, "strong")]


def _gpu(gpu: GpuGauge) -> list[Piece]:
    pieces: list[Piece] = [(f"GPU {gpu.index} ", "muted")]
    if gpu.load is not None:
        pieces += [*_meter(gpu.load), (f" {gpu.load:3.0%}", "text")]
    if gpu.used_bytes is not None and gpu.total_bytes:
        share = gpu.used_bytes / gpu.total_bytes
        words = f" {_gigabytes(gpu.used_bytes)}/{_gigabytes(gpu.total_bytes)} GB"
        pieces.append((words, "warning" if share > _FULL else "text"))
    if gpu.celsius is not None:
        pieces.append((f" {gpu.celsius} °C", "muted"))
    return pieces if len(pieces) > 1 else [*pieces, (printable(gpu.name), "text")]


def _load(gauges: Gauges) -> list[Piece]:
    if gauges.load is None:
        return []
    share = f" {gauges.load:3.0%}"
    return [("cpu ", "muted"), *_meter(gauges.load), (share, "text"), (f" of {gauges.num_cores}", "muted")]


def _memory(gauges: Gauges) -> list[Piece]:
    if gauges.used_bytes is None or not gauges.total_bytes:
        return []
    share = gauges.used_bytes / gauges.total_bytes
    words = f" {_gigabytes(gauges.used_bytes)}/{_gigabytes(gauges.total_bytes)} GB"
    return [("memory ", "muted"), *_meter(share), (words, "warning" if share > _FULL else "text")]


def _disk(gauges: Gauges) -> list[Piece]:
    if gauges.disk_free_bytes is None:
        return []
    is_little = gauges.disk_free_bytes < _LITTLE_DISK
    words = f"{_gigabytes(gauges.disk_free_bytes)} GB free"
    return [("disk ", "muted"), (f"{'! ' if is_little else ''}{words}", "warning" if is_little else "text")]


def _meter(share: float) -> list[Piece]:
    done, rest = bar(share, 5)
    return [(done, "warning" if share > _FULL else "val"), (rest, "open")]


def _gigabytes(size_bytes: int) -> str:
    size = size_bytes / 1e9
    return f"{size:.1f}" if size < 100 else f"{size:.0f}"
