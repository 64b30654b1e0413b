"""What was found in a split, left in the run folder for whoever asks later: no model is needed to analyse it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.runfiles import EvaluationFiles, encode_measured, save_measured
from engine.annotations import ImageRecord
from engine.evaluation.coco import detections_json, ground_truth_json
from engine.evaluation.validate import Validation
from engine.rundir import RunDir


def keep_measured(
    run_dir: RunDir, split: str, records: Sequence[ImageRecord], validation: Validation, class_names: Sequence[str],
    epoch: int,
) -> None:
    """Write the ground truth and the detections of a pass over a split.

    Args:
        run_dir: Where to.
        split: Which split.
        records: All of its images; those that weren't measured are left out.
        validation: What the pass found.
        class_names: The class map's names.
        epoch: Zero-based epoch of the weights.

    Raises:
        OSError: The disk is full.
    """
    truth = ground_truth_json(records, class_names)
    if len(validation.measured) < len(records):
        measured = set(validation.measured)
        truth["images"] = [image for image in truth["images"] if image["id"] in measured]
        truth["annotations"] = [one for one in truth["annotations"] if one["image_id"] in measured]
    found = detections_json(validation.detections)
    content = encode_measured(truth, found, model=run_dir.run_id, split=split, epoch=epoch)
    save_measured(EvaluationFiles.of_run(run_dir, split), content)
