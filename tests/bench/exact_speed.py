"""What each speed-up for CPUs gains: `python -m tests.bench.exact_speed [--threads 2] [--rounds 5] [--large]`.

One training step and one detection of the same network on the same images, computed as torchvision does, with
each part alone and with all of them, in interleaved rounds. The ratios of the medians are what counts; beside
them how far losses and gradients are from torchvision's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from engine.models import build_detector
from engine.models.detector import Detector, Target
from engine.models.speed import prepared
from engine.recipe.schema import Hardware, Model

PLAIN = Hardware(
    sparse_pooling=False, sampled_proposals=False, channels_last=False, folded_norm=False, pyramid_in_place=False
)
WAYS = {
    "torchvision": PLAIN,
    "sparse_pooling": PLAIN.model_copy(update={"sparse_pooling": True}),
    "sampled_proposals": PLAIN.model_copy(update={"sampled_proposals": True}),
    "both": Hardware(channels_last=False),
    "all, channels_last too": Hardware(),
}
NAMES = ("mug", "laptop", "keyboard")
CPU = torch.device("cpu")
SMALL = (("fasterrcnn_mobilenet_v2_fpn", 480, 640), ("fasterrcnn_resnet50_fpn", 480, 640))
LARGE = (("fasterrcnn_resnet50_fpn", 800, 1066),)


@dataclass(frozen=True, slots=True)
class Reading:
    """One round of one way.

    Attributes:
        step_s: Seconds of a training step.
        detect_s: Seconds of a detection.
        loss: The total loss.
        gradient: All gradients in one row.
    """

    step_s: float
    detect_s: float
    loss: float
    gradient: Tensor


def a_batch(height: int, width: int, num_images: int = 2, num_boxes: int = 10) -> tuple[list[Tensor], list[Target]]:
    images = [torch.rand(3, height, width) for _ in range(num_images)]
    targets: list[Target] = []
    for _ in images:
        corners = torch.rand(num_boxes, 2) * torch.tensor([width - 90.0, height - 90.0])
        boxes = torch.cat([corners, corners + 20 + 60 * torch.rand(num_boxes, 2)], dim=1)
        targets.append({"boxes_xyxy": boxes, "labels": torch.randint(0, len(NAMES), (num_boxes,))})
    return images, targets


def read(detector: Detector, hardware: Hardware, images: list[Tensor], targets: list[Target]) -> Reading:
    prepared(detector, hardware, CPU).to(
        memory_format=torch.channels_last if hardware.channels_last else torch.contiguous_format
    )
    detector.train().zero_grad(set_to_none=True)
    torch.manual_seed(1)
    began = time.perf_counter()
    total = torch.stack(list(detector.losses(images, targets).values())).sum()
    total.backward()
    trained = time.perf_counter()
    gradient = torch.cat([one.grad.flatten() for one in detector.parameters() if one.grad is not None])
    detecting = time.perf_counter()
    detector.detect(images)
    return Reading(trained - began, time.perf_counter() - detecting, total.item(), gradient)


def measure(arch: str, height: int, width: int, rounds: int) -> dict[str, list[Reading]]:
    torch.manual_seed(0)
    model = Model.model_validate(
        {"arch": arch, "weights": "none", "norm": "frozen", "min_size": height, "max_size": width}
    )
    detector = build_detector(model, NAMES)
    images, targets = a_batch(height, width)
    readings: dict[str, list[Reading]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):  # the first one warms up
        for way, hardware in WAYS.items():
            readings[way].append(read(detector, hardware, images, targets))
    return {way: found[1:] for way, found in readings.items()}


def show(console: Console, title: str, readings: dict[str, list[Reading]]) -> None:
    table = Table("", "step", "min-max", "gain", "detection", "gain", "loss off by", "gradient off by", title=title)
    plain = readings["torchvision"]
    step = statistics.median(one.step_s for one in plain)
    detect = statistics.median(one.detect_s for one in plain)
    for way, found in readings.items():
        own_step = statistics.median(one.step_s for one in found)
        own_detect = statistics.median(one.detect_s for one in found)
        table.add_row(
            way, f"{own_step:.2f} s", f"{min(one.step_s for one in found):.2f}-{max(one.step_s for one in found):.2f}",
            f"{step / own_step:.2f}", f"{own_detect:.2f} s", f"{detect / own_detect:.2f}",
            f"{abs(found[0].loss - plain[0].loss) / plain[0].loss:.0e}",
            f"{float((found[0].gradient - plain[0].gradient).norm() / plain[0].gradient.norm()):.0e}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="ResNet50 at 800/1066 px instead of 480/640")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console()
    for arch, height, width in LARGE if arguments.large else SMALL:
        title = f"{arch}, 2 images of {height} x {width} px, {arguments.threads} threads"
        show(console, title, measure(arch, height, width, arguments.rounds))


if __name__ == "__main__":
    main()
