"""Going back to the last good state."""

from __future__ import annotations

from engine.rundir import RunDir, write_bytes_atomic


def rewind_events(run_dir: RunDir, num_bytes: int) -> None:
    """Cut a run's event log back to what a checkpoint knows, so that no step is told twice.

    The log as it was is kept beside it as `events.before-N.jsonl`. The shortened one is a new file,
    by which readers notice.

    Args:
        run_dir: The run.
        num_bytes: Length of the log when the checkpoint was written; 0 to start over.
    """
    if not run_dir.events.exists() or run_dir.events.stat().st_size == num_bytes:
        return
    content = run_dir.events.read_bytes()
    number = 1
    while (kept := run_dir.path / f"events.before-{number}.jsonl").exists():
        number += 1
    write_bytes_atomic(kept, content)
    write_bytes_atomic(run_dir.events, content[:num_bytes])
