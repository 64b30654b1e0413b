"""How fast a dataset is checked: `python -m tests.bench.check_speed [NUM_IMAGES]`.

Generates VOC images under a temporary folder, then times a check of headers, again and, where there
is a cache, once more from it. Figures are for files in the page cache.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from engine.annotations import audit
from engine.recipe.schema import Classes, Dataset

NAMES = ("mug", "laptop", "keyboard")


def generate(root: Path, num_images: int) -> Dataset:
    """Write photographs of 640 x 480 with five boxes each, nine in ten to train."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=30)
    photo = buffer.getvalue()
    for split in ("train", "val"):
        for part in ("images", "annotations"):
            (root / split / part).mkdir(parents=True)
    for index in range(num_images):
        split = "val" if index % 10 == 9 else "train"
        # What follows a JPEG's end is ignored; it makes each file another one.
        (root / split / f"images/IMG_{index:06}.jpg").write_bytes(photo + b"\0" * index)
        (root / split / f"annotations/IMG_{index:06}.xml").write_text(_xml(index, rng))
    places = {
        split: {"images": root / split / "images", "annotations": root / split / "annotations"}
        for split in ("train", "val")
    }
    return Dataset.model_validate(places)


def _xml(index: int, rng: np.random.Generator) -> str:
    objects = "".join(
        f"\n\t<object>\n\t\t<name>{NAMES[kind]}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>"
        f"\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{x}</xmin>\n\t\t\t<ymin>{y}</ymin>"
        f"\n\t\t\t<xmax>{x + 60}</xmax>\n\t\t\t<ymax>{y + 50}</ymax>\n\t\t</bndbox>\n\t</object>"
        for kind, x, y in zip(rng.integers(0, 3, 5), rng.integers(0, 500, 5), rng.integers(0, 400, 5), strict=True)
    )
    return (
        f"<annotation>\n\t<folder>images</folder>\n\t<filename>IMG_{index:06}.jpg</filename>\n\t<size>\n"
        f"\t\t<width>640</width>\n\t\t<height>480</height>\n\t\t<depth>3</depth>\n\t</size>"
        f"\n\t<segmented>0</segmented>{objects}\n</annotation>\n"
    )


def main() -> None:
    """Generate, check, print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("num_images", type=int, nargs="?", default=20_000)
    num_images = parser.parse_args().num_images
    with tempfile.TemporaryDirectory() as folder:
        dataset = generate(Path(folder), num_images)
        classes = Classes(names=NAMES)
        for what, cache in (("without a cache", None), ("filling the cache", "cache"), ("from the cache", "cache")):
            cache_dir = None if cache is None else Path(folder) / cache
            started = time.perf_counter()
            found = audit(dataset, classes, decode=False, cache_dir=cache_dir)
            elapsed_s = time.perf_counter() - started
            print(
                f"{what}: {elapsed_s:.2f} s, {num_images / elapsed_s:.0f} images/s ({2 * num_images / elapsed_s:.0f} "
                f"files/s), {len(found.problems)} problems"
            )
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MB")


if __name__ == "__main__":
    main()
