"""What a training step costs under each allocator: `python -m tests.bench.allocators [--case large] [--ways A,B]`.

Real steps in fresh processes, batches of photos of mixed shapes, rounds interleaved: seconds of a step, page faults,
the most memory held at once, and what counts against a memory limit (VmData). The ratios to the default are what
counts. Ways whose library isn't installed are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

_WARM_UP = 2
_GLIBC = {"MALLOC_TRIM_THRESHOLD_": str(2**33), "MALLOC_TOP_PAD_": str(2**26)}
_JEMALLOC = "oversize_threshold:1,background_thread:true,metadata_thp:auto"
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "default": ("", {}),
    "glibc 32 MB": ("", {**_GLIBC, "MALLOC_MMAP_THRESHOLD_": str(2**25)}),
    "glibc 4 GB": ("", {**_GLIBC, "MALLOC_MMAP_THRESHOLD_": str(2**32)}),
    "glibc no mmap": ("", {**_GLIBC, "MALLOC_MMAP_MAX_": "0"}),
    "glibc huge pages": ("", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    "torch huge pages": ("", {"THP_MEM_ALLOC_ENABLE": "1"}),
    "tcmalloc": ("libtcmalloc_minimal.so.4", {"TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**50)}),
    "tcmalloc huge": (
        "libtcmalloc_minimal.so.4",
        {"TCMALLOC_LARGE_ALLOC_REPORT_THRESHOLD": str(2**50), "THP_MEM_ALLOC_ENABLE": "1"},
    ),
    "jemalloc": ("libjemalloc.so.2", {}),
    "jemalloc tuned": ("libjemalloc.so.2", {"MALLOC_CONF": f"{_JEMALLOC},dirty_decay_ms:10000,muzzy_decay_ms:10000"}),
    "jemalloc kept": (
        "libjemalloc.so.2",
        {"MALLOC_CONF": "oversize_threshold:0,dirty_decay_ms:30000,muzzy_decay_ms:30000"},
    ),
    "jemalloc huge": ("libjemalloc.so.2", {"MALLOC_CONF": "thp:always,metadata_thp:auto"}),
    "mimalloc": ("libmimalloc.so.2", {}),
    "mimalloc 3 kept": (
        os.environ.get("MIMALLOC_3", "libmimalloc.so.3"), {"MIMALLOC_PURGE_DELAY": "60000"},
    ),
    "mimalloc 3": (os.environ.get("MIMALLOC_3", "libmimalloc.so.3"), {}),
}
CASES = {
    "large": ("fasterrcnn_resnet50_fpn", 800, 1333, 3),
    "middle": ("fasterrcnn_mobilenet_v2_fpn", 480, 640, 8),
    "small": ("fasterrcnn_mobilenet_v3_large_320_fpn", 320, 640, 8),
}
_SHAPES = ((768, 1024), (1024, 768), (683, 1024), (1024, 1024), (576, 1024))


def steps(case: str) -> None:
    """Train and print a JSON object of figures."""
    import torch

    from engine.devicememory import _status_bytes
    from engine.models import build_detector
    from engine.models.speed import prepared
    from engine.recipe.schema import Hardware, Model, Optimizer
    from engine.training.optim import build_optimizer

    arch, min_size, max_size, num_steps = CASES[case]
    torch.manual_seed(0)
    model = Model.model_validate({"arch": arch, "weights": "none", "min_size": min_size, "max_size": max_size})
    detector = prepared(build_detector(model, ["a", "b"]), Hardware(), torch.device("cpu")).train()
    optimizer = build_optimizer(detector, Optimizer())
    seconds, processor_s, faults, data = [], [], [], 0
    for step in range(num_steps + _WARM_UP):
        shapes = [_SHAPES[(step + number) % len(_SHAPES)] for number in range(2)]
        images = [torch.randint(256, (3, *shape), dtype=torch.uint8).float().div_(255) for shape in shapes]
        boxes = torch.tensor([[20.0, 20.0, 120.0, 140.0], [150.0, 60.0, 400.0, 300.0]])
        targets = [{"boxes_xyxy": boxes, "labels": torch.tensor([0, 1])} for _ in images]
        processor_before = time.process_time()
        faults_before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        loss = torch.stack(list(detector.losses(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
        processor_s.append(time.process_time() - processor_before)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before)
        data = max(data, _status_bytes("VmData"))
    print(json.dumps({
        "step_s": statistics.median(seconds[_WARM_UP:]), "processor_s": statistics.median(processor_s[_WARM_UP:]),
        "faults": statistics.median(faults[_WARM_UP:]),
        "peak": _status_bytes("VmHWM"), "data": data, "loss": float(loss),
        "system_s": resource.getrusage(resource.RUSAGE_SELF).ru_stime,
    }))


def measure(case: str, way: str) -> dict[str, float] | None:
    """Figures of a fresh process; None where the library isn't there."""
    library, variables = WAYS[way]
    environment = {**os.environ, "GOMP_SPINCOUNT": "10000", **variables}
    if library:
        environment["LD_PRELOAD"] = library
    command = [sys.executable, "-m", "tests.bench.allocators", "--child", "--case", case]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    if "cannot be preloaded" in found.stderr:
        return None
    figures: dict[str, float] = json.loads(found.stdout)
    return figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--case", choices=CASES, default="middle")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.child:
        steps(arguments.case)
        return
    ways = arguments.ways.split(",")
    readings: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way in ways:
            if (found := measure(arguments.case, way)) is not None:
                readings[way].append(found)
    columns = ("s a step", "gain", "processor s", "gain", "faults a step", "peak", "of default", "counted", "loss")
    table = Table("allocator", *columns, title=arguments.case)
    for way, found in readings.items():
        if not found:
            continue
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        base = {key: statistics.median(one[key] for one in readings[ways[0]]) for key in middle}
        table.add_row(
            way, f"{middle['step_s']:.3f}", f"{base['step_s'] / middle['step_s']:.2f}", f"{middle['processor_s']:.3f}",
            f"{base['processor_s'] / middle['processor_s']:.2f}", f"{middle['faults']:,.0f}",
            f"{middle['peak'] / 1e9:.2f} GB", f"{middle['peak'] / base['peak']:.2f}", f"{middle['data'] / 1e9:.2f} GB",
            f"{middle['loss']:.6f}",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
