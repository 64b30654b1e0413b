"""Going on from other weights: former runs, safetensors, COCO's files, old names, classes that match."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import detection, get_model_weights
from torchvision.ops.misc import FrozenBatchNorm2d

from engine.catalogue import ARCHS
from engine.errors import WeightsError
from engine.models import build_detector
from engine.models.checkpoint import save_checkpoint
from engine.models.sources import coco_outputs, with_usual_eps
from engine.models.weights import current_names
from engine.rundir import RunDir
from tests.engine.models.builders import FAMILIES, FCOS, QUICK, RETINANET, SSD, SSD300, model

CLASS_LAYERS = re.compile(
    r"roi_heads.box_predictor.cls_score.\w+|head.classification_head.(cls_logits.\w+|module_list.\d.(1.)?(weight|bias))"
)
OLD, NEW = ("cat", "Dog", "mug"), ("dog", "bird", "CAT")


def trained_on(names: Sequence[str], arch: str) -> nn.Module:
    torch.manual_seed(7)
    return build_detector(model(arch), names).network


def write_run(folder: Path, network: nn.Module, names: Sequence[str], arch: str) -> Path:
    """A run's folder with its best model, as training leaves it."""
    content = {"model": network.state_dict(), "epoch": 3, "arch": arch, "class_names": list(names)}
    save_checkpoint(RunDir(folder).best_checkpoint, content, keep_previous=False)
    return folder


def started_from(path: Path, names: Sequence[str], arch: str, **values: Any) -> nn.Module:
    torch.manual_seed(9)
    norm = {} if arch == SSD300 else {"norm": "batch"}  # VGG has none
    return build_detector(model(arch, weights=str(path), **norm, **values), names).network


def fresh(names: Sequence[str], arch: str) -> dict[str, Tensor]:
    """The state a network has before weights go into it."""
    torch.manual_seed(9)
    return build_detector(model(arch), names).network.state_dict()


def class_scores(network: nn.Module | dict[str, Tensor], arch: str) -> dict[str, Tensor]:
    """Tensors of the classification layers, each as (anchors, outputs, ...)."""
    outputs = len(NEW) + (1 if ARCHS[arch].family in ("fasterrcnn", "ssd") else 0)
    state = network if isinstance(network, dict) else network.state_dict()
    return {
        name: tensor.reshape(-1, outputs, *tensor.shape[1:])
        for name, tensor in state.items() if CLASS_LAYERS.fullmatch(name)
    }


@pytest.mark.parametrize("arch", [*FAMILIES, pytest.param(SSD300, marks=pytest.mark.slow)])
def test_a_run_of_other_classes_gives_the_rows_of_those_that_match(
    tmp_path: Path, arch: str, caplog: pytest.LogCaptureFixture
) -> None:
    former = trained_on(OLD, arch)
    with caplog.at_level(logging.INFO):
        network = started_from(write_run(tmp_path / "0001-a", former, OLD, arch), NEW, arch)
    assert "reused the rows of 2 of 3 classes: dog, CAT" in caplog.text
    theirs, ours, before = (class_scores(one, arch) for one in (former, network, fresh(NEW, arch)))
    assert ours.keys() == theirs.keys()
    assert ours
    first = 1 if ARCHS[arch].family in ("fasterrcnn", "ssd") else 0
    for name, rows in ours.items():
        assert torch.equal(rows[:, :first], theirs[name][:, :first]), "background"
        assert torch.equal(rows[:, first], theirs[name][:, first + 1]), "dog"
        assert torch.equal(rows[:, first + 1], before[name][:, first + 1]), "bird begins anew"
        assert torch.equal(rows[:, first + 2], theirs[name][:, first]), "cat"
    state = network.state_dict()
    for name, tensor in former.state_dict().items():
        assert name in ours or "bbox_pred" in name or "num_batches" in name or torch.equal(state[name], tensor), name


def test_faster_rcnns_boxes_go_with_their_classes(tmp_path: Path) -> None:
    former = trained_on(OLD, QUICK)
    network = started_from(write_run(tmp_path / "0001-a", former, OLD, QUICK), NEW, QUICK)
    theirs, ours = (one.roi_heads.box_predictor.bbox_pred.weight.detach() for one in (former, network))  # type: ignore[union-attr]
    assert torch.equal(ours[:8], torch.cat([theirs[:4], theirs[8:12]])), "background and dog"
    assert torch.equal(ours[12:], theirs[4:8]), "cat"
    assert not torch.equal(ours[8:12], theirs[12:])


