"""What a run needs besides recipe and data: weights, a device, room on the disk, memory."""

from __future__ import annotations

import hashlib
import http.server
import json
import pickle
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import machine
from engine.catalogue import ARCHS, WeightsFile
from engine.errors import Problem, Where
from engine.needs import (
    WeightsCheck,
    checkpoint_bytes,
    device_problems,
    disk_problems,
    memory_problems,
    num_parameters,
    published_weights,
)
from engine.preflight import preflight
from engine.recipe.schema import Hardware, Model, Recipe
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import enqueue_recipe, load_recipe, write_photo, write_recipe, write_voc
from tests.engine.archs import smallest_first

ARCH = "fasterrcnn_mobilenet_v2_fpn"
WHERE = Where("desk.toml", item="model.weights")
archs = pytest.mark.parametrize("arch", smallest_first)


def codes(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torch hub keeps weights, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server from which published weights can be had; the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr("engine.catalogue.DOWNLOAD_BASE", f"http://127.0.0.1:{server.server_port}/")
        yield asked
        server.shutdown()


# --- weights ---


def publish(hub: Path, content: bytes) -> WeightsFile:
    weights = WeightsFile(f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth", 1)
    (hub / weights.name).write_bytes(content)
    return weights


def test_weights_at_hand_are_no_problem(hub: Path, unreachable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHS, ARCH, replace(ARCHS[ARCH], imagenet=publish(hub, b"sound")))
    assert WeightsCheck().problems(Model(arch=ARCH, weights="imagenet"), WHERE) == []


def test_damaged_weights_at_hand_are_told_before_the_run(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = publish(hub, b"sound")
    (hub / weights.name).write_bytes(b"cut sho")
    monkeypatch.setitem(ARCHS, ARCH, replace(ARCHS[ARCH], imagenet=weights))
    [problem] = WeightsCheck().problems(Model(arch=ARCH, weights="imagenet"), WHERE)
    assert (problem.code, problem.severity) == ("W102", "error")
    assert str(hub / weights.name) in problem.found
    assert weights.sha256_prefix in problem.found


def test_weights_out_of_reach_name_the_file_and_its_place(hub: Path, unreachable: None) -> None:
    [problem] = WeightsCheck().problems(Model(arch=ARCH, weights="imagenet"), WHERE)
    assert (problem.code, problem.severity) == ("W101", "error")
    assert str(hub / ARCHS[ARCH].imagenet.name) in problem.fix


def test_reachable_weights_are_a_note_and_asked_for_once(hub: Path, requests: list[str]) -> None:
    check, model = WeightsCheck(), Model(arch=ARCH, weights="imagenet")
    assert codes(check.problems(model, WHERE)) == ["W100"]
    assert check.problems(model, Where("other.toml"))[0].severity == "note"
    assert requests == [f"/{ARCHS[ARCH].imagenet.name}"]


def own(path: Path, arch: str = ARCH) -> list[Problem]:
    model = Model(arch=arch, weights=str(path))
    assert published_weights(model) is None
    return WeightsCheck().problems(model, WHERE)


def write_safetensors(path: Path, *names: str) -> Path:
    """The format's header and zeros: a length, JSON, the numbers."""
    tensors = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * index, 4 * index + 4]}
        for index, name in enumerate(names)
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * len(names)))
    return path


