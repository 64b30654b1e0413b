"""A profile on the terminal, at 80 columns as at 120."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engine.cli.options import count, duration
from engine.cli.printing import console
from engine.errors import printable
from engine.profile import Profile

_BAR_WIDTH = 24
_NARROW_BAR, _NARROW = 12, 90
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_profile(profile: Profile) -> None:
    """Print all of it."""
    out = console()
    _title(out, profile)
    _parts(out, profile)
    _beside(out, profile)
    _epoch(out, profile)
    for note in profile.notes:
        out.print(Text(f"note: {printable(note)}", style="yellow"))
    if profile.notes:
        out.print()
    _advice(out, profile)


def _title(out: Console, profile: Profile) -> None:
    line = Text(printable(profile.recipe), style="bold")
    line.append(f"  {profile.arch}", style="cyan")
    out.print(line)
    low, high = profile.input_size
    at_a_time = "" if profile.micro_batch_size >= profile.batch_size else f", {profile.micro_batch_size} at a time"
    out.print(Text(
        f"{count(profile.batch_size, 'photo')} a step{at_a_time} at {low} to {high} px, {profile.precision} on "
        f"{printable(profile.device)} ({count(profile.num_threads, 'thread')} of {count(profile.num_cores, 'core')}, "
        f"{count(profile.num_workers, 'loader process').replace('processs', 'processes')}, memory by "
        f"{profile.allocator}), {profile.peak_bytes / 1e9:.1f} GB at most", style="dim",
    ))
    out.print()


def _parts(out: Console, profile: Profile) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("a training step")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    whole = profile.step_s
    width = _NARROW_BAR if out.width < _NARROW else _BAR_WIDTH
    for part in profile.parts:
        share = part.seconds / whole if whole else 0.0
        inner = part.depth > 0
        style = "dim" if part.name.endswith("rest") else "" if inner else "bold"
        words = Text("  " * part.depth + part.words, style=style)
        color = "cyan" if inner else "blue"
        table.add_row(words, Text(seconds_words(part.seconds), style=style), Text(f"{share:.0%}", style=style),
                      Text(bar(share, width), style=color))
    least, most = min(profile.steps_s), max(profile.steps_s)
    table.add_section()
    table.add_row(
        Text("the whole step", style="bold"), Text(seconds_words(whole), style="bold"), "",
        Text(f"{seconds_words(least)} to {seconds_words(most)}, {profile.num_steps} measured", style="dim"),
    )
    out.print(table)
    out.print()


def _beside(out: Console, profile: Profile) -> None:
    loading = profile.loading
    each_s = loading.decode_s + loading.augment_s
    by = "this process, within the step" if not profile.num_workers else (
        "a loader process, beside the step" if profile.num_workers == 1
        else f"{profile.num_workers} loader processes, beside the step"
    )
    out.print(Text.assemble(
        ("loading a photo ", "bold"), f"of {loading.photo_pixels / 1e6:.1f} megapixels takes {seconds_words(each_s)}: ",
        f"{seconds_words(loading.decode_s)} to decode, {seconds_words(loading.augment_s)} to augment; by {by}",
    ))
    out.print()


def _epoch(out: Console, profile: Profile) -> None:
    epoch = profile.epoch
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("an epoch")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    width = _NARROW_BAR if out.width < _NARROW else _BAR_WIDTH
    steps = count(epoch.num_steps, "step")
    for words, seconds in (
        (f"training, {steps}", epoch.training_s), ("evaluation", epoch.evaluation_s),
        ("writing the state", epoch.checkpoint_s),
    ):
        share = seconds / epoch.seconds if epoch.seconds else 0.0
        table.add_row(words, seconds_words(seconds), f"{share:.0%}", Text(bar(share, width), style="blue"))
    out.print(table)
    reckoned = f"evaluation is reckoned from {count(epoch.num_evaluated, 'photo')}; previews aren't counted"
    out.print(Text(reckoned, style="dim"))
    out.print()


def _advice(out: Console, profile: Profile) -> None:
    if not profile.advice:
        out.print(Text("nothing stands out: the time goes where a detector's time goes", style="green"))
        return
    out.print(Text("what would help", style="bold"))
    for one in profile.advice:
        out.print(Padding(Text(printable(one.found)), (0, 0, 0, 2)))
        out.print(Padding(Text(printable(one.fix), style="green"), (0, 0, 0, 4)))


def bar(share: float, width: int) -> str:
    """A share of 0 to 1 as a bar, in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[part] if part else "")


def seconds_words(seconds: float) -> str:
    """Seconds with three digits: "4.21 ms", "310 ms", "1.25 s", "3:07 min"."""
    if seconds >= 100:
        return duration(seconds)
    if seconds >= 1:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