@pytest.mark.parametrize("arch", FAMILIES)
def test_the_same_classes_give_the_same_detector(tmp_path: Path, arch: str, images: list[Tensor]) -> None:
    former = build_detector(model(arch), OLD)
    write_run(tmp_path / "0001-a", former.network, OLD, arch)
    again = build_detector(model(arch, weights=str(tmp_path / "0001-a"), norm="batch"), OLD)
    for one, other in zip(former.detect(images), again.detect(images), strict=True):
        assert torch.equal(one["boxes_xyxy"], other["boxes_xyxy"])
        assert torch.equal(one["labels"], other["labels"])


def test_no_class_in_common_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_run(tmp_path / "0001-a", trained_on(OLD, QUICK), OLD, QUICK)
    with caplog.at_level(logging.INFO):
        started_from(path, ("x",), QUICK)
    assert "reused the rows of 0 of 1 classes" in caplog.text


def test_other_anchors_leave_their_layers_new_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_run(tmp_path / "0001-a", trained_on(OLD, RETINANET), OLD, RETINANET)
    started_from(path, OLD, RETINANET, anchor_ratios=(1.0,))
    assert "begin random: head.regression_head.bbox_reg.weight" in caplog.text


def test_a_damaged_run_is_told(tmp_path: Path) -> None:
    path = write_run(tmp_path / "0001-a", trained_on(OLD, QUICK), OLD, QUICK)
    checkpoint = RunDir(path).best_checkpoint
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(WeightsError, match="T102"):
        started_from(path, NEW, QUICK)


# --- safetensors ---