def write_archive(path: Path, *names: str) -> Path:
    """What of a torch.save file can be looked at without torch."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(dict.fromkeys(names, 0.0), protocol=2))
    return path


WRITERS = {".safetensors": write_safetensors, ".pth": write_archive}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(
    ("names", "arch", "expected"),
    [
        pytest.param(["features.0.0.weight"], ARCH, [], id="its-backbone"),
        pytest.param(["layer4.0.conv1.weight"], ARCH, ["W105"], id="another-backbone"),
        pytest.param(["layer4.0.conv1.weight"], "retinanet_resnet50_fpn", [], id="a-resnet"),
        pytest.param(["roi_heads.box_predictor.cls_score.weight"], ARCH, [], id="its-family"),
        pytest.param(["roi_heads.box_predictor.cls_score.weight"], "fcos_resnet50_fpn", ["W105"], id="another-family"),
        pytest.param(["head.classification_head.cls_logits.weight"], "retinanet_resnet50_fpn", [], id="retinanet"),
        pytest.param(
            ["head.classification_head.cls_logits.weight", "head.regression_head.bbox_ctrness.bias"],
            "retinanet_resnet50_fpn", ["W105"], id="fcos-for-retinanet",
        ),
        pytest.param(["head.classification_head.module_list.0.weight"], "ssd300_vgg16", [], id="ssd"),
    ],
)
def test_a_file_of_ones_own_must_fit_as_far_as_names_tell(
    tmp_path: Path, suffix: str, names: list[str], arch: str, expected: list[str]
) -> None:
    path = WRITERS[suffix](tmp_path / f"mine{suffix}", *names, "conv.running_mean")
    problems = own(path, arch)
    assert codes(problems) == expected
    assert all(problem.where == WHERE and str(path) in problem.found for problem in problems)


def test_a_file_of_ones_own_must_exist(tmp_path: Path) -> None:
    assert codes(own(tmp_path / "mine.pt")) == ["W103"]


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 cut off", b"\xff\xd8\xff\xe0 a photo", b'\x10\0\0\0\0\0\0\0{"a": 1, "b": 2}', b"\xff" * 9],
    ids=["empty", "half-an-archive", "a-photo", "other-json", "a-huge-header"],
)
@pytest.mark.parametrize("suffix", WRITERS)
def test_another_file_is_told_as_such(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(content)
    assert codes(own(path)) == ["W104"]


def test_a_safetensors_file_that_is_cut_off(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "a.safetensors", "features.0.0.weight")
    path.write_bytes(path.read_bytes()[:-1])
    assert codes(own(path)) == ["W104"]


def test_an_archive_without_tensors(tmp_path: Path) -> None:
    assert codes(own(write_archive(tmp_path / "a.pth", "epoch"))) == ["W104"]


def test_a_file_of_an_old_torch_is_left_to_torch(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    path.write_bytes(b"\x80\x02\x8a\nl")
    assert own(path) == []


def test_what_torch_itself_writes_is_looked_at_rightly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision").models
    path = tmp_path / "mine.pth"
    torch.save({"model": models.mobilenet_v3_small(weights=None).state_dict(), "epoch": 3}, path)
    assert own(path) == []
    assert codes(own(path, "fasterrcnn_resnet18_fpn")) == ["W105"]


# --- weights of a former run ---


def test_a_runs_folder_with_its_best_model(tmp_path: Path) -> None:
    best = RunDir(tmp_path / "0001-mine").best_checkpoint
    best.parent.mkdir(parents=True)
    write_archive(best, "roi_heads.box_predictor.cls_score.weight")
    assert own(tmp_path / "0001-mine") == []
    assert codes(own(tmp_path / "0001-mine", "fcos_resnet50_fpn")) == ["W105"]


def test_a_folder_that_is_no_runs(tmp_path: Path) -> None:
    [problem] = own(tmp_path)
    assert (problem.code, problem.severity) == ("W107", "error")


def test_a_run_that_has_nothing_yet_is_an_error_only_when_it_is_over(queue: RunQueue, recipe: Recipe) -> None:
    row = enqueue_recipe(queue, recipe)
    run_dir = queue.runs_dir / row.run
    assert [(problem.code, problem.severity) for problem in own(run_dir)] == [("W107", "warning")]
    queue.finish(queue.claim() or pytest.fail("nothing to claim"), "failed", "")
    assert [(problem.code, problem.severity) for problem in own(run_dir)] == [("W107", "error")]


# --- device ---


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /dev on a machine without nvidia-smi; returns it."""
    dev = tmp_path / "dev"
    dev.mkdir()
    monkeypatch.setattr("engine.machine._DEV", dev)
    monkeypatch.setattr("engine.machine._num_by_nvidia_smi", lambda: 0)
    monkeypatch.setattr("engine.machine.torch_without_cuda", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return dev


@pytest.mark.parametrize(
    ("nodes", "visible", "expected"),
    [
        pytest.param([], None, 0, id="none"),
        pytest.param(["nvidiactl", "nvidia-uvm", "null"], None, 0, id="a-driver-without-gpu"),
        pytest.param(["nvidia0", "nvidia1", "nvidiactl"], None, 2, id="two"),
        pytest.param(["nvidia3"], None, 1, id="the-fourth-in-a-container"),
        pytest.param(["nvidia0", "nvidia1"], "", 0, id="all-hidden"),
        pytest.param(["nvidia0", "nvidia1"], "-1", 0, id="all-hidden-by-minus-one"),
        pytest.param(["nvidia0", "nvidia1"], "1", 1, id="one-visible"),
        pytest.param(["nvidia0", "nvidia1"], "1,-1,0", 1, id="cut-off-at-minus-one"),
        pytest.param(["nvidia0"], "GPU-5a2f,GPU-77aa", 1, id="more-names-than-gpus"),
        pytest.param(["kfd"], None, None, id="amd"),
        pytest.param(["nvhost-gpu"], None, None, id="jetson"),
    ],
)
def test_gpus_are_counted_without_torch(
    devices: Path, monkeypatch: pytest.MonkeyPatch, nodes: list[str], visible: str | None, expected: int | None
) -> None:
    for node in nodes:
        (devices / node).touch()
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.num_cuda_devices() == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("echo 'GPU 0: RTX (UUID: GPU-1)'; echo 'GPU 1: RTX (UUID: GPU-2)'", 2, id="two"),
        pytest.param("echo 'no devices were found'", 0, id="none"),
        pytest.param("echo 'driver mismatch' >&2; exit 18", 0, id="fails"),
        pytest.param("exec sleep 60", 0, id="hangs"),
    ],
)
def test_nvidia_smi_is_asked_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: int
) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr("engine.machine._NVIDIA_SMI_TIMEOUT_S", 0.5)
    assert machine._num_by_nvidia_smi() == expected


