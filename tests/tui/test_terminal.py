"""The real command on a real pseudo-terminal: how it leaves it."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from engine.cli.main import cli
from tests.tui.build import an_evening
from tests.tui.terminal import Terminal, opened
from tui import graphics as graphics_module
from tui.graphics import Graphic, Graphics, asks_terminal, choose_graphics
from tui.inquiry import Features

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


def left_to_the_shell(terminal: Terminal) -> bytes:
    """What a shell would read next, as if typed."""
    modes = termios.tcgetattr(terminal.theirs)
    modes[3] &= ~termios.ICANON
    termios.tcsetattr(terminal.theirs, termios.TCSANOW, modes)
    found = select.select([terminal.theirs], [], [], 0.2)[0]
    return os.read(terminal.theirs, 4096) if found else b""


def is_hushed(terminal: Terminal) -> bool:
    return not termios.tcgetattr(terminal.theirs)[3] & termios.ECHO


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_keys_typed_before_the_first_screen_reach_it_and_nothing_else(terminal: Terminal) -> None:
    wait_for(lambda: is_hushed(terminal))
    assert terminal.output == b""  # nothing is drawn yet
    os.write(terminal.ours, b"\x1bOP6q\r")  # F1 means nothing here
    assert terminal.wait() == 0
    assert termios.tcgetattr(terminal.theirs) == terminal.modes
    assert not terminal.output.startswith((b"^[", b"6", b"\x1bOP"))
    assert left_to_the_shell(terminal) == b""


_WHO_ARE_YOU = b"\x1b[c"
_I_AM_A_VT = b"\x1b[?62;4;22c"


@pytest.mark.parametrize("graphics", ["auto"])
def test_an_answer_that_comes_at_once_decides_how_pictures_are_drawn(terminal: Terminal) -> None:
    assert terminal.read(_WHO_ARE_YOU)
    os.write(terminal.ours, b"4" + _I_AM_A_VT)  # and a key before it
    assert terminal.read(b"\x1bP")  # a picture in sixels, on the panel of that key
    os.write(terminal.ours, _I_AM_A_VT + b"q")
    assert terminal.wait() == 0
    assert left_to_the_shell(terminal) == b""


@pytest.mark.parametrize("graphics", ["auto"])
def test_an_answer_that_comes_late_is_no_key(terminal: Terminal) -> None:
    assert terminal.read(b"desk-r50")
    os.write(terminal.ours, _I_AM_A_VT[:6])  # "?" would open the help, "c" ask whether to cancel
    assert terminal.settle()
    os.write(terminal.ours, _I_AM_A_VT[6:] + b"\x1b_Gi=31;ENOENT\x1b\\" + _I_AM_A_VT)
    terminal.listen(1.0)
    assert b"Everywhere" not in terminal.output
    assert b"Cancel" not in terminal.output
    os.write(terminal.ours, b"q")
    assert terminal.wait() == 0


@pytest.mark.parametrize("graphics", ["auto"])
def test_an_answer_that_comes_after_leaving_does_not_reach_the_shell(terminal: Terminal) -> None:
    wait_for(lambda: is_hushed(terminal))
    os.write(terminal.ours, b"q")
    assert terminal.read(_MAIN_SCREEN)
    os.write(terminal.ours, 2 * _I_AM_A_VT)
    assert terminal.wait() == 0
    assert _I_AM_A_VT[1:] not in terminal.output  # nor is it echoed
    assert left_to_the_shell(terminal) == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_before_the_first_screen_leaves_the_terminal_as_it_was(
    terminal: Terminal, number: signal.Signals
) -> None:
    wait_for(lambda: is_hushed(terminal))
    terminal.process.send_signal(number)
    assert terminal.wait() == 128 + number
    assert termios.tcgetattr(terminal.theirs) == terminal.modes


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


def test_once_of_one_run_tells_nothing_of_the_others(runs_dir: Path) -> None:
    told = run_watch(str(runs_dir / "0001-desk-mobilenet"), "--once").stdout
    assert told.startswith("✔ 0001 desk-mobilenet")
    assert not any(words in told for words in ("nobody is at work", "cpu", "memory", "0002", "queued"))


def test_once_with_nothing_to_show(tmp_path: Path) -> None:
    done = run_watch("--runs", str(tmp_path / "runs"), "--once")
    assert done.returncode == 0
    assert "there is no folder" in done.stdout
    (tmp_path / "runs").mkdir()
    assert "nothing in" in run_watch("--runs", str(tmp_path / "runs"), "--once").stdout


def test_the_dashboard_needs_neither_torch_nor_the_supervisor() -> None:
    code = "import sys, tui.app; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'textual_image')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert cli.get_command(cli.make_context("engine", ["watch"]), "watch") is not None


_SIXEL, _KITTY = Features(has_sixel=True, cell=(9, 18)), Features(has_kitty=True, cell=(9, 18))
_NEITHER = Features()


@pytest.mark.parametrize(
    ("found", "told", "way"),
    [
        pytest.param(_SIXEL, "256,RGB,sixel,title", "sixel", id="tmux and the terminal take sixel"),
        pytest.param(_SIXEL, "256,RGB,title", "halfblock", id="the terminal round tmux does not"),
        pytest.param(_SIXEL, "", "halfblock", id="tmux doesn't say"),
        pytest.param(_NEITHER, "sixel", "halfblock", id="tmux itself takes none"),
        pytest.param(_NEITHER, "xterm-kitty on", "kitty", id="a kitty round tmux, which lets it pass"),
        pytest.param(_NEITHER, "xterm-ghostty all", "kitty", id="a Ghostty round tmux"),
        pytest.param(_NEITHER, "xterm-kitty off", "halfblock", id="tmux lets nothing pass"),
        pytest.param(_NEITHER, "xterm-256color on", "halfblock", id="nobody knows what is round tmux"),
    ],
)
def test_inside_tmux_pixels_need_the_terminal_round_it(
    monkeypatch: pytest.MonkeyPatch, found: Features, told: str, way: Graphics
) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")  # noqa: S108 - a socket that nobody opens
    monkeypatch.setattr(graphics_module, "_tmux_says", lambda _: told)
    chosen = choose_graphics("auto", lambda: found)
    assert (chosen.way, chosen.through_tmux) == (way, True)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tmux, no screen."""
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("bare")
def test_screen_shows_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "screen-256color")
    assert choose_graphics("auto", lambda: _SIXEL).way == "halfblock"


@pytest.mark.usefixtures("bare")
def test_the_terminal_decides_and_the_key_goes_through_what_it_takes() -> None:
    assert choose_graphics("auto", lambda: _SIXEL) == Graphic("sixel", ("sixel", "halfblock", "none"), (9, 18))
    assert choose_graphics("auto", lambda: _KITTY) == Graphic("kitty", ("kitty", "halfblock", "none"), (9, 18))
    assert choose_graphics("kitty", lambda: _SIXEL).way == "kitty"
    assert choose_graphics("auto", lambda: _NEITHER).choices == ("sixel", "kitty", "halfblock", "none")


@pytest.mark.parametrize("asked", ["halfblock", "none"])
def test_the_person_may_choose(asked: str) -> None:
    assert not asks_terminal(asked)
    assert choose_graphics(asked, None) == Graphic(asked)  # type: ignore[arg-type]


def test_a_terminal_without_a_size_is_drawn_on_in_characters() -> None:
    assert choose_graphics("auto", None) == Graphic("halfblock")
