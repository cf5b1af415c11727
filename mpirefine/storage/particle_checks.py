"""What readers of particle files share: checks of boxes and CTF values, and noise groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpirefine.errors import Problems
from mpirefine.storage.image_file import MAPS, STACK
from mpirefine.storage.places import clip_command

LEAST_GROUP = 50  # particles of a micrograph that make it a noise group of its own
LEAST_BOX = 16  # pixels
RANGES = {  # field of CTFParams -> least and largest value that a microscope gives, and the unit
    "defocus_u": (-1e3, 1e5, "Å"),
    "defocus_v": (-1e3, 1e5, "Å"),
    "defocus_angle": (-3600, 3600, "degrees"),
    "phase_shift": (-360, 360, "degrees"),
    "scale": (0, 1e3, "a factor"),
    "voltage": (40, 1500, "kV"),
    "cs": (0, 10, "mm"),
    "amplitude_contrast": (0, 1, "a share of 1"),
    "bfactor": (-1e4, 1e5, "Å²"),
}
NO_CTF = "take the file that CTF estimation wrote ({}), or say --no-ctf if the images carry none"


def check_ranges(path: Path, fields: Mapping[str, np.ndarray], sources: Mapping[str, str], problems: Problems) -> None:
    """Add a problem for each field of CTF values (p,) that is out of range; `sources` says where a field was read."""
    for field, (low, high, unit) in RANGES.items():
        values = fields.get(field, np.zeros(0))
        wrong = np.flatnonzero(~((values >= low) & (values <= high)))
        if len(wrong):
            problems.add_rows(
                path, wrong, f"{sources[field]}: {values[wrong[0]]:g} is no value in {unit} ({low:g} to {high:g})"
            )


def check_one_size(of: object, boxes: Mapping[tuple[int, ...], object], problems: Problems) -> None:
    """A problem where images `of` a file or group have different sizes. `boxes` maps each size, (y, x), to a file that
    has it.
    """
    if len(boxes) > 1:
        sizes = ", ".join(f"{' x '.join(map(str, size))} ({where})" for size, where in boxes.items())
        problems.add(f"{of}: images of different sizes: {sizes}: bring them to one box first")


def check_shapes(boxes: Mapping[tuple[int, ...], object], problems: Problems) -> None:
    """A problem for each size of images that no particle can have; `boxes` as of `check_one_size`."""
    for size, where in boxes.items():
        if len(size) != 2 or size[0] != size[1] or size[0] % 2 or size[0] < LEAST_BOX:
            fits = max(min(size) // 2 * 2, LEAST_BOX)
            problems.add(
                f"{where}: images of {' x '.join(map(str, size[::-1]))} pixels, but the box must be square, even and "
                f"at least {LEAST_BOX}: clip or pad them ({_how_to_clip(where, fits)})"
            )


def _how_to_clip(where: object, box: int) -> str:
    """The command for a stack; one with the suffix of a map would be taken for a map."""
    name = str(where)
    if Path(name).suffix.lower() not in MAPS:
        return clip_command(name, box)
    stack = str(Path(name).with_suffix(STACK[0]))
    return f"a copy of it named {stack}: {clip_command(stack, box)}"


def rows_by_file(file: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows of each of `count` files, ascending; `file` (p,) says in which one a row lies, -1 in none."""
    order = np.argsort(file, kind="stable")
    bounds = np.searchsorted(file[order], np.arange(count + 1))
    return [order[start:stop] for start, stop in zip(bounds[:-1], bounds[1:])]


def noise_groups(
    names: Sequence[str], micrograph: np.ndarray, optics_group: np.ndarray, optics_names: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Noise group of each particle, (p,) int32, the groups' names, and the optics group of each noise group, (g,)
    int32.

    The groups are the optics groups, then every micrograph that holds LEAST_GROUP particles of an optics group, by
    name. `micrograph` (p,) is a place in `names`, or empty.
    """
    groups = len(optics_names)
    pairs, pair = np.unique(micrograph.astype(np.int64) * groups + optics_group[: len(micrograph)], return_inverse=True)
    count = np.bincount(pair.reshape(-1), minlength=len(pairs))
    of_pair = [(names[value // groups], int(value % groups)) for value in pairs.tolist()]
    large = np.array(sorted(np.flatnonzero(count >= LEAST_GROUP).tolist(), key=lambda place: of_pair[place]), int)
    number = np.full(len(pairs), -1, np.int32)
    number[large] = groups + np.arange(len(large))
    own = number[pair.reshape(-1)] if len(pairs) else np.full(len(optics_group), -1, np.int32)
    optics = np.array([*range(groups), *(of_pair[place][1] for place in large)], np.int32)
    group = np.where(own >= 0, own, optics_group).astype(np.int32)
    return group, (*optics_names, *(of_pair[place][0] for place in large)), optics