@pytest.mark.parametrize(
    ("device", "num_gpus", "expected"),
    [
        pytest.param("auto", 0, [], id="auto-without"),
        pytest.param("cpu", 0, [], id="cpu"),
        pytest.param("cuda", 0, ["E104"], id="cuda-without"),
        pytest.param("cuda", 1, [], id="cuda"),
        pytest.param("cuda:0", 1, [], id="the-first"),
        pytest.param("cuda:1", 1, ["E104"], id="the-second-of-one"),
        pytest.param("cuda:7", None, [], id="nobody-knows-how-many"),
    ],
)
def test_the_device_asked_for_is_here(
    monkeypatch: pytest.MonkeyPatch, devices: Path, device: str, num_gpus: int | None, expected: list[str]
) -> None:
    monkeypatch.setattr("engine.machine.num_cuda_devices", lambda: num_gpus)
    problems = device_problems(Hardware(device=device), WHERE)
    assert codes(problems) == expected
    assert all(problem.severity == "error" for problem in problems)


def test_hidden_gpus_are_told_by_the_variable_that_hides_them(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (devices / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    [problem] = device_problems(Hardware(device="cuda"), WHERE)
    assert "CUDA_VISIBLE_DEVICES" in problem.found


@pytest.mark.parametrize(
    ("system", "processor", "expected"),
    [
        pytest.param("darwin", "arm64", [], id="apple"),
        pytest.param("darwin", "x86_64", ["E104"], id="old-mac"),
        pytest.param("linux", "arm64", ["E104"], id="linux"),
    ],
)
def test_mps_is_apples(
    monkeypatch: pytest.MonkeyPatch, system: str, processor: str, expected: list[str]
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: processor)
    assert codes(device_problems(Hardware(device="mps"), WHERE)) == expected


@pytest.mark.parametrize(
    ("device", "severity"),
    [pytest.param("auto", "warning", id="auto"), pytest.param("cuda", "error", id="cuda")],
)
def test_a_torch_that_cannot_use_the_gpu_is_told(
    devices: Path, monkeypatch: pytest.MonkeyPatch, device: str, severity: str
) -> None:
    (devices / "nvidia0").touch()
    monkeypatch.setattr("engine.machine.torch_without_cuda", lambda: "2.9.0+cpu")
    [problem] = device_problems(Hardware(device=device), WHERE)
    assert (problem.code, problem.severity) == ("E105", severity)


# --- memory ---


@pytest.mark.parametrize(
    ("available", "expected"),
    [pytest.param(10**9, ["E106"], id="1-gb"), pytest.param(8 * 10**9, [], id="8-gb")],
)
def test_hardly_any_memory_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, available: int, expected: list[str]
) -> None:
    monkeypatch.setattr("engine.machine.available_memory_bytes", lambda: available)
    problems = memory_problems()
    assert codes(problems) == expected
    assert all(problem.severity == "warning" for problem in problems)


def test_a_containers_limit_counts_without_its_cached_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\ninactive_file 300000\nactive_file 200000\n")
    monkeypatch.setattr("engine.machine._CGROUP", tmp_path)
    assert machine.available_memory_bytes() == 600_000


@pytest.mark.parametrize("limit", ["max", "", None], ids=["unlimited", "empty", "no-file"])
def test_without_a_containers_limit_the_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr("engine.machine._CGROUP", tmp_path)
    assert machine.available_memory_bytes() > 10**7


# --- disk ---


@pytest.fixture
def recipe(tmp_path: Path, dataset: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path, dataset))


