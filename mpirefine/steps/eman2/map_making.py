"""A map from class averages, in passes of a Fourier reconstruction that leave out averages that disagree with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.eman2.processors.base import image_of
from mpirefine.maths.eman2.processors.catalogue import apply
from mpirefine.maths.eman2.processors.normalize import edge_mean
from mpirefine.maths.eman2.processors.spectrum import set_structure_factor
from mpirefine.maths.eman2.reconstructors.agreement import measure_agreement
from mpirefine.maths.eman2.reconstructors.reconstructor import Reconstructor
from mpirefine.maths.fourier.filters import in_box
from mpirefine.steps.eman2.choices import MapMaking

BEFORE, AFTER = 10, 9  # a class average's quality is compared with that of so many neighbours in order of weight


@dataclass(frozen=True)
class Slices:
    """Own class averages of one map, which are slices of its Fourier transform."""

    images: np.ndarray  # (n, y, x) float32
    rotation: np.ndarray  # (n, 3, 3)
    weight: np.ndarray  # (n,) number of particles in each
    number: np.ndarray  # (n,) among the class averages of all maps
    snr: np.ndarray | None = None  # (n, k) signal-to-noise curves, from averagers that correct the CTF
    filtered: np.ndarray | None = None  # (n,) bool, Wiener-filtered by that averager
    shift: np.ndarray | None = None  # (n, 2) pixels by which images are moved first; None: they are in place

    def take(self, rows: np.ndarray) -> Slices:
        """The slices of some rows."""
        more = (None if v is None else v[rows] for v in (self.snr, self.filtered, self.shift))
        return Slices(self.images[rows], self.rotation[rows], self.weight[rows], self.number[rows], *more)


@dataclass(frozen=True)
class MapOfAverages:
    """A map on rank 0, and on all ranks which class averages are in it."""

    volume: np.ndarray | None  # rank 0: (z, y, x) float32
    used: np.ndarray  # (n,) numbers of the class averages in the map
    left_out: np.ndarray  # (n,) numbers of those left out
    weight: float  # sum of the weights of those in the map
    grey: float = 1.0  # factor on the map by which EMAN2's passes make it larger


def make_map(team: Team, slices: Slices, nx: int, symmetry: str, apix: float, how: MapMaking) -> MapOfAverages:
    """Collective. A map from the class averages of all ranks, as EMAN2's e2make3d makes it.

    After each of `how.passes` reconstructions but the last, the grey scale of each class average is corrected and the
    worst are left out.
    """
    box, passes = max(how.pad, nx), how.passes if how.compares else 1
    slices = prepare_slices(slices, box, apix, how)
    scale, keep, grey = np.ones(len(slices.weight)), slices.weight > 0, 1.0
    for number in range(passes):
        reconstructor = how.recon(how.volume_box or box, symmetry)
        if how.start is not None and team.is_root:
            reconstructor.seed(in_box(how.start, reconstructor.box), how.start_weight)
        weights = np.where(keep, slices.weight, 0)
        images = slices.images * scale[:, None, None].astype(np.float32)
        with team.together("inserting class averages"):
            reconstructor.insert(
                images, slices.rotation, weights, snr=slices.snr, filtered=slices.filtered, shifts=slices.shift
            )
        for sums in reconstructor.sums:
            reduce.sum_in_place(team, sums)
        if number + 1 < passes:
            judged = judge_class_averages(team, reconstructor, slices, images, scale, weights, apix, how)
            scale, keep, grey = judged.scale, judged.keep, grey * judged.grey
    volume = reconstructor.finish() if team.is_root else None
    if volume is not None:
        volume = finish_map(np.float32(grey) * in_box(volume, how.out_box or nx), apix, how)
    used, left = (
        np.sort(np.concatenate(team.allgather(slices.number[rows]))) for rows in (keep, ~keep & (slices.weight > 0))
    )
    weight = float(sum(team.allgather(float(slices.weight[keep].sum()))))
    return MapOfAverages(volume, used, left, weight, grey)


def prepare_slices(slices: Slices, box: int, apix: float, how: MapMaking) -> Slices:
    """The slices less the mean of their edges, pre-processed and padded with zeros to the box; blank ones weigh 0."""
    images = np.zeros((len(slices.images), box, box), np.float32)
    for out, image in zip(images, slices.images):
        image = image - np.float32(edge_mean(image))
        for processor in how.preprocess if image.any() else ():
            image = apply(processor, image, apix)[0]
        out[:] = in_box(image, box)
    blank = ~images.any(axis=(1, 2)) if len(images) else np.zeros(0, bool)
    return replace(slices, images=images, weight=np.where(blank, 0, slices.weight))


class Judged(NamedTuple):
    """What a pass says of the own class averages (n,), and of the map."""

    scale: np.ndarray  # grey scale that each gets
    keep: np.ndarray  # bool, whether the next pass keeps it
    grey: float  # factor on the map: mean of EMAN2's norms


def judge_class_averages(
    team: Team,
    reconstructor: Reconstructor,
    slices: Slices,
    images: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    apix: float,
    how: MapMaking,
) -> Judged:
    """Collective. Compare the own class averages with the map of a pass; `images`, `scale` and `weights` are those of
    the pass.

    The norms of class averages that are not in the map themselves give their grey scales, relative to each other.
    EMAN2's own norms, with the averages in the map, are larger (it divides the plane x = 0 by too small weights): their
    mean is the factor by which its map grows.
    """
    at = np.flatnonzero(slices.weight > 0)
    norm, quality, whole = compare_with_map(reconstructor, slices, at, images, weights, apix)
    new_scale, keep = scale.copy(), np.zeros(len(scale), bool)
    new_scale[at] = scale[at] * norm
    everyone = team.allgather((slices.number[at], slices.weight[at], quality, new_scale[at], whole))
    number, weight, all_quality, scales, wholes = (np.concatenate(part) for part in zip(*everyone))
    # noise lowers all scales: only their ratios count
    new_scale /= np.average(scales, weights=weight) if len(scales) else 1.0
    chosen = choose_kept(weight, all_quality, number, how)
    keep[at] = np.isin(slices.number[at], number[chosen])
    return Judged(new_scale, keep, float(np.average(wholes, weights=weight)) if len(wholes) else 1.0)


def compare_with_map(
    reconstructor: Reconstructor, slices: Slices, at: np.ndarray, images: np.ndarray, weights: np.ndarray, apix: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Norm and quality (n,) of the class averages `at` (n,) with a map without them, and EMAN2's norm, with them."""
    norm, quality, whole = np.ones(len(at)), np.zeros(len(at)), np.ones(len(at))
    for inside in (True, False):
        rows = (weights[at] > 0) == inside
        part = at[rows]
        for leave_out in (False, True)[
            : 1 + inside
        ]:  # an average that is in the map is compared with it and without it
            found = measure_agreement(
                reconstructor,
                images[part],
                slices.rotation[part],
                weights[part],
                apix,
                leave_out=leave_out,
                **reconstructor_arguments(slices, part),
            )
            norm[rows], quality[rows] = found.norm, found.quality
            if not leave_out:
                whole[rows] = found.norm
    return norm, quality, whole


