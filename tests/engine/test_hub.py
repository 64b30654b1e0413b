"""Published weights on this machine: found, fetched whole or not at all, brought in by their content."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalogue import ARCHS, WeightsFile
from engine.errors import WeightsError
from engine.hub import cached_path, check_sha256, download, fetch_file, import_file, published, sha256_of

ARCH = "fasterrcnn_resnet18_fpn"
CONTENT = bytes(range(256)) * 5000


def named(content: bytes) -> WeightsFile:
    return WeightsFile(f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth", 1)


def code_of(error: pytest.ExceptionInfo[WeightsError]) -> str:
    [problem] = error.value.problems
    return problem.code


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torch hub keeps weights; it isn't there yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> WeightsFile:
    """A small file that counts as a detector's published backbone."""
    file = named(CONTENT)
    monkeypatch.setitem(ARCHS, ARCH, replace(ARCHS[ARCH], imagenet=file))
    return file


Serve = Callable[..., None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Have published files answered with some content, of which only a part comes when asked so."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(content: bytes, told_length: int | None = None, status: int = 200) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(told_length or len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", f"http://127.0.0.1:{server.server_port}/")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_every_file_is_listed_once_with_all_that_start_from_it() -> None:
    found = published()
    assert len({one.file.name for one in found}) == len(found)
    resnet50 = next(one for one in found if one.file.name.startswith("resnet50"))
    assert resnet50.word == "imagenet"
    assert {"fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"} <= set(resnet50.archs)
    users = {(one.word, arch) for one in found for arch in one.archs}
    assert {("imagenet", name) for name in ARCHS} <= users
    assert {("coco", name) for name, arch in ARCHS.items() if arch.coco} <= users


def test_a_file_is_fetched_whole_and_told_of_on_the_way(hub: Path, serve: Serve) -> None:
    serve(CONTENT)
    told: list[tuple[int, int]] = []
    weights = named(CONTENT)
    path = fetch_file(weights, lambda done, total: told.append((done, total)))
    assert path == hub / weights.name == cached_path(weights)
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [entry.name for entry in hub.iterdir()] == [weights.name]


def test_a_file_that_is_here_is_fetched_only_when_asked_for(hub: Path, serve: Serve) -> None:
    weights = named(CONTENT)
    hub.mkdir(parents=True)
    (hub / weights.name).write_bytes(b"damaged")
    serve(CONTENT)
    assert fetch_file(weights).read_bytes() == b"damaged"
    assert download(weights).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "told_length", "status", "code"),
    [
        pytest.param(b"something else", None, 200, "W102", id="another file"),
        pytest.param(CONTENT[:1000], len(CONTENT), 200, "W101", id="the line is cut"),
        pytest.param(b"", None, 200, "W102", id="nothing"),
        pytest.param(b"gone", None, 404, "W101", id="not found"),
    ],
)
def test_what_isnt_the_file_never_takes_its_place(
    hub: Path, serve: Serve, content: bytes, told_length: int | None, status: int, code: str
) -> None:
    serve(content, told_length, status)
    weights = named(CONTENT)
    hub.mkdir(parents=True)
    (hub / weights.name).write_bytes(b"the old one")
    with pytest.raises(WeightsError) as caught:
        download(weights)
    assert code_of(caught) == code
    assert (hub / weights.name).read_bytes() == b"the old one"
    assert len(list(hub.iterdir())) == 1


def test_no_network_says_what_to_do(unreachable: None) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch_file(named(CONTENT))
    assert code_of(caught) == "W101"
    assert "engine weights import" in caught.value.problems[0].fix


def test_a_file_is_brought_in_under_its_right_name(tmp_path: Path, hub: Path, weights: WeightsFile) -> None:
    stick = tmp_path / "download (1).bin"
    stick.write_bytes(CONTENT)
    assert import_file(stick).file == weights
    assert (hub / weights.name).read_bytes() == CONTENT
    assert import_file(stick).file == weights, "a second time does no harm"
    assert stick.exists()


def test_a_damaged_one_in_the_cache_is_replaced_by_import(tmp_path: Path, hub: Path, weights: WeightsFile) -> None:
    hub.mkdir(parents=True)
    (hub / weights.name).write_bytes(b"damaged")
    stick = tmp_path / weights.name
    stick.write_bytes(CONTENT)
    import_file(stick)
    assert (hub / weights.name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        pytest.param("cat.jpg", b"a cat", "no published weights file", id="another file"),
        pytest.param(None, CONTENT[:-1], "is damaged", id="cut on the way"),
        pytest.param("empty", b"", "no published weights file", id="empty"),
    ],
)
def test_what_is_no_published_file_isnt_taken(
    tmp_path: Path, hub: Path, weights: WeightsFile, name: str | None, content: bytes, found: str
) -> None:
    path = tmp_path / (name or weights.name)
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        import_file(path)
    assert code_of(caught) == "W106"
    assert found in caught.value.problems[0].found
    assert not hub.exists()


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir], ids=["missing", "a folder"])
def test_a_file_that_cant_be_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "a.pth"
    make(path)
    with pytest.raises(WeightsError) as caught:
        import_file(path)
    assert code_of(caught) == "W103"
    with pytest.raises(WeightsError) as caught:
        check_sha256(path, "00")
    assert code_of(caught) == "W103"


def test_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    assert sha256_of(path) == hashlib.sha256(CONTENT).hexdigest()
    check_sha256(path, sha256_of(path)[:8])
    with pytest.raises(WeightsError, match="W102"):
        check_sha256(path, "00000000")
