"""`engine predict`'s path against a plain torchvision loop: `python -m tests.bench.predict_speed RUN PHOTOS`.

Same photos, same model, same device, decoding included, nothing written. Two plain loops are timed, one that decodes
with Pillow under no_grad, as tutorials do, and one with torchvision's own decoder under inference_mode; then the path
of `engine predict`, and with --each-gain that path without each of its gains. Rounds are interleaved; ratios are to the
quicker plain loop, from the medians over rounds, of the clock and of processor time (which company on the machine
spoils less). The surest scores are compared too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.functional import pil_to_tensor

from engine.annotations.picture import load_rgb
from engine.evaluation.predict import Predictor, load_predictor
from engine.models import inference
from engine.models.speed import prepared
from engine.prediction import apply
from engine.prediction.ahead import load_ahead, load_pixels
from engine.prediction.apply import Applier
from engine.prediction.choices import Choices
from engine.prediction.inputs import Picture, find_inputs
from engine.recipe.schema import Hardware

Scores = list[Tensor]
Way = Callable[[Sequence[Picture]], Scores]
EVERYTHING = Choices(threshold=0)


def as_torchvision_has_it(predictor: Predictor) -> Predictor:
    """The model without any of engine's quick ways, which a predictor comes with."""
    off = {name: False for name, value in Hardware() if value is True}
    prepared(predictor.detector, Hardware(**off), predictor.device).to(memory_format=torch.contiguous_format)  # type: ignore[arg-type]
    return predictor


def plain_pillow(predictor: Predictor) -> Way:
    """As in most tutorials."""

    def detect(pictures: Sequence[Picture]) -> Scores:
        scores = []
        for picture in pictures:
            with Image.open(picture.path) as file:
                image = pil_to_tensor(file.convert("RGB")).to(predictor.device).float() / 255
            with torch.no_grad():
                [output] = predictor.detector.network([image])
            scores.append(output["scores"].cpu())
        return scores

    return detect


def plain_torchvision(predictor: Predictor) -> Way:
    """As quick as a plain loop gets."""

    @torch.inference_mode()
    def detect(pictures: Sequence[Picture]) -> Scores:
        scores = []
        for picture in pictures:
            image = decode_image(str(picture.path), ImageReadMode.RGB).to(predictor.device).float() / 255
            [output] = predictor.detector.network([image])
            scores.append(output["scores"].cpu())
        return scores

    return detect


def engine_predict(applier: Applier, *, threads: bool = True) -> Way:
    """What `engine predict` does, short of writing."""

    def detect(pictures: Sequence[Picture]) -> Scores:
        size = applier.batch_size
        loaded = load_ahead(pictures, 2 * size) if threads else ((one, load_pixels(one)) for one in pictures)
        scores, waiting = [], []
        for number, (_, pixels) in enumerate(loaded, 1):
            assert not isinstance(pixels, Exception), "the photos can be read"
            waiting.append(pixels)
            if len(waiting) == size or number == len(pictures):
                scores += [torch.from_numpy(found.scores) for found in applier.apply(waiting, EVERYTHING)]
                waiting = []
        return scores

    return detect


def applier_without(load: Callable[[], Predictor], gain: str, batch_size: int | None) -> Applier:
    """The path without one of the ways in which it makes the network ready."""
    pairs, ready = inference.folding_pairs, apply.make_ready
    if gain == "folding":
        inference.folding_pairs = lambda _: iter(())
    if gain == "both":
        apply.make_ready = lambda _: None
    try:
        applier = Applier(load(), batch_size)
    finally:
        inference.folding_pairs, apply.make_ready = pairs, ready
    if gain in ("channels_last", "both"):
        applier.predictor.detector.to(memory_format=torch.contiguous_format)
    return applier


