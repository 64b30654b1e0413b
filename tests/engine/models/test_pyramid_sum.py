"""The pyramid's sums in place against torchvision's."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from engine.models.pyramid_sum import InPlacePyramid, add_upsampled

Size = tuple[int, int]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


def run(pyramid: nn.Module, maps: dict[str, Tensor], dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    given = OrderedDict((name, one.clone().requires_grad_()) for name, one in maps.items())
    pyramid.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        levels = list(pyramid(given).values())
    torch.stack([(one.float() * torch.linspace(0, 1, one.shape[-1])).sum() for one in levels]).sum().backward()
    gradients = [one.grad for one in (*given.values(), *pyramid.parameters()) if one.grad is not None]
    return levels, gradients


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize(
    "sizes", [((16, 24), (8, 12), (4, 6)), ((9, 13), (5, 7)), ((3, 3), (3, 3)), ((2, 2), (1, 1)), ((4, 4),)], ids=str
)
def test_the_same_levels_and_gradients(sizes: tuple[Size, ...], channels_last: bool) -> None:
    theirs = FeaturePyramidNetwork([4] * len(sizes), 6, LastLevelMaxPool())
    ours = InPlacePyramid([4] * len(sizes), 6, LastLevelMaxPool())
    ours.load_state_dict(theirs.state_dict())
    ours.is_in_place = True
    form = torch.channels_last if channels_last else torch.contiguous_format
    for one in (theirs, ours):
        one.to(memory_format=form)
    maps = {
        str(level): torch.randn(2, 4, *size).contiguous(memory_format=form) for level, size in enumerate(sizes)
    }
    wanted, found = run(theirs, maps, torch.float32), run(ours, maps, torch.float32)
    for one, other in zip(found[0] + found[1], wanted[0] + wanted[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_bfloat16_stays_bfloat16() -> None:
    theirs, ours = FeaturePyramidNetwork([4, 4], 6), InPlacePyramid([4, 4], 6)
    ours.load_state_dict(theirs.state_dict())
    ours.is_in_place = True
    for sizes in (((8, 12), (4, 6)), ((9, 13), (5, 7))):
        maps = {str(level): torch.randn(2, 4, *size) for level, size in enumerate(sizes)}
        wanted, found = run(theirs, maps, torch.float32), run(ours, maps, torch.bfloat16)
        assert {one.dtype for one in found[0]} == {torch.bfloat16}
        for one, other in zip(found[0], wanted[0], strict=True):
            torch.testing.assert_close(one.float(), other, rtol=5e-2, atol=5e-2)


def test_the_sum_lies_where_the_fine_map_lay() -> None:
    fine, coarse = torch.randn(1, 2, 4, 6), torch.randn(1, 2, 2, 3)
    place = fine.data_ptr()
    assert add_upsampled(fine, coarse).data_ptr() == place


def test_torchvisions_until_it_is_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the quick way was taken")

    monkeypatch.setattr("engine.models.pyramid_sum.add_upsampled", refuse)
    maps = {"0": torch.randn(1, 4, 4, 4), "1": torch.randn(1, 4, 2, 2)}
    pyramid = InPlacePyramid([4, 4], 6)
    assert list(pyramid(maps)) == ["0", "1"]
    pyramid.is_in_place = True
    with pytest.raises(AssertionError, match="quick way"):
        pyramid(maps)
