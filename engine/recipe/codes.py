"""Every code that a recipe's problems can carry, each with what it means and what to do.

Codes are stable: none is ever reused. A test holds that each is raised somewhere and documented.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of problem.

    Attributes:
        title: In a few words.
        why: What it means and why it is refused.
        fix: What to do.
    """

    title: str
    why: str
    fix: str


CODES: dict[str, Code] = {
    "R101": Code(
        "recipe can't be read",
        "There is no such file, it is a folder or a device, or it may not be read.",
        "Check the path; a recipe is one TOML file.",
    ),
    "R102": Code(
        "file too large",
        "A recipe is a few kB; a file of more than 1 MB is something else, and isn't read.",
        "Check that the right file is named.",
    ),
    "R103": Code("not UTF-8", "TOML is UTF-8 text. Some editors save UTF-16 or Latin-1.", "Save the file as UTF-8."),
    "R104": Code(
        "not TOML",
        "The line and column are where reading stopped; the mistake is there or just before. Most often: text "
        "without quotes, a table or key written twice, a bracket not closed.",
        "Correct the line.",
    ),
    "R105": Code(
        "nested too deep",
        "Tables or lists nested more than 32 levels deep mean nothing in a recipe.",
        "Check that this is a recipe.",
    ),
    "R106": Code(
        "too many keys",
        "More than 20,000 keys and values mean nothing in a recipe.",
        "Check that this is a recipe.",
    ),
    "R200": Code(
        "more problems", "Only the first hundred problems of a recipe are told.", "Correct those and check again."
    ),
    "R201": Code(
        "unknown key",
        "A key that engine doesn't know is an error, since a misspelt key that is silently ignored costs a night.",
        "Take the suggestion, or remove the key; this page lists them all.",
    ),
    "R202": Code(
        "wrong type",
        'Types are strict: "5" is text, not a number, and true is never 1. A whole number may stand where a '
        "fraction may.",
        "Write the value as the message shows.",
    ),
    "R203": Code(
        "value not accepted",
        "The value is of the right type but outside its range, or none of the choices.",
        "Choose one that is accepted.",
    ),
    "R204": Code("key missing", "The key has no default: engine can't guess it.", "Add the line that is shown."),
    "R205": Code(
        "values that don't go together",
        "Each value is fine by itself, but not with another: an alias of no class, COCO weights for a detector "
        "that has none.",
        "Change one of the two.",
    ),
    "R206": Code(
        "class ids",
        "Class ids go up by one, from 1, with background = 0 or without; a list from 0 is accepted too. A gap "
        "or an id used twice would train the wrong class.",
        "Number the classes without gaps, or write names = [...] and no ids.",
    ),
    "R207": Code(
        "path that can't be used",
        "The path is empty, holds an environment variable that isn't set, or is a misspelt word where coco, "
        "imagenet or none was meant.",
        "Set the variable or write the path out.",
    ),
    "R301": Code(
        "extended recipe can't be read",
        "`extends` names a recipe that isn't there, or isn't a path at all.",
        "Paths are relative to the file in which they are written.",
    ),
    "R302": Code(
        "recipes extend one another",
        "Following `extends` leads back to the same file; the message tells the way.",
        "Remove one of the `extends`.",
    ),
    "R303": Code("too many recipes extended", "More than 50 recipes take part.", "Extend fewer."),
    "R401": Code(
        "sweep not understood",
        "[sweep] holds keys, each with a list of different values, and the options `zip` and `seeds`.",
        'Write "optimizer.lr" = [0.005, 0.001].',
    ),
    "R402": Code("unknown key in sweep", "The swept key isn't a key of a recipe.", "Take the suggestion."),
    "R403": Code(
        "sweep contradicts itself",
        "Two lines sweep the same key, or with zip = true the lists are not equally long.",
        "Remove one, or give each list as many values.",
    ),
    "R404": Code(
        "too many runs", "A sweep may make 500 runs at most.", "Sweep fewer values, or use zip = true."
    ),
    "R405": Code(
        "sweep where one run is expected",
        "`engine diff` compares single runs; a sweep is many.",
        "Name the folders of two of its runs.",
    ),
    "R501": Code(
        "--set not understood",
        "`--set` takes a dotted key, an equals sign and a TOML value.",
        "Write --set optimizer.lr=0.001.",
    ),
    "R601": Code(
        "resolved recipe damaged",
        "resolved.json of a run can't be read, so nobody can know what the run was asked.",
        "Queue the recipe again; the run's recipe.toml holds it.",
    ),
    "R602": Code(
        "resolved recipe of another version",
        "The run was queued by another version of engine, with keys that this one doesn't have.",
        "Use that version, or queue the recipe again.",
    ),
}
