"""Which allocator a worker gets: what is installed and works, beside what a person put in front; never a broken one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import allocator
from engine.allocator import PRELOAD, SYSTEM, Allocator, choose, find, in_use
from engine.errors import Where
from engine.needs import allocator_problems
from engine.recipe.schema import Hardware
from tests.builders import process_environment

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="libraries are put in front under Linux only")
# Stands for an allocator: every program here can be started with it.
LIBRARY = "libm.so.6"


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[str, ...]]]:
    """No allocator is installed but what a test puts into the returned table."""
    sonames: dict[str, tuple[str, ...]] = {}
    monkeypatch.setattr(allocator, "_SONAMES", sonames)
    monkeypatch.setattr(allocator, "_WHEELS", {})
    monkeypatch.delenv(PRELOAD, raising=False)
    find.cache_clear()
    yield sonames
    find.cache_clear()


def test_without_any_it_is_the_systems() -> None:
    assert [choose(wanted) for wanted in ("auto", "system", "tcmalloc")] == [SYSTEM] * 3
    assert SYSTEM.environment({}) == {}
    assert find("tcmalloc") is None


@needs_linux
def test_an_installed_one_is_found_by_the_loader_and_told_by_its_file(
    nothing_installed: dict[str, tuple[str, ...]],
) -> None:
    nothing_installed["tcmalloc"] = ("libnosuch.so.9", LIBRARY)
    found = choose("auto")
    assert found.name == "tcmalloc"
    assert Path(found.library).is_absolute()
    assert Path(found.library).name.startswith("libm.so")
    assert choose("tcmalloc") == found
    assert choose("mimalloc") == SYSTEM


@needs_linux
def test_one_that_isnt_quicker_is_used_only_by_its_name(nothing_installed: dict[str, tuple[str, ...]]) -> None:
    nothing_installed["jemalloc"] = (LIBRARY,)
    assert choose("auto") == SYSTEM
    assert choose("jemalloc").name == "jemalloc"


@needs_linux
@pytest.mark.parametrize(
    "probe", ["import os; os.abort()", "import sys; sys.exit(1)", "print('nonsense')", "while 1: 0"]
)
def test_one_that_doesnt_work_isnt_used(
    nothing_installed: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, probe: str
) -> None:
    nothing_installed["tcmalloc"] = (LIBRARY,)
    monkeypatch.setattr(allocator, "_PROBE", probe)
    monkeypatch.setattr(allocator, "_PROBE_TIMEOUT_S", 1.0)
    assert choose("auto") == SYSTEM


@needs_linux
def test_a_file_that_is_no_library_isnt_used(nothing_installed: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    (tmp_path / "libtcmalloc.so.4").write_bytes(b"not a library")
    nothing_installed["tcmalloc"] = (str(tmp_path / "libtcmalloc.so.4"), str(tmp_path / "with space.so"))
    assert find("tcmalloc") is None


@needs_linux
def test_each_library_is_tried_once(
    nothing_installed: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_installed["tcmalloc"] = (LIBRARY,)
    tries = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: tries.append(1) or run(*args, **options))
    assert choose("tcmalloc") == choose("auto")
    assert len(tries) == 1


def test_what_a_person_put_in_front_stays() -> None:
    ours = Allocator("tcmalloc", "/lib/libtcmalloc.so.4")
    assert ours.environment({PRELOAD: "/mine.so /b.so"})[PRELOAD] == "/lib/libtcmalloc.so.4:/mine.so /b.so"
    assert ours.environment({})[PRELOAD] == "/lib/libtcmalloc.so.4"
    theirs = {"TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": "1"}
    assert set(ours.environment(theirs)) == {PRELOAD}


@needs_linux
@pytest.mark.parametrize("preload", ["/lib/libjemalloc.so.2", "/a.so:/b/libtcmalloc_minimal.so.4", "libmimalloc.so"])
def test_a_persons_own_allocator_is_left_as_it_is_unless_one_is_named(
    nothing_installed: dict[str, tuple[str, ...]], preload: str
) -> None:
    nothing_installed["tcmalloc"] = (LIBRARY,)
    assert choose("auto", {PRELOAD: preload}) == SYSTEM
    assert choose("tcmalloc", {PRELOAD: preload}).name == "tcmalloc"
    assert choose("auto", {PRELOAD: "/usr/lib/libother.so"}).name == "tcmalloc"


def test_one_asked_for_by_name_and_missing_is_one_problem() -> None:
    where = Where("a.toml", 3)
    [problem] = allocator_problems(Hardware(allocator="tcmalloc"), where)
    assert (problem.code, problem.severity, problem.where) == ("E112", "error", where)
    assert 'hardware.allocator = "auto"' in problem.fix
    assert allocator_problems(Hardware(allocator="auto"), where) == []
    assert allocator_problems(Hardware(allocator="system"), where) == []


def test_this_process_tells_its_own() -> None:
    assert in_use() == SYSTEM or in_use().library


def _installed() -> list[str]:
    """Allocators of this machine itself."""
    program = "from engine.allocator import find; print(*[n for n in ('tcmalloc', 'jemalloc', 'mimalloc') if find(n)])"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=process_environment(), capture_output=True, text=True, check=True).stdout.split()


@needs_linux
def test_a_process_started_with_one_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = _installed()
    if not installed:
        pytest.skip("no other allocator is installed here")
    monkeypatch.undo()
    find.cache_clear()
    program = "from engine.allocator import in_use; print(in_use().name)"
    for name in installed:
        found = find(name)
        assert found is not None
        told = subprocess.run(
            [sys.executable, "-c", program], env=process_environment() | found.environment(os.environ),
            capture_output=True, text=True, check=True,
        )
        assert told.stdout.strip() == name
