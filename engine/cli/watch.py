"""`engine watch`: the dashboard, in this terminal or in a browser, or the state as text."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("watch")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--runs", "runs_dir", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"),
              envvar="ENGINE_RUNS", show_default=True, metavar="DIR", help="The runs folder; it may not exist yet.")
@click.option("--once", is_flag=True, help="Print the state as text and exit.")
@click.option("--serve", is_flag=True, help="Show it in a browser on this machine, at http://localhost:PORT.")
@click.option("--port", type=click.IntRange(1, 65535), default=8321, show_default=True, help="For --serve.")
@click.option("--graphics", type=click.Choice(["auto", "sixel", "kitty", "halfblock", "none"]), default="auto",
              show_default=True, help="How pictures are drawn.")
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark", show_default=True,
              help="For a dark or a light screen; the key t switches.")
def command(
    folder: Path | None, runs_dir: Path, once: bool, serve: bool, port: int, graphics: str, theme: str
) -> None:
    """Open the live dashboard.

    DIR is a runs folder, also one copied from another machine, or the folder of a single run; the same
    as --runs. Leave it, open it again, open several: training never notices. Its keys also control the
    queue, as `engine hold`, `stop`, `retry` and the like do; whatever stops training asks first.
    """
    folder = runs_dir if folder is None else folder
    if serve:
        from tui.serve import serve as serve_pages

        serve_pages([str(folder.absolute()), "--theme", theme], port)
        return
    from tui.target import target_of

    target = target_of(folder)
    if once:
        from tui.once import print_once

        print_once(target)
        return
    from tui.watch import watch

    sys.exit(watch(target, graphics, theme))
