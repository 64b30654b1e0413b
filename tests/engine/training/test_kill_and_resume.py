"""A worker killed with signal 9 again and again ends where one never interrupted does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.kill_and_resume import try_it


@pytest.mark.slow
def test_a_run_killed_at_random_moments_equals_one_never_interrupted(tmp_path: Path) -> None:
    outcome = try_it(tmp_path, 4, seed=1)
    assert sum(outcome.kills.values()) >= 2
    assert outcome.log_differences == []
    assert outcome.weight_differences == []
