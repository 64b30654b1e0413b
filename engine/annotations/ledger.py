"""What a correction of a dataset changed: every change by itself, and the files that tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.annotations import codes
from engine.annotations.findings import Findings
from engine.errors import EngineError, Problem, Where, printable

_LEFT_OUT = "left out"
# What a fault that no policy lets pass leads to.
_REFUSED = {
    codes.ANNOTATION_MISSING: "image left out",
    codes.IMAGE_UNREADABLE: "image left out",
    codes.TOO_LARGE: "image left out",
    codes.IMAGE_MISSING: "annotation left out",
    codes.ANNOTATION_UNREADABLE: "left out with its image",
    codes.STEM_SHARED: "images left out",
    codes.PATH_OUTSIDE: "entry left out",
    codes.FILE_IN_TWO_SPLITS: "written once",
}
# What policies did, in the words for a single change of a file.
_SINGLE = {
    "objects left out": "object left out",
    "left out but for one": "object left out, its twin is kept",
    "the image's size is used": "the image's size is written",
    "taken as pictures without objects": "written as a picture without objects",
}
_TURNED = {
    codes.ORIENTATION_RAW: "picture and boxes are turned",
    codes.ORIENTATION_UNCLEAR: "the picture is turned and the boxes stay: look whether they fit",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs from the original.

    Attributes:
        code: What was wrong.
        where: The place in the original.
        found: What was found there.
        done: What was done about it.
    """

    code: str
    where: Where
    found: str
    done: str

    @property
    def kind(self) -> tuple[str, str]:
        """By what changes are counted."""
        return f"{self.code} {codes.TITLES[self.code]}", self.done


class Ledger(Findings):
    """Takes what the reader and its policies find in a split, one by one, as changes.

    Attributes:
        changes: In the order in which they were found.
        fatal: What can't be corrected and leaves nothing to write.
    """

    def __init__(self, split: str, folder: str) -> None:
        super().__init__(split, folder)
        self.changes: list[Change] = []
        self.fatal: list[Problem] = []

    def change(self, code: str, where: Where, found: str, done: str) -> None:
        """Note a change."""
        self.changes.append(Change(code, where, found, done))

    def add(self, problem: Problem) -> None:
        """A fault that no policy lets pass: what has it is left out."""
        self.change(problem.code, problem.where, problem.found, _REFUSED.get(problem.code, _LEFT_OUT))

    def add_all(self, error: EngineError) -> None:
        """Faults of a whole folder or list."""
        self.fatal.extend(error.problems)

    def fault(self, code: str, where: Where, found: str, fix: str) -> None:
        """An error; class ids in doubt can't be corrected."""
        if code == codes.NAMES_DISAGREE:
            self.fatal.append(Problem(code, where, found, fix))
        else:
            self.add(Problem(code, where, found, fix))

    def settled(
        self, code: str, action: str, where: Where, *, key: str = "", detail: str = "", warning: str = ""
    ) -> None:
        """What a policy took care of."""
        del key, warning
        found = codes.TITLES[code] + (f": {detail}" if detail else "")
        self.change(code, where, found, _TURNED.get(code) or _SINGLE.get(action, action))

    def by_policy(self, policy: str, problem: Problem, *, key: str, action: str) -> None:
        """A fault and what its policy did."""
        del key
        if policy == "error":
            self.add(problem)
        elif action != "kept":
            self.change(problem.code, problem.where, problem.found, _SINGLE.get(action, action))


def grouped(changes: Sequence[Change]) -> dict[tuple[str, str], list[Change]]:
    """Changes by kind, the kinds in the order of their codes."""
    kinds: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        kinds.setdefault(change.kind, []).append(change)
    return dict(sorted(kinds.items()))


def write_log(out_dir: Path, changes: Sequence[Change], notes: Sequence[str]) -> None:
    """Write `FIXES.md` for people and `fixes.json` for programs into a corrected copy.

    Args:
        out_dir: The copy.
        changes: All of them.
        notes: What else a person should know, a sentence each.
    """
    content = [asdict(change) for change in changes]
    (out_dir / "fixes.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    lines = ["# What differs from the original", "", *notes, ""]
    for (title, done), kind in grouped(changes).items():
        lines += [f"## {title}: {done} ({len(kind)})", ""]
        lines += [f"- `{change.where}`: {printable(change.found)}" for change in kind]
        lines.append("")
    if not changes:
        lines += ["Nothing: there was nothing to correct.", ""]
    (out_dir / "FIXES.md").write_text("\n".join(lines), encoding="utf-8")
