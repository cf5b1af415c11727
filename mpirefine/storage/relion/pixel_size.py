"""The pixel sizes of RELION's particle files: from columns, or from the headers of stacks, which must agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpirefine.errors import Problems
from mpirefine.storage.image_file import StackHeader
from mpirefine.storage.places import shortened
from mpirefine.storage.relion.optics import read_numbers
from mpirefine.storage.star import StarTable

TOLERANCE = 0.01  # relative difference of pixel sizes that may come from rounding, in headers and in --apix
SAME = 1e-4  # relative difference of pixel sizes that are taken for one
FEW, LONE = 0.1, 20  # up to this share and number of rows, a pixel size of their own is a mistake ...
FAR = 3.0  # ... and always, also of an optics group, when it differs by this factor
UNSET = 1e-3  # headers this close to 1 Å were never set


class PixelSizes:
    """Å per pixel of each image; `group` (p,) is each particle's row of `optics`. After a problem all are 1."""

    def __init__(
        self, path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
    ):
        self._path, self._particles, self._optics, self._group = path, particles, optics, group
        self._problems = problems

    def overridden(self, apix: float) -> tuple[np.ndarray, str]:
        """(p,) the pixel size of --apix, and its name; a problem where the file has different ones, each of them sound:
        one value would then distort some images.
        """
        ignored = Problems()
        found = self._from_columns(ignored)
        if found is not None and not ignored and found[0].max() > (1 + TOLERANCE) * found[0].min():
            values, where = found
            sizes = ", ".join(f"{value:g}" for value in np.unique(values)[:4])
            self._problems.add(
                f"{self._path}: --apix is one pixel size for all images, but {where} has {sizes} Å: leave --apix out, "
                "or correct the column"
            )
        return np.full(len(self._group), float(apix)), "--apix"

    def read(self, file: np.ndarray, headers: Sequence[StackHeader | None]) -> tuple[np.ndarray, str]:
        """(p,) pixel sizes, and where they were read, in words; `file` (p,) is the place of each image in `headers`."""
        unknown = np.ones(len(self._group)), ""
        stacks = [
            (number, h.apix, h.path)
            for number, h in enumerate(headers)
            if h is not None and h.apix > 0 and abs(h.apix - 1) > UNSET
        ]
        before = len(self._problems.texts)
        found = self._from_columns(self._problems)
        if len(self._problems.texts) > before:
            return unknown
        if found is None and stacks:
            found = np.full(len(self._group), stacks[0][1]), f"the header of {stacks[0][2]}"
        if found is None:
            self._problems.add(
                f"{self._path}: no pixel size, in columns (_rlnImagePixelSize) or stack headers: give --apix"
            )
            return unknown
        for number, apix, stack in stacks:
            own = found[0][file == number]
            if len(own) and (np.abs(apix / own - 1) > TOLERANCE).all():
                self._problems.add(
                    f"{stack}: {apix:.4g} Å per pixel, but {self._path} says {own[0]:.4g}: correct one of them, or "
                    "decide with --apix"
                )
                break
        return found

    def _from_columns(self, problems: Problems) -> tuple[np.ndarray, str] | None:
        """Pixel sizes (p,) by columns, and their names; None where there are no such columns, or after a problem."""
        for table, *names in (
            (self._optics, "rlnImagePixelSize"),
            (self._particles, "rlnImagePixelSize"),
            (self._optics, "rlnMicrographPixelSize"),
            (self._particles, "rlnDetectorPixelSize", "rlnMagnification"),
            (self._optics, "rlnDetectorPixelSize", "rlnMagnification"),
        ):
            if table is not None and all(name in table for name in names):
                break
        else:
            return None
        by_group = table is self._optics
        rows = np.unique(self._group) if by_group else np.arange(len(self._group))
        columns = {name: values[rows] for name in names if (values := read_numbers(table, name, problems)) is not None}
        if len(columns) < len(names):
            return None
        with np.errstate(all="ignore"):  # RELION 3.0: detector pixel in µm over magnification
            values = columns[names[0]] * (1e4 / columns[names[1]] if len(names) > 1 else 1)
        wrong = _mistakes(values, by_group)
        if len(wrong) == len(rows):
            cells = ", ".join(f"column _{name}: {shortened(table.cell(name, int(rows[0])))}" for name in names)
            problems.add_rows(self._path, rows, f"{cells}: no pixel size: correct it, or give --apix")
        elif len(wrong):
            _add_difference(self._path, table, columns, values, rows, wrong, problems)
        if len(wrong):
            return None
        where = f"column{'s' * (len(names) > 1)} {' and '.join(f'_{name}' for name in names)}"
        where += f" of table '{table.name}'" * bool(table.name)
        values = _merged(values)
        return (values[np.searchsorted(rows, self._group)] if by_group else values), where


def _mistakes(values: np.ndarray, by_group: bool) -> np.ndarray:
    """Places of pixel sizes that cannot be right beside the others; all when none can."""
    good = np.isfinite(values) & (values > 0)
    if not good.any():
        return np.arange(len(values))
    usual = _lower_median(values[good])
    with np.errstate(all="ignore"):
        wrong = ~good | ~(np.abs(np.log(values / usual)) < np.log(FAR))
    if not by_group:
        _, number, count = np.unique(values, return_inverse=True, return_counts=True)
        own = count[number.reshape(-1)]  # rows with the same value
        few = (own < LONE) & (own <= FEW * len(values))
        wrong |= few & (np.abs(values / usual - 1) > TOLERANCE)
    return np.flatnonzero(wrong)


def _merged(values: np.ndarray) -> np.ndarray:
    """Pixel sizes of which those that differ only by rounding are one value."""
    different, number = np.unique(values, return_inverse=True)
    starts = np.concatenate([[True], np.diff(np.log(different)) > SAME])
    return different[starts][np.cumsum(starts) - 1][number.reshape(-1)]


def _lower_median(values: np.ndarray) -> float:
    """The median, or the lower of both middle values."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _add_difference(
    path: Path,
    table: StarTable,
    columns: Mapping[str, np.ndarray],
    values: np.ndarray,
    rows: np.ndarray,
    off: np.ndarray,
    problems: Problems,
) -> None:
    """A problem about the pixel sizes at places `off` of `values`, which cannot be right."""
    usual = _lower_median(values[np.isfinite(values) & (values > 0)])
    with np.errstate(all="ignore"):
        row = off[np.argmax(~(np.abs(np.log(values[off] / usual)) < np.log(FAR)))]
    name, others = _farthest_column(columns, row)
    problems.add_rows(
        path,
        rows[off],
        f"column _{name}{' of table optics' * (table.name == 'optics')}: {columns[name][row]:g}, where others have "
        f"{others:g}: {values[row]:g} Å per pixel, not {usual:g}: correct or leave out such rows",
    )


def _farthest_column(columns: Mapping[str, np.ndarray], row: int) -> tuple[str, float]:
    """The column in which a row differs most from the others, by ratio, and what the others have."""
    usual = {name: _lower_median(cells[cells > 0]) if (cells > 0).any() else 0.0 for name, cells in columns.items()}
    with np.errstate(all="ignore"):
        ratio = {name: np.abs(np.log(cells[row] / usual[name])) for name, cells in columns.items()}
    name = max(ratio, key=lambda column: ratio[column] if np.isfinite(ratio[column]) else np.inf)
    return name, usual[name]
