"""Find out how a dataset lies in its folder: the format, and which folders make which split.

Nothing depends on folders having certain names: pictures belong to the folder of label files, or to
the JSON file, that names most of them. Names decide only between splits and between equals.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from engine.annotations.folders import composed, stem
from engine.annotations.records import Split
from engine.scaffold.tree import Folder, Tree

Format = Literal["voc", "coco", "yolo"]

_SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train", "trainset": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "valset": "val", "dev": "val",
    "test": "test", "testing": "test", "testset": "test",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """Pictures and what is written about them.

    Attributes:
        images: Folder of pictures.
        annotations: Folder of label files; with COCO, the JSON file.
        num_images: Pictures there that something is written about.
        split: What the folders' names say, if anything.
    """

    images: Path
    annotations: Path
    num_images: int
    split: Split | None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset lies in its folder.

    Attributes:
        format: The format of its annotations.
        splits: Split -> its places; "train" is always there.
        num_images: Annotated pictures in all.
        left_out: Pictures and folders that are part of no split, in words.
    """

    format: Format
    splits: Mapping[Split, Sequence[Pair]]
    num_images: int
    left_out: tuple[str, ...] = field(default=())


def split_of(*names: str) -> Split | None:
    """The split that a path's last telling name tells: "train2017", "images_val"."""
    for name in reversed(names):
        for word in re.findall(r"[a-z]+", name.lower()):
            if word in _SPLIT_WORDS:
                return _SPLIT_WORDS[word]
    return None


