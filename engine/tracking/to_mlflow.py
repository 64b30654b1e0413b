"""MLflow: a folder, a database or a server, as its tracking URI says."""

from __future__ import annotations

import os
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from engine.events import RunEnded
from engine.tracking.facts import RunFacts

# What MLflow takes in one go.
_MOST_METRICS, _MOST_PARAMS, _MOST_LETTERS = 1000, 100, 500
_STATES = {"finished": "FINISHED", "failed": "FAILED"}


class MLflow:
    """Tells an MLflow store.

    Args:
        uri: Its tracking URI, or a folder; a relative one is in the runs folder.
    """

    name, keeps = "mlflow", True

    def __init__(self, uri: str) -> None:
        self._uri, self._run_id = uri, ""
        self._client: MlflowClient | None = None
        self._waiting: list[Metric] = []

    def begin(self, facts: RunFacts, known_as: str) -> str:
        """Go on with the run that is known already, or make one."""
        uri = self._uri
        if "://" not in uri and not uri.startswith("file:"):
            # MLflow asks for this since it would rather have databases.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (facts.run_dir.path.parent.absolute() / uri).as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        known_uri, _, known_id = known_as.rpartition(" ")
        if known_uri == uri:
            self._run_id = known_id
            self._client.update_run(known_id, status="RUNNING")
            return known_as
        found = self._client.get_experiment_by_name(facts.project)
        experiment = found.experiment_id if found else self._client.create_experiment(facts.project)
        name = facts.run_dir.run_id
        run = self._client.create_run(experiment, run_name=name, tags={"engine.run": name})
        self._run_id = run.info.run_id
        params = [Param(name, str(value)[:_MOST_LETTERS]) for name, value in facts.settings.items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[start : start + _MOST_PARAMS])
        if facts.run_dir.recipe.is_file():
            self._client.log_artifact(self._run_id, str(facts.run_dir.recipe))
        return f"{uri} {self._run_id}"

    def values(self, step: int, values: dict[str, float], when: float) -> None:
        """Metrics, sent many at a time."""
        self._waiting += [Metric(name, value, int(when * 1000), step) for name, value in values.items()]
        if len(self._waiting) >= _MOST_METRICS:
            self.flush()

    def picture(self, step: int, name: str, path: Path, when: float) -> None:  # noqa: ARG002 - in the folder's name
        """An artifact in a folder of its step."""
        assert self._client is not None  # `begin` comes first
        self._client.log_artifact(self._run_id, str(path), f"previews/step-{step:06d}")

    def flush(self) -> None:
        """Send the metrics that wait."""
        assert self._client is not None  # `begin` comes first
        for start in range(0, len(self._waiting), _MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=self._waiting[start : start + _MOST_METRICS])
        self._waiting.clear()

    def end(self, ended: RunEnded | None) -> None:
        """Say how the run ended; one that was only stopped goes on later."""
        assert self._client is not None  # `begin` comes first
        if ended is not None and ended.outcome in _STATES:
            if ended.reason:
                self._client.set_tag(self._run_id, "engine.reason", ended.reason[:_MOST_LETTERS])
            self._client.set_terminated(self._run_id, _STATES[ended.outcome])
