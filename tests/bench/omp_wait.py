"""What it costs when training threads spin while they wait: `python -m tests.bench.omp_wait`.

Trains a small Faster R-CNN for some steps in fresh processes, with OpenMP's waiting threads spinning
(the default) and sleeping (`OMP_WAIT_POLICY=PASSIVE`, what engine's workers get), on a machine left
alone and beside as many busy processes as there are cores. Rounds are interleaved; the ratios of the
medians are what counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

_WARM_UP = 2


def steps(num_steps: int) -> None:
    """Train and print the median seconds of a step."""
    import torch

    from engine.models import build_detector
    from engine.recipe.schema import Model, Optimizer
    from engine.training.optim import build_optimizer

    torch.manual_seed(0)
    model = Model(arch="fasterrcnn_resnet18_fpn", weights="none", min_size=192, fpn_channels=64, box_samples=64)
    detector = build_detector(model, ["a", "b"]).train()
    optimizer = build_optimizer(detector.parameters(), Optimizer())
    images = [torch.rand(3, 240, 320) for _ in range(4)]
    boxes = torch.tensor([[20.0, 20.0, 120.0, 140.0], [150.0, 60.0, 300.0, 200.0]])
    targets = [{"boxes_xyxy": boxes, "labels": torch.tensor([0, 1])} for _ in images]
    seconds = []
    for _ in range(num_steps + _WARM_UP):
        begun = time.perf_counter()
        loss = torch.stack(list(detector.losses(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
    print(statistics.median(seconds[_WARM_UP:]))


def _spin() -> None:
    while True:
        pass


def _environment(policy: str) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return rest | ({"OMP_WAIT_POLICY": policy} if policy else {})


def measure(policy: str, num_busy: int, num_steps: int) -> float:
    """Median seconds of a step in a fresh process, beside `num_busy` busy ones."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(num_busy)]
    for process in busy:
        process.start()
    try:
        found = subprocess.run(
            [sys.executable, "-m", "tests.bench.omp_wait", "--steps", str(num_steps)],
            env=_environment(policy), check=True, capture_output=True, text=True,
        )
    finally:
        for process in busy:
            process.kill()
    return float(found.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.steps:
        steps(arguments.steps)
        return
    cores = os.cpu_count() or 1
    cases = [(policy, busy) for busy in (0, cores) for policy in ("", "PASSIVE")]
    seconds: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for _ in range(arguments.rounds):
        for case in cases:
            seconds[case].append(measure(*case, num_steps=8))
    table = Table("waiting threads", "busy processes", "median s a step", "min-max", "ratio to spinning")
    for policy, busy in cases:
        own = seconds[policy, busy]
        ratio = statistics.median(own) / statistics.median(seconds["", busy])
        table.add_row(
            {"": "spin", "PASSIVE": "sleep"}[policy], str(busy), f"{statistics.median(own):.3f}",
            f"{min(own):.3f}-{max(own):.3f}", f"{ratio:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
