"""`engine watch`: the dashboard, or a picture of the state as text."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("watch")
@click.option("--runs", "runs_dir", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"),
              show_default=True, metavar="DIR", help="The runs folder; it may not exist yet.")
@click.option("--once", is_flag=True, help="Print the state as text and exit.")
@click.option("--graphics", type=click.Choice(["auto", "sixel", "kitty", "halfblock", "none"]), default="auto",
              show_default=True, help="How pictures are drawn.")
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark", show_default=True,
              help="For a dark or a light screen; the key t switches.")
def command(runs_dir: Path, once: bool, graphics: str, theme: str) -> None:
    """Open the live dashboard.

    It only reads: leave it, open it again, open several; training never notices.
    """
    if once:
        from tui.once import print_once

        print_once(runs_dir)
        return
    from tui.watch import watch

    sys.exit(watch(runs_dir, graphics, theme))
