"""Batches sent ahead: the same in the same order, one at a time, and nothing is lost when something goes wrong.

There is no GPU here: the stream alone is a double, which notes what a CUDA device would be told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.annotations import ImageRecord
from engine.data import loading
from engine.data.batch import Batch
from engine.data.dataset import DetectionDataset, Draw
from engine.data.loading import BatchStream, LoaderTrouble
from engine.data.order import EpochOrder, FixedOrder
from engine.data.sidestream import SideStream, side_stream_of
from engine.recipe.schema import Recovery
from engine.training.supply import Pace, Supply
from tests.builders import record, write_photo

CPU = torch.device("cpu")
BOX = (5, 5, 20, 20)
PATIENT_S = 60.0


class Noted(SideStream):
    """A stream whose copies are made at once; it notes what is begun and finished, by the images' first values."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.begun: dict[int, list[Tensor]] = {}
        self.finished: list[Tensor] = []
        self.fails = False

    def begin(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Any]:
        if self.fails:
            raise torch.OutOfMemoryError
        number = len(self.begun)
        self.begun[number] = [tensor.clone() for tensor in tensors]
        self.log.append(("begin", number))
        return self.begun[number], number

    def finish(self, copies: Sequence[Tensor], done: Any) -> None:
        assert all(any(copy is begun for begun in self.begun[done]) for copy in copies)
        self.finished.extend(copies)
        self.log.append(("finish", done))


@pytest.fixture
def side(monkeypatch: pytest.MonkeyPatch) -> Noted:
    """The stream of whatever is loaded; the next batch is waited for, so that it has always come."""
    made = Noted()
    monkeypatch.setattr(loading, "side_stream_of", lambda _: made)
    monkeypatch.setattr(loading, "_INSTANT_S", PATIENT_S)
    return made


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    return [
        record([BOX] * min(index, 1), [0] * min(index, 1), path=write_photo(tmp_path / f"{index}.png", [], seed=index))
        for index in range(5)
    ]


def stream_of(data: DetectionDataset, num_workers: int = 1) -> BatchStream:
    return BatchStream(data, FixedOrder.of(data.records, 2), num_workers=num_workers, device=CPU)


def patience_s() -> float:
    return PATIENT_S


def test_batches_sent_ahead_are_the_same_and_only_one_is_on_its_way(side: Noted, records: list[ImageRecord]) -> None:
    plain = list(stream_of(DetectionDataset(records), num_workers=0).batches(patience_s))
    assert side.log == []  # without a loader process there is nothing to look ahead to
    stream = stream_of(DetectionDataset(records))
    for number, batch in enumerate(stream.batches(patience_s)):
        moved, expected = batch.to(CPU), plain[number].to(CPU)
        assert all(torch.equal(one, other) for one, other in zip(moved.images, expected.images, strict=True))
        for ours, theirs in zip(moved.targets, expected.targets, strict=True):
            assert torch.equal(ours["boxes_xyxy"], theirs["boxes_xyxy"])
            assert torch.equal(ours["labels"], theirs["labels"])
        assert moved.places == expected.places
    stream.close()
    # The first is copied when it is needed; each next one begins before the one before it is used.
    assert side.log == [("begin", 0), ("begin", 1), ("finish", 0), ("finish", 1)]


def test_every_tensor_that_is_used_was_waited_for(side: Noted, records: list[ImageRecord]) -> None:
    stream = stream_of(DetectionDataset(records))
    batches = stream.batches(patience_s)
    next(batches)
    parts = next(batches).split(1)
    assert [len(part) for part in parts] == [1, 1]
    for number, part in enumerate(parts):
        side.finished.clear()
        moved = part.to(CPU)
        assert moved.places == [2 + number]
        assert len(side.finished) == 3  # image, boxes, labels
        assert torch.equal(side.finished[0].float().div(255), moved.images[0])
    stream.close()


def test_a_batch_called_back_is_copied_when_it_is_needed(side: Noted, records: list[ImageRecord]) -> None:
    stream = stream_of(DetectionDataset(records))
    batches = stream.batches(patience_s)
    next(batches)
    sent = next(batches)
    sent.call_back()
    assert sent.to(CPU).places == [2, 3]
    assert ("finish", 0) not in side.log
    stream.send_when_needed()  # as after memory ran out: the third is on its way by now
    last = next(batches)
    assert last.to(CPU).places == [4]
    assert all(word == "begin" for word, _ in side.log)
    assert list(batches) == []
    stream.close()


def test_without_memory_for_it_no_batch_is_sent_ahead_any_more(side: Noted, records: list[ImageRecord]) -> None:
    side.fails = True
    stream = stream_of(DetectionDataset(records))
    places = []
    for batch in stream.batches(patience_s):
        places.append(batch.to(CPU).places)
        side.fails = False
    stream.close()
    assert places == [[0, 1], [2, 3], [4]]
    assert side.log == []


