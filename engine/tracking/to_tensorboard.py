"""TensorBoard's files, in `tensorboard/` of the run's folder: `tensorboard --logdir runs` shows every run.

Written anew from the events each time, so that a run which was resumed or went back shows one line.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from engine.events import RunEnded
from engine.tracking.facts import RunFacts


class TensorBoard:
    """Writes event files."""

    name, keeps = "tensorboard", False

    def __init__(self) -> None:
        self._writer: EventFileWriter | None = None

    def begin(self, facts: RunFacts, known_as: str) -> str:  # noqa: ARG002 - a folder is known by its place
        """Begin the run's files anew; those of before, which are ours, go."""
        self.end(None)
        folder = facts.run_dir.tensorboard
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = EventFileWriter(str(folder))
        self._add(0, 0.0, _text("recipe", f"```toml\n{facts.recipe_text}\n```"))
        return str(folder)

    def values(self, step: int, values: dict[str, float], when: float) -> None:
        """Scalars."""
        self._add(step, when, *(Summary.Value(tag=name, simple_value=value) for name, value in values.items()))

    def picture(self, step: int, name: str, path: Path, when: float) -> None:
        """A JPEG as it is."""
        with Image.open(path) as photo:
            width, height = photo.size
        image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes())
        self._add(step, when, Summary.Value(tag=name, image=image))

    def flush(self) -> None:
        """Write what is still in memory."""
        if self._writer is not None:
            self._writer.flush()

    def end(self, ended: RunEnded | None) -> None:  # noqa: ARG002 - TensorBoard knows no end
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add(self, step: int, when: float, *values: Summary.Value) -> None:
        assert self._writer is not None  # `begin` comes first
        self._writer.add_event(Event(wall_time=when, step=step, summary=Summary(value=values)))


def _text(name: str, words: str) -> Summary.Value:
    tensor = TensorProto(
        dtype=DT_STRING, string_val=[words.encode()], tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    )
    metadata = create_summary_metadata(display_name="", description="")
    return Summary.Value(tag=f"{name}/text_summary", metadata=metadata, tensor=tensor)
