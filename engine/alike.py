"""Which recipes may share a rehearsal, and which of those their first steps; imports no torch."""

from __future__ import annotations

import msgspec

from engine.recipe.schema import Recipe


def rehearsal_key(recipe: Recipe) -> bytes:
    """What time and memory depend on: recipes with the same key share a rehearsal."""
    training, optimizer = recipe.training, recipe.optimizer
    content = {
        **{part: getattr(recipe, part).model_dump(mode="json") for part in ("dataset", "classes", "model", "hardware")},
        "augmentation": recipe.augmentation.model_dump(mode="json", exclude={"off_last_epochs"}),
        "batch": [training.batch_size, training.micro_batch_size, training.repeat_threshold],
        "averaged": training.ema_decay is not None,
        "optimizer": [optimizer.name, optimizer.momentum > 0],
    }
    return msgspec.json.encode(content, order="deterministic")


def opening_key(recipe: Recipe) -> bytes:
    """What first steps depend on besides, the learning rate and chance apart."""
    training = recipe.training
    content = {
        "optimizer": recipe.optimizer.model_dump(mode="json", exclude={"lr"}),
        "schedule": recipe.schedule.model_dump(mode="json"),
        "recovery": recipe.recovery.model_dump(mode="json"),
        "training": [training.clip_grad_norm, training.freeze_epochs],
    }
    return msgspec.json.encode(content, order="deterministic")