def test_a_batch_of_huge_photos_is_copied_when_it_is_needed(
    side: Noted, records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_MOST_AHEAD_BYTES", 1000)
    stream = stream_of(DetectionDataset(records))
    assert [batch.to(CPU).places for batch in stream.batches(patience_s)] == [[0, 1], [2, 3], [4]]
    stream.close()
    assert side.log == []


class _Deadly(DetectionDataset):
    """A loader process ends with its second batch."""

    def __getitem__(self, drawn: Draw) -> Any:
        if drawn.place == 2:
            time.sleep(0.5)  # its first batch is on its way
            os._exit(3)
        return super().__getitem__(drawn)


def test_what_goes_wrong_ahead_is_told_in_its_turn(
    side: Noted, records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_INSTANT_S", 1.5)  # after which it is found dead
    stream = stream_of(_Deadly(records))
    batches = stream.batches(patience_s)
    assert next(batches).to(CPU).places == [0, 1]
    with pytest.raises(LoaderTrouble, match="exited unexpectedly") as caught:
        next(batches)
    assert caught.value.reason == "died"
    stream.restart(0)
    stream.close()
    assert side.log == []


def test_broken_photos_are_not_sent(side: Noted, records: list[ImageRecord]) -> None:
    broken = records[3].image_path
    broken.write_bytes(broken.read_bytes()[:200])
    stream = stream_of(DetectionDataset(records))
    assert [len(batch.broken) for batch in stream.batches(patience_s)] == [0, 1, 0]
    stream.close()
    assert side.log == [("begin", 0)]


class _Behind:
    """An iterator of torch's that has nothing yet."""

    def __init__(self, error: Exception) -> None:
        self._timeout, self.asked_for, self._error = 1.0, list[float](), error

    def __next__(self) -> Batch:
        self.asked_for.append(self._timeout)
        raise self._error


def test_a_batch_that_has_not_come_is_not_waited_for() -> None:
    behind = _Behind(RuntimeError("DataLoader timed out after 0.0001 seconds"))
    assert loading._next_if_come(behind) is None
    assert behind.asked_for[0] < 0.01
    assert behind._timeout == 1.0
    dead = _Behind(RuntimeError("DataLoader worker (pid(s) 1) exited unexpectedly"))
    with pytest.raises(RuntimeError, match="exited"):
        loading._next_if_come(dead)
    assert dead._timeout == 1.0


def supply_of(records: Sequence[ImageRecord], tell: Callable[..., None]) -> tuple[Supply, BatchStream]:
    data, order, settings = DetectionDataset(records), EpochOrder(len(records), 2, 0), Recovery(max_set_aside=0.9)
    stream = BatchStream(data, order, num_workers=1, device=CPU)
    return Supply(data, order, stream, seed=0, settings=settings, pace=Pace(settings), tell=tell), stream


def test_an_image_set_aside_while_it_is_on_its_way_is_replaced_as_a_resumed_run_would(
    side: Noted, records: list[ImageRecord]
) -> None:
    supply, stream = supply_of(records, lambda *_, **__: None)
    batches = supply.batches(0, 0)
    next(batches)
    unwanted = stream._ahead.places[0]  # type: ignore[union-attr]
    supply.put_aside([unwanted], "spoils the loss")
    replaced, last = (batch.to(CPU) for batch in batches)
    stream.close()

    resumed, other = supply_of(records, lambda *_, **__: None)
    resumed.set_aside.add(unwanted)
    expected, expected_last = (batch.to(CPU) for batch in resumed.batches(0, 1))
    other.close()
    assert unwanted not in replaced.places
    assert (replaced.places, last.places) == (expected.places, expected_last.places)
    assert all(torch.equal(one, other) for one, other in zip(replaced.images, expected.images, strict=True))


@pytest.mark.gpu
def test_on_a_real_device_batches_arrive_whole(records: list[ImageRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_INSTANT_S", PATIENT_S)
    cuda, data = torch.device("cuda"), DetectionDataset(records)
    plain = list(stream_of(data, num_workers=0).batches(patience_s))
    stream = BatchStream(data, FixedOrder.of(records, 2), num_workers=1, device=cuda)
    for batch, expected in zip(stream.batches(patience_s), plain, strict=True):
        moved = [part.to(cuda) for part in batch.split(1)]
        for part, image, target in zip(moved, expected.images, expected.targets, strict=True):
            assert torch.equal(part.images[0].cpu(), image.float().div(255))
            assert torch.equal(part.targets[0]["boxes_xyxy"].cpu(), target["boxes_xyxy"])
    stream.close()


def test_on_a_cpu_nothing_is_sent_ahead() -> None:
    assert side_stream_of(CPU) is None
    assert side_stream_of(torch.device("mps")) is None
