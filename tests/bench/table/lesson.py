"""The lesson's training script, written out as its reader would: torchvision's detector, a Dataset with Pillow, a loop.

Two things differ, and neither costs or saves time: photos come in a given order, so that every way of training
sees the same batches, and the loop hands each step's loss to whoever holds the clock.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

LEARNING_RATE = 0.005


class CustomDataset(Dataset[Any]):
    """Photos with Pascal VOC annotations."""

    def __init__(self, image_dir: str, annotation_dir: str, class_names: Sequence[str], images: Sequence[str]) -> None:
        self.image_dir = image_dir
        self.annotation_dir = annotation_dir
        self.images = list(images)
        self.transforms = ToTensor()
        self.class_to_idx = {"background": 0} | {name: index for index, name in enumerate(class_names, 1)}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, idx: int) -> tuple[Tensor, dict[str, Tensor]]:
        img_name = self.images[idx]
        image = Image.open(os.path.join(self.image_dir, img_name)).convert("RGB")  # noqa: PTH118 - the lesson's
        tree = ET.parse(os.path.join(self.annotation_dir, img_name.replace(".jpg", ".xml")))  # noqa: S314, PTH118
        boxes, labels = [], []
        for obj in tree.getroot().findall("object"):
            bbox: Any = obj.find("bndbox")
            boxes.append([int(bbox.find(side).text) for side in ("xmin", "ymin", "xmax", "ymax")])
            labels.append(self.class_to_idx[str(obj.findtext("name"))])
        target = {
            "boxes": torch.as_tensor(boxes, dtype=torch.float32),
            "labels": torch.as_tensor(labels, dtype=torch.int64),
            "image_id": torch.tensor([idx]),
        }
        return self.transforms(image), target


def train(model: nn.Module, train_dataset: CustomDataset, batch_size: int) -> Iterator[float]:
    """One epoch; yields the loss of each step."""
    train_loader = DataLoader(
        train_dataset, batch_size=batch_size, num_workers=4, collate_fn=lambda x: tuple(zip(*x, strict=True)),
        generator=torch.Generator(),  # so that beginning an epoch draws nothing from the seed of the first step
    )
    device = torch.device("cpu")
    model.to(device)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=LEARNING_RATE, momentum=0.9, weight_decay=0.0005)
    model.train()
    epoch_loss = 0.0
    for images, targets in train_loader:
        images = [img.to(device) for img in images]  # noqa: PLW2901 - the lesson's
        targets = [{k: v.to(device) for k, v in t.items()} for t in targets]  # noqa: PLW2901

        loss_dict = model(images, targets)
        losses: Any = sum(loss for loss in loss_dict.values())

        optimizer.zero_grad()
        losses.backward()
        optimizer.step()

        epoch_loss += losses.item()
        yield losses.item()


def detect(model: nn.Module, paths: Sequence[str]) -> Iterator[int]:
    """Detect in one photo after another, as the lesson does; yields how many objects were found."""
    model.eval()
    transform = ToTensor()
    for path in paths:
        image_tensor = transform(Image.open(path).convert("RGB"))
        with torch.no_grad():
            predictions = model([image_tensor])
        yield len(predictions[0]["boxes"].cpu().numpy())