def ways_of(load: Callable[[], Predictor], batch_size: int | None, *, each_gain: bool) -> dict[str, Way]:
    """Name -> way; each with a model of its own."""
    whole = Applier(load(), batch_size)
    ways = {
        "plain: Pillow, no_grad": plain_pillow(as_torchvision_has_it(load())),
        "plain: torchvision.io, inference_mode": plain_torchvision(as_torchvision_has_it(load())),
        f"engine predict (batches of {whole.batch_size})": engine_predict(whole),
    }
    if not each_gain:
        return ways
    return ways | {
        "... four pictures at a time": engine_predict(Applier(load(), 4)),
        "... without threads that decode": engine_predict(Applier(load(), batch_size), threads=False),
        "... without folded norms": engine_predict(applier_without(load, "folding", batch_size)),
        "... without channels_last": engine_predict(applier_without(load, "channels_last", batch_size)),
        "... without either": engine_predict(applier_without(load, "both", batch_size)),
    }


def measure(
    ways: dict[str, Way], pictures: Sequence[Picture], num_rounds: int
) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Seconds an image by the clock and of processor time, by way and round; and how far scores are apart at most."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    apart = 0.0
    for number in range(num_rounds + 1):
        wanted: Scores | None = None
        for name, way in ways.items():
            begun, begun_busy = time.perf_counter(), time.process_time()
            scores = way(pictures[: 2 if number == 0 else None])
            taken = time.perf_counter() - begun, time.process_time() - begun_busy
            if number:
                seconds[name].append((taken[0] / len(pictures), taken[1] / len(pictures)))
            wanted = scores if name.startswith("plain: Pillow") else wanted
            assert wanted is not None
            pairs = zip(scores, wanted, strict=True)
            apart = max(apart, *(distance(one[:10], other[:10]) for one, other in pairs))
    return seconds, apart


def distance(one: Tensor, other: Tensor) -> float:
    """How far the surest scores of two ways are apart."""
    length = min(len(one), len(other))
    return float((one[:length] - other[:length]).abs().max()) if length else 0.0


def enlarged(pictures: Sequence[Picture], megapixels: float, folder: Path) -> list[Picture]:
    """Copies of the photos at another size."""
    made = []
    for number, picture in enumerate(pictures):
        photo = load_rgb(picture.path, apply_exif=True)
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        path = folder / f"{number}.jpg"
        photo.resize((round(photo.width * scale), round(photo.height * scale))).save(path, quality=92)
        made.append(Picture(path, path.name))
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run's folder or a checkpoint")
    parser.add_argument("photos", help="a folder")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch; its own choice when left out")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--megapixels", type=float, help="enlarge the photos to this")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--each-gain", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pictures: Sequence[Picture] = find_inputs([arguments.photos]).pictures[: arguments.images]
    ways = ways_of(
        lambda: load_predictor(arguments.run, arguments.device), arguments.batch_size, each_gain=arguments.each_gain
    )
    with tempfile.TemporaryDirectory() as folder:
        if arguments.megapixels:
            pictures = enlarged(pictures, arguments.megapixels, Path(folder))
        with Image.open(pictures[0].path) as first:
            size = first.size
        seconds, apart = measure(ways, pictures, arguments.rounds)
    table = Table("way", "ms an image", "ms of a processor", "times as fast", "by processor time")
    middles = {name: tuple(statistics.median(column) for column in zip(*own, strict=True))
               for name, own in seconds.items()}
    best = tuple(min(middles[name][i] for name in ways if name.startswith("plain")) for i in range(2))
    for name, (clock, busy) in middles.items():
        table.add_row(
            name, f"{1000 * clock:.0f}", f"{1000 * busy:.0f}", f"{best[0] / clock:.2f}", f"{best[1] / busy:.2f}"
        )
    out = Console()
    out.print(f"{len(pictures)} images of {size[0]} x {size[1]} px, {arguments.rounds} rounds, "
              f"{torch.get_num_threads()} threads; scores apart by {apart:.1e} at most")
    out.print(table)


if __name__ == "__main__":
    main()
