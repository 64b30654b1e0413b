"""What each speed-up for CPUs gains: `python -m tests.bench.exact_speed [--threads 2] [--rounds 5] [--large]`.

One training step and one detection of the same network on the same images, computed as torchvision does, with
each part alone and with all of them, in interleaved rounds. The ratios of the medians are what counts; beside
them how far losses and gradients are from torchvision's. `--memory` takes a process for each way and tells its
peak instead; `--processor-time` counts that, for a machine with other work; `--ways` picks some.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from engine.models import build_detector
from engine.models.detector import Detector, Target
from engine.models.precision import pick_precision
from engine.models.speed import prepared
from engine.recipe.schema import Hardware, Model, Optimizer
from engine.training.optim import build_optimizer

PLAIN = Hardware(
    sparse_pooling=False, sampled_proposals=False, channels_last=False, folded_norm=False, pyramid_in_place=False,
    fused_optimizer=False,
)
WAYS = {
    "torchvision": PLAIN,
    **{
        name: PLAIN.model_copy(update={name: True})
        for name in ("sparse_pooling", "sampled_proposals", "channels_last", "folded_norm", "pyramid_in_place",
                     "fused_optimizer")
    },
    "all, exact": Hardware(),
    "torchvision, bf16": PLAIN.model_copy(update={"precision": "bf16"}),
    "all, bf16": Hardware(precision="bf16"),
}
NAMES = ("mug", "laptop", "keyboard")
CPU = torch.device("cpu")
SMALL = (("fasterrcnn_mobilenet_v2_fpn", 480, 640), ("fasterrcnn_mobilenet_v3_large_320_fpn", 320, 427))
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


def settled(arch: str, height: int, width: int) -> Detector:
    """A detector of random weights whose fixed normalisation fits them, so that no signal dies or explodes.

    Numbers too small for float32's usual form, which dying signals become, are up to a hundred times slower.
    """
    settings: dict[str, object] = {"arch": arch, "weights": "none", "min_size": height, "max_size": width}
    torch.manual_seed(0)
    learning = build_detector(Model.model_validate({**settings, "norm": "batch"}), NAMES).train()
    for layer in learning.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # statistics of what is seen once, not of a little of it
    with torch.no_grad():
        learning.network.backbone(torch.randn(2, 3, 256, 256))
    # As many stages learn as with published weights.
    frozen = build_detector(Model.model_validate({**settings, "norm": "frozen", "trainable_layers": 3}), NAMES)
    frozen.network.load_state_dict(learning.network.state_dict(), strict=False)
    return frozen


def read(
    detector: Detector, hardware: Hardware, images: list[Tensor], targets: list[Target], clock: Callable[[], float]
) -> Reading:
    prepared(detector, hardware, CPU).to(
        memory_format=torch.channels_last if hardware.channels_last else torch.contiguous_format
    )
    optimizer = build_optimizer(detector.train(), Optimizer(lr=1e-12), fused=hardware.fused_optimizer)
    torch.manual_seed(1)
    began = clock()
    total = torch.stack(list(detector.losses(images, targets, pick_precision(hardware.precision, CPU)).values())).sum()
    total.backward()
    optimizer.step()
    trained = clock()
    gradient = torch.cat([one.grad.flatten() for one in detector.parameters() if one.grad is not None])
    optimizer.zero_grad(set_to_none=True)
    detecting = clock()
    detector.detect(images)
    return Reading(trained - began, clock() - detecting, total.item(), gradient)


def measure(
    arch: str, height: int, width: int, rounds: int, ways: Sequence[str], clock: Callable[[], float]
) -> dict[str, list[Reading]]:
    detector = settled(arch, height, width)
    images, targets = a_batch(height, width)
    readings: dict[str, list[Reading]] = {way: [] for way in ways}
    for _ in range(rounds + 1):  # the first one warms up
        for way in ways:
            readings[way].append(read(detector, WAYS[way], images, targets, clock))
    return {way: found[1:] for way, found in readings.items()}


def peak_of(arch: str, height: int, width: int, way: str) -> float:
    """MB that a process of its own takes for two steps and detections, what it takes for being there included."""
    words = f"import tests.bench.exact_speed as b; b.tell_peak({arch!r}, {height}, {width}, {way!r})"
    told = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True).stdout
    return float(told)


def tell_peak(arch: str, height: int, width: int, way: str) -> None:
    measure(arch, height, width, 1, [way], time.perf_counter)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


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
    parser.add_argument("--large", action="store_true", help="ResNet50 at 800/1066 px")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console()
    ways = ["torchvision", *(way for way in arguments.ways if way != "torchvision")]
    clock = time.process_time if arguments.processor_time else time.perf_counter
    for arch, height, width in LARGE if arguments.large else SMALL:
        title = f"{arch}, 2 images of {height} x {width} px, {arguments.threads} threads"
        if arguments.memory:
            peaks = {way: peak_of(arch, height, width, way) for way in ways}
            console.print(title, *(f"\n{way}: {peak:.0f} MB" for way, peak in peaks.items()))
        else:
            show(console, title, measure(arch, height, width, arguments.rounds, ways, clock))


if __name__ == "__main__":
    main()
