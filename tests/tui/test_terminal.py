"""The real command on a real pseudo-terminal: how it leaves it."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from engine.cli.main import cli
from tests.tui.build import an_evening
from tests.tui.terminal import Terminal, opened
from tui import graphics as graphics_module
from tui.graphics import Graphic, Graphics, choose_graphics

_ALTERNATE_SCREEN = b"\x1b[?1049h"
_MAIN_SCREEN = b"\x1b[?1049l"


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs_dir = tmp_path_factory.mktemp("terminal") / "runs"
    an_evening(runs_dir)
    return runs_dir


@pytest.fixture
def graphics() -> str:
    return "halfblock"


@pytest.fixture
def size() -> tuple[int, ...]:
    """Rows, columns, and both in pixels."""
    return (24, 80, 800, 480)


@pytest.fixture
def terminal(runs_dir: Path, graphics: str, size: tuple[int, ...]) -> Iterator[Terminal]:
    with opened(runs_dir, graphics, size) as terminal:
        yield terminal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_leaves_the_terminal_as_it_was(terminal: Terminal, number: signal.Signals) -> None:
    assert terminal.read(b"desk-r50")
    assert termios.tcgetattr(terminal.theirs) != terminal.modes
    assert terminal.settle()
    terminal.process.send_signal(number)
    assert terminal.wait() == 128 + number
    assert termios.tcgetattr(terminal.theirs) == terminal.modes
    assert _MAIN_SCREEN in terminal.output


def test_q_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    assert terminal.read(b"desk-r50")
    os.write(terminal.ours, b"q")
    assert terminal.wait() == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.modes
    assert terminal.output.rindex(_MAIN_SCREEN) > terminal.output.rindex(_ALTERNATE_SCREEN)


def test_a_lost_terminal_ends_the_dashboard(terminal: Terminal) -> None:
    assert terminal.read(b"desk-r50")
    os.close(terminal.theirs)
    os.close(terminal.ours)
    assert terminal.process.wait(6) == 128 + signal.SIGHUP


@pytest.mark.parametrize(("size", "graphics"), [((0, 0, 0, 0), "auto"), ((24, 80, 0, 0), "auto")])
def test_a_terminal_that_tells_no_size_or_answers_no_questions(terminal: Terminal) -> None:
    assert terminal.read(b"desk-r50")
    os.write(terminal.ours, b"q")
    assert terminal.wait() == 0


@pytest.mark.parametrize(
    ("graphics", "sequence"), [("sixel", b"\x1bP"), ("kitty", b"\x1b_G"), ("halfblock", "▀".encode())]
)
def test_pictures_reach_the_terminal(terminal: Terminal, sequence: bytes) -> None:
    assert terminal.read(b"desk-r50")
    os.write(terminal.ours, b"4")
    assert terminal.read(sequence)
    os.write(terminal.ours, b"q")
    assert terminal.wait() == 0


_COMMAND = re.compile(rb"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")


@pytest.mark.parametrize("graphics", ["kitty"])
@pytest.mark.parametrize("size", [(40, 120, 1200, 800)])
def test_kittys_pictures_come_whole_and_go_with_their_panel(terminal: Terminal) -> None:
    assert terminal.read("\U0010eeee".encode())  # the overview's
    os.write(terminal.ours, b"4")
    assert terminal.read(b"a=d,d=I")
    terminal.output, before = b"", terminal.output
    assert terminal.read("\U0010eeee".encode())
    os.write(terminal.ours, b"6")
    assert terminal.read(b"a=d,d=I")
    os.write(terminal.ours, b"q")
    assert terminal.wait() == 0
    sent: dict[bytes, list[bytes]] = {}
    gone: set[bytes] = set()
    name = b""
    for head, chunk in _COMMAND.findall(before + terminal.output):
        values = dict(part.split(b"=") for part in head.split(b","))
        if values.get(b"a") == b"q":  # asked whether it knows them
            continue
        name = values.get(b"i", name)
        if values.get(b"a") == b"d":
            gone.add(name)
            continue
        if b"a" in values:
            assert (values[b"a"], values[b"U"], values[b"f"]) == (b"T", b"1", b"100")
            sent[name] = []
        assert len(chunk) <= 4096
        assert values[b"m"] == b"0" or len(chunk) % 4 == 0
        sent[name].append(chunk)
    assert len(sent) == 2
    assert gone == set(sent)
    for chunks in sent.values():
        Image.open(io.BytesIO(base64.b64decode(b"".join(chunks)))).verify()


def run_watch(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli.main", "watch", *options]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)


def test_without_a_terminal_one_line_says_so(runs_dir: Path) -> None:
    done = run_watch("--runs", str(runs_dir))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "engine watch --once" in done.stderr


def test_once_prints_the_state_as_text(runs_dir: Path) -> None:
    done = run_watch("--runs", str(runs_dir), "--once")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "✘ 0002 desk-r50-lr01" in done.stdout
    assert "Loss of 0004-desk-r50" in done.stdout
    assert "\x1b" not in done.stdout


def test_once_with_nothing_to_show(tmp_path: Path) -> None:
    done = run_watch("--runs", str(tmp_path / "runs"), "--once")
    assert done.returncode == 0
    assert "there is no folder" in done.stdout
    (tmp_path / "runs").mkdir()
    assert "nothing in" in run_watch("--runs", str(tmp_path / "runs"), "--once").stdout


def test_the_dashboard_needs_neither_torch_nor_the_supervisor() -> None:
    code = "import sys, tui.watch; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'textual_image')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert cli.get_command(cli.make_context("engine", ["watch"]), "watch") is not None


@pytest.mark.parametrize(
    ("found", "features", "way"),
    [
        pytest.param("sixel", "256,RGB,sixel,title", "sixel", id="tmux and the terminal take sixel"),
        pytest.param("sixel", "256,RGB,title", "halfblock", id="the terminal round tmux does not"),
        pytest.param("sixel", "", "halfblock", id="tmux doesn't say"),
        pytest.param("halfblock", "sixel", "halfblock", id="tmux itself takes none"),
        pytest.param("halfblock", "xterm-kitty on", "kitty", id="a kitty round tmux, which lets it pass"),
        pytest.param("halfblock", "xterm-ghostty all", "kitty", id="a Ghostty round tmux"),
        pytest.param("halfblock", "xterm-kitty off", "halfblock", id="tmux lets nothing pass"),
        pytest.param("halfblock", "xterm-256color on", "halfblock", id="nobody knows what is round tmux"),
    ],
)
def test_inside_tmux_pixels_need_the_terminal_round_it(
    monkeypatch: pytest.MonkeyPatch, found: Graphics, features: str, way: Graphics
) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")  # noqa: S108 - a socket that nobody opens
    monkeypatch.setattr(graphics_module, "_has_size", lambda: True)
    monkeypatch.setattr(graphics_module, "_probe", lambda: (found, (9, 18)))
    monkeypatch.setattr(graphics_module, "_tmux_says", lambda _: features)
    chosen = choose_graphics("auto")
    assert (chosen.way, chosen.through_tmux) == (way, True)


def test_screen_shows_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "screen-256color")
    monkeypatch.setattr(graphics_module, "_has_size", lambda: True)
    monkeypatch.setattr(graphics_module, "_probe", lambda: ("sixel", (9, 18)))
    assert choose_graphics("auto").way == "halfblock"


def test_the_terminal_decides_and_the_key_goes_through_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(graphics_module, "_has_size", lambda: True)
    monkeypatch.setattr(graphics_module, "_probe", lambda: ("sixel", (9, 18)))
    assert choose_graphics("auto") == Graphic("sixel", ("sixel", "halfblock", "none"), (9, 18))
    assert choose_graphics("kitty").way == "kitty"
    monkeypatch.setattr(graphics_module, "_probe", lambda: ("halfblock", (9, 18)))
    assert choose_graphics("auto").choices == ("sixel", "kitty", "halfblock", "none")


@pytest.mark.parametrize("asked", ["halfblock", "none"])
def test_the_person_may_choose(asked: str) -> None:
    assert choose_graphics(asked) == Graphic(asked)  # type: ignore[arg-type]
