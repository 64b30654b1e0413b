"""Which checkpoint a person means by a run, a folder or a file; touches no tensors."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError
from engine.rundir import RunDir, find_run_dir

CHECKPOINT_SUFFIXES = frozenset({".pt", ".pth"})


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A checkpoint and the run it belongs to.

    Attributes:
        checkpoint: The file.
        run_dir: The run that the file lies in; None for a checkpoint by itself.
    """

    checkpoint: Path
    run_dir: RunDir | None = None

    @property
    def name(self) -> str:
        """What to call the model: the run's id, with the file's name unless it is the best model."""
        if self.run_dir is None:
            return self.checkpoint.name
        best = self.run_dir.best_checkpoint.name
        return self.run_dir.run_id + ("" if self.checkpoint.name == best else f"/{self.checkpoint.name}")


def find_model(wanted: RunDir | Path | str, runs_dir: Path = Path("runs")) -> ModelFile:
    """The checkpoint that a person means.

    Args:
        wanted: A run (its best model), or a name: a checkpoint file's path, a run folder's path, or whatever
            `find_run_dir` takes.
        runs_dir: Where runs are looked for.

    Raises:
        QueueError: No run goes by that name.
        EngineError: There is no such checkpoint (X105), or the run has none yet (X101).
    """
    if isinstance(wanted, RunDir):
        return _best_of(wanted)
    path = Path(wanted)
    with contextlib.suppress(OSError):  # a name may be too long for a path
        if path.suffix.lower() in CHECKPOINT_SUFFIXES and path.is_file():
            return ModelFile(path, _run_around(path))
        if path.is_dir() and not RunDir(path).resolved.is_file():
            for inside in (RunDir(path).best_checkpoint, path / RunDir(path).best_checkpoint.name):
                if inside.is_file():
                    return ModelFile(inside, _run_around(inside))
    try:
        return _best_of(find_run_dir(runs_dir, str(wanted)))
    except EngineError:
        if path.suffix.lower() in CHECKPOINT_SUFFIXES:
            raise EngineError.of(
                "X105", str(path), "there is no such checkpoint", "name a run, or a file that is there"
            ) from None
        raise


def _best_of(run_dir: RunDir) -> ModelFile:
    if not run_dir.best_checkpoint.is_file():
        raise EngineError.of(
            "X101", str(run_dir.best_checkpoint), "the run has no model yet",
            f"let it measure an epoch; `engine explain {run_dir.run_id}` tells where it stands",
        )
    return ModelFile(run_dir.best_checkpoint, run_dir)


def _run_around(checkpoint: Path) -> RunDir | None:
    """The run whose checkpoints a file lies among, or whose recipe lies beside it."""
    absolute = checkpoint.absolute()
    for folder in (absolute.parent.parent, absolute.parent):
        if RunDir(folder).resolved.is_file():
            return RunDir(folder)
    return None
