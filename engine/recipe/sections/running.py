"""`[previews]`, `[tracking]`, `[recovery]`, `[queue]` and `[hardware]`: how a run is shown, mended and executed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.allocator import Wanted
from engine.recipe.sections.base import Fault, Section, refuse

Precision = Literal["fp32", "bf16", "fp16"]
AskedPrecision = Literal["auto", "fp32", "bf16", "fp16"]


class Previews(Section):
    """Pictures of predictions on the same validation images, epoch after epoch."""

    num_images: int = Field(default=4, ge=0, le=64)
    """How many validation images; 0 turns previews off."""
    score_threshold: float = Field(default=0.5, ge=0, le=1)
    """Least score of a prediction that is drawn."""


class Tracking(Section):
    """Experiment trackers that are told of the run while it trains, by a process of its own that can't harm it."""

    tensorboard: bool = False
    """Write TensorBoard's files into `tensorboard/` of the run's folder."""
    mlflow: Annotated[str, Field(min_length=1)] | None = None
    """MLflow's tracking URI, such as "http://127.0.0.1:5000" or "sqlite:////home/me/mlflow.db"; or a folder, from the
    runs folder."""
    wandb: Literal["online", "offline"] | None = None
    """Weights & Biases: "offline" keeps files in `wandb/` of the run's folder for `wandb sync`."""
    project: str = Field(default="engine", min_length=1, max_length=100)
    """MLflow's experiment, W&B's project."""


class Recovery(Section):
    """What happens when something goes wrong during the night."""

    checkpoint_minutes: float = Field(default=10.0, gt=0, le=10_000)
    """Minutes between two checkpoints within an epoch; each epoch's end has one anyway."""
    exploding_loss: float = Field(default=10_000.0, gt=0)
    """A training loss above this counts as exploded, like one that is no longer a number."""
    max_discarded_steps: int = Field(default=3, ge=1, le=1000)
    """Steps in a row whose loss exploded and that were discarded, after which the run goes back to a checkpoint."""
    max_rollbacks: int = Field(default=3, ge=0, le=100)
    """How often a run goes back to a checkpoint with a lower learning rate before it fails."""
    rollback_lr_factor: float = Field(default=0.5, gt=0, lt=1)
    """What the learning rate is multiplied by each time."""
    set_aside_after: int = Field(default=2, ge=1, le=1000)
    """Discarded steps that an image was part of, after which it is no longer trained on."""
    max_set_aside: float = Field(default=0.05, ge=0, lt=1)
    """Greatest share of the images that may be set aside, as spoilt or unreadable, before the run fails."""
    stall_factor: float = Field(default=50.0, ge=2, le=100_000)
    """A step that takes this many times the median step has stalled."""
    stall_min_seconds: float = Field(default=120.0, gt=0, le=100_000)
    """No step counts as stalled before this many seconds."""


class Queue(Section):
    """When the run gets its turn."""

    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Runs of higher priority go first; among equals the one that was queued first."""
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    """How often the run is tried again, from its last checkpoint, after it failed."""
    not_before: Annotated[
        str,
        Field(
            pattern=r"^(\d{4}-(0[1-9]|1[0-2])-([0-2]\d|3[01])T)?([01]\d|2[0-3]):[0-5]\d$",
            json_schema_extra={"words": 'a time such as "22:30", or a day and time such as "2026-11-24T22:30"'},
        ),
    ] | None = None
    """Local time before which the run isn't started; "22:30" is the next time the clock shows that."""

    max_hours: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Hours in a row that the run may be worked on; then it is saved and parked until a day after it began, and others
    have their turn. Left out: until it is done."""

    @model_validator(mode="after")
    def _real_date(self) -> Queue:
        try:
            if self.not_before and "T" in self.not_before:
                datetime.fromisoformat(self.not_before)
        except ValueError:
            refuse([Fault(("not_before",), f"there is no day {self.not_before}", "correct the date")])
        return self


class Hardware(Section):
    """What the run is executed on."""

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        json_schema_extra={"words": '"auto", "cpu", "mps", "cuda" or "cuda:" and a number'},
    )
    """"auto" takes cuda, then mps, then cpu; or name one, such as "cuda:1"."""
    num_workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = "auto"
    """Processes that load images. "auto" looks at the machine."""
    precision: AskedPrecision = "fp32"
    """Number format of the convolutions and products; the short ones are faster where the chip has them. "auto" takes
    bf16 where it has (CPUs with AMX or AVX-512 units for it, GPUs from Ampere on), else fp32. With bf16, validation
    is computed in it too. "fp16" scales the loss so that small gradients survive."""
    memory_limit_gb: Annotated[float, Field(ge=0.5, le=10_000)] | None = None
    """Memory that the run may take, in 10^9 bytes; the device's where there is one. Left out: all there is."""
    allocator: Wanted = "auto"
    """Memory allocator of the run's process, under Linux. "auto" takes tcmalloc where it is installed, else the
    system's; a name takes that one."""
    channels_last: bool = True
    """Keep images and kernels with the channels innermost: on CPUs, and on CUDA with a short number format."""
    sparse_pooling: bool = True
    """On a CPU, pool Faster R-CNN's boxes as one sparse product instead of torchvision's loops; the same values."""
    sampled_proposals: bool = True
    """On a CPU, follow the proposal loss of Faster R-CNN back from the sampled anchors only; the same gradients."""
    folded_norm: bool = True
    """On CPUs and CUDA, let convolutions do the normalisation after them where its statistics are fixed; the same
    values."""
    pyramid_in_place: bool = True
    """On a CPU, add the coarse maps of the feature pyramid into the fine ones where they lie; the same values."""
    fused_optimizer: bool = True
    """On CPUs and CUDA, update the weights in one pass over them; the same sums."""
    compile: bool | Literal["auto"] = "auto"
    """Have torch compile the backbone for training; needs a C++ compiler, on CUDA Triton as well. "auto" doesn't: on
    CPUs it gains nothing and takes a minute at the start, on GPUs it isn't measured."""
    shape_buckets: bool | Literal["auto"] = "auto"
    """Fill training batches up to one of a few shapes, so that little is compiled or tried out anew; what is filled up
    changes losses a little. "auto" does on CUDA where the backbone is compiled."""