def layout_of(form: Format, pairs: Sequence[Pair], top: Path) -> Layout | None:
    """Give each pair its split; None without any pair.

    Pairs that no name assigns are the training images, unless there are such by name.
    """
    if not pairs:
        return None
    by_split: dict[Split | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_split[pair.split].append(pair)
    left_out = []
    if None in by_split:
        unnamed = by_split.pop(None)
        if "train" in by_split:
            words = "whose name tells no split"
            left_out = [f"{pair.images.relative_to(top)} with {pair.num_images} images, {words}" for pair in unnamed]
        else:
            by_split["train"] = unnamed
    if "train" not in by_split:
        first: Split = "val" if "val" in by_split else "test"
        by_split["train"] = by_split.pop(first)
    splits = {split: by_split[split] for split in ("train", "val", "test") if split in by_split}
    num_images = sum(pair.num_images for places in splits.values() for pair in places)
    return Layout(form, splits, num_images, tuple(left_out))


# --- a label file for each picture: VOC and YOLO ---


def folder_pairs(tree: Tree, labels: Mapping[Folder, Iterable[str]]) -> list[Pair]:
    """Pair folders of pictures with folders of label files by the stems they share.

    Args:
        tree: The folder.
        labels: Folder -> names of label files.
    """
    homes: dict[str, list[Folder]] = defaultdict(list)
    for folder, names in labels.items():
        for name in names:
            homes[composed(stem(name))].append(folder)
    matches: list[_Match] = []
    for folder, names in tree.images.items():
        stems = {composed(stem(name)) for name in names}
        votes = Counter(home for name in stems for home in homes.get(name, ()))
        if votes:
            best = max(votes, key=lambda home: (votes[home], *_kinship(folder, home)))
            matches.append(_Match(folder, best, frozenset(name for name in stems if best in homes.get(name, ()))))
    return [_pair(tree, root) for root in _roots(_without_copies(matches), list(tree.images))]


@dataclass(frozen=True, slots=True)
class _Match:
    """A folder of pictures, its folder of labels, and the stems they share."""

    images: Folder
    labels: Folder
    stems: frozenset[str]


def _kinship(one: Folder, other: Folder) -> tuple[bool, int]:
    """Whether two places tell the same split, and how many names they share, from the top and from the end."""
    same_split = split_of(*one) == split_of(*other)
    if one == other:
        return same_split, 2 * len(one) + 1
    from_top = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    ends = zip(reversed(one), reversed(other), strict=False)
    from_end = next((n for n, (a, b) in enumerate(ends) if a != b), min(len(one), len(other)))
    return same_split, from_top + from_end


def _without_copies(matches: Sequence[_Match]) -> list[_Match]:
    """Leave out folders of other pictures with the same names, such as masks beside photos."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda match: (-len(match.stems), -_photo_likeness(match.images), match.images)):
        same = [other for other in kept if other.labels == match.labels]
        if not any(2 * len(match.stems & other.stems) > len(match.stems) for other in same):
            kept.append(match)
    return kept


def _photo_likeness(folder: Folder) -> int:
    word = folder[-1].lower() if folder else ""
    return ("image" in word or "img" in word or "photo" in word) - ("mask" in word or "seg" in word or "depth" in word)


def _roots(matches: Sequence[_Match], folders: Sequence[Folder]) -> list[_Match]:
    """Fold matches of nested folders (images/a with labels/a, images/b with labels/b) into their common places."""
    groups: dict[tuple[object, ...], list[_Match]] = defaultdict(list)
    for match in matches:
        images, labels = match.images, match.labels
        if images == labels:
            groups["beside", split_of(*images)].append(match)
            continue
        while images and labels and images[-1] == labels[-1] and split_of(images[-1]) is None:
            images, labels = images[:-1], labels[:-1]
        groups[images, labels].append(match)
    return [root for group in groups.values() for root in _folded(group, folders)]


def _folded(group: Sequence[_Match], folders: Sequence[Folder]) -> list[_Match]:
    if len(group) == 1:
        return list(group)
    images = _common([match.images for match in group])
    labels = _common([match.labels for match in group])
    own = {match.images for match in group}
    # The reader goes into folders; what lies below the common place must belong there.
    if any(folder[: len(images)] == images and folder not in own for folder in folders):
        return _outermost(group)
    return [_Match(images, labels, frozenset(f"{'/'.join(m.images)}/{name}" for m in group for name in m.stems))]


def _outermost(group: Sequence[_Match]) -> list[_Match]:
    """Without those inside another one, which are read with it."""
    kept: list[_Match] = []
    for match in sorted(group, key=lambda match: match.images):
        if not any(match.images[: len(other.images)] == other.images for other in kept):
            kept.append(match)
    return kept


def _common(folders: Sequence[Folder]) -> Folder:
    length = min(map(len, folders))
    for one, other in pairwise(folders):
        length = next((n for n in range(length) if one[n] != other[n]), length)
    return folders[0][:length]


def _pair(tree: Tree, match: _Match) -> Pair:
    split = split_of(*match.images) or split_of(*match.labels)
    return Pair(tree.path(match.images), tree.path(match.labels), len(match.stems), split)


# --- one file for many pictures: COCO ---


def coco_pairs(tree: Tree, files: Mapping[tuple[Folder, str], Sequence[str]]) -> list[Pair]:
    """Find the folder that each COCO file's picture names are relative to.

    Args:
        tree: The folder.
        files: Folder and name of each COCO file -> the names it lists, with forward slashes.
    """
    by_name: dict[str, list[Folder]] = defaultdict(list)
    for folder, names in tree.images.items():
        for name in names:
            by_name[composed(name)].append(folder)
    pairs: dict[tuple[Path, Split | None], Pair] = {}
    for (folder, name), listed in sorted(files.items()):
        votes = Counter(root for entry in listed for root in _coco_roots(composed(entry), by_name))
        if not votes:
            continue
        root = max(votes, key=lambda root: (votes[root], *_kinship(root, (*folder, name))))
        split = split_of(*folder, name) or split_of(*root)
        pair = Pair(tree.path(root), tree.path(folder) / name, votes[root], split)
        known = pairs.get((pair.images, split))
        # Of several files about the same pictures (instances, captions, old exports), the fullest.
        if known is None or pair.num_images > known.num_images:
            pairs[pair.images, split] = pair
    return list(pairs.values())


def _coco_roots(entry: str, by_name: Mapping[str, Sequence[Folder]]) -> Iterable[Folder]:
    *within, name = entry.split("/")
    for folder in by_name.get(name, ()):
        if not within or folder[-len(within) :] == tuple(within):
            yield folder[: len(folder) - len(within)]