def reconstructor_arguments(slices: Slices, part: np.ndarray) -> dict[str, np.ndarray | None]:
    """Optional arguments of the reconstructor, for some slices."""
    return {
        name: None if values is None else values[part]
        for name, values in (("snr", slices.snr), ("filtered", slices.filtered), ("shifts", slices.shift))
    }


def choose_kept(weight: np.ndarray, quality: np.ndarray, number: np.ndarray, how: MapMaking) -> np.ndarray:
    """(n,) bool, which class averages stay, by the rule of EMAN2's e2make3d.

    Quality is taken relative to the mean of neighbours in order of weight, or with `keep_absolute` as it is. The best
    int(keep · n) stay or, with `keep_sigma`, those above the mean minus keep · sigma.
    """
    relative = quality if how.keep_absolute else relative_quality(weight, quality, number)
    if not len(relative):
        return np.zeros(0, bool)
    if how.keep_sigma:
        return relative >= relative.mean() - how.keep * relative.std()
    best = np.sort(relative)[::-1]
    return relative >= best[max(min(int(how.keep * len(best)), len(best)) - 1, 0)]


def relative_quality(weight: np.ndarray, quality: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(n,) qualities, divided by the mean of neighbours in order of weight; equal weights in order of number."""
    order = np.lexsort((number, weight))
    ranked = quality[order]
    total = np.concatenate([[0], np.cumsum(ranked)])
    place = np.arange(len(ranked))
    low, high = np.maximum(place - BEFORE, 0), np.minimum(place + AFTER + 1, len(ranked))
    mean = (total[high] - total[low]) / np.maximum(high - low, 1)
    relative = np.empty(len(ranked))
    relative[order] = ranked / np.where(mean != 0, mean, 1)
    return relative


def finish_map(volume: np.ndarray, apix: float, how: MapMaking) -> np.ndarray:
    """The map (z, y, x) with its structure factor set, and post-processed."""
    if how.structure_factor is not None and volume.any():
        volume = image_of(set_structure_factor(volume, apix, strucfac=how.structure_factor))
    for processor in how.postprocess if volume.any() else ():
        volume = apply(processor, volume, apix)[0]
    return volume