def free(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    monkeypatch.setattr("engine.machine.free_disk_bytes", lambda _: size_bytes)


def test_a_full_disk_is_told_before_the_night(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, state = checkpoint_bytes(recipe)
    runs_dir = tmp_path / "runs"
    free(monkeypatch, kept + state)
    [problem] = disk_problems(runs_dir, [recipe])
    assert (problem.code, problem.severity) == ("E102", "error")
    free(monkeypatch, kept + state + 10**8)
    assert disk_problems(runs_dir, [recipe]) == []
    assert codes(disk_problems(runs_dir, [recipe] * 10)) == ["E102"]
    assert disk_problems(runs_dir, []) == []
    assert not runs_dir.exists()


def test_runs_queued_already_need_room_too(
    queue: RunQueue, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, state = checkpoint_bytes(recipe)
    free(monkeypatch, kept + state + 6 * 10**7)
    enqueue_recipe(queue, recipe)
    assert disk_problems(queue.runs_dir, [recipe]) == [], "the same recipe isn't queued twice"
    other = recipe.model_copy(update={"name": "other"})
    [problem] = disk_problems(queue.runs_dir, [other])
    assert "1 queued already" in problem.found
    queue.finish(queue.claim() or pytest.fail("nothing to claim"), "finished", "")
    assert disk_problems(queue.runs_dir, [other]) == []


def test_a_runs_folder_that_cannot_be_written(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "file").touch()
    assert codes(disk_problems(tmp_path / "file" / "runs", [recipe])) == ["E103"]


@archs
def test_parameter_counts_are_those_of_the_detectors(arch: str) -> None:
    torch = pytest.importorskip("torch")
    build = pytest.importorskip("engine.models.build")
    narrow = {"fasterrcnn": {"fpn_channels": 64, "box_head_width": 256}, "ssd": {}}
    for widths in ({}, narrow.get(ARCHS[arch].family, {"fpn_channels": 64})):
        model = Model(arch=arch, weights="none", **widths)
        # RegNet computes its widths with tensors, which need a place.
        with torch.device("cpu" if "regnet" in arch else "meta"):
            detector = build.build_detector(model, [f"class {index}" for index in range(90)], None)
        real = sum(parameter.numel() for parameter in detector.network.parameters())
        if not widths:
            assert num_parameters(model) == real
        assert 0.95 * real < num_parameters(model) < 1.5 * real


def test_optimizers_remember_more_or_less(recipe: Recipe) -> None:
    kept = [
        checkpoint_bytes(recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update=update)}))[0]
        for update in ({"momentum": 0.0}, {"momentum": 0.9}, {"name": "adamw"})
    ]
    model_bytes = num_parameters(recipe.model) * 4
    assert kept == [3 * model_bytes, 5 * model_bytes, 7 * model_bytes]
    averaged = recipe.model_copy(update={"training": recipe.training.model_copy(update={"ema_decay": 0.999})})
    assert checkpoint_bytes(averaged)[0] == 7 * model_bytes


