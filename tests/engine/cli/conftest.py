from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.cli.main import main
from engine.rundir import RunDir
from tests.builders import load_recipe, train_run, write_recipe


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """Runs a command in this process, from tmp_path; a traceback would come through as an exception."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # It would replace the process that runs the tests.
    monkeypatch.setattr("engine.cli.work.replace_process", lambda *_, **__: None)

    def ask(*arguments: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["engine", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0 if code is None else 1, out, err)

    return ask


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Path:
    """A runs folder with one run that was really trained, if hardly; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = load_recipe(write_recipe(folder, dataset, previews={"num_images": 0}))
    return train_run(RunDir(folder / "runs" / "0001-tiny"), recipe).path.parent
