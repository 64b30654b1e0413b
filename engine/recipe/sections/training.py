"""`[training]`, `[optimizer]`, `[schedule]`, `[augmentation]` and what a run is measured by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from engine.recipe.sections.base import Fault, Section, as_tuple, refuse

Metric = Literal["ap", "ap50", "ap75", "val_loss"]

ScheduleKind = Literal["step", "multistep", "cosine", "linear", "polynomial", "onecycle", "plateau", "constant"]
# The keys of [schedule] that mean something only with certain kinds.
_KINDS_OF_KEY: dict[str, tuple[ScheduleKind, ...]] = {
    "step_size": ("step",),
    "gamma": ("step", "multistep", "plateau"),
    "milestones": ("multistep",),
    "final_factor": ("cosine", "linear", "polynomial", "onecycle"),
    "power": ("polynomial",),
    "peak_at": ("onecycle",),
    "patience": ("plateau",),
}

# AdamW's learning rate where none is given: DETR's and mmdetection's. SGD's would undo what trained weights know.
_ADAMW_LR = 0.0001


class Training(Section):
    """How long, how much at a time."""

    epochs: int = Field(default=50, ge=1, le=100_000)
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = 4
    """Images in one optimizer step. "auto": as many as memory holds with room to spare, found out by trying."""
    micro_batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Images in memory at a time; gradients add up to a whole batch (accumulation). Left out: the whole batch."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Everything random follows from it: order, augmentation, new layers, sampled boxes."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    """Greatest total norm of the gradients; longer ones are scaled down. Left out: no clipping."""
    freeze_epochs: int = Field(default=0, ge=0, le=100_000)
    """Epochs at the start in which the backbone stays as it is and only neck and heads learn."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Keeps a moving average of the weights too (0.999 is a good start); each epoch the better of both counts."""
    repeat_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """Images of classes found in less than this share of the images come more often (repeat-factor sampling)."""

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.micro_batch_size and self.batch_size != "auto" and self.micro_batch_size > self.batch_size:
            found = f"micro_batch_size {self.micro_batch_size} is above batch_size {self.batch_size}"
            yield Fault(("micro_batch_size",), found, "lower micro_batch_size, or remove it")
        if self.freeze_epochs >= self.epochs and self.freeze_epochs:
            found = f"the backbone would be frozen for {self.freeze_epochs} of {self.epochs} epochs"
            fix = "lower freeze_epochs, or set model.trainable_layers = 0 for a backbone that never learns"
            yield Fault(("freeze_epochs",), found, fix)


class Optimizer(Section):
    """How weights change."""

    name: Literal["sgd", "adamw"] = "sgd"
    """The optimizer."""
    lr: float = Field(default=0.005, gt=0, le=100)
    """Learning rate after warm-up, for a whole batch. Left out: 0.005 with sgd, 0.0001 with adamw."""
    backbone_lr_factor: float = Field(default=1.0, ge=0, le=100)
    """The backbone's learning rate as a share of lr; 0.1 treats trained weights gently. Neck and heads, the feature
    pyramid among them, always use lr itself, which is the one shown."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD; AdamW uses it as its first beta."""
    weight_decay: float = Field(default=0.0005, ge=0, le=10)
    """Weight decay."""
    norm_weight_decay: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight decay of normalisation layers and biases. Left out: weight_decay with sgd, 0 with adamw."""

    @model_validator(mode="before")
    @classmethod
    def _usual_lr(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("name") == "adamw" and "lr" not in data:
            return {**data, "lr": _ADAMW_LR}
        return data


class Schedule(Section):
    """How the learning rate changes."""

    kind: ScheduleKind = "step"
    """"step" multiplies by gamma every step_size epochs, "multistep" at the milestones, "plateau" when nothing
    improves any more. "cosine", "linear" and "polynomial" fall to final_factor at the end; "onecycle" rises
    from a 25th to the full rate and falls again."""
    step_size: int = Field(default=15, ge=1, le=100_000)
    """Epochs between two drops of the step schedule."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of each drop."""
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(as_tuple)] = ()
    """Epochs after which the multistep schedule drops."""
    final_factor: float = Field(default=0.0, ge=0, le=1)
    """Share of lr that is left at the very end."""
    power: float = Field(default=0.9, gt=0, le=10)
    """Exponent of the polynomial schedule."""
    peak_at: float = Field(default=0.3, gt=0, lt=1)
    """Share of the run after which the onecycle schedule is at its peak."""
    patience: int = Field(default=3, ge=1, le=100_000)
    """Epochs without a better figure after which the plateau schedule drops; evaluation.best_metric says which."""
    warmup_steps: int = Field(default=0, ge=0, le=1_000_000_000)
    """Optimizer steps over which the learning rate rises linearly from near 0. 0: none."""
    warmup_epochs: float = Field(default=0.0, ge=0, le=100_000)
    """The same in epochs; parts of one count too."""

    @model_validator(mode="after")
    def _consistent(self) -> Schedule:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        for key, kinds in _KINDS_OF_KEY.items():
            if key in self.model_fields_set and self.kind not in kinds and getattr(self, key) != _default(key):
                found = f'{key} means nothing with kind = "{self.kind}"'
                yield Fault((key,), found, f'remove it, or choose kind = "{kinds[0]}"')
        if self.kind == "multistep" and not self.milestones:
            yield Fault((), "a multistep schedule needs milestones", "add milestones = [30, 40]")
        if list(self.milestones) != sorted(set(self.milestones)):
            yield Fault(("milestones",), "milestones must rise", "write them in order, each once")
        if self.warmup_steps and self.warmup_epochs:
            yield Fault(("warmup_epochs",), "warmup_steps and warmup_epochs are both given", "remove one of the two")
        if self.kind == "onecycle" and (self.warmup_steps or self.warmup_epochs):
            key = "warmup_steps" if self.warmup_steps else "warmup_epochs"
            fix = f"remove {key}; peak_at says how long it rises"
            yield Fault((key,), "a onecycle schedule is its own warm-up", fix)


