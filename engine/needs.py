"""What runs need from this machine: weights, a device, room on the disk, memory.

Each check tells problems and changes nothing. Only what would certainly stop a run is an error.
"""

from __future__ import annotations

import contextlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from engine import machine
from engine.allocator import HOW_TO_INSTALL, find
from engine.catalogue import ARCHS, Arch, WeightsFile
from engine.errors import EngineError, Problem, WeightsError, Where
from engine.hub import cached_path, sha256_of
from engine.queuereader import read_queue
from engine.recipe.load import read_resolved, recipe_hash
from engine.recipe.schema import Hardware, Model, Recipe
from engine.rundir import RunDir
from engine.runqueue import OVER
from engine.weightsfile import misfit, tensor_names

# Long enough for a slow line, short enough that an offline check doesn't hang.
_REACH_TIMEOUT_S = 4.0
# torch itself takes about a third of it, a small detector and its images the rest.
_LEAST_MEMORY_BYTES = 2 * 10**9
_BYTES_PER_NUMBER = 4
# Room for pictures, logs and the queue itself.
_BESIDES_BYTES = 50 * 10**6


# --- weights ---


def published_weights(model: Model) -> WeightsFile | None:
    """The published file that `model.weights` means; None for a file of one's own, or none at all."""
    arch = ARCHS[model.arch]
    return {"coco": arch.coco, "imagenet": arch.imagenet}.get(model.weights)


class WeightsCheck:
    """Looks at weights files; each published one is read, or asked for, only once."""

    def __init__(self) -> None:
        self._asked: dict[WeightsFile, str] = {}
        self._read: dict[Path, str] = {}

    def problems(self, model: Model, where: Where) -> list[Problem]:
        """Whether the weights that a model asks for are at hand and sound, or can be had."""
        if model.weights_path is not None:
            return own_weights_problems(model.weights_path, ARCHS[model.arch], where)
        weights = published_weights(model)
        if weights is None:
            return []
        path = cached_path(weights)
        return self._cached(path, weights, where) if path.is_file() else [self._remote(path, weights, where)]

    def why_unreachable(self, weights: WeightsFile) -> str:
        """Why a published file can't be fetched from here; "" when it can."""
        if weights not in self._asked:
            self._asked[weights] = _why_unreachable(weights.url)
        return self._asked[weights]

    def _cached(self, path: Path, weights: WeightsFile, where: Where) -> list[Problem]:
        if path not in self._read:
            self._read[path] = _fault_of(path, weights.sha256_prefix)
        fault = self._read[path]
        if not fault:
            return []
        return [Problem("W102", where, f"{path} {fault}", f"delete it; it is fetched again from {weights.url}")]

    def _remote(self, path: Path, weights: WeightsFile, where: Where) -> Problem:
        reason = self.why_unreachable(weights)
        if reason:
            return Problem(
                "W101", where, f"{weights.name} isn't on this machine and can't be fetched ({reason})",
                f"fetch {weights.url} elsewhere and bring it in with `engine weights import` (it goes to {path}), "
                "or set model.weights to a file",
            )
        return Problem(
            "W100", where, f"{weights.name} ({weights.size_mb} MB) will be fetched when the run starts",
            f"nothing to do; it is kept as {path}", "note",
        )


def own_weights_problems(path: Path, arch: Arch, where: Where) -> list[Problem]:
    """Whether a weights file, or the folder of a former run, is there and can be of a detector or its backbone."""
    if path.is_dir():
        checkpoint = RunDir(path).best_checkpoint
        if not checkpoint.is_file():
            return [_no_model_yet(path, where)]
        path = checkpoint
    elif not path.exists():
        fix = 'correct the path (it is relative to the recipe), or choose "coco", "imagenet" or "none"'
        return [Problem("W103", where, f"there is no weights file {path}", fix)]
    try:
        names = tensor_names(path)
    except WeightsError as error:
        return [replace(problem, where=where, found=f"{path}: {problem.found}") for problem in error.problems]
    reason = misfit(names, arch) if names is not None else ""
    if not reason:
        return []
    fix = f"choose the model.arch that the file was made with, not {arch.name}, or another file"
    return [Problem("W105", where, f"{path}: {reason}", fix)]


