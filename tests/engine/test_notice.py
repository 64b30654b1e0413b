"""Notices: a real command, a real server, and hooks that fail, hang or print rubbish."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine import notice
from engine.notice import Notices, Told, queue_notice, run_notice
from engine.settings import Notice
from tests.builders import wait_for

FINISHED = Told("finished", "0001-a finished", "0001-a", "finished", best_ap50=0.5, runs_dir="/runs", time=5.0)


class Server(ThreadingHTTPServer):
    """Keeps what is posted; answers with the codes it is given, then 200."""

    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[tuple[str, Any, str]] = []
        self.codes: list[int] = []
        self.wait_s = 0.0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?key=1"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.wait_s)
        self.server.received.append((self.path, json.loads(body), self.headers["Content-Type"]))
        self.send_response(self.server.codes.pop(0) if self.server.codes else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(notice, "_RETRY_AFTER_S", 0.01)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def deliver(tmp_path: Path, settings: Notice, *told: Told) -> str:
    """Deliver notices; returns the log of those that failed."""
    notices = Notices(settings, tmp_path / "notices.log")
    for one in told:
        notices.tell(one)
    notices.close()
    log = tmp_path / "notices.log"
    return log.read_text(encoding="utf-8") if log.exists() else ""


# --- what is told ---


def test_what_a_run_tells(tmp_path: Path) -> None:
    told = run_notice("0001-a", "finished", "", "", 0.8125, tmp_path)
    assert told is not None
    assert (told.event, told.text, told.runs_dir) == ("finished", "0001-a finished, best AP50 0.812", str(tmp_path))
    told = run_notice("0001-a", "failed", "the loss\x1b[31m exploded", "diverged", None, tmp_path)
    assert told is not None
    assert (told.event, told.text) == ("failed", "0001-a failed: the loss\\x1b[31m exploded")
    assert run_notice("0001-a", "queued", "saved", "", None, tmp_path) is None
    assert run_notice("0001-a", "held", "", "", None, tmp_path) is None


def test_what_the_queue_tells(tmp_path: Path) -> None:
    assert queue_notice({"finished": 2, "failed": 1}, tmp_path).text == "the queue has ended: 2 finished, 1 failed"
    assert queue_notice({}, tmp_path).text == "the queue has ended: nothing was to be done"


# --- a command ---


def test_a_command_gets_the_notice_as_json_and_in_words(tmp_path: Path) -> None:
    words = "$ENGINE_TEXT|$ENGINE_EVENT|$ENGINE_RUN|$ENGINE_STATE"
    command = f"cat > '{tmp_path}/body'; echo \"{words}\" > '{tmp_path}/words'"
    assert deliver(tmp_path, Notice(command=command), FINISHED) == ""
    assert json.loads((tmp_path / "body").read_text()) == {
        "event": "finished", "text": "0001-a finished", "run": "0001-a", "state": "finished", "best_ap50": 0.5,
        "runs_dir": "/runs", "time": 5.0,
    }
    assert (tmp_path / "words").read_text() == "0001-a finished|finished|0001-a|finished\n"


def test_notices_are_delivered_in_order(tmp_path: Path) -> None:
    told = [Told("finished", f"run {number}") for number in range(5)]
    deliver(tmp_path, Notice(command=f"echo $ENGINE_TEXT >> '{tmp_path}/words'"), *told)
    assert (tmp_path / "words").read_text().splitlines() == [f"run {number}" for number in range(5)]


def test_text_of_a_run_is_never_part_of_the_command(tmp_path: Path) -> None:
    told = Told("failed", f"$(touch '{tmp_path}/pwned'); `touch '{tmp_path}/pwned'`")
    deliver(tmp_path, Notice(command=f"echo \"$ENGINE_TEXT\" > '{tmp_path}/words'"), told)
    assert not (tmp_path / "pwned").exists()
    assert "$(touch" in (tmp_path / "words").read_text()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exit 3", "exit code 3"), ("echo no such thing >&2; exit 1", "exit code 1: no such thing"),
        ("there-is-no-such-command", "exit code 127"), ("kill -9 $$", "exit code -9"),
        ("printf '\\033[31m\\377\\n'; exit 1", "\\x1b[31m"),
    ],
)
def test_a_command_that_fails_is_told_in_the_log(tmp_path: Path, command: str, told: str) -> None:
    log = deliver(tmp_path, Notice(command=command), FINISHED)
    assert told in log
    assert "0001-a finished" in log
    assert "\x1b" not in log


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "COMMAND_TIMEOUT_S", 0.2)
    begun = time.monotonic()
    log = deliver(tmp_path, Notice(command=f"(sleep 1; touch '{tmp_path}/late') & sleep 60"), FINISHED)
    assert time.monotonic() - begun < 0.9
    assert "not done within 0.2 s" in log
    time.sleep(max(0.0, 1.2 - (time.monotonic() - begun)))
    assert not (tmp_path / "late").exists()


def test_a_command_that_reads_nothing_disturbs_nobody(tmp_path: Path) -> None:
    long = Told("finished", "x" * 300_000)
    assert deliver(tmp_path, Notice(command="exec <&-; exit 0"), Told("finished", "x")) == ""
    notices = Notices(Notice(command="true"), tmp_path / "notices.log")
    notices.tell(long)
    notices.close()


# --- a webhook ---


def test_a_webhook_is_posted_to(tmp_path: Path, server: Server) -> None:
    assert deliver(tmp_path, Notice(webhook=server.url), FINISHED) == ""
    [(path, body, kind)] = server.received
    assert (path, kind) == ("/hook?key=1", "application/json")
    assert (body["event"], body["text"], body["run"]) == ("finished", "0001-a finished", "0001-a")


def test_a_server_that_stumbles_is_asked_again_and_one_that_refuses_is_not(tmp_path: Path, server: Server) -> None:
    server.codes = [503]
    assert deliver(tmp_path, Notice(webhook=server.url), FINISHED) == ""
    assert len(server.received) == 2
    server.codes = [503, 500]
    assert "answered 500" in deliver(tmp_path, Notice(webhook=server.url), FINISHED)
    server.codes = [404]
    assert "answered 404" in deliver(tmp_path, Notice(webhook=server.url), FINISHED)
    assert len(server.received) == 5


def test_a_server_that_is_slow_or_gone_is_told_and_holds_nobody_up(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice, "WEBHOOK_TIMEOUT_S", 0.1)
    server.wait_s = 1.0
    notices = Notices(Notice(webhook=server.url), tmp_path / "notices.log")
    begun = time.monotonic()
    notices.tell(FINISHED)
    assert time.monotonic() - begun < 0.1
    notices.close()
    assert "webhook not delivered" in (tmp_path / "notices.log").read_text()
    (tmp_path / "notices.log").unlink()
    assert "not delivered" in deliver(tmp_path, Notice(webhook="http://127.0.0.1:9/"), FINISHED)
    assert "not delivered" in deliver(tmp_path, Notice(webhook="http://[broken"), FINISHED)
    server.wait_s = 0.0


def test_command_and_webhook_are_told_both(tmp_path: Path, server: Server) -> None:
    log = deliver(tmp_path, Notice(command="exit 1", webhook=server.url), FINISHED)
    assert "command not delivered" in log
    assert len(server.received) == 1


# --- whom and when ---


def test_only_what_was_asked_for_is_told(tmp_path: Path) -> None:
    settings = Notice(command=f"echo $ENGINE_EVENT >> '{tmp_path}/words'", on=("failed",))
    deliver(tmp_path, settings, FINISHED, Told("failed", "x"), Told("queue ended", "y"))
    assert (tmp_path / "words").read_text() == "failed\n"


def test_the_bell_rings_only_where_it_was_asked_for_and_can(tmp_path: Path) -> None:
    rung: list[str] = []
    Notices(Notice(), tmp_path / "log", lambda: rung.append("x")).tell(FINISHED)
    Notices(Notice(bell=True), tmp_path / "log", None).tell(FINISHED)
    assert rung == []
    Notices(Notice(bell=True), tmp_path / "log", lambda: rung.append("x")).tell(FINISHED)
    assert rung == ["x"]


def test_without_hooks_there_is_no_thread_and_closing_is_quick(tmp_path: Path) -> None:
    before = threading.active_count()
    notices = Notices(Notice(), tmp_path / "log")
    notices.tell(FINISHED)
    assert threading.active_count() == before
    notices.close()


def test_closing_doesnt_wait_for_ever(tmp_path: Path) -> None:
    notices = Notices(Notice(command="sleep 0.6"), tmp_path / "log")
    notices.tell(FINISHED)
    begun = time.monotonic()
    notices.close(0.1)
    assert time.monotonic() - begun < 0.5
    assert notices._thread is not None
    notices._thread.join()


def test_a_log_that_cant_be_written_or_grows_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notices = Notices(Notice(command="exit 1"), tmp_path / "no such folder" / "log")
    notices.tell(FINISHED)
    notices.close()
    monkeypatch.setattr(notice, "_MOST_LOG_BYTES", 10)
    for _ in range(5):
        deliver(tmp_path, Notice(command="exit 1"), FINISHED)
    assert {path.name for path in tmp_path.glob("notices*")} == {"notices.log", "notices.before.log"}
    wait_for(lambda: (tmp_path / "notices.log").stat().st_size < 200, 1)
