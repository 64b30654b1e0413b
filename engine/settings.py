"""What a person sets once for all recipes: `~/.config/engine/settings.toml` (or under XDG_CONFIG_HOME).

There is one such file. It may be missing; what it holds is strict, like a recipe.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import EngineError

Occasion = Literal["finished", "failed", "queue ended"]
_MOST_BYTES = 100_000


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[notice]`: who is told when something ends."""

    command: str = ""
    """Run by the shell; it gets the notice as JSON on its standard input, and in words in ENGINE_TEXT."""
    webhook: str = ""
    """Address that the notice is posted to, as JSON."""
    bell: bool = False
    """Ring the terminal's bell where `engine run` shows its table."""
    on: tuple[Occasion, ...] = ("finished", "failed", "queue ended")
    """What is told."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    notice: Notice = Notice()


def settings_path() -> Path:
    """Where the settings are looked for."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "engine" / "settings.toml"


def read_settings(path: Path | None = None) -> Settings:
    """Read the settings; the defaults when there is no file.

    Raises:
        EngineError: The file can't be read, isn't TOML, or holds something unknown.
    """
    path = path or settings_path()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _wrong(path, "the file is too large to be settings")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = msgspec.convert(values, Settings)
    except (FileNotFoundError, NotADirectoryError):
        return Settings()
    except OSError as error:
        raise _wrong(path, f"can't be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(path, f"isn't TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise _wrong(path, _place_first(str(error))) from error
    if settings.notice.webhook and not settings.notice.webhook.startswith(("http://", "https://")):
        raise _wrong(path, "notice.webhook isn't an address that begins with http:// or https://")
    return settings


def _place_first(words: str) -> str:
    """A message such as "Expected `bool`, got `str` - at `$.notice.bell`" with the key in front."""
    found, _, place = words.partition(" - at ")
    key = place.strip("`").removeprefix("$").lstrip(".")
    return f"{key}: {found}" if key else found


def _wrong(path: Path, found: str) -> EngineError:
    return EngineError.of("E110", str(path), found, "mend the file (docs/queue.md tells its keys), or remove it")
