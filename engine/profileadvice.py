"""What a profile advises, in plain words, each with the figures it is drawn from. Pure."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from engine.catalogue import ARCHS
from engine.profile import Advice, Profile
from engine.recipe.schema import Recipe
from engine.training.starvation import STARVED, Supplied, what_helps

# Shares of a step or an epoch from which on a part is worth a word.
_LONG_EVALUATION = 0.5
_LONG_CHECKPOINT = 0.1
_LONG_OPTIMIZER = 0.15
_LONG_BOXES = 0.35
_LONG_NETWORK = 0.5
_DECODING = 0.6
# Published weights know objects at about this size; below it, small objects go missing.
_SMALLER = 0.75
_LEAST_SIZE = 320


def advise(profile: Profile, recipe: Recipe, supplied: Supplied, *, is_limited: bool) -> Iterator[Advice]:
    """What could be better, the greatest gain first as far as that can be known.

    Args:
        profile: What was measured.
        recipe: What it was measured of.
        supplied: What loading depends on.
        is_limited: Whether somebody set how many threads compute; left alone, torch knows best.
    """
    yield from _loading(profile, supplied)
    yield from _evaluation(profile)
    yield from _threads(profile, is_limited=is_limited)
    yield from _allocator(profile)
    yield from _boxes(profile, recipe)
    yield from _network(profile, recipe)
    yield from _rest(profile, recipe)


def _loading(profile: Profile, supplied: Supplied) -> Iterator[Advice]:
    share = profile.share_of("waiting")
    if share < STARVED:
        return
    loading = profile.loading
    each_s = loading.decode_s + loading.augment_s
    mostly = ""
    if each_s:
        decoding = loading.decode_s / each_s
        what = "decoding" if decoding >= _DECODING else "augmentation" if decoding <= 1 - _DECODING else ""
        mostly = f", mostly {what}" if what else ""
    found = f"a step waits for photos {share:.0%} of its time; loading one takes {_time(each_s)}{mostly}"
    yield Advice(found, what_helps(supplied))


def _evaluation(profile: Profile) -> Iterator[Advice]:
    epoch = profile.epoch
    if epoch.evaluation_s > _LONG_EVALUATION * epoch.training_s:
        times = epoch.evaluation_s / epoch.training_s
        found = f"evaluation takes {_time(epoch.evaluation_s)}, {times:.1f} times an epoch's training"
        fix = "evaluate on fewer photos: a smaller dataset.val (or val_fraction); every epoch is evaluated"
        yield Advice(found, fix)
    if epoch.checkpoint_s > _LONG_CHECKPOINT * epoch.seconds:
        found = f"writing the state takes {_time(epoch.checkpoint_s)} an epoch"
        yield Advice(found, "keep runs on a quicker disk (--runs); epochs of more steps write seldom")


def _threads(profile: Profile, *, is_limited: bool) -> Iterator[Advice]:
    on_cpu = profile.device == "cpu"
    if on_cpu and is_limited and profile.num_threads < profile.num_cores:
        found = f"{profile.num_threads} of {profile.num_cores} cores compute"
        yield Advice(found, "unset OMP_NUM_THREADS, or leave --parallel away, if the others have nothing to do")
    if on_cpu and 1 < profile.num_cores <= profile.num_workers:
        found = f"{profile.num_workers} loader processes and the training share {profile.num_cores} cores"
        yield Advice(found, 'set hardware.num_workers = "auto"')


def _allocator(profile: Profile) -> Iterator[Advice]:
    if profile.device == "cpu" and profile.allocator == "system" and sys.platform == "linux":
        found = "memory comes from the system's allocator, which gives large pieces back and fetches them anew"
        yield Advice(found, "install tcmalloc (apt-get install libtcmalloc-minimal4); it is used by itself")


def _boxes(profile: Profile, recipe: Recipe) -> Iterator[Advice]:
    share, samples = profile.share_of("forward/roi"), recipe.model.box_samples
    if share > _LONG_BOXES and samples > 128:
        found = f"the box heads take {share:.0%} of a step, {samples} boxes an image"
        yield Advice(found, f"try model.box_samples = {samples // 2}; where photos show few objects nothing is lost")


def _network(profile: Profile, recipe: Recipe) -> Iterator[Advice]:
    share = profile.share_of("forward/backbone") + profile.share_of("forward/pyramid") + profile.share_of("backward")
    if share < _LONG_NETWORK or ARCHS[recipe.model.arch].fixed_size:
        return
    low, high = profile.input_size
    smaller = round(low * _SMALLER / 32) * 32
    if smaller < _LEAST_SIZE:
        return
    # Convolutions' work goes with the pixels, and the backward pass with the forward's.
    saved = share * (1 - (smaller / low) ** 2)
    found = f"backbone, pyramid and the backward pass take {share:.0%} of a step, and their work goes with the pixels"
    fix = (
        f"model.min_size = {smaller} with max_size = {round(high * smaller / low)} would take about "
        f"{_time(profile.step_s * (1 - saved))} a step; compare the AP of small objects"
    )
    yield Advice(found, fix)


def _rest(profile: Profile, recipe: Recipe) -> Iterator[Advice]:
    share = profile.share_of("optimizer")
    if share > _LONG_OPTIMIZER:
        found = f"the optimizer takes {share:.0%} of a step, for it goes through every weight whatever the batch"
        yield Advice(found, f"a larger training.batch_size (now {recipe.training.batch_size}), if memory allows")
    if profile.micro_batch_size < profile.batch_size and profile.device != "cpu":
        found = f"{profile.micro_batch_size} of a batch's {profile.batch_size} images are computed at a time"
        yield Advice(found, "a larger training.micro_batch_size keeps a GPU busier, if memory allows")


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
