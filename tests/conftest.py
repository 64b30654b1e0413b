"""Fixtures that every part of the suite may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from engine.runqueue import RunQueue
from tests.builders import make_voc_dataset

# Before torch is imported anywhere: tiny networks only lose time to threads. Worker processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The gate judges the same commit the same way twice; HYPOTHESIS_PROFILE=default looks for new counterexamples.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what checks remember out of the person's cache, here and in the processes that tests start."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # Matplotlib would look at every font of the machine again.
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR") or str(cache / "matplotlib"))
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 training and 3 validation photos; read only."""
    return make_voc_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[RunQueue]:
    """An empty queue in a runs folder that isn't there yet."""
    opened = RunQueue(tmp_path / "runs")
    yield opened
    opened.close()


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be fetched: published weights are looked for at a port that nobody listens on."""
    monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", "http://127.0.0.1:9/")
