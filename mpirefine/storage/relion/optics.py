"""Optics groups of RELION's particle files, and columns that stand in either table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpirefine.errors import Problems
from mpirefine.storage.image_file import StackHeader
from mpirefine.storage.particle_checks import LEAST_BOX, check_one_size, check_shapes
from mpirefine.storage.places import shortened
from mpirefine.storage.star import StarTable

GROUP, GROUP_NAME = "rlnOpticsGroup", "rlnOpticsGroupName"


def read_numbers(table: StarTable, column: str, problems: Problems) -> np.ndarray | None:
    """(p,) float64 of a column; None, and a problem, when a cell is no number."""
    with problems.collect():
        return table.floats(column)
    return None


def has_column(column: str, particles: StarTable, optics: StarTable | None) -> bool:
    """Whether one of the tables has a column."""
    return column in particles or (optics is not None and column in optics)


def spread_column(
    column: str, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> np.ndarray | None:
    """(p,) float64 of a column that one of the tables has: the particle's own value before that of its optics group.
    None, and a problem, when a cell is no number.
    """
    if column in particles or optics is None:
        return read_numbers(particles, column, problems)
    values = read_numbers(optics, column, problems)
    return None if values is None else values[group]


def read_optics_groups(
    path: Path, particles: StarTable, optics: StarTable | None, problems: Problems
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(p,) int32 optics group of each particle, as a row of table 'optics', and the groups' names."""
    everything = np.zeros(len(particles), np.int32)
    if optics is None or GROUP not in optics:
        return everything, ("all",)
    known: dict[str, int] = {}
    for row, cell in enumerate(optics.column(GROUP)):
        first = known.setdefault(cell, row)
        if first != row:
            _check_same_values(path, optics, cell, first, row, problems)
    names = tuple(optics.column(GROUP_NAME if GROUP_NAME in optics else GROUP))
    if GROUP not in particles:
        if len(known) > 1:
            problems.add(
                f"{path}: table '{particles.name}' has no column _{GROUP}, but there are {len(known)} optics groups"
            )
        return everything, names
    texts, codes = particles.factorise(GROUP)
    unknown = np.array([text not in known for text in texts])
    groups = ", ".join(map(shortened, known))
    text = f"column _{GROUP}: no such group in table 'optics' (it has {groups})"
    problems.add_rows(path, np.flatnonzero(unknown[codes]), text)
    return np.array([known.get(text, 0) for text in texts], np.int32)[codes], names


def _check_same_values(path: Path, optics: StarTable, group: str, first: int, row: int, problems: Problems) -> None:
    """A problem when two rows of one group differ."""
    for column in optics.columns:
        a, b = optics.cell(column, first), optics.cell(column, row)
        if a != b and not _equal_numbers(a, b):
            problems.add(
                f"{path}: table 'optics': group {shortened(group)} stands in rows {first + 1} and {row + 1} with "
                f"different values of _{column}: {shortened(a)} and {shortened(b)}: correct the table, or give one of "
                "them a number of its own"
            )


def _equal_numbers(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return False


def read_boxes(
    path: Path,
    optics: StarTable | None,
    names: Sequence[str],
    group: np.ndarray,
    file: np.ndarray,
    headers: Sequence[StackHeader | None],
    problems: Problems,
) -> np.ndarray:
    """(p,) edge in pixels of each particle's image; a problem where images of one optics group differ, no particle can
    have them, or the group's _rlnImageSize is another. `names` are those of the groups, `group` and `file` (p,).
    """
    known = [None, *headers]  # the first for rows without a file
    pairs = np.unique(group.astype(np.int64) * len(known) + file + 1).tolist()
    of_pairs = [(pair // len(known), known[pair % len(known)]) for pair in pairs]
    stacks = [(row, header) for row, header in of_pairs if header is not None]  # groups, and the stacks they have
    found: dict[int, dict[tuple[int, ...], str]] = {}  # group -> size -> a stack that has it
    for row, header in stacks:
        found.setdefault(row, {}).setdefault(header.shape[1:], header.path)
    check_shapes({size: where for boxes in found.values() for size, where in boxes.items()}, problems)
    for row, boxes in found.items():
        one = f"{path}: optics group {names[row]}" if len(names) > 1 else str(path)
        check_one_size(one, boxes, problems)
    _check_image_size(path, optics, stacks, problems)
    edges = [LEAST_BOX if header is None else header.shape[2] for header in headers]
    return np.array([*edges, LEAST_BOX])[file]  # the last for rows without a file


def _check_image_size(
    path: Path, optics: StarTable | None, stacks: Sequence[tuple[int, StackHeader]], problems: Problems
) -> None:
    """Add a problem for each optics group whose _rlnImageSize is not that of its stacks."""
    sizes = read_numbers(optics, "rlnImageSize", problems) if optics is not None and "rlnImageSize" in optics else None
    if sizes is None:
        return
    for row, header in stacks:
        if header.shape[2] != sizes[row]:
            problems.add(
                f"{path}: table 'optics', row {row + 1}: column _rlnImageSize: {sizes[row]:g}, but the images of "
                f"{header.path} have {header.shape[2]} px: correct it, or take the stack that belongs to it"
            )
