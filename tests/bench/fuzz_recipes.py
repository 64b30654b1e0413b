"""Fuzz the recipe loader: mutated recipes are accepted or refused with located problems, quickly.

    python tests/bench/fuzz_recipes.py [--count 10000] [--seed 0]

Mutations are of text (bytes lost, swapped, repeated, replaced by awkward ones) and of meaning (a
value of another type, a key renamed, moved or repeated, deep and long values). A failure prints the
seed that makes it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import RecipeError
from engine.recipe.load import load_recipes, recipe_hash

SLOWEST_S = 1.0

SEED_RECIPE = """\
#:schema recipe.schema.json
name = "desk-r50"
extends = "base.toml"

[dataset]
format = "voc"
train = { images = "train/images", annotations = "train/annotations" }
val   = { images = "val/images",   annotations = "$HOME/annotations" }

[classes]
names   = ["mug", "laptop", "keyboard"]
aliases = { keybord = "keyboard" }
ignore  = ["person"]

[model]
arch    = "fasterrcnn_resnet50_fpn"
weights = "coco"

[training]
epochs     = 50
batch_size = 4
seed       = 0

[optimizer]
name = "sgd"
lr   = 0.005

[schedule]
kind      = "step"
step_size = 15

[early_stopping]
metric   = "val_loss"
patience = 8

[sweep]
"optimizer.lr" = [0.005, 0.001]
seeds = [0, 1]
"""

BASE_RECIPE = """\
[classes]
background = 0
cat = 1

[hardware]
num_workers = "auto"
"""

VALUES = (
    "5", "-1", "0", "1e308", "nan", "-inf", "true", "false", '""', '"x"', "'''x'''", '"\\u0000"', '"\\u001b[2J"',
    "[]", "{}", "[[]]", "[1, 'a', {}]", "{ a = 1 }", "{ images = 3 }", "1979-05-27", "07:32:00", "0x" + "f" * 3000,
    "9" * 5000, '"' + "x" * 5000 + '"', "[" * 60 + "]" * 60, "{a=" * 50 + "1" + "}" * 50, '"$NOT_SET_ANYWHERE"',
    '"~nobody-of-this-name"', '"base.toml"', '["base.toml", "base.toml"]', '"desk.toml"', "[0, 0]", "[1, 2, 3]",
    "3", "0.5", "1", '"none"', '"adamw"', '["cup", "cap"]', "[0.1, 0.2]", "[false]", "[{ patience = 1 }, false]",
    '"' + "../" * 50 + '"', "18446744073709551616",
)  # fmt: skip
KEYS = (
    "name", "extends", "sweep", "dataset", "classes", "names", "background", "epochs", "epoch", "lr", "zip", "seeds",
    "train", "images", '""', '"a.b"', "'\\u001b'", "a.b.c", "a." * 40 + "b", "x" * 3000, "training.epochs",
    '"optimizer.lr"', "early_stopping", "ünï",
)  # fmt: skip
FRAGMENTS = (
    "\x00", "\x1b[31m", "\r", "\r\n", "\ufeff", "\u2028", "\u202e", '"', "'", '"""', "[", "]", "[[", "]]", "{", "}",
    "=", ".", ",", "#", "\\", "\n", "\t", "é", "🙂", "[a]", "[sweep]\n", "[classes]\n", "[dataset.train]\n",
    "[[dataset.train]]\n",
)  # fmt: skip

Mutation = Callable[[str, random.Random], str]


def _lose(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.randrange(1, 40) :]


def _repeat(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text) + 1)
    piece = text[start : start + rng.randrange(1, 80)]
    return text[:start] + piece * rng.choice((2, 3, 200)) + text[start:]


