"""The systemd unit that goes on with a queue after a reboot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from engine import service
from engine.errors import QueueError
from engine.service import Service
from tests.engine.cli.conftest import Ask, engine  # noqa: F401 - the fixture by its name

ODD = 'My Töst 100% $HOME "x"'


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs in systemd's place that write down what they were asked; returns where."""
    asked, programs = tmp_path / "asked", tmp_path / "programs"
    programs.mkdir()
    for name, answer in (("systemctl", "enabled"), ("loginctl", "no")):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {asked}\necho {answer}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(service.sys, "platform", "linux")
    return asked


def test_the_unit_resumes_the_queue_in_its_folder(tmp_path: Path) -> None:
    lines = Service(tmp_path / "runs", ("--parallel", "2")).text().splitlines()
    [command] = [line for line in lines if line.startswith("ExecStart=")]
    assert f'"resume" "--runs" "{tmp_path / "runs"}" "--into-log" "--parallel" "2"' in command
    for line in ("KillMode=mixed", "OOMPolicy=continue", "Restart=on-abnormal", "WantedBy=default.target"):
        assert line in lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name", ["plain", ODD])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    unit = tmp_path / "engine-test.service"
    unit.write_text(Service(tmp_path / name / "runs").text())
    verify = ["systemd-analyze", "verify", "--user", str(unit)]
    told = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def test_folders_of_one_name_have_services_of_their_own(tmp_path: Path) -> None:
    names = {Service(tmp_path / first / "desk" / "runs").name for first in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("engine-desk-") for name in names)
    assert Service(Path("/runs")).name.startswith("engine-queue-")
    assert Service(tmp_path / ODD / "runs").name.isascii()


def test_a_folder_that_no_unit_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="line break"):
        Service(tmp_path / "two\nlines").text()


def test_it_is_installed_told_and_removed(engine: Ask, systemctl: Path, config: Path, tmp_path: Path) -> None:  # noqa: F811
    answer = engine("service", "status")
    assert "no service for" in answer.out
    answer = engine("service", "install", "--parallel", "2")
    assert answer.code == 0, answer.err
    [unit] = (config / "systemd" / "user").iterdir()
    assert str(tmp_path / "runs") in unit.read_text()
    assert "loginctl enable-linger" in answer.out
    answer = engine("service", "status")
    assert "enabled: enabled" in answer.out
    answer = engine("service", "remove")
    assert answer.code == 0
    assert not unit.exists()
    asked = systemctl.read_text()
    for question in ("daemon-reload", f"enable {unit.name}", f"disable --now {unit.name}"):
        assert f"systemctl --user {question}" in asked
    answer = engine("service", "remove")
    assert answer.code == 1
    assert "Q142" in answer.err


def test_without_systemd_it_says_what_else_there_is(
    engine: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = engine("service", "install")
    assert answer.code == 1
    assert "launchd" in answer.err


def test_systemd_that_refuses_is_told_in_its_words(engine: Ask, systemctl: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "programs" / "systemctl").write_text("#!/bin/sh\necho Failed to connect to bus >&2; exit 1\n")
    answer = engine("service", "install")
    assert answer.code == 1
    assert "Failed to connect to bus" in answer.err


def test_a_device_that_isnt_there_is_told_at_once(engine: Ask, systemctl: Path) -> None:  # noqa: F811
    answer = engine("service", "install", "--devices", "cuda:99,gpu")
    assert answer.code == 1
    assert "Q140" in answer.err
    assert not systemctl.exists()
