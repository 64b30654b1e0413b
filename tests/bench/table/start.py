"""The photos and the weights that all ways of training begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum

from engine.annotations import ImageRecord, read_split
from engine.catalogue import ARCHS
from engine.data.dataset import load_image
from engine.data.order import EpochOrder
from engine.models import build_detector
from engine.models.build import uses_frozen_norm
from engine.models.detector import Network
from engine.recipe.schema import Model, Recipe
from engine.sample.scene import draw_scene
from tests.bench.table.cases import CLASS_NAMES, PHOTO_SIZE, Case
from tests.builders import write_voc

# Scores of random weights would fill a photo with boxes, which no trained network does.
_BACKGROUND_BIAS = 4.0
_JPEG_QUALITY = 92


def draw_photos(folder: Path, num_photos: int) -> None:
    """Drawn desks with at least one object, all landscape, as large as a phone's small photos; one for validation."""
    found, index = 0, 0
    while found < num_photos + 1:
        scene = draw_scene(0, "train", index)
        index += 1
        if not scene.objects or scene.image.width < scene.image.height:
            continue
        split = folder / ("train" if found < num_photos else "val")
        name = f"desk_{found:04d}"
        scale = PHOTO_SIZE[0] // scene.image.width
        (split / "images").mkdir(parents=True, exist_ok=True)
        scene.image.resize(PHOTO_SIZE).save(split / "images" / f"{name}.jpg", quality=_JPEG_QUALITY)
        objects = [
            (thing.name, (scale * x0, scale * y0, scale * x1, scale * y1))
            for thing in scene.objects for x0, y0, x1, y1 in [thing.box_xyxy]
        ]
        write_voc(split / "annotations" / f"{name}.xml", objects, size=PHOTO_SIZE)
        found += 1


def ordered(recipe: Recipe) -> list[str]:
    """File names of the training photos in the order in which engine takes them in its first epoch."""
    records = read_split(recipe.dataset, recipe.classes, "train").records
    order = EpochOrder(len(records), int(recipe.training.batch_size), recipe.training.seed)
    return [records[drawn.place].image_path.name for batch in order for drawn in batch]


def model_settings(case: Case) -> dict[str, Any]:
    """`[model]` of the case: built as with published weights, which are not fetched."""
    arch = ARCHS[case.arch]
    trained = Model.model_validate({"arch": case.arch, "weights": "imagenet"})
    norm = {"norm": "frozen" if uses_frozen_norm(trained, arch) else "batch"} if arch.has_batch_norm else {}
    return {"arch": case.arch, "weights": "none", "trainable_layers": arch.num_trained_stages, **norm}


def starting_state(case: Case, records: list[ImageRecord]) -> dict[str, Tensor]:
    """Random weights with statistics of the photos, so that frozen normalisation normalises, as it would trained.

    Args:
        case: The detector.
        records: Photos to take the statistics of.
    """
    torch.manual_seed(0)
    settings = model_settings(case)
    learnt = settings | ({"norm": "batch"} if "norm" in settings else {})
    network = build_detector(Model.model_validate(learnt), CLASS_NAMES).network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # a plain mean
    with torch.no_grad():
        for record in records:
            batch, _ = network.transform([load_image(record).float() / 255])
            network.backbone(batch.tensors)
    state = network.state_dict()
    if "roi_heads.box_predictor.cls_score.bias" in state:
        state["roi_heads.box_predictor.cls_score.bias"][0] = _BACKGROUND_BIAS
    wanted = build_detector(Model.model_validate(settings), CLASS_NAMES).network.state_dict()
    return {name: state[name].clone() for name in wanted}


def torchvisions_network(case: Case) -> Network:
    """The detector as torchvision's own builder makes it; engine's where torchvision has none of that name."""
    arch = ARCHS[case.arch]
    if arch.coco is None:
        return build_detector(Model.model_validate(model_settings(case)), CLASS_NAMES).network
    num_outputs = len(CLASS_NAMES) + (arch.family in {"fasterrcnn", "ssd"})
    if arch.name.startswith("ssdlite"):  # which is another network with ImageNet weights; nothing of it is frozen
        return torchvision.models.get_model(  # type: ignore[no-any-return]
            case.arch, weights=None, weights_backbone=None, num_classes=num_outputs
        )
    # The builder fetches the backbone's weights and freezes its normalisation and first stages because of them;
    # random ones stand in for those.
    stand_in = torchvision.models.get_model(arch.backbone, weights=None).state_dict()
    published = "IMAGENET1K_FEATURES" if arch.backbone == "vgg16" else "IMAGENET1K_V1"
    with mock.patch.object(WeightsEnum, "get_state_dict", return_value=stand_in):
        return torchvision.models.get_model(  # type: ignore[no-any-return]
            case.arch, weights=None, weights_backbone=published, num_classes=num_outputs
        )