def _insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(FRAGMENTS) + text[at:]


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _swap_lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def _on_a_line(text: str, rng: random.Random, change: Callable[[str, str], str]) -> str:
    lines = text.split("\n")
    pairs = [index for index, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    if pairs:
        index = rng.choice(pairs)
        key, _, value = lines[index].partition("=")
        lines[index] = change(key, value)
    return "\n".join(lines)


def _other_value(text: str, rng: random.Random) -> str:
    return _on_a_line(text, rng, lambda key, _: f"{key}= {rng.choice(VALUES)}")


def _other_key(text: str, rng: random.Random) -> str:
    return _on_a_line(text, rng, lambda _, value: f"{rng.choice(KEYS)} ={value}")


def _other_both(text: str, rng: random.Random) -> str:
    return _on_a_line(text, rng, lambda *_: f"{rng.choice(KEYS)} = {rng.choice(VALUES)}")


def _misspell(text: str, rng: random.Random) -> str:
    def change(key: str, value: str) -> str:
        at = rng.randrange(len(key) + 1)
        return f"{key[:at]}{rng.choice(('', 'x', '_', '-'))}{key[at + 1 :]}={value}"

    return _on_a_line(text, rng, change)


def _add_line(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    lines.insert(rng.randrange(len(lines) + 1), f"{rng.choice(KEYS)} = {rng.choice(VALUES)}")
    return "\n".join(lines)


MUTATIONS: tuple[Mutation, ...] = (
    _lose, _repeat, _insert, _cut, _swap_lines, *[_other_value] * 6, _other_key, _other_key, _other_both, _misspell,
    _misspell, _add_line, _add_line,
)  # fmt: skip


def options_for(seed: int) -> list[str]:
    """Options of --set to go with a mutated recipe; none with most."""
    rng = random.Random(~seed)
    return [f"{rng.choice(KEYS)}={rng.choice(VALUES)}" for _ in range(rng.choice((0, 0, 0, 1, 2)))]


def mutated(seed: int) -> bytes:
    """A recipe with one to four mutations; the same one for the same seed."""
    rng = random.Random(seed)
    text = SEED_RECIPE
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        text = rng.choice(MUTATIONS)(text, rng)
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.05 and content:
        at = rng.randrange(len(content))
        content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    return content


@dataclass(slots=True)
class Outcome:
    """What a fuzz run saw."""

    accepted: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    slowest_seed: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def fuzz(seeds: Sequence[int], folder: Path) -> Outcome:
    """Load a mutated recipe for each seed; anything but recipes or located problems is a failure."""
    outcome = Outcome()
    (folder / "base.toml").write_text(BASE_RECIPE, encoding="utf-8")
    path = folder / "desk.toml"
    for seed in seeds:
        path.write_bytes(mutated(seed))
        start = time.perf_counter()
        try:
            recipes = load_recipes(path, overrides=options_for(seed))
            names = {loaded.recipe.name for loaded in recipes}
            if len({recipe_hash(loaded.recipe) for loaded in recipes}) != len(recipes) or len(names) != len(recipes):
                outcome.failures.append(f"seed {seed}: two runs of the sweep are the same")
            outcome.accepted += 1
        except RecipeError as error:
            outcome.refused += 1
            outcome.codes.update(problem.code for problem in error.problems)
            outcome.failures += [f"seed {seed}: {fault}" for fault in _faults(error, folder)]
        except Exception as error:  # noqa: BLE001 - finding these is what fuzzing is for
            outcome.failures.append(f"seed {seed}: {type(error).__name__}: {error}"[:300])
        took = time.perf_counter() - start
        if took > outcome.slowest_s:
            outcome.slowest_s, outcome.slowest_seed = took, seed
    return outcome


def _faults(error: RecipeError, folder: Path) -> list[str]:
    """What is wrong with the way in which problems were told."""
    found = [] if error.problems else ["no problem is told"]
    for problem in error.problems:
        told = str(problem)
        if not problem.found or not problem.fix:
            found.append(f"nothing to act on: {told[:200]}")
        if problem.where.item.startswith("--set"):
            continue
        if not problem.where.path.startswith(str(folder)):
            found.append(f"no file: {told[:200]}")
        # A missing top-level key, a file that can't be decoded past a point: these have no line.
        if problem.where.line is None and problem.code not in ("R105", "R106", "R200", "R204", "R205"):
            found.append(f"no line: {told[:200]}")
        if len(told) > 3000 or not told.isprintable():
            found.append(f"not fit for a terminal: {told[:200]!r}")
    return found


def main() -> int:
    """Run, print the figures, and fail when anything went wrong."""
    parser = argparse.ArgumentParser(description="Fuzz the recipe loader.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = fuzz(range(options.seed, options.seed + options.count), Path(folder))
    print(f"{options.count} recipes in {time.perf_counter() - start:.1f} s: {outcome.accepted} accepted, "
          f"{outcome.refused} refused")  # fmt: skip
    print(f"slowest: {outcome.slowest_s * 1000:.0f} ms (seed {outcome.slowest_seed})")
    print("problems: " + ", ".join(f"{code} {count}" for code, count in sorted(outcome.codes.items())))
    print(f"failures: {len(outcome.failures)}")
    for failure in outcome.failures[:20]:
        print(f"  {failure}")
    return 1 if outcome.failures or outcome.slowest_s > SLOWEST_S else 0


if __name__ == "__main__":
    sys.exit(main())