def _no_model_yet(path: Path, where: Where) -> Problem:
    row = read_queue(path.parent).rows.get(path.name)
    if row is not None and row.state not in OVER:
        found = f"the run {path.name} has no best model yet; it must have one when this run starts"
        return Problem("W107", where, found, "nothing to do if it comes first in the queue", "warning")
    found = f"there is no best model of a run in {path} (checkpoints/best.pt)"
    return Problem("W107", where, found, "name the folder of a run that has measured an epoch, or a weights file")


def _why_unreachable(url: str) -> str:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - an https address of our own table
    try:
        with urllib.request.urlopen(request, timeout=_REACH_TIMEOUT_S):  # noqa: S310
            return ""
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        return str(getattr(error, "reason", error)) or type(error).__name__


def _fault_of(path: Path, prefix: str) -> str:
    try:
        found = sha256_of(path)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return "" if found.startswith(prefix) else f"is damaged: its sha256 begins with {found[:8]}, not {prefix}"


# --- device and memory ---


def device_problems(hardware: Hardware, where: Where) -> list[Problem]:
    """Whether the device that a recipe asks for is here."""
    kind, _, index = hardware.device.partition(":")
    if kind == "mps" and not machine.can_have_mps():
        found = 'device "mps" is asked for, which only Apple\'s own processors under macOS have'
        return [Problem("E104", where, found, 'set hardware.device = "auto"')]
    if kind not in ("auto", "cuda"):
        return []
    num_devices = machine.num_cuda_devices()
    if num_devices == 0:
        return [] if kind == "auto" else [_no_gpu(hardware.device, where)]
    if num_devices is not None and index and int(index) >= num_devices:
        highest = f"cuda:{num_devices - 1}"
        found = f'device "{hardware.device}" is asked for, but the last one here is "{highest}"'
        return [Problem("E104", where, found, f'set hardware.device = "{highest}", or "auto"')]
    version = machine.torch_without_cuda()
    if version is None:
        return []
    found = f"there is a GPU, but torch {version} was built without the means to use it"
    fix = "install a torch with CUDA (pytorch.org tells the command)"
    return [Problem("E105", where, found, fix, "warning" if kind == "auto" else "error")]


def allocator_problems(hardware: Hardware, where: Where) -> list[Problem]:
    """Whether the memory allocator that a recipe asks for by its name is here and works."""
    if hardware.allocator == "auto" or find(hardware.allocator) is not None:
        return []
    found = f'allocator "{hardware.allocator}" is asked for, but '
    if sys.platform != "linux":
        found, fix = f"{found}another one than the system's is for Linux only", 'set hardware.allocator = "auto"'
    else:
        found += "no library of it that works is installed here"
        fix = f'install it ({HOW_TO_INSTALL[hardware.allocator]}), or set hardware.allocator = "auto"'
    return [Problem("E112", where, found, fix)]


def _no_gpu(device: str, where: Where) -> Problem:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        found = f'device "{device}" is asked for, but CUDA_VISIBLE_DEVICES = "{hidden}" hides every GPU'
        return Problem("E104", where, found, 'unset CUDA_VISIBLE_DEVICES, or set hardware.device = "auto"')
    found = f'device "{device}" is asked for, but no GPU is found here (neither /dev/nvidia0 nor nvidia-smi)'
    return Problem("E104", where, found, 'set hardware.device = "auto", or mend the driver (try nvidia-smi)')


