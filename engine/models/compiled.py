"""A backbone that torch compiles for training, and goes on without where that fails.

Only the backbone with its pyramid is compiled: everything after it depends on how many boxes there are. It is
computed as ever while a detector is measured, applied, exported or replayed, so what it finds doesn't depend on a
compiler. Names of its state, hooks and modules stay.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from engine.models.detector import Detector

# torch wraps what goes wrong in a compiler into errors of these modules.
_COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch")


class CompiledForward:
    """Takes the place of a module's `forward`.

    Args:
        module: Whose forward it becomes.
        backend: Of `torch.compile`.
        warn: Told in a line why the module isn't compiled any more.
    """

    def __init__(self, module: nn.Module, backend: str | Callable[..., Any], warn: Callable[[str], None]) -> None:
        self._module, self._backend, self._warn = module, backend, warn
        self._eager = types.MethodType(type(module).forward, module)
        self._compiled: Callable[..., Any] | None = None
        self.is_given_up = False

    def __call__(self, *inputs: Any) -> Any:
        """The module's outputs."""
        if self.is_given_up or not (self._module.training and torch.is_grad_enabled()):
            return self._eager(*inputs)
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self._eager, backend=self._backend)
            return self._compiled(*inputs)
        except RuntimeError as error:
            if self._compiled is not None and not is_compilers(error):
                raise
            self.give_up(error)
        return self._eager(*inputs)

    def give_up(self, error: Exception) -> None:
        """Compile no more."""
        self.is_given_up, self._compiled = True, None
        cause = getattr(error, "inner_exception", error)
        words = (str(cause).strip().splitlines() or [""])[0]
        self._warn(
            f"the backbone can't be compiled here ({type(cause).__name__}: {words}); training goes on without "
            "(hardware.compile = false spares the attempt)"
        )


def is_compilers(error: BaseException) -> bool:
    """Whether an error is a compiler's, not of what was computed."""
    return any(kind.__module__.startswith(_COMPILERS) for kind in type(error).__mro__)


def compile_while_training(
    detector: Detector, warn: Callable[[str], None], backend: str | Callable[..., Any] = "inductor", *, wanted: bool
) -> None:
    """Have a detector's backbone be compiled when it is next trained, or no longer.

    Args:
        detector: Changed in place.
        warn: Told in a line where it can't be.
        backend: Of `torch.compile`.
        wanted: Whether to.
    """
    backbone: Any = detector.network.backbone
    vars(backbone).pop("forward", None)
    if wanted:
        backbone.forward = CompiledForward(backbone, backend, warn)


def compiled_forward(detector: Detector) -> CompiledForward | None:
    """What compiles a detector's backbone, if anything does."""
    forward = vars(detector.network.backbone).get("forward")
    return forward if isinstance(forward, CompiledForward) and not forward.is_given_up else None


def falls_back(detector: Detector, error: Exception) -> bool:
    """Go on without compiling after an error of the compiler, and say whether that may help.

    A backward pass is compiled when it is first made, outside of the backbone's own reach.
    """
    forward = compiled_forward(detector) if is_compilers(error) else None
    if forward is not None:
        forward.give_up(error)
    return forward is not None
