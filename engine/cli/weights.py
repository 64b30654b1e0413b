"""`engine weights`: published weights, listed, fetched ahead of the night, or brought in from a stick."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click
from rich.table import Table
from rich.text import Text

from engine.catalogue import ARCHS, WeightsFile
from engine.cli.options import count
from engine.cli.printing import console, progress_bar, shown_path
from engine.errors import EngineError, Problem, WeightsError
from engine.hub import Published, cached_path, download, import_file, published, sha256_of
from engine.machine import hub_checkpoints_dir

_BYTES_PER_MB = 1_000_000

Asked = TypeVar("Asked")
Found = TypeVar("Found")


@click.group("weights")
def command() -> None:
    """List published weights, fetch them ahead of the night, or bring them in from a stick."""


# --- list ---


@command.command("list")
@click.option("--here", "only_here", is_flag=True, help="Only those that are on this machine.")
@click.option("--check", "with_check", is_flag=True, help="Read the files that are here and compare their hashes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def list_command(*, only_here: bool, with_check: bool, as_json: bool) -> None:
    """List every published weights file: what it is for, its size, and whether it is here."""
    everything = published()
    rows = [(one, _state(one.file, with_check=with_check)) for one in everything]
    if only_here:
        rows = [(one, state) for one, state in rows if state]
    if as_json:
        click.echo(json.dumps([_as_dict(one, state) for one, state in rows], indent=2))
        return
    out = console()
    out.print(_table(rows))
    num_here = sum(bool(state) for _, state in rows)
    total = f" of {len(everything)}" if not only_here else ""
    out.print(f"{num_here}{total} here, in {hub_checkpoints_dir()}", soft_wrap=True)


def _state(weights: WeightsFile, *, with_check: bool) -> str:
    """Whether a file is "here", "sound" or "damaged" where its hash was compared; "" when it isn't here."""
    path = cached_path(weights)
    if not path.is_file():
        return ""
    return ("sound" if _is_sound(weights) else "damaged") if with_check else "here"


def _is_sound(weights: WeightsFile) -> bool:
    try:
        return sha256_of(cached_path(weights)).startswith(weights.sha256_prefix)
    except OSError:
        return False


def _table(rows: Sequence[tuple[Published, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("file", "weights", "MB", "", "for"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", no_wrap=heading != "for")
    for one, state in rows:
        style = {"": "dim", "damaged": "bold red"}.get(state, "green")
        table.add_row(
            one.file.name, one.word, str(one.file.size_mb), Text(state or "not here", style), ", ".join(one.archs)
        )
    return table


def _as_dict(one: Published, state: str) -> dict[str, object]:
    return {
        "file": one.file.name, "weights": one.word, "size_mb": one.file.size_mb, "archs": list(one.archs),
        "state": state or "missing", "path": str(cached_path(one.file)), "url": one.file.url,
    }


# --- fetch ---


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME|RECIPE...")
def fetch_command(names: tuple[str, ...]) -> None:
    """Fetch published weights ahead of the night.

    Each NAME is a file as `engine weights list` names it, or a detector, whose COCO weights are fetched, or its
    backbone's where there are none. A RECIPE fetches what it starts from.
    """
    problems: list[Problem] = []
    for weights in dict.fromkeys(_each(_asked_for, names, problems)):
        for line in _each(_fetched, [weights], problems):
            console().print(line, soft_wrap=True)
    if problems:
        raise EngineError(problems)


def _each(
    find: Callable[[Asked], Iterable[Found]], asked: Iterable[Asked], problems: list[Problem]
) -> list[Found]:
    """What is found for each of some; problems of one keep nobody from the others."""
    found: list[Found] = []
    for one in asked:
        try:
            found += find(one)
        except EngineError as error:
            problems += error.problems
    return found


def _asked_for(name: str) -> Iterator[WeightsFile]:
    path = Path(name)
    by_file = {one.file.name: one.file for one in published()}
    if name in by_file:
        yield by_file[name]
    elif name in ARCHS:
        yield ARCHS[name].coco or ARCHS[name].imagenet
    elif path.suffix == ".toml" or path.is_file():
        yield from _of_recipe(path)
    else:
        from difflib import get_close_matches

        close = get_close_matches(name, [*by_file, *ARCHS], n=1)
        hint = f'did you mean "{close[0]}"?' if close else "`engine weights list` names them all"
        raise WeightsError.of("W108", "", f'there are no published weights "{name}"', hint)


def _of_recipe(path: Path) -> Iterator[WeightsFile]:
    from engine.needs import published_weights
    from engine.recipe.load import load_recipes

    files = {weights for loaded in load_recipes(path) if (weights := published_weights(loaded.recipe.model))}
    if not files:
        console().print(f"{shown_path(str(path))} starts from no published weights", soft_wrap=True)
    yield from sorted(files, key=lambda weights: weights.name)


def _fetched(weights: WeightsFile) -> Iterator[str]:
    path = cached_path(weights)
    if path.is_file() and _is_sound(weights):
        yield f"{weights.name} is here already, and sound"
        return
    with progress_bar(weights.name, unit="MB") as tell:
        download(weights, _in_megabytes(tell))
    yield f"{weights.name} fetched to {path}"


def _in_megabytes(tell: Callable[[int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: tell(done // _BYTES_PER_MB, total // _BYTES_PER_MB)


# --- import ---


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def import_command(files: tuple[Path, ...]) -> None:
    """Copy published weights FILES that you brought here into the cache.

    Their content tells which they are; the names don't matter.
    """
    problems: list[Problem] = []
    for line in _each(_imported, files, problems):
        console().print(line, soft_wrap=True)
    if problems:
        raise EngineError(problems)


def _imported(path: Path) -> Iterator[str]:
    with progress_bar(path.name, unit="MB") as tell:
        found = import_file(path, _in_megabytes(tell))
    users = f"{found.archs[0]} and {count(len(found.archs) - 1, 'other')}" if found.archs[1:] else found.archs[0]
    yield f"{path.name} is the {found.word} weights of {users}; it is now {cached_path(found.file)}"