def test_safetensors_of_a_detector(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    former = trained_on(OLD, RETINANET)
    save_file(former.state_dict(), tmp_path / "a.safetensors", {"class_names": json.dumps(OLD)})
    with caplog.at_level(logging.INFO):
        network = started_from(tmp_path / "a.safetensors", NEW, RETINANET)
    assert "reused the rows of 2 of 3 classes" in caplog.text
    name = "backbone.fpn.inner_blocks.0.0.weight"
    assert torch.equal(network.state_dict()[name], former.state_dict()[name])


@pytest.mark.parametrize("metadata", [None, {"class_names": "not json ["}, {"class_names": "3"}])
def test_safetensors_without_names_of_classes(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file(trained_on(OLD, QUICK).state_dict(), tmp_path / "a.safetensors", metadata)
    started_from(tmp_path / "a.safetensors", ("x",), QUICK)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x08\0\0\0\0\0\0\0not json"], ids=["empty", "huge", "broken"])
def test_a_broken_safetensors_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="W104"):
        started_from(path, NEW, QUICK)


# --- files that name no classes ---


@pytest.mark.parametrize("arch", FAMILIES)
def test_as_many_rows_are_taken_in_the_order_of_the_class_map(
    tmp_path: Path, arch: str, caplog: pytest.LogCaptureFixture
) -> None:
    former = trained_on(OLD, arch)
    torch.save(former.state_dict(), tmp_path / "a.pth")
    with caplog.at_level(logging.INFO):
        network = started_from(tmp_path / "a.pth", OLD, arch)
    assert "name no classes" in caplog.text
    assert "reused the rows of 3 of 3" in caplog.text
    theirs = class_scores(former, arch)
    assert all(torch.equal(rows, theirs[name]) for name, rows in class_scores(network, arch).items())


@pytest.mark.parametrize("arch", [RETINANET, FCOS])
def test_torchvisions_row_for_a_background_that_isnt_there_is_left_out(tmp_path: Path, arch: str) -> None:
    # Whoever trains with torchvision's own scripts numbers classes from 1 and has one output more.
    theirs = detection.__dict__[arch](weights=None, weights_backbone=None, num_classes=4)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    network = started_from(tmp_path / "a.pth", OLD, arch, fpn_channels=256)
    name = "head.classification_head.cls_logits.weight"
    rows = theirs.state_dict()[name].reshape(-1, 4, 256, 3, 3)
    assert torch.equal(network.state_dict()[name].reshape(-1, 3, 256, 3, 3), rows[:, 1:])


# --- COCO ---


@pytest.mark.parametrize("name", [name for name, arch in ARCHS.items() if arch.coco])
def test_cocos_categories_are_known_without_a_network(name: str, unreachable: None) -> None:
    outputs = coco_outputs(ARCHS[name])
    assert len(outputs) == 91
    assert (outputs[0], outputs[1], outputs[17], outputs[90]) == ("__background__", "person", "cat", "toothbrush")


@pytest.mark.parametrize("arch", [RETINANET, SSD])
def test_cocos_rows_are_reused_by_name(tmp_path: Path, arch: str, caplog: pytest.LogCaptureFixture) -> None:
    theirs = detection.__dict__[arch](weights=None, weights_backbone=None, num_classes=91)
    path = tmp_path / ARCHS[arch].coco.name  # type: ignore[union-attr]
    torch.save(theirs.state_dict(), path)
    with caplog.at_level(logging.INFO):
        network = started_from(path, ("Laptop", "blood cell"), arch, **({} if arch == SSD else {"fpn_channels": 256}))
    assert "reused the rows of 1 of 2 classes: Laptop" in caplog.text
    laptop = get_model_weights(arch)["COCO_V1"].meta["categories"].index("laptop")
    if arch == RETINANET:
        name, own = "head.classification_head.cls_logits.bias", (2, 0)
    else:
        name, own = "head.classification_head.module_list.0.1.bias", (3, 1)
    rows = theirs.state_dict()[name].reshape(-1, 91)[:, laptop]
    assert torch.equal(network.state_dict()[name].reshape(-1, own[0])[:, own[1]], rows)


def test_cocos_first_files_compute_what_they_do_in_torchvision(tmp_path: Path) -> None:
    """torchvision sets eps to 0 beside its first COCO files; here the weights take that up."""
    theirs = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = _tiny_variances(theirs.state_dict())
    path = tmp_path / ARCHS[RETINANET].coco.name  # type: ignore[union-attr]
    torch.save(state, path)
    reference = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    reference.load_state_dict(state)
    reference.eval()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    chosen = model(RETINANET, weights=str(path), norm="frozen", fpn_channels=256)
    ours = build_detector(chosen, ("cat",)).network.eval()
    assert any(isinstance(module, FrozenBatchNorm2d) and module.eps > 0 for module in ours.modules())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = reference.backbone(image)["0"], ours.backbone(image)["0"]
    # Without that it would be a third of the greatest value.
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def _tiny_variances(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Variances as a dead channel has them, where eps counts."""
    return {
        name: torch.full_like(tensor, 1e-5) if name.endswith("layer1.0.bn1.running_var") else tensor
        for name, tensor in state.items()
    }


def test_a_variance_of_zero_stays_without_consequence() -> None:
    state = {"bn.running_var": torch.tensor([0.0, 1e-5]), "bn.weight": torch.ones(2), "conv.weight": torch.ones(1)}
    changed = with_usual_eps(state)
    assert changed["bn.weight"].tolist() == pytest.approx([1, 2**0.5])
    assert changed["conv.weight"] is state["conv.weight"]


# --- names of older versions ---


@pytest.mark.parametrize("arch", [QUICK, "fasterrcnn_resnet50_fpn", RETINANET])
def test_files_of_older_torchvisions_go_in_whole(tmp_path: Path, arch: str, caplog: pytest.LogCaptureFixture) -> None:
    former = trained_on(OLD, arch)
    old = {_old_name(name): tensor for name, tensor in former.state_dict().items()}
    assert len(old.keys() - former.state_dict().keys()) >= 6
    # torchvision's own networks still read those names.
    reference = detection.__dict__[arch](weights=None, weights_backbone=None, num_classes=3)
    assert set(current_names(old, reference.state_dict())) == set(reference.state_dict())
    torch.save(old, tmp_path / "a.pth")
    network = started_from(tmp_path / "a.pth", OLD, arch)
    assert "begin random" not in caplog.text
    for name, tensor in former.state_dict().items():
        assert "num_batches" in name or torch.equal(network.state_dict()[name], tensor), name


def _old_name(name: str) -> str:
    if "_blocks." in name:
        return name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
    if name.startswith("rpn.head.conv."):
        return name.replace("conv.0.0.", "conv.")
    if "_head.conv." in name:
        head, _, rest = name.partition(".conv.")
        index, _, leaf = rest.partition(".0.")
        return f"{head}.conv.{2 * int(index)}.{leaf}"
    return name


def test_torchvision_reads_old_names_as_we_do() -> None:
    reference = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    state = reference.state_dict()
    old = {_old_name(name): tensor.clone() for name, tensor in state.items()}
    renamed = current_names(old, state)
    again = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    again.load_state_dict(old)
    assert all(torch.equal(renamed[name], tensor) for name, tensor in again.state_dict().items())


def test_fcos_keeps_its_own_numbering() -> None:
    state = trained_on(OLD, FCOS).state_dict()
    assert current_names(state, state).keys() == state.keys()


def test_what_we_save_loads_into_torchvision() -> None:
    network = build_detector(model(RETINANET, fpn_channels=256), OLD).network
    theirs = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3)
    theirs.load_state_dict(network.state_dict())

