"""Names, types, units and axes of all datasets of an iteration. A class is the set of particles that are averaged in
one projection; a map is a model; a place is the rank of a candidate projection of a particle, best first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpirefine.errors import FormatError

VERSION = 5  # of the format; a run of another version cannot be resumed


@dataclass(frozen=True)
class Item:
    """One dataset of an iteration: path, stored type, unit, and a text that begins with its axes."""

    name: str
    dtype: str
    unit: str
    text: str

    @property
    def of_particles(self) -> bool:
        """Whether its rows are particles, of which each rank writes its own."""
        return self.text.startswith("(particle")


ITEMS = {
    item.name: item
    for item in (
        Item(
            "orientations/rotation",
            "f8",
            "",
            "(class, 3, 3) map to image coordinates of each projection; all of map 1, then all of map 2, ...",
        ),
        Item("orientations/model", "i4", "", "(class,) map of each projection, from 0"),
        Item(
            "candidates/score",
            "f4",
            "",
            "(particle, place) minus the log-likelihood, best projection first; smaller is better",
        ),
        Item("candidates/class", "i4", "", "(particle, place) projection, from 0; -1 for none"),
        Item(
            "candidates/dx", "f4", "px", "(particle, place) moves the particle onto the projection, EMAN2's convention"
        ),
        Item("candidates/dy", "f4", "px", "(particle, place)"),
        Item("candidates/dalpha", "f4", "degrees", "(particle, place)"),
        Item("candidates/mirror", "i1", "", "(particle, place) 0 or 1"),
        Item("candidates/evidence", "f8", "", "(particle, place) log-sum over in-plane poses of the likelihood"),
        Item("assignments/weight", "f4", "", "(particle, place) share with which the particle enters the class"),
        Item("assignments/posterior", "f4", "", "(particle, map) probability of each map"),
        Item("assignments/model", "i4", "", "(particle,) map, from 0; -1 for particles set aside"),
        Item("assignments/best", "i4", "", "(particle,) place of the candidate that gave map and pose, from 0"),
        Item("assignments/rotation", "f8", "", "(particle, 3, 3) map to image coordinates of the best pose"),
        Item("assignments/shift", "f8", "px", "(particle, 2) from the box centre to the particle, x then y"),
        Item(
            "set_aside",
            "i1",
            "",
            "(particle,) why it is not used: 0 it is used, 1 pixels not finite, 2 all pixels the same",
        ),
        Item("half", "i1", "", "(particle,) half-set, 0 or 1, as it was used; _rlnRandomSubset less 1"),
        Item("trust", "f4", "", "(particle,) 1, or less for particles that fit far worse than their group"),
        Item("grey", "f8", "", "(particle,) grey scale relative to that of its group"),
        Item("simmx", "f4", "", "(particle, coarse projection) scores of the whole coarse search, with --keep-simmx"),
        Item("classes/average", "f4", "", "(class, y, x) class averages, CTF corrected"),
        Item("classes/count", "f4", "", "(class,) particles averaged, soft"),
        Item("classes/model_id", "i4", "", "(class,) map, from 1 as EMAN2 counts"),
        Item("noise/sigma2", "f8", "", "(group, shell) noise power per Fourier pixel"),
        Item("noise/scale", "f8", "", "(group,) grey scale of the maps in the particles"),
        Item("volumes/map", "f4", "", "(map, z, y, x) masked, on the particles' grey scale"),
        Item("volumes/half", "f4", "", "(map, half, z, y, x) unmasked"),
        Item("curves/half_fsc", "f8", "", "(map, shell) between half-maps within the mask, without what the mask adds"),
        Item("curves/half_fsc_masked", "f8", "", "(map, shell) between half-maps within the mask"),
        Item("curves/half_fsc_unmasked", "f8", "", "(map, shell) between half-maps as they are"),
        Item(
            "curves/half_fsc_randomised",
            "f8",
            "",
            "(map, shell) within the mask, phases random beyond where the unmasked one falls below 0.8",
        ),
        Item("curves/previous_fsc", "f8", "", "(map, shell) to the map of the iteration before"),
        Item("curves/between_fsc", "f8", "", "(map, map, shell) between maps"),
    )
}


def item(name: str) -> Item:
    """The dataset of a name. FormatError when it is not in the schema."""
    if name not in ITEMS:
        raise FormatError(f"the run file has no dataset '{name}'")
    return ITEMS[name]


def shape(name: str, axes: Mapping[str, int]) -> tuple[int | None, ...]:
    """The shape of a dataset, from the lengths of the axes that its text names; None for an axis of unknown length."""
    words = item(name).text[1:].split(")")[0].split(",")
    return tuple(int(word) if word.isdigit() else axes.get(word) for word in (word.strip() for word in words) if word)


def stored_bytes(axes: Mapping[str, int]) -> int:
    """Bytes of all datasets whose axes have known lengths."""
    shapes = {name: shape(name, axes) for name in ITEMS}
    return sum(
        math.prod(length for length in lengths if length is not None) * np.dtype(ITEMS[name].dtype).itemsize
        for name, lengths in shapes.items()
        if None not in lengths
    )


def stored(name: str, values: np.ndarray) -> np.ndarray:
    """Values in the type in which they are stored, contiguous."""
    return np.ascontiguousarray(values, item(name).dtype)
