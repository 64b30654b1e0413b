"""The `engine` command: finds the subcommand, loads only its module, prints problems instead of tracebacks."""

from __future__ import annotations

import importlib
import os
import sys
from io import TextIOWrapper
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from engine import __version__
from engine.cli.printing import print_problems
from engine.errors import EngineError, Problem, Where

# Command -> module that defines it as `command`, and the line that `engine --help` shows.
_COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("engine.cli.init", "Write a recipe for a folder of labelled images."),
    "check": ("engine.cli.check", "Find everything wrong with recipes and their datasets."),
    "preview-data": ("engine.cli.preview_data", "Draw training images as the model will see them."),
    "run": ("engine.cli.run", "Check recipes, queue them and train one after another."),
    "resume": ("engine.cli.resume", "Go on with what is queued."),
    "service": ("engine.cli.service", "Have the queue gone on with after a reboot."),
    "add": ("engine.cli.add", "Check recipes and queue them, without training yet."),
    "queue": ("engine.cli.queue", "Show what is at work and what waits, why, and until when."),
    "retry": ("engine.cli.retry", "Queue failed runs again, from their last checkpoints."),
    "stop": ("engine.cli.stop", "Have runs at work save and stop."),
    "hold": ("engine.cli.hold", "Keep queued runs from being started."),
    "release": ("engine.cli.release", "Let held, parked and postponed runs go on."),
    "cancel": ("engine.cli.cancel", "Take runs out of the running; nothing is deleted."),
    "move": ("engine.cli.move", "Move waiting runs to another place in the queue."),
    "priority": ("engine.cli.priority", "Give waiting runs another priority."),
    "pause": ("engine.cli.pause", "Start nothing new until the queue is unpaused."),
    "unpause": ("engine.cli.unpause", "Start runs again after a pause."),
    "clean": ("engine.cli.clean", "List what could go to make room on the disk; --yes deletes it."),
    "remove": ("engine.cli.remove", "Take runs out of every list; their folders are kept."),
    "watch": ("engine.cli.watch", "Open the live dashboard."),
    "profile": ("engine.cli.profile", "Measure where a training step's time goes, and what would help."),
    "status": ("engine.cli.status", "Show every run and where it stands."),
    "logs": ("engine.cli.logs", "Print what a run's worker wrote."),
    "report": ("engine.cli.report", "Write a night's or a run's results as one HTML file."),
    "export": ("engine.cli.export", "Export a model as ONNX or TorchScript, or a bundle for a device."),
    "evaluate": ("engine.cli.evaluate", "Measure a model, or another tool's detections."),
    "track": ("engine.cli.track", "Tell TensorBoard, MLflow or Weights & Biases of runs."),
    "compare": ("engine.cli.compare", "Rank runs, and tell whether their difference is more than luck."),
    "predict": ("engine.cli.predict", "Detect objects in images with a run's best model."),
    "replay": ("engine.cli.replay", "Repeat a step whose loss was spoilt."),
    "convert": ("engine.cli.convert", "Write a recipe's dataset in another format."),
    "explain": ("engine.cli.explain", "Show what a recipe means, or why a run waits or failed."),
    "diff": ("engine.cli.diff", "Show what differs between two recipes or runs."),
    "weights": ("engine.cli.weights", "List published weights, fetch them ahead of the night, bring them in."),
    "schema": ("engine.cli.schema", "Write the JSON Schema of recipes for editors."),
    "completion": ("engine.cli.completion", "Print what a shell needs to complete commands and runs."),
    "sample": ("engine.cli.sample", "Draw a small dataset to try things on."),
}


# As shells say of a program that Ctrl-C ended.
_EXIT_INTERRUPTED = 130

# What `engine --help` lists together; commands that are in none come last.
_SECTIONS: dict[str, tuple[str, ...]] = {
    "Recipes and photos": (
        "init", "check", "explain", "diff", "preview-data", "profile", "convert", "weights", "schema",
        "sample",
    ),
    "Training": ("run", "resume", "service", "watch", "status", "logs"),
    "The queue": (
        "queue", "add", "hold", "release", "stop", "cancel", "retry", "move", "priority", "pause", "unpause", "remove",
        "clean",
    ),
}


class _LazyGroup(click.Group):
    """Imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, without importing them all."""
        lines = {name: line for name, (_, line) in _COMMANDS.items() if name.startswith(incomplete)}
        found = [CompletionItem(name, help=line) for name, line in lines.items()]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f'no command "{args[0]}". {_suggestion(args[0])}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed = {name for names in _SECTIONS.values() for name in names}
        sections = {**_SECTIONS, "Results and the rest": tuple(name for name in _COMMANDS if name not in listed)}
        width = max(map(len, _COMMANDS))  # the same in every section
        for title, names in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), _COMMANDS[name][1]) for name in names if name in _COMMANDS])


def _suggestion(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, _COMMANDS, n=1)
    return f'Did you mean "{close[0]}"?' if close else "See `engine --help`."


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="engine")
def cli() -> None:
    """Train object detectors overnight from TOML recipes."""


def _place(error: OSError) -> str:
    """The file that the system refused; its folder where it has a hidden name for a while, which nobody knows."""
    if not isinstance(error.filename, (str, bytes)):
        return ""
    path = Path(os.fsdecode(error.filename))
    return str(path.parent if path.name.startswith(".") else path)


def main() -> None:
    """Entry point of the `engine` command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows only ASCII gets a "?" for what it can't show, not a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(cli.main(standalone_mode=False, prog_name="engine"))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\nstopped\n")
        sys.exit(_EXIT_INTERRUPTED)
    except EngineError as error:
        print_problems(error.problems)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output (head, less) went away; that is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        problem = Problem("E109", Where(_place(error)), f"the system refused: {error.strerror or error}",
                          "look whether the disk is full and the folder may be written")
        # What is still in the buffer of a full output would fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print_problems([problem])
        sys.exit(1)


if __name__ == "__main__":
    main()
