"""What it costs when training threads spin while they wait: `python -m tests.bench.omp_wait`.

Trains a small Faster R-CNN for some steps in fresh processes: with libgomp's default, with the short
spinning that engine's workers get, and with threads that sleep at once; on a machine left alone, beside
as many busy processes as there are cores, and beside a second training. Rounds are interleaved; the
ratios of the medians are what counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

_WARM_UP = 2
WAITING: dict[str, dict[str, str]] = {
    "default": {}, "engine's workers": {"GOMP_SPINCOUNT": "10000"}, "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}


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


def _environment(case: str) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return rest | WAITING[case]


def _beside(company: str, case: str) -> list[subprocess.Popen[bytes]]:
    """Start what the measured training has to share the machine with."""
    commands = {
        "nothing": [],
        "busy processes": [[sys.executable, "-c", "while True: pass"]] * (os.cpu_count() or 1),
        "a second training": [[sys.executable, "-m", "tests.bench.omp_wait", "--steps", "100000"]],
    }[company]
    return [subprocess.Popen(command, env=_environment(case), stdout=subprocess.DEVNULL) for command in commands]


def measure(case: str, company: str, num_steps: int) -> float:
    """Median seconds of a step in a fresh process."""
    others = _beside(company, case)
    try:
        found = subprocess.run(
            [sys.executable, "-m", "tests.bench.omp_wait", "--steps", str(num_steps)],
            env=_environment(case), check=True, capture_output=True, text=True,
        )
    finally:
        for process in others:
            process.kill()
            process.wait()
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
    cases = [(case, company) for company in ("nothing", "busy processes", "a second training") for case in WAITING]
    seconds: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for _ in range(arguments.rounds):
        for case in cases:
            seconds[case].append(measure(*case, num_steps=8))
    table = Table("beside", "waiting threads", "median s a step", "min-max", "ratio to the default")
    for waiting, company in cases:
        own = seconds[waiting, company]
        ratio = statistics.median(own) / statistics.median(seconds["default", company])
        span = f"{min(own):.3f}-{max(own):.3f}"
        table.add_row(company, waiting, f"{statistics.median(own):.3f}", span, f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
