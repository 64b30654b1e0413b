"""The check looks for weights where torch hub does, though it must not import torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.machine import hub_checkpoints_dir


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="nothing set"),
        pytest.param({"TORCH_HOME": "/models/torch"}, id="TORCH_HOME"),
        pytest.param({"TORCH_HOME": "~/torch"}, id="TORCH_HOME at home"),
        pytest.param({"XDG_CACHE_HOME": "/cache"}, id="XDG_CACHE_HOME"),
        pytest.param({"XDG_CACHE_HOME": "/cache", "TORCH_HOME": "/models"}, id="both"),
        pytest.param({"TORCH_HOME": "relative/torch"}, id="relative"),
        pytest.param({"TORCH_HOME": "~nobody-of-that-name/torch"}, id="home of nobody"),
        pytest.param({"TORCH_HOME": ""}, id="empty"),
    ],
)
def test_the_folder_is_torch_hubs(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "TORCH_HUB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("torch.hub._hub_dir", None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert hub_checkpoints_dir() == Path(torch.hub.get_dir()) / "checkpoints"
