from __future__ import annotations

import builtins
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from tests.tui.build import an_evening
from tui.serve import addresses, is_own_page, serve
from tui.target import Target, target_of


@pytest.mark.parametrize(
    ("host", "origin", "is_own"),
    [
        ("localhost:8321", "http://localhost:8321", True),
        ("127.0.0.1:8321", "http://127.0.0.1:8321", True),
        ("localhost:9000", "http://localhost:9000", True),  # through a tunnel
        ("localhost:8321", "http://evil.example", False),
        ("localhost:8321", "http://localhost:3000", False),
        ("evil.example:8321", "http://evil.example:8321", False),  # DNS rebinding
        ("localhost:8321", None, False),
        ("", None, False),
    ],
)
def test_only_its_own_pages_may_connect(host: str, origin: str | None, is_own: bool) -> None:
    assert is_own_page(host, origin) is is_own


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("textual_serve"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match="pip install textual-serve"):
        serve([], 8321)


def test_a_port_that_is_taken_says_so() -> None:
    pytest.importorskip("textual_serve")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EngineError, match="--port"):
            serve([], other.getsockname()[1])


def test_it_is_reached_through_ssh() -> None:
    assert "ssh -L 8321:localhost:8321" in "\n".join(addresses(8321))


@pytest.mark.slow
def test_a_page_is_served_on_this_machine_only(tmp_path: Path) -> None:
    pytest.importorskip("textual_serve")
    an_evening(tmp_path / "runs", with_previews=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "engine.cli.main", "watch", str(tmp_path / "runs"), "--serve", f"--port={port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert f"http://localhost:{port}" in process.stdout.readline()
        assert f"ws://localhost:{port}/ws" in _page(port)
        request = urllib.request.Request(f"http://localhost:{port}/", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(request)  # noqa: S310 - made here
    finally:
        process.terminate()
        process.communicate()


def _page(port: int) -> str:
    """What the server sends, once it listens."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/") as page:
                return page.read().decode()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("nobody listens")


def test_a_folder_is_a_runs_folder_or_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    an_evening(tmp_path / "runs", with_previews=False)
    monkeypatch.chdir(tmp_path)
    assert target_of(Path("runs")) == Target(Path("runs"))
    assert target_of(Path("gone")) == Target(Path("gone"))
    assert target_of(Path("runs/0001-desk-mobilenet")) == Target(Path("runs"), "0001-desk-mobilenet")
    (tmp_path / "runs" / "0001-desk-mobilenet").rename(tmp_path / "a copy")
    assert target_of(Path("a copy")) == Target(Path(), "a copy")
    monkeypatch.chdir(tmp_path / "a copy")
    assert target_of(Path()) == Target(tmp_path, "a copy")
