"""`engine completion`: have the shell complete commands, options and the names of runs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
# Where each shell looks for what it should load at its start.
_LINES = {
    "bash": 'eval "$(engine completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(engine completion zsh)"    in ~/.zshrc',
    "fish": "engine completion fish > ~/.config/fish/completions/engine.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(f"{shell + ':':6}{line}" for shell, line in _LINES.items()))
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what SHELL must load to complete commands, options and runs.

    Exit code 0.
    """
    completion = get_completion_class(shell)
    assert completion is not None  # click knows these three
    click.echo(completion(ctx.find_root().command, {}, "engine", "_ENGINE_COMPLETE").source())
