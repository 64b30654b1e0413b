"""What was found in a split, left in the run folder for whoever asks later: no model is needed to analyse it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.runfiles import Content, encode_measured
from engine.annotations import ImageRecord
from engine.evaluation.coco import detections_json, ground_truth_json
from engine.evaluation.validate import Validation


def measured_content(
    records: Sequence[ImageRecord], validation: Validation, class_names: Sequence[str], *, run_id: str, split: str,
    epoch: int,
) -> Content:
    """The ground truth and the detections of a pass over a split, as they are kept.

    Args:
        records: All of its images; those that weren't measured are left out.
        validation: What the pass found.
        class_names: The class map's names.
        run_id: The run.
        split: Which split.
        epoch: Zero-based epoch of the weights.
    """
    truth = ground_truth_json(records, class_names)
    if len(validation.measured) < len(records):
        measured = set(validation.measured)
        truth["images"] = [image for image in truth["images"] if image["id"] in measured]
        truth["annotations"] = [one for one in truth["annotations"] if one["image_id"] in measured]
    return encode_measured(truth, detections_json(validation.detections), model=run_id, split=split, epoch=epoch)
