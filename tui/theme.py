"""Our two looks: "darkroom" (safelight amber on black) and "lightbox" (ink on paper).

Every colour is one of the 256 of xterm's palette, so that a terminal without true colour shows
the same. Neighbouring curves differ in lightness as well as in hue; states have signs and
words besides their colours.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.theme import Theme

DARK = "darkroom"
LIGHT = "lightbox"


@dataclass(frozen=True, slots=True)
class _Look:
    background: str
    surface: str
    panel: str
    raised: str
    """Behind the chosen run."""
    rule: str
    faint: str
    muted: str
    text: str
    strong: str
    amber: str
    teal: str
    blue: str
    red: str
    violet: str
    green: str
    yellow: str
    raw: str
    """Noise behind a calm curve."""
    grid: str


_DARK = _Look(
    background="#121212", surface="#1c1c1c", panel="#262626", raised="#303030", rule="#444444", faint="#626262",
    muted="#949494", text="#d0d0d0", strong="#eeeeee", amber="#ffaf5f", teal="#5fd7d7", blue="#87afff",
    red="#ff8787", violet="#d787ff", green="#87d787", yellow="#ffd75f", raw="#5f5f5f", grid="#303030",
)  # fmt: skip
_LIGHT = _Look(
    background="#eeeeee", surface="#ffffff", panel="#e4e4e4", raised="#dadada", rule="#bcbcbc", faint="#8a8a8a",
    muted="#626262", text="#303030", strong="#080808", amber="#af5f00", teal="#008787", blue="#005fd7",
    red="#af0000", violet="#8700af", green="#005f00", yellow="#875f00", raw="#c6c6c6", grid="#dadada",
)  # fmt: skip


def _inks(look: _Look) -> dict[str, str]:
    """Name of an ink -> colour; what widgets ask for."""
    return {
        "grid": look.grid, "tick": look.muted, "rule": look.rule, "faint": look.faint, "muted": look.muted,
        "text": look.text, "strong": look.strong, "accent": look.amber, "raw": look.raw, "raised": look.raised,
        "total": look.amber, "val": look.teal, "part-1": look.blue, "part-2": look.green, "part-3": look.violet,
        "part-4": look.yellow, "part-5": look.red, "ap": look.amber, "ap50": look.teal, "rate": look.violet,
        "run-1": look.amber, "run-2": look.teal, "run-3": look.violet, "run-4": look.green, "run-5": look.blue,
        "run-6": look.red, "run-7": look.yellow, "run-8": look.text, "ap75": look.blue, "cursor": look.strong,
        "best": look.strong, "done": look.amber, "open": look.rule,
        "queued": look.muted, "held": look.violet, "running": look.amber, "stopping": look.yellow,
        "finished": look.teal, "failed": look.red, "cancelled": look.muted, "unknown": look.violet,
        "note": look.text, "warning": look.yellow, "error": look.red,
    }  # fmt: skip


_INKS = {DARK: _inks(_DARK), LIGHT: _inks(_LIGHT)}


def inks(theme: str) -> dict[str, str]:
    """The inks of a theme; those of the dark one for a theme that isn't ours."""
    return _INKS.get(theme, _INKS[DARK])


def _theme(name: str, look: _Look, *, dark: bool) -> Theme:
    return Theme(
        name=name, dark=dark, primary=look.amber, secondary=look.teal, accent=look.amber, warning=look.yellow,
        error=look.red, success=look.teal, foreground=look.text, background=look.background,
        surface=look.surface, panel=look.panel,
        variables={
            "text": look.text, "text-muted": look.muted, "text-disabled": look.faint,
            "border": look.rule, "border-blurred": look.rule,
            "rule": look.rule, "muted": look.muted, "strong": look.strong, "raised": look.raised,
            "block-cursor-background": look.raised, "block-cursor-foreground": look.strong,
            "block-cursor-text-style": "bold", "block-hover-background": look.panel,
            "footer-background": look.panel, "footer-foreground": look.muted,
            "footer-key-foreground": look.amber, "footer-description-foreground": look.muted,
            "scrollbar": look.rule, "scrollbar-hover": look.faint, "scrollbar-active": look.amber,
            "scrollbar-background": look.surface, "scrollbar-background-hover": look.surface,
            "scrollbar-background-active": look.surface, "scrollbar-corner-color": look.surface,
            "input-selection-background": look.raised, "input-cursor-background": look.amber,
        },
    )  # fmt: skip


THEMES = (_theme(DARK, _DARK, dark=True), _theme(LIGHT, _LIGHT, dark=False))