def _default(key: str) -> object:
    return Schedule.model_fields[key].default


class Augmentation(Section):
    """Changes to training images, boxes kept right. Each is a probability unless said otherwise."""

    horizontal_flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring an image left to right."""
    vertical_flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of turning an image upside down."""
    photometric: float = Field(default=0.0, ge=0, le=1)
    """Probability of changing brightness, contrast, saturation and hue."""
    zoom_out: float = Field(default=0.0, ge=0, le=1)
    """Probability of placing an image on a larger canvas, up to four times as wide and high: more small objects."""
    iou_crop: float = Field(default=0.0, ge=0, le=1)
    """Probability of cutting out a part that overlaps the objects enough (SSD's crop)."""
    mosaic: float = Field(default=0.0, ge=0, le=1)
    """Probability of putting four images together into one as large as the first: objects about half as large."""
    scale_jitter: Annotated[
        tuple[Annotated[float, Field(gt=0, le=8)], ...],
        Field(min_length=2, max_length=2, examples=[[0.5, 1.5]]), BeforeValidator(as_tuple),
    ] | None = None
    """Least and greatest factor that an image's content is scaled by at random, such as [0.5, 1.5]; its size stays."""
    multi_scale: Annotated[tuple[Annotated[int, Field(ge=32, le=4096)], ...], BeforeValidator(as_tuple)] = ()
    """Shorter sides in pixels of which each step takes one at random, instead of model.min_size."""
    min_visible: float = Field(default=0.25, ge=0, lt=1)
    """An object of which crops, mosaic and scaling leave less than this share is no longer demanded."""
    off_last_epochs: int = Field(default=0, ge=0, le=100_000)
    """Epochs at the end that go without all of these but the flips."""

    @model_validator(mode="after")
    def _consistent(self) -> Augmentation:
        if self.scale_jitter and self.scale_jitter[0] > self.scale_jitter[1]:
            least, greatest = self.scale_jitter
            found = f"the least factor {least} is above the greatest {greatest}"
            refuse([Fault(("scale_jitter",), found, f"write scale_jitter = [{greatest}, {least}]")])
        return self


class EarlyStopping(Section):
    """When to stop before the last epoch."""

    metric: Metric = "val_loss"
    """What must improve."""
    patience: int = Field(default=8, ge=1, le=100_000)
    """Epochs without improvement after which the run ends."""
    min_delta: float = Field(default=0.0, ge=0)
    """An improvement smaller than this doesn't count."""


class Evaluation(Section):
    """How a model is measured after each epoch."""

    best_metric: Literal["auto", "ap", "ap50", "ap75", "val_loss"] = "auto"
    """What decides which epoch's weights are kept as the best. "auto": what early stopping watches, else ap."""

