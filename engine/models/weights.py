"""Put tensors into a network: all of them to the letter, or those that fit, and tell how many did."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from torch import Tensor, nn

from engine.errors import WeightsError
from engine.models.rows import BACKGROUND, carried_over, is_class_layer, layout_of, matching_outputs
from engine.models.sources import Start, StateDict, first_line

log = logging.getLogger(__name__)

# Parts of a classification network that a detector has no use for.
_CLASSIFIER_PARTS = ("fc.", "classifier.")
# A file that fills less than this share of the tensors it should fill is another model's.
_LEAST_SHARE = 0.9
_NUM_NAMES_TOLD = 4
# Names of tensors in files of older torchvision versions, and what they are called since.
_RENAMED = (
    (re.compile(r"(.*\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)"), r"\1.0.\2"),
    (re.compile(r"(rpn\.head\.conv)\.(weight|bias)"), r"\1.0.0.\2"),
    *(
        (re.compile(rf"(head\.\w+_head\.conv)\.{2 * index}\.(weight|bias)"), rf"\1.{index}.0.\2")
        for index in range(4)
    ),
)


def load_backbone(network: nn.Module, start: Start) -> None:
    """Copy a classification network's tensors into one that is to become a backbone.

    Raises:
        WeightsError: Less than 90 % of the backbone's tensors are there.
    """
    wanted = [name for name in network.state_dict() if not name.startswith(_CLASSIFIER_PARTS)]
    _load_fitting(network, wanted, start.state, start.origin)


def load_exactly(network: nn.Module, state: StateDict, origin: str) -> None:
    """Copy a whole detector's tensors; every one must fit.

    Raises:
        WeightsError: The tensors are of another model.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError.of(
            "W105", origin, f"the weights are of another model: {first_line(error)}",
            "use the recipe that the checkpoint was made with",
        ) from error


def load_detector(network: nn.Module, start: Start, outputs: Sequence[str]) -> None:
    """Copy what fits of a whole detector's tensors, and the rows of the classes that both know.

    Args:
        network: The torchvision detector.
        start: Tensors by torchvision's names.
        outputs: What the rows of the network's class layers mean.

    Raises:
        WeightsError: The tensors are of another model.
    """
    own = network.state_dict()
    state = current_names(start.state, own)
    wanted = [name for name in own if not is_class_layer(name)]
    _load_fitting(network, wanted, {name: state[name] for name in wanted if name in state}, start.origin)
    rows = {name: tensor for name, tensor in own.items() if is_class_layer(name) and name in state}
    theirs = start.outputs or _guessed_outputs(rows, state, outputs)
    network.load_state_dict(_reused_rows(rows, state, outputs, theirs), strict=False)


def current_names(state: StateDict, own: StateDict) -> StateDict:
    """Tensors under the names that a network's have now, where an older torchvision called them otherwise."""
    renamed = {}
    for name, tensor in state.items():
        fresh = next((new for old, words in _RENAMED if (new := old.sub(words, name)) != name and new in own), name)
        renamed[name if name in own else fresh] = tensor
    return renamed


def _guessed_outputs(rows: StateDict, state: StateDict, outputs: Sequence[str]) -> tuple[str, ...]:
    """What rows mean in a file that names no classes: the same as ours where their number is the same.

    RetinaNet and FCOS as torchvision trains them keep a row for a background that they don't have.
    """
    for known in (tuple(outputs), (BACKGROUND, *outputs)):
        fits = [_same_anchors(name, tensor, state[name], (len(outputs), len(known))) for name, tensor in rows.items()]
        if fits and all(fits):
            log.info("the weights name no classes; their rows are taken for those of the class map, in its order")
            return known
    return ()


def _same_anchors(name: str, own: Tensor, theirs: Tensor, num_outputs: tuple[int, int]) -> bool:
    layouts = layout_of(name, len(own), num_outputs[0]), layout_of(name, len(theirs), num_outputs[1])
    return layouts[0] is not None and layouts[1] is not None and layouts[0].num_anchors == layouts[1].num_anchors


def _reused_rows(rows: StateDict, state: StateDict, outputs: Sequence[str], theirs: Sequence[str]) -> StateDict:
    """The class layers with the rows of the classes that both know; others stay as they began."""
    matching = matching_outputs(outputs, theirs)
    reused = {
        name: carried
        for name, tensor in rows.items()
        if theirs and (carried := carried_over(name, tensor, state[name], (len(outputs), len(theirs)), matching))
        is not None
    }
    names = [outputs[place] for place in matching if outputs[place] != BACKGROUND] if reused else []
    num_classes = sum(name != BACKGROUND for name in outputs)
    log.info("reused the rows of %d of %d classes%s", len(names), num_classes, f": {', '.join(names)}" if names else "")
    return reused


def _load_fitting(module: nn.Module, wanted: list[str], state: StateDict, origin: str) -> None:
    own = module.state_dict()
    # Counters of batches seen are absent from some published files and steer nothing here.
    wanted = [name for name in wanted if not name.endswith("num_batches_tracked")]
    fitting = {name: state[name] for name in own if name in state and state[name].shape == own[name].shape}
    missing = [name for name in wanted if name not in fitting]
    num_fitting = len(wanted) - len(missing)
    if num_fitting < _LEAST_SHARE * len(wanted):
        raise WeightsError.of(
            "W105", origin, f"the weights are of another model: {num_fitting} of {len(wanted)} tensors fit",
            "choose the model.arch that the file was made with, or another file",
        )
    module.load_state_dict(fitting, strict=False)
    log.info("weights from %s: %d of %d tensors", origin, num_fitting, len(wanted))
    if missing:
        told = ", ".join(missing[:_NUM_NAMES_TOLD]) + (" and others" if len(missing) > _NUM_NAMES_TOLD else "")
        log.warning("these tensors aren't in the weights and begin random: %s", told)
