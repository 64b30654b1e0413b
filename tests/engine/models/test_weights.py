"""Weights found offline first: files of every kind, the torch hub cache, and what is refused."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large

from engine.catalogue import ARCHS, WeightsFile
from engine.errors import WeightsError
from engine.models import Detector, build_detector
from engine.models.checkpoint import save_checkpoint
from engine.models.sources import fetch, read_start
from tests.engine.models.builders import QUICK, RETINANET, SSD, model

BODY = "backbone.body.0.0.weight"


def code_of(error: pytest.ExceptionInfo[WeightsError]) -> str:
    [problem] = error.value.problems
    return problem.code


def trained(num_classes: int = 2, arch: str = QUICK) -> Detector:
    torch.manual_seed(7)
    return build_detector(model(arch), [f"class {index}" for index in range(num_classes)])


def build_from(path: Path, arch: str = QUICK, num_classes: int = 2, **values: Any) -> nn.Module:
    chosen = model(arch, weights=str(path), **values)
    return build_detector(chosen, [f"class {index}" for index in range(num_classes)]).network


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


# --- whole detectors ---


@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
@pytest.mark.parametrize("arch", [QUICK, SSD, RETINANET])
def test_a_whole_detector_comes_back_from_a_file(tmp_path: Path, arch: str, wrap: str | None) -> None:
    state = trained(arch=arch).network.state_dict()
    path = saved(tmp_path / "a.pth", {wrap: state, "epoch": 3} if wrap else state)
    loaded = build_from(path, arch, norm="batch").state_dict()
    for name, tensor in state.items():
        if "num_batches" not in name:
            assert torch.equal(loaded[name], tensor), name


def test_a_checkpoint_of_another_run_is_a_weights_file(tmp_path: Path) -> None:
    detector = trained()
    save_checkpoint(tmp_path / "best.pt", {"model": detector.network.state_dict(), "epoch": 1})
    assert torch.equal(build_from(tmp_path / "best.pt").state_dict()[BODY], detector.network.state_dict()[BODY])


def test_other_classes_leave_only_the_class_layers_new(tmp_path: Path) -> None:
    state = trained(num_classes=5).network.state_dict()
    loaded = build_from(saved(tmp_path / "a.pth", state), num_classes=2).state_dict()
    assert torch.equal(loaded["roi_heads.box_head.fc6.weight"], state["roi_heads.box_head.fc6.weight"])
    assert loaded["roi_heads.box_predictor.cls_score.weight"].shape[0] == 3


def test_a_backbone_alone_comes_from_a_classification_network(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = mobilenet_v3_large(weights=None).state_dict()
    loaded = build_from(saved(tmp_path / "a.pth", state)).state_dict()
    assert torch.equal(loaded[BODY], state["features.0.0.weight"])
    assert torch.equal(loaded["backbone.body.16.0.weight"], state["features.16.0.weight"])


def test_a_checkpoint_goes_in_to_the_letter_or_not_at_all() -> None:
    state = trained().network.state_dict()
    same = build_detector(model(), ("a", "b"), state).network.state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in state.items())
    with pytest.raises(WeightsError) as caught:
        build_detector(model(), ("a", "b", "c"), state)
    assert code_of(caught) == "W105"


# --- refused ---


@pytest.mark.parametrize(
    ("written_by", "read_as"),
    [
        pytest.param("fasterrcnn_resnet18_fpn", QUICK, id="another faster r-cnn"),
        pytest.param(QUICK, SSD, id="faster r-cnn for ssdlite"),
        pytest.param(SSD, QUICK, id="ssdlite for faster r-cnn"),
    ],
)
def test_another_models_weights_are_refused(tmp_path: Path, written_by: str, read_as: str) -> None:
    path = saved(tmp_path / "a.pth", trained(arch=written_by).network.state_dict())
    with pytest.raises(WeightsError) as caught:
        build_from(path, read_as)
    assert code_of(caught) == "W105"
    assert caught.value.problems[0].where.path == str(path)


def test_another_backbones_weights_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", mobilenet_v3_large(weights=None).state_dict())
    with pytest.raises(WeightsError) as caught:
        build_from(path, "fasterrcnn_resnet18_fpn")
    assert code_of(caught) == "W105"


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch bombed",)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_Bomb, id="alone"),
        pytest.param(lambda: {"model": trained().network.state_dict(), "config": _Bomb()}, id="beside tensors"),
        pytest.param(lambda: nn.Linear(2, 2), id="a whole module"),
    ],
)
def test_code_in_a_weights_file_isnt_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "a.pth", content())
    with pytest.raises(WeightsError) as caught:
        build_from(path)
    assert code_of(caught) == "W104"
    assert not (tmp_path / "bombed").exists()


def test_plain_pickle_with_code_isnt_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(WeightsError):
        read_start(path)
    assert not (tmp_path / "bombed").exists()


@pytest.mark.parametrize(
    "content", [{}, [], {"epoch": 3}, {"model": {}}, torch.zeros(3), None], ids=lambda content: str(content)[:12]
)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(WeightsError) as caught:
        read_start(saved(tmp_path / "a.pth", content))
    assert code_of(caught) == "W104"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weights") / "a.pth"
    return saved(path, OrderedDict(weight=torch.rand(20, 20))).read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_told_whatever_the_damage(tmp_path: Path, sound: bytes, data: st.DataObject) -> None:
    path = tmp_path / "damaged.pth"
    length = data.draw(st.integers(0, len(sound) - 40), label="length kept")  # its index lies in the last bytes
    path.write_bytes(sound[:length] + data.draw(st.binary(max_size=30), label="then"))
    with pytest.raises(WeightsError) as caught:
        read_start(path)
    assert code_of(caught) == "W104"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: b"\x80\x02" + tail)))
def test_any_other_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_start(path)
    assert code_of(caught) == "W104"


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_that_isnt_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        build_from(tmp_path / name)
    assert code_of(caught) == "W103"


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        build_from(tmp_path)
    assert code_of(caught) == "W107"


# --- published weights ---


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torch hub keeps weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def publish(folder: Path, state: dict[str, Tensor], name: str = "net") -> WeightsFile:
    """Write a weights file under the name that its own hash gives it."""
    path = saved(folder / "fresh", state)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(folder / f"{name}-{digest}.pth")
    return WeightsFile(f"{name}-{digest}.pth", 1)


def test_weights_in_the_cache_are_used_without_a_network(hub: Path, unreachable: None) -> None:
    weights = publish(hub, {"weight": torch.ones(2)})
    assert fetch(weights)["weight"].tolist() == [1, 1]


def test_a_recipes_imagenet_weights_come_from_the_cache(
    hub: Path, unreachable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = mobilenet_v3_large(weights=None).state_dict()
    from dataclasses import replace

    monkeypatch.setitem(ARCHS, QUICK, replace(ARCHS[QUICK], imagenet=publish(hub, state)))
    network = build_detector(model(weights="imagenet"), ("a",)).network
    assert torch.equal(network.state_dict()[BODY], state["features.0.0.weight"])


def test_a_damaged_file_in_the_cache_is_refused(hub: Path, unreachable: None) -> None:
    weights = publish(hub, {"weight": torch.ones(2)})
    path = hub / weights.name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        fetch(weights)
    assert code_of(caught) == "W102"
    assert caught.value.problems[0].where.path == str(path)


def test_missing_weights_are_fetched_from_the_network_and_kept(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "server"
    server.mkdir()
    weights = publish(server, {"weight": torch.ones(2)})
    monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", f"{server.as_uri()}/")
    assert fetch(weights)["weight"].tolist() == [1, 1]
    assert (hub / weights.name).exists()


def test_a_fetched_file_with_another_hash_is_refused_and_not_kept(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "server"
    server.mkdir()
    saved(server / "net-00000000.pth", {"weight": torch.ones(2)})
    monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", f"{server.as_uri()}/")
    with pytest.raises(WeightsError) as caught:
        fetch(WeightsFile("net-00000000.pth", 1))
    assert code_of(caught) == "W102"
    assert not list(hub.iterdir())


def test_missing_weights_without_a_network_say_where_to_put_them(hub: Path, unreachable: None) -> None:
    weights = WeightsFile("net-00000000.pth", 1)
    with pytest.raises(WeightsError) as caught:
        fetch(weights)
    assert code_of(caught) == "W101"
    [problem] = caught.value.problems
    assert problem.where.path == str(hub / weights.name)
    assert weights.url in problem.fix