def memory_problems() -> list[Problem]:
    """A warning when so little memory is free that hardly any run can start."""
    available = machine.available_memory_bytes()
    if available >= _LEAST_MEMORY_BYTES:
        return []
    least = _gigabytes(_LEAST_MEMORY_BYTES)
    found = f"{_gigabytes(available)} of memory is free; a run needs {least} at the very least"
    return [Problem("E106", Where(), found, "end other programs before the night", "warning")]


# --- disk ---


def num_parameters(model: Model) -> int:
    """How many numbers a detector has, rather too many than too few; the class map hardly counts."""
    arch = ARCHS[model.arch]
    channels, width = model.fpn_channels, model.box_head_width
    convolution = 9 * (256**2 - channels**2)
    if arch.family == "fasterrcnn":
        # The box head sees 7 x 7 cells of the pyramid; a convolution stands on each level, and one more on all.
        head = 49 * (256 * 1024 - channels * width) + 1024**2 - width**2
        return arch.num_parameters - head - arch.num_levels * convolution
    # RetinaNet and FCOS: a convolution on each of three levels, one of a coarse level, four in each head.
    return arch.num_parameters - (12 * convolution if arch.family != "ssd" else 0)


def checkpoint_bytes(recipe: Recipe) -> tuple[int, int]:
    """What a run's checkpoints take.

    Returns:
        (bytes kept: the newest state, the one before, the best model; bytes of one state, which
        is written beside them before it takes their place).
    """
    model = num_parameters(recipe.model) * _BYTES_PER_NUMBER
    # SGD remembers a momentum for each number, AdamW two moments; a moving average is one more.
    remembered = 2 if recipe.optimizer.name == "adamw" else int(recipe.optimizer.momentum > 0)
    state = model * (1 + remembered + int(recipe.training.ema_decay is not None))
    return 2 * state + model, state


def disk_problems(runs_dir: Path, recipes: Sequence[Recipe]) -> list[Problem]:
    """Whether the checkpoints of all these runs, and of those queued already, have room.

    Args:
        runs_dir: The runs folder; it needn't exist yet.
        recipes: Runs about to be queued.
    """
    if not recipes:
        return []
    where = Where(str(runs_dir))
    folder = machine.existing_folder(runs_dir)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        fix = "make it writable, or name another folder with --runs"
        return [Problem("E103", where, f"runs can't be kept here: {folder} can't be written", fix)]
    try:
        free = machine.free_disk_bytes(folder)
    except OSError:
        return []  # some network drives don't tell
    hashes = {recipe_hash(recipe) for recipe in recipes}
    still = list(_still_to_be_written(runs_dir, hashes))
    sizes = [checkpoint_bytes(recipe) for recipe in recipes]
    needed = sum(kept for kept, _ in sizes) + max(state for _, state in sizes) + sum(still) + _BESIDES_BYTES
    if needed <= free:
        return []
    count = f"{len(recipes)} run{'s' if len(recipes) > 1 else ''}"
    waiting = f" and {len(still)} queued already" if still else ""
    found = f"the checkpoints of {count}{waiting} need about {_gigabytes(needed)}, but {_gigabytes(free)} is free"
    fix = "free some space (`engine clean` tells what could go), queue fewer runs, or name another disk with --runs"
    return [Problem("E102", where, found, fix)]


def _still_to_be_written(runs_dir: Path, new: Iterable[str]) -> Iterator[int]:
    """Bytes that each unfinished run of the queue will yet add; those of `new` hashes are counted elsewhere."""
    # Only looked at: a damaged queue is told, and mended, by whoever needs it.
    for row in read_queue(runs_dir).rows.values():
        if row.state in OVER or row.recipe_hash in new:
            continue
        run_dir = RunDir(runs_dir / row.run)
        with contextlib.suppress(EngineError, OSError):
            kept, _ = checkpoint_bytes(read_resolved(run_dir.resolved))
            written = sum(file.stat().st_size for file in run_dir.last_checkpoint.parent.glob("*.pt"))
            yield max(0, kept - written)


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
