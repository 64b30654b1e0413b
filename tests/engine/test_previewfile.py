from __future__ import annotations

import pytest

from engine.previewfile import EpochPreviews, FoundBox, PreviewImage, TrueBox, decode_previews, encode_previews

IMAGE = PreviewImage(
    name="a.jpg", photo="previews/photos/000003.jpg", width=64, height=48,
    truth=(TrueBox(0, (1, 2, 30, 40)), TrueBox(1, (5, 5, 9, 9), True)), found=(FoundBox(1, (0, 0, 8.5, 9), 0.75),),
)  # fmt: skip
PREVIEWS = EpochPreviews(epoch=3, class_names=("mug", "laptop"), images=(IMAGE,))


def test_what_was_written_is_read() -> None:
    assert decode_previews(encode_previews(PREVIEWS)) == PREVIEWS


def test_images_without_boxes_are_read() -> None:
    bare = EpochPreviews(epoch=0, class_names=(), images=(PreviewImage(name="", photo="", width=1, height=1),))
    assert decode_previews(encode_previews(bare)) == bare


def test_the_worst_are_told_from_the_fixed() -> None:
    worst = PreviewImage(name="b.jpg", photo="p", width=4, height=4, kind="worst")
    both = EpochPreviews(epoch=0, class_names=("mug", "laptop"), images=(IMAGE, worst))
    assert (both.of("fixed"), both.of("worst")) == ((IMAGE,), (worst,))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[1, 2", id="torn"),
        pytest.param(b"\xff\xfe", id="not text"),
        pytest.param(b'{"epoch": 1}', id="too little"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(encode_previews(PREVIEWS).replace(b'"width":64', b'"width":0'), id="no size"),
        pytest.param(encode_previews(PREVIEWS).replace(b"[1,[0,", b"[-1,[0,"), id="class below zero"),
        pytest.param(encode_previews(PREVIEWS).replace(b'"mug",', b""), id="class without a name"),
        pytest.param(encode_previews(PREVIEWS).replace(b"[0,0,8.5", b"[1e999,0,8.5"), id="infinite"),
        pytest.param(b" " * 8_000_001, id="too long"),
    ],
)  # fmt: skip
def test_rubbish_is_refused(content: bytes) -> None:
    assert content != encode_previews(PREVIEWS)
    with pytest.raises(ValueError, match=r"."):
        decode_previews(content)
