"""Files that aren't recipes: one clear problem each, in bounded time and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.engine.recipe.conftest import MINIMAL, WriteRecipe, load_one, problems_of

MB = 1_000_000


@pytest.mark.parametrize(
    ("content", "code", "line", "found"),
    [
        pytest.param(b"name = desk", "R104", 1, "Invalid value", id="no-quotes"),
        pytest.param(b'a = 1\nname = "desk\n', "R104", 2, "Illegal character", id="unclosed-string"),
        pytest.param(b"a = 1\nb = [1,\n", "R104", 3, "", id="unclosed-list"),
        pytest.param(b"a = 1\n[b\n", "R104", 2, "Expected ']'", id="unclosed-header"),
        pytest.param(b"a = 1\na = 2\n", "R104", 2, "Cannot overwrite", id="key-twice"),
        pytest.param(b"[a]\n[a]\n", "R104", 2, "Cannot declare", id="table-twice"),
        pytest.param(b"a = True", "R104", 1, "Invalid value", id="python-boolean"),
        pytest.param(b"a: 1", "R104", 1, "Expected '='", id="yaml"),
        pytest.param(b'{"a": 1}', "R104", 1, "", id="json"),
        pytest.param(b"\x00\x01\x02", "R104", 1, "", id="binary"),
        pytest.param(b"a = 1\nb = " + b"9" * 5000, "R104", 2, "too many digits", id="long-number"),
        pytest.param(b"ok = 1\nna\xefve = 2", "R103", 2, "byte 10", id="latin-1"),
        pytest.param("name = 'x'".encode("utf-16"), "R103", 1, "byte 1", id="utf-16"),
        pytest.param(b"#" * (MB + 1), "R102", None, "larger than 1 MB", id="over-1-MB"),
        pytest.param(b"a = " + b"[" * 1000 + b"]" * 1000, "R105", None, "nested", id="1000-lists"),
        pytest.param(b"a = " + b"[" * 100 + b"]" * 100, "R105", 1, "nested", id="100-lists"),
        pytest.param(b"x = 1\n" + b"a." * 1000 + b"b = 1", "R105", None, "nested", id="1000-dots"),
        pytest.param(b"x = 1\n" + b"a." * 900 + b"b = 1", "R105", 2, "nested", id="900-dots"),
        pytest.param(b"x = 1\n[" + b"a." * 50 + b"b]", "R105", 2, "nested", id="deep-header"),
        pytest.param(b"a = " + b"{a=" * 1000 + b"1" + b"}" * 1000, "R105", None, "nested", id="1000-tables"),
    ],
)
def test_file_that_is_no_recipe(tmp_path: Path, content: bytes, code: str, line: int | None, found: str) -> None:
    path = tmp_path / "desk.toml"
    path.write_bytes(content)
    [problem] = problems_of(path)
    assert (problem.code, problem.where.line) == (code, line)
    assert found in problem.found
    assert problem.fix


def test_missing_file_suggests_its_neighbour(write: WriteRecipe) -> None:
    path = write()
    [problem] = problems_of(path.with_name("desc.toml"))
    assert problem.code == "R101"
    assert f'did you mean "{path}"' in problem.fix


@pytest.mark.parametrize(("name", "meant"), [("desk", True), ("desc", True), ("nope.toml", False)])
def test_a_suffix_makes_no_name_alike(write: WriteRecipe, name: str, meant: bool) -> None:
    path = write()
    path = path.rename(path.with_name("desk.toml"))
    [problem] = problems_of(path.with_name(name))
    assert problem.fix == (f'did you mean "{path}"?' if meant else "check the path")


def test_missing_file_in_a_missing_folder(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path / "none" / "desk.toml")
    assert (problem.code, problem.fix) == ("R101", "check the path")


def test_folder(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path)
    assert (problem.code, problem.found) == ("R101", "this is a folder, not a recipe")


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    [problem] = problems_of(tmp_path / "pipe.toml")
    assert problem.found == "this is not a regular file"


def test_device_without_end_is_not_read() -> None:
    [problem] = problems_of(Path("/dev/zero"))
    assert problem.code == "R101"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_file(write: WriteRecipe) -> None:
    path = write()
    path.chmod(0)
    [problem] = problems_of(path)
    assert problem.code == "R101"


def test_name_with_a_zero_character(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path / "a\0b.toml")
    assert problem.code == "R101"


def test_link_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to(tmp_path / "b.toml")
    (tmp_path / "b.toml").symlink_to(tmp_path / "a.toml")
    [problem] = problems_of(tmp_path / "a.toml")
    assert problem.code == "R101"


@pytest.mark.parametrize("line_end", ["\r\n", "\n"], ids=["crlf", "lf"])
@pytest.mark.parametrize("mark", ["\ufeff", ""], ids=["bom", "no-bom"])
def test_windows_editors_are_understood(write: WriteRecipe, line_end: str, mark: str) -> None:
    text = mark + (MINIMAL + "[training]\nepochs = 7\n").replace("\n", line_end)
    loaded = load_one(write(text))
    assert loaded.recipe.training.epochs == 7
    assert loaded.sources["training.epochs"].line == 10


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a = [" + "1," * (MB // 2 - 10) + "]", id="long-list"),
        pytest.param("a = [" + "1," * 19_990 + "]", id="list-within-the-limit"),
        pytest.param("".join(f"k{index} = 1\n" for index in range(70_000)), id="many-keys"),
        pytest.param("".join(f"k{index} = 1\n" for index in range(19_990)), id="many-keys-within-the-limit"),
        pytest.param("[classes]\nnames = [" + "'x'," * (MB // 4 - 100) + "]", id="many-classes"),
        pytest.param("[classes]\nnames = [" + "'x'," * 19_990 + "]", id="many-classes-within-the-limit"),
        pytest.param("[classes]\n" + "".join(f"c{index} = 1\n" for index in range(19_990)), id="many-ids"),
        pytest.param("name = '" + "x" * (MB - 20) + "'", id="long-name"),
        pytest.param("x" * (MB - 20) + " = 1", id="long-key"),
        pytest.param("[x" + "y" * 9000 + "]\n" + "z" * 9000 + "= 1", id="long-header"),
        pytest.param("extends = [" + "''," * 19_990 + "]", id="many-parents"),
        pytest.param("extends = '" + "x/" * 10_000 + "'", id="long-parent"),
        pytest.param("[sweep]\nseeds = [" + ",".join(map(str, range(19_990))) + "]", id="long-sweep"),
        pytest.param("".join(f"[sweep.a{index}]\n" for index in range(19_990)), id="many-sweep-tables"),
        pytest.param("# " + "é" * (MB // 2 - 10), id="long-comment"),
        pytest.param("a = 0x" + "f" * (MB - 20), id="long-hexadecimal"),
        pytest.param("[dataset]\ntrain = [" + "{}," * 9_990 + "]", id="many-roots"),
        pytest.param("[classes]\nnames = ['a']\n[classes.aliases]\n" + "".join(f"a{i} = 'b'\n" for i in range(9_990)),
                     id="many-aliases"),
    ],
)
def test_large_files_are_judged_quickly(write: WriteRecipe, text: str) -> None:
    path = write(text)
    start = time.process_time()
    problems = problems_of(path)
    # About 0.5 s here for the slowest; the bound leaves room for slow machines.
    assert time.process_time() - start < 4
    assert 0 < len(problems) <= 101
    assert all(len(str(problem)) < 3000 for problem in problems)
