"""A systemd user unit that goes on with a runs folder's queue when the machine starts.

Nothing here runs anything but systemctl, and only the person's own units are touched.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.errors import QueueError, Where

_SYSTEMCTL_TIMEOUT_S = 30.0
# Saving takes seconds; what hasn't saved by then is killed, and goes on from the checkpoint before.
_STOP_TIMEOUT_S = 120

_UNIT = """\
# Written by `engine service install`; `engine service remove` takes it away.
[Unit]
Description=engine: the training queue of {described}
After=network.target

[Service]
Type=exec
WorkingDirectory={folder}
ExecStart={command}
# SIGTERM goes to the supervisor alone, which has its runs save; what is left after that is killed.
KillMode=mixed
TimeoutStopSec={stop_timeout_s}
# One run out of memory ends that run, not the queue.
OOMPolicy=continue
Restart=on-abnormal
RestartSec=5
# 1: a run failed. 130: stopped on request. Neither is a fault of the service.
SuccessExitStatus=1 130

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Service:
    """The unit of one runs folder.

    Attributes:
        runs_dir: The runs folder, absolute.
        options: What `engine resume` is given besides.
    """

    runs_dir: Path
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The unit's name: tells the folder, and differs for folders of the same name."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", self.runs_dir.parent.name).strip("-").lower() or "queue"
        return f"engine-{slug[:40]}-{hashlib.sha256(os.fsencode(self.runs_dir)).hexdigest()[:8]}.service"

    @property
    def path(self) -> Path:
        """Where the unit's file lies."""
        config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
        return config / "systemd" / "user" / self.name

    def text(self) -> str:
        """The unit's file."""
        arguments = ["-m", "engine.cli.main", "resume", "--runs", str(self.runs_dir), "--into-log", *self.options]
        return _UNIT.format(
            described=_plain(str(self.runs_dir)), folder=_plain(str(self.runs_dir)),
            command=" ".join(_quoted(part) for part in (sys.executable, *arguments)), stop_timeout_s=_STOP_TIMEOUT_S,
        )


def _plain(text: str) -> str:
    """Text that a unit takes to the letter, outside a command line.

    Raises:
        QueueError: No unit can hold it.
    """
    if any(char in text for char in "\n\r\0"):
        raise QueueError.of("Q142", Where(text), "a unit can't name a folder with a line break", "rename the folder")
    return text.replace("%", "%%")


def _quoted(argument: str) -> str:
    """An argument as a unit's command line takes it to the letter."""
    escaped = _plain(argument).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'


def install(service: Service) -> list[str]:
    """Write the unit and have it started with the machine; returns what a person should know.

    Raises:
        QueueError: There is no systemd here, or it refuses.
        OSError: The file can't be written.
    """
    _need_systemd()
    service.runs_dir.mkdir(parents=True, exist_ok=True)
    service.path.parent.mkdir(parents=True, exist_ok=True)
    service.path.write_text(service.text(), encoding="utf-8")
    _systemctl("daemon-reload")
    _systemctl("enable", service.name)
    told = [f"{service.path} goes on with the queue when this machine starts"]
    if not lingers():
        told.append(f"it starts when you log in; to have it start without you: loginctl enable-linger {_user()}")
    return told


def remove(service: Service) -> list[str]:
    """Take the unit away; a queue that it is working on saves and stops.

    Raises:
        QueueError: There is none, there is no systemd here, or it refuses.
    """
    if not service.path.exists():
        raise QueueError.of("Q142", Where(str(service.path)), "there is no such service", "see `engine service status`")
    _need_systemd()
    _systemctl("disable", "--now", service.name)
    service.path.unlink()
    _systemctl("daemon-reload")
    return [f"{service.name} is removed"]


def status(service: Service) -> list[str]:
    """What there is, in words."""
    if not service.path.exists():
        return [f"no service for {service.runs_dir}; `engine service install` writes one"]
    told = [str(service.path)]
    if shutil.which("systemctl"):
        told += [f"{what}: {_ask(f'is-{what}', service.name)}" for what in ("enabled", "active")]
        told.append("starts without you: " + ("yes" if lingers() else f"no; loginctl enable-linger {_user()}"))
    return told


def lingers() -> bool:
    """Whether this person's services start without a login."""
    try:
        told = subprocess.run(
            ["loginctl", "show-user", _user(), "--property=Linger", "--value"], capture_output=True, text=True,
            timeout=_SYSTEMCTL_TIMEOUT_S, check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return Path("/var/lib/systemd/linger", _user()).exists()
    return told.stdout.strip() == "yes"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return str(os.getuid())


def _need_systemd() -> None:
    if sys.platform != "linux" or shutil.which("systemctl") is None:
        raise QueueError.of(
            "Q142", Where("systemd"), "there is no systemd here to start services",
            "have `engine resume --detach` run at login: under macOS by launchd, elsewhere by cron's @reboot",
        )


def _systemctl(*arguments: str) -> None:
    try:
        subprocess.run(
            ["systemctl", "--user", *arguments], capture_output=True, text=True, timeout=_SYSTEMCTL_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        words = str(getattr(error, "stderr", None) or error).strip()
        raise QueueError.of(
            "Q142", Where("systemctl --user " + " ".join(arguments)), f"systemd refused: {words}",
            "log in directly instead of by sudo or su, and see whether `systemctl --user status` works",
        ) from error


def _ask(*arguments: str) -> str:
    try:
        told = subprocess.run(
            ["systemctl", "--user", *arguments], capture_output=True, text=True, timeout=_SYSTEMCTL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return told.stdout.strip() or told.stderr.strip() or "unknown"
