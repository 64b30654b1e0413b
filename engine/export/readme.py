"""What a device bundle says of itself: how to use it, what was measured, and what suits which device."""

from __future__ import annotations

from typing import Any

from engine.export.exporting import Exported


def readme(exported: Exported) -> str:
    """The README of a bundle, in Markdown."""
    facts = exported.facts
    names = ", ".join(f"`{name}`" for name in facts["class_names"])
    about = (
        f"`{facts['arch']}` in {facts['precision']}, for {_input(facts['input_size'])}. From epoch {facts['epoch']} of "
        f"its training; exported by engine {facts['engine_version']}. It finds {names}."
    )
    use = _USE.format(threshold=facts["threshold"])
    return "\n".join([f"# Detector {facts['run']}", "", about, "", use, *_measured(exported), "", _DEVICES])


def _input(size: dict[str, Any]) -> str:
    if "fixed" in size:
        return f"photos of any size, which it brings to {size['fixed'][0]} x {size['fixed'][1]} px"
    return f"photos of any size, whose shorter side it brings to {size['min']} px, the longer to {size['max']} at most"


def _measured(exported: Exported) -> list[str]:
    facts, report = exported.facts, exported.report
    threads = f"{facts['threads']} thread" + ("s" if facts["threads"] != 1 else "")
    rows = (
        (f"trained model, torch {facts['torch_version']}", report.torch, ""),
        ("model.onnx", report.exported, f"{facts['size_bytes'] / 1e6:.1f}"),
    )
    where = (
        f"On {report.num_images} validation photos, {facts['machine']}, {threads}. **Not on a Raspberry Pi**, and only "
        "as sure as the machine was idle; `detect.py` tells the time on yours."
    )
    lines = [
        "## Measured",
        "",
        where,
        "",
        "| | AP | AP50 | ms per photo | MB |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {_score(side.ap)} | {_score(side.ap50)} | {side.ms_per_image:.1f} | {size} |"
            for name, side, size in rows
        ),
    ]
    if report.agreement is not None:
        lines += ["", f"Of their {report.num_detections} detections {report.agreement:.2%} agree; see gate.json."]
    return lines


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


_USE = """## Use

Python 3.9 or newer and three packages; on a Raspberry Pi a 64-bit system, for which onnxruntime is published.

```sh
python3 -m venv venv && venv/bin/pip install -r requirements.txt
venv/bin/python detect.py photo.jpg                 # a table
venv/bin/python detect.py photos/ --save drawn/     # a folder; pictures with boxes drawn
venv/bin/python detect.py photo.jpg --json          # one JSON object a line
venv/bin/python detect.py --camera --save drawn/    # a camera, until Ctrl-C
```

A camera needs one library more: picamera2 for a Raspberry Pi's (`sudo apt install python3-picamera2`, and make the venv
with `--system-site-packages`), `opencv-python-headless` for others. Without `--threshold` a detection is shown from a
score of {threshold:.3g}; `--threads` limits the cores.

From Python: `from detect import Model`, then `Model("model.onnx").detect(pixels)` with pixels (height, width, 3) uint8
RGB. From any other language: input `image`, the same; outputs `boxes_xyxy` in pixels of that photo, `labels` (lines
of labels.txt, from 0) and `scores`, best first. Nothing has to be resized or normalised, and suppression is done. All
of this is in the file's metadata too.
"""

_DEVICES = """## What suits which device

Nothing in this table was measured on a Pi. It is reckoned from torchvision's published operation counts at the usual
input sizes and a published figure for onnxruntime on a Pi 5 (YOLOX-S, 13 billion multiplications, 2.5 photos a second),
taking a Pi 4 for a quarter of that. Smaller input sizes cost less in proportion to their area.

| detector, fp32 | billion multiplications | Raspberry Pi 5 | Raspberry Pi 4 |
|---|---|---|---|
| SSDlite MobileNetV3, 320 px | 0.6 | suits: some 10 photos a second | suits: 2 to 4 a second |
| Faster R-CNN MobileNetV3, 320 px | 0.7 | suits: several a second | 1 or 2 a second |
| Faster R-CNN MobileNetV3, 800 px | 4.5 | 2 or 3 a second | a second or two a photo |
| SSD300 VGG-16 | 35 | a second a photo | 4 s a photo |
| FCOS, RetinaNet, Faster R-CNN, ResNet-50 | 130 to 280 | 4 to 9 s a photo | 15 to 35 s a photo; 1 GB is too little |

int8 can pay on a Pi 5, whose Cortex-A76 multiplies bytes at once, hardly on a Pi 4, whose Cortex-A72 can't. fp16 halves
the file; don't expect speed of it on either.

**The Pi AI Camera (IMX500) runs none of these files.** The sensor runs a network of one fixed input size, quantised
with Sony's Model Compression Toolkit, converted with Sony's converter (`imxconv-pt`) and packed on the Pi
(`imx500-package`); weights and intermediate results share 8 MB. Published for it are SSD MobileNetV2 FPNLite,
NanoDet-Plus, EfficientDet-Lite0, YOLOv8n and YOLO11n. Faster R-CNN, RetinaNet, FCOS and SSD300 don't fit: tens of
megabytes even in 8 bits, and Faster R-CNN pools from as many boxes as the photo gives it. SSDlite weighs about 3 MB in
8 bits, so that its weights would fit; whether the converter takes its layers wasn't tried. With the AI Camera as a
plain camera, this bundle runs on the Pi's own processor.
"""