# --- all of it ---


def test_preflight_tells_the_machines_faults_with_each_recipe(
    tmp_path: Path, dataset: Path, devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_recipe(tmp_path, dataset, "good")
    bad = write_recipe(tmp_path, dataset, "bad", hardware={"device": "cuda"})
    free(monkeypatch, 10**6)
    reports = preflight([good, bad], runs_dir=tmp_path / "runs")
    assert [codes(list(report.problems))[0] for report in reports] == ["E102", "E104"]
    assert not any(report.ok for report in reports)
    [alone] = preflight([good])
    assert alone.ok
    assert "E102" not in codes(list(alone.problems))


@pytest.mark.parametrize(
    ("sides", "expected"),
    [pytest.param((32, 32), True, id="small"), pytest.param((240, 320), False, id="large-enough")],
)
def test_boxes_that_vanish_at_the_input_size_are_warned_of(
    tmp_path: Path, sides: tuple[int, int], expected: bool
) -> None:
    size, objects = (320, 240), [("mug", (10, 10, 22, 22)), ("laptop", (40, 40, 200, 200))]
    for index, split in enumerate(("train", "val")):
        write_photo(tmp_path / split / "images" / "1.jpg", objects, size=size, seed=index)
        write_voc(tmp_path / split / "annotations" / "1.xml", objects, size=size)
    [report] = preflight([write_recipe(tmp_path, tmp_path, model={"min_size": sides[0], "max_size": sides[1]})])
    assert report.ok
    assert ("D133" in codes(list(report.problems))) == expected


def test_what_a_sweeps_runs_share_is_looked_at_once(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("engine.preflight.device_problems", lambda hardware, _: asked.append(hardware.device) or [])
    swept = {"optimizer.lr": [0.1, 0.01, 0.001], "hardware.device": ["cpu", "auto"]}
    path = write_recipe(tmp_path, dataset)
    lists = "".join(f'"{key}" = {value}\n'.replace("'", '"') for key, value in swept.items())
    path.write_text(f"{path.read_text()}\n[sweep]\n{lists}")
    [report] = preflight([path])
    assert len(report.recipes) == 6
    assert sorted(asked) == ["auto", "cpu"]


def test_a_path_that_leads_nowhere_is_named_with_the_recipes_line(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tmp_path / "nowhere")
    [report] = preflight([recipe])
    found = [problem for problem in report.problems if problem.code == "D100"]
    assert found
    lines = recipe.read_text().splitlines()
    for problem in found:
        path, line, *_ = problem.where.item.removeprefix("named by ").split()[0].split(":")
        assert Path(path).name == recipe.name
        assert "nowhere" in lines[int(line) - 1]


# --- learning rates ---


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        pytest.param({"lr": 100}, ["T309"], id="absurd"), pytest.param({"lr": 1}, [], id="great"),
        pytest.param({"name": "adamw", "lr": 0.2}, ["T309"], id="absurd for AdamW"),
        pytest.param({"name": "adamw"}, [], id="left out"),
    ],
)
def test_a_learning_rate_out_of_proportion_is_told_with_its_line(
    tmp_path: Path, dataset: Path, optimizer: dict[str, Any], expected: list[str]
) -> None:
    path = write_recipe(tmp_path, dataset, optimizer=optimizer)
    [report] = preflight([path])
    assert (report.ok, codes(list(report.problems))) == (True, expected)
    for problem in report.problems:
        lines = path.read_text().splitlines()
        assert problem.where.line is not None
        assert lines[problem.where.line - 1] == f"lr = {optimizer['lr']}"
