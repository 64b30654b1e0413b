"""What a weights file holds, told without torch and without unpickling anything.

A safetensors header is plain JSON. Of what `torch.save` wrote only the words are looked at; tensors'
names are among them. Enough to tell a detector from a backbone, and either from a picture of a cat.
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from pathlib import Path

from engine.catalogue import Arch, Family
from engine.errors import WeightsError

SAFETENSORS = ".safetensors"
_TENSOR = re.compile(r"[\w.]+\.(?:weight|bias|running_mean|running_var|gamma|beta|\w*scale\w*)")
_WORDS = ("BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINUNICODE8")
# Far more than the names of any network take.
_LONGEST_HEADER_BYTES = 1 << 26
# How torch.save began before it wrote archives: a pickle of protocol 2 or later.
_OLD_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

# Tensors that only detectors of one family have.
_MARKS: tuple[tuple[str, Family], ...] = (
    ("roi_heads.box_predictor.", "fasterrcnn"),
    ("head.regression_head.bbox_ctrness.", "fcos"),
    ("head.classification_head.module_list.", "ssd"),
    ("head.classification_head.cls_logits.", "retinanet"),
)
# What the tensors of a classification network begin with; "features" for all others.
_ROOTS = (
    ("resn", "layer4"), ("wide_resn", "layer4"), ("regnet", "trunk_output"), ("mnasnet", "layers"),
    ("shufflenet", "stage4"),
)


def tensor_names(path: Path) -> frozenset[str] | None:
    """The names of the tensors in a weights file; None where they can't be told, in files of old torch versions.

    Raises:
        WeightsError: It can't be read, or is no weights file.
    """
    try:
        if path.suffix == SAFETENSORS:
            return _of_safetensors(path)
        with path.open("rb") as file:
            if file.read(2) in _OLD_PICKLES:
                return None
        return _of_archive(path)
    except OSError as error:
        raise WeightsError.of(
            "W103", str(path), f"the weights file can't be read: {error.strerror or error}", "check model.weights"
        ) from error


def _of_safetensors(path: Path) -> frozenset[str]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 0 < length <= _LONGEST_HEADER_BYTES else b""
    try:
        content = json.loads(header)
        names = frozenset(name for name in content if name != "__metadata__")
        end = max(content[name]["data_offsets"][1] for name in names)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise _no_weights(path, "its header isn't one of safetensors, or names no tensors") from error
    if path.stat().st_size < 8 + length + end:
        raise _no_weights(path, "the file is cut off")
    return names


def _of_archive(path: Path) -> frozenset[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            [entry] = [info for info in archive.infolist() if info.filename.rsplit("/", 1)[-1] == "data.pkl"]
            with archive.open(entry) as file:
                pickled = file.read(_LONGEST_HEADER_BYTES)
        words = [arg for opcode, arg, _ in pickletools.genops(pickled) if opcode.name in _WORDS]
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _no_weights(path, "torch.save hasn't written it, or it is cut off") from error
    names = frozenset(word for word in words if isinstance(word, str) and _TENSOR.fullmatch(word))
    if not names:
        raise _no_weights(path, "it holds no tensors by name")
    return names


def _no_weights(path: Path, reason: str) -> WeightsError:
    fix = "give a file that torch.save made from a state_dict, or a .safetensors file"
    error = WeightsError.of("W104", str(path), f"not a weights file: {reason}", fix)
    assert isinstance(error, WeightsError)
    return error


def misfit(names: frozenset[str], arch: Arch) -> str:
    """Why tensors of these names can't be of a detector or its backbone; "" when nothing speaks against it."""
    family = next((family for mark, family in _MARKS if any(name.startswith(mark) for name in names)), None)
    if family is not None:
        return "" if family == arch.family else f"the file holds a detector of another family ({family})"
    root = next((root for prefix, root in _ROOTS if arch.backbone.startswith(prefix)), "features")
    if any(name.split(".", 1)[0] == root for name in names):
        return ""
    return f"the file holds neither a detector nor a {arch.backbone}"
