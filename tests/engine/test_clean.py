"""What may go to make room, and what never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import control
from engine.clean import clean, kept_previews, plan_cleaning
from engine.events import EventLog, RunEnded
from engine.previewfile import EpochPreviews, PreviewImage, encode_previews
from engine.rundir import RunDir
from engine.runqueue import RunQueue, State
from tests.builders import measured, new_run, started, stepped

FILES = {
    "checkpoints/best.pt": 10, "checkpoints/last.pt": 100, "checkpoints/last.previous.pt": 101,
    "checkpoints/last.pt.sha256": 1, "checkpoints/.last.pt.new": 7, "events.before-1.jsonl": 5,
    "replay/step-00000003.pt": 20, "worker.log": 3, "recipe.toml": 2, "report/loss.png": 4,
    **{f"previews/{epoch:04d}/00.jpg": 6 for epoch in range(25)},
}
ALWAYS_KEPT = {"checkpoints/best.pt", "worker.log", "recipe.toml", "report/loss.png", "events.jsonl"}


def make_run(queue: RunQueue, state: State) -> RunDir:
    [(row, _)] = queue.enqueue([new_run(f"r{len(queue.rows())}")])
    run_dir = RunDir(queue.runs_dir / row.run)
    with EventLog(run_dir.events) as log:
        for event in (started(num_epochs=25), stepped(0), measured(7), measured(8, best=False)):
            log.append(event)
        log.append(RunEnded(outcome="finished", reason="", attempt=1))
    for name, size in FILES.items():
        path = run_dir.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    if state == "held":
        control.hold(queue, [row])
    elif state != "queued":
        claimed = queue.claim()
        assert claimed is not None
        if state == "stopping":
            queue.mark_stopping(claimed)
        elif state != "running":
            queue.finish(claimed, state)
    return run_dir


def spared(queue: RunQueue, run_dir: RunDir, **options: int) -> dict[str, int]:
    found = plan_cleaning(queue.rows(), queue.runs_dir, **options)  # type: ignore[arg-type]
    return {spare.path.relative_to(run_dir.path).as_posix(): spare.size_bytes for spare in found}


LEFT_BEHIND = {"checkpoints/last.previous.pt": 101, "checkpoints/.last.pt.new": 7, "events.before-1.jsonl": 5}


def test_of_a_finished_run_only_what_it_achieved_stays(queue: RunQueue) -> None:
    run_dir = make_run(queue, "finished")
    assert spared(queue, run_dir) == LEFT_BEHIND | {"checkpoints/last.pt": 100, "replay/step-00000003.pt": 20}


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_a_retry_goes_on_from_stays(queue: RunQueue, state: State) -> None:
    run_dir = make_run(queue, state)
    assert spared(queue, run_dir, previews_every=10) == LEFT_BEHIND


@pytest.mark.parametrize("state", ["queued", "held", "running", "stopping"])
def test_a_run_that_isnt_over_is_never_touched(queue: RunQueue, state: State) -> None:
    run_dir = make_run(queue, state)
    assert spared(queue, run_dir, previews_every=1) == {}


def test_the_only_state_of_a_run_stays(queue: RunQueue) -> None:
    run_dir = make_run(queue, "finished")
    run_dir.best_checkpoint.unlink()
    assert "checkpoints/last.pt" not in spared(queue, run_dir)
    run_dir.last_checkpoint.unlink()
    assert "checkpoints/last.previous.pt" not in spared(queue, run_dir)


def test_previews_are_thinned_to_every_nth_the_first_the_last_and_the_best(queue: RunQueue) -> None:
    run_dir = make_run(queue, "finished")
    gone = {name for name in spared(queue, run_dir, previews_every=10) if name.startswith("previews")}
    assert gone == {f"previews/{epoch:04d}" for epoch in range(25)} - {
        "previews/0000", "previews/0007", "previews/0010", "previews/0020", "previews/0024",
    }


def drawn(run_dir: RunDir, epoch: int, *places: int) -> None:
    """Previews of an epoch on photos of these places."""
    images = tuple(
        PreviewImage(name="a.jpg", photo=run_dir.relative(run_dir.preview_photo(place)), width=8, height=8)
        for place in places
    )
    run_dir.preview_boxes(epoch).write_bytes(
        encode_previews(EpochPreviews(epoch=epoch, class_names=("mug",), images=images))
    )
    for place in places:
        run_dir.preview_photo(place).parent.mkdir(exist_ok=True)
        run_dir.preview_photo(place).write_bytes(b"photo")


def test_photos_go_with_the_last_previews_that_show_them(queue: RunQueue) -> None:
    run_dir = make_run(queue, "finished")
    drawn(run_dir, 0, 0, 1)
    drawn(run_dir, 3, 0, 2)  # 2 was among the worst of an epoch that goes
    drawn(run_dir, 10, 0, 4)
    assert "previews/photos/000002.jpg" not in spared(queue, run_dir)
    gone = spared(queue, run_dir, previews_every=10)
    assert {name for name in gone if "photos" in name} == {"previews/photos/000002.jpg"}
    run_dir.preview_boxes(10).write_bytes(b"rubbish")
    assert not any("photos" in name for name in spared(queue, run_dir, previews_every=10))


@pytest.mark.parametrize(
    ("epochs", "every", "best", "kept"),
    [([], 5, None, []), ([3], 5, None, [3]), ([0, 1, 2], 1, None, [0, 1, 2]), ([1, 2, 3, 4, 5, 6], 5, 3, [1, 3, 5, 6]),
     ([0, 1, 2], 100, 7, [0, 2])],
)
def test_which_previews_stay(epochs: list[int], every: int, best: int | None, kept: list[int]) -> None:
    assert sorted(kept_previews(epochs, every, best)) == kept


def test_a_plan_changes_nothing_and_cleaning_deletes_exactly_what_it_named(queue: RunQueue) -> None:
    run_dir = make_run(queue, "finished")
    before = {path.relative_to(run_dir.path).as_posix() for path in run_dir.path.rglob("*") if path.is_file()}
    spares = plan_cleaning(queue.rows(), queue.runs_dir, previews_every=5)
    assert before == {path.relative_to(run_dir.path).as_posix() for path in run_dir.path.rglob("*") if path.is_file()}
    assert clean(spares) == (sum(spare.size_bytes for spare in spares), [])
    after = {path.relative_to(run_dir.path).as_posix() for path in run_dir.path.rglob("*") if path.is_file()}
    assert after >= ALWAYS_KEPT
    assert not any(spare.path.exists() for spare in spares)
    assert plan_cleaning(queue.rows(), queue.runs_dir, previews_every=5) == []
    assert clean(spares) == (0, [])  # somebody was faster: fine


def test_removed_runs_go_only_when_asked(queue: RunQueue) -> None:
    run_dir = make_run(queue, "finished")
    control.remove(queue, queue.rows())
    assert plan_cleaning(queue.rows(), queue.runs_dir) == []
    [spare] = plan_cleaning(queue.rows(), queue.runs_dir, removed=True)
    assert spare.path == queue.runs_dir / "removed" / run_dir.run_id
    assert spare.size_bytes > sum(FILES.values())
    clean([spare])
    assert list((queue.runs_dir / "removed").iterdir()) == []


def test_a_link_is_removed_and_not_what_it_leads_to(queue: RunQueue, tmp_path: Path) -> None:
    run_dir = make_run(queue, "finished")
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "precious").touch()
    (run_dir.replays / "link").symlink_to(target)
    clean(plan_cleaning(queue.rows(), queue.runs_dir))
    assert (target / "precious").exists()
    assert not (run_dir.replays / "link").is_symlink()


def test_what_cant_be_deleted_is_told(queue: RunQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(queue, "finished")
    spares = plan_cleaning(queue.rows(), queue.runs_dir)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    freed, troubles = clean(spares)
    assert freed == 0
    assert len(troubles) == len(spares)
    assert f"{run_dir.last_checkpoint}: Permission denied" in troubles


def test_folders_that_are_gone_are_no_trouble(queue: RunQueue) -> None:
    queue.enqueue([new_run("a")])
    row = queue.claim()
    assert row is not None
    queue.finish(row, "finished")
    (queue.runs_dir / row.run).rmdir()
    assert plan_cleaning(queue.rows(), queue.runs_dir, previews_every=3, removed=True) == []
