"""Optics of RELION's particle files: groups, pixel size and CTF, from the table of optics groups or the rows
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.errors import Problems
from mpirefine.storage.images import StackHeader
from mpirefine.storage.places import shortened
from mpirefine.storage.star import StarTable

PIXEL_TOLERANCE = 0.01
FEW = 0.1  # rows whose pixel size differs are mistakes up to this share of all; more are another set ...
FAR = 3.0  # ... unless it differs by this factor
LEAST_GROUP = 50  # particles of a micrograph that make it a group of its own
# column -> field, and what it is when the file has no such column (None: it must be there)
CTF_COLUMNS = {
    "rlnDefocusU": ("defocus_u", None),
    "rlnDefocusV": ("defocus_v", None),
    "rlnDefocusAngle": ("defocus_angle", None),
    "rlnPhaseShift": ("phase_shift", 0.0),
    "rlnCtfBfactor": ("bfactor", 0.0),
    "rlnCtfScalefactor": ("scale", 1.0),
    "rlnVoltage": ("voltage", None),
    "rlnSphericalAberration": ("cs", None),
    "rlnAmplitudeContrast": ("amplitude_contrast", None),
}
FLAG_COLUMNS = {"rlnCtfDataArePhaseFlipped": "flipped", "rlnCtfDataAreCtfPremultiplied": "premultiplied"}
RANGES = {
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


def numbers(table: StarTable, column: str, problems: Problems) -> np.ndarray | None:
    """A column; None, and a complaint, when a cell is no number."""
    with problems.collect():
        return table.floats(column)
    return None


def groups(
    path: Path, particles: StarTable, optics: StarTable | None, problems: Problems
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Optics group of each row as the row of table 'optics', from 0, and the groups' names."""
    if optics is None or "rlnOpticsGroup" not in optics:
        return np.zeros(len(particles), np.int32), ("all",)
    known: dict[str, int] = {}
    for row, cell in enumerate(optics.column("rlnOpticsGroup")):
        _same_values(path, optics, cell, known.setdefault(cell, row), row, problems)
    names = optics.column("rlnOpticsGroupName") if "rlnOpticsGroupName" in optics else optics.column("rlnOpticsGroup")
    if "rlnOpticsGroup" not in particles:
        if len(known) > 1:
            problems.add(
                f"{path}: table '{particles.name}' has no column _rlnOpticsGroup, but there are {len(known)} optics "
                "groups"
            )
        return np.zeros(len(particles), np.int32), tuple(names)
    cells = particles.column("rlnOpticsGroup")
    wrong = np.array([row for row, cell in enumerate(cells) if cell not in known], int)
    problems.add_rows(
        path,
        wrong,
        f"column _rlnOpticsGroup: no such group in table 'optics' (it has {', '.join(map(shortened, known))})",
    )
    return np.array([known.get(cell, 0) for cell in cells], np.int32), tuple(names)


def _same_values(path: Path, optics: StarTable, group: str, first: int, row: int, problems: Problems) -> None:
    """A complaint when two rows of a group differ."""
    for column in optics.columns:
        one, other = optics.cell(column, first), optics.cell(column, row)
        if one != other and not _equal_numbers(one, other):
            problems.add(
                f"{path}: table 'optics': group {shortened(group)} stands in rows {first + 1} and {row + 1} with "
                "different values of "
                f"_{column}: {shortened(one)} and {shortened(other)}: correct the table, or give one of them a "
                "number of its own"
            )


def _equal_numbers(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def noise_groups(
    micrographs: Sequence[str] | None, optics_group: np.ndarray, optics_names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Noise group of each row, the groups' names and their optics groups: the optics groups, then every micrograph that
    holds enough particles.
    """
    every = np.arange(len(optics_names), dtype=np.int32)
    if micrographs is None:
        return optics_group, optics_names, every
    names, first, micrograph, count = np.unique(
        np.array(micrographs), return_index=True, return_inverse=True, return_counts=True
    )
    large = np.flatnonzero(count >= LEAST_GROUP)
    number = np.full(len(names), -1, np.int32)
    number[large] = len(optics_names) + np.arange(len(large))
    group = np.where(number[micrograph] >= 0, number[micrograph], optics_group).astype(np.int32)
    return (
        group,
        (*optics_names, *names[large].tolist()),
        np.concatenate([every, optics_group[first[large]]]).astype(np.int32),
    )


def check_image_size(
    path: Path,
    optics: StarTable | None,
    group: np.ndarray,
    file: np.ndarray,
    headers: Sequence[StackHeader | None],
    problems: Problems,
) -> None:
    """Problems about groups whose _rlnImageSize is not that of their stacks."""
    sizes = numbers(optics, "rlnImageSize", problems) if optics is not None and "rlnImageSize" in optics else None
    if sizes is None:
        return
    for row, number in np.unique(np.stack([group, file], axis=1), axis=0).tolist():
        header = headers[number] if number >= 0 else None
        if header is not None and header.shape[2] != sizes[row]:
            problems.add(
                f"{path}: table 'optics', row {row + 1}: column _rlnImageSize: {sizes[row]:g}, but the images of "
                f"{header.path} have "
                f"{header.shape[2]} px: correct it, or take the stack that belongs to it"
            )


def pixel_size(
    path: Path,
    particles: StarTable,
    optics: StarTable | None,
    group: np.ndarray,
    headers: Sequence[StackHeader | None],
    problems: Problems,
) -> tuple[float, str]:
    """Å per pixel from the file, else from the stacks' headers, which must agree; and where it comes from, in words."""
    found = _stated(path, particles, optics, group, problems)
    told = [(h.apix, h.path) for h in headers if h is not None and h.apix > 0 and abs(h.apix - 1) > 1e-3]
    if found is None and told:
        found = told[0][0], f"the header of {told[0][1]}"
    if found is None:
        problems.add(f"{path}: no pixel size, in columns (_rlnImagePixelSize) or stack headers: give --apix")
        return 1.0, ""
    for apix, stack in told if np.isfinite(found[0]) else ():
        if abs(apix / found[0] - 1) > PIXEL_TOLERANCE:
            problems.add(
                f"{stack}: {apix:.4g} Å per pixel, but {path} says {found[0]:.4g}: correct one of them, or decide "
                "with --apix"
            )
            break
    return found


def _stated(
    path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> tuple[float, str] | None:
    """The pixel size in columns; None where there are none, NaN after a complaint about their values."""
    for table, *names in (
        (optics, "rlnImagePixelSize"),
        (particles, "rlnImagePixelSize"),
        (optics, "rlnMicrographPixelSize"),
        (particles, "rlnDetectorPixelSize", "rlnMagnification"),
        (optics, "rlnDetectorPixelSize", "rlnMagnification"),
    ):
        if table is not None and all(name in table for name in names):
            break
    else:
        return None
    rows = np.unique(group) if table is optics else np.arange(len(particles))
    columns = {name: values[rows] for name in names if (values := numbers(table, name, problems)) is not None}
    where = (
        f"column{'s' * (len(names) > 1)} "
        + " and ".join(f"_{name}" for name in names)
        + f" of table '{table.name}'" * bool(table.name)
    )
    if len(columns) < len(names):
        return np.nan, where
    with np.errstate(all="ignore"):
        values = next(iter(columns.values())) * (1e4 / columns[names[1]] if len(names) > 1 else 1)
    good = np.isfinite(values) & (values > 0)
    if not good.any():
        row = int(rows[0])
        problems.add_rows(
            path,
            rows,
            ", ".join(f"column _{name}: {shortened(table.column(name)[row])}" for name in names)
            + ": no pixel size: correct it, or give --apix",
        )
        return np.nan, where
    usual = _middle(values[good])
    off = np.flatnonzero(~good | ~(np.abs(values / usual - 1) <= PIXEL_TOLERANCE))
    if len(off):
        _differ(path, table, columns, values, rows, off, problems)
        return np.nan, where
    return usual, where


def _middle(values: np.ndarray) -> float:
    """The median, one of the values."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _differ(
    path: Path,
    table: StarTable,
    columns: Mapping[str, np.ndarray],
    values: np.ndarray,
    rows: np.ndarray,
    off: np.ndarray,
    problems: Problems,
) -> None:
    """Complaint about pixel sizes that differ: the rows that cannot be right, or the sizes."""
    good = values[np.isfinite(values) & (values > 0)]
    with np.errstate(all="ignore"):
        far = ~(np.abs(np.log(values[off] / _middle(good))) < np.log(FAR))
    if not far.any() and len(off) > FEW * len(rows):
        sizes = [
            f"{size:g} (row {rows[at] + 1})" for size, at in zip(*np.unique(np.round(values, 5), return_index=True))
        ]
        problems.add(
            f"{path}: table '{table.name}': pixel sizes {', '.join(sizes[:4])} Å differ: particles must be brought "
            "to one pixel size first"
        )
        return
    usual = {name: _middle(cells[cells > 0]) if (cells > 0).any() else 0.0 for name, cells in columns.items()}
    row = off[np.argmax(far)]
    with np.errstate(all="ignore"):
        away = {name: np.abs(np.log(cells[row] / usual[name])) for name, cells in columns.items()}
    name = max(away, key=lambda one: away[one] if np.isfinite(away[one]) else np.inf)
    problems.add_rows(
        path,
        rows[off],
        f"column _{name}{' of table optics' * (table.name == 'optics')}: {columns[name][row]:g}, where others have "
        f"{usual[name]:g}: {values[row]:g} Å per pixel, not {_middle(good):g}: correct or leave out such rows",
    )


def ctf(
    path: Path, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems, *, needed: bool
) -> CTFParams | None:
    """CTF columns, from the particles or their optics group; without them None, which is a complaint when they are
    `needed`.
    """
    missing = [
        f"_{column}"
        for column, (_, default) in CTF_COLUMNS.items()
        if default is None and not _holds(column, particles, optics)
    ]
    if missing and not needed:
        return None
    columns = {}
    for column, (field, default) in CTF_COLUMNS.items():
        if not _holds(column, particles, optics):
            if default is not None:
                columns[field] = np.full(len(particles), default)
            continue
        values = spread(column, particles, optics, group, problems)
        if values is not None:
            columns[field] = values
        elif default is not None:
            columns[field] = np.full(len(particles), default)
    if missing:
        problems.add(
            f"{path}: missing CTF column{'s' * (len(missing) > 1)} {', '.join(missing)}: "
            + NO_CTF.format("RELION's CtfFind or Extract job")
        )
    check_ranges(path, columns, {field: f"column _{column}" for column, (field, _) in CTF_COLUMNS.items()}, problems)
    for field in ("defocus_u", "defocus_v"):
        values = columns.get(field, np.zeros(0))
        if len(values) and np.abs(values).max() < 100:
            column = next(c for c, (f, _) in CTF_COLUMNS.items() if f == field)
            problems.add(
                f"{path}: column _{column}: {values[0]:g} and the like look like µm; the column is in Å: multiply by "
                "10000"
            )
    flags = {
        field: spread(column, particles, optics, group, problems)
        for column, field in FLAG_COLUMNS.items()
        if _holds(column, particles, optics)
    }
    if len(columns) < len(CTF_COLUMNS):
        return None
    return CTFParams(
        **columns, **{field: values > 0 for field, values in flags.items() if values is not None and np.any(values > 0)}
    )


def _holds(column: str, particles: StarTable, optics: StarTable | None) -> bool:
    return column in particles or (optics is not None and column in optics)


def spread(
    column: str, particles: StarTable, optics: StarTable | None, group: np.ndarray, problems: Problems
) -> np.ndarray | None:
    """A column that one of the tables holds, for every particle; its own before its group's."""
    if column in particles:
        return numbers(particles, column, problems)
    values = numbers(optics, column, problems)
    return None if values is None else values[group]


def check_ranges(path: Path, fields: Mapping[str, np.ndarray], told: Mapping[str, str], problems: Problems) -> None:
    """Problems about CTF values that no microscope gives; `told` says where each field comes from."""
    for field, (low, high, unit) in RANGES.items():
        values = fields.get(field, np.zeros(0))
        wrong = np.flatnonzero(~((values >= low) & (values <= high)))
        if len(wrong):
            problems.add_rows(
                path, wrong, f"{told[field]}: {values[wrong[0]]:g} is no value in {unit} ({low:g} to {high:g})"
            )
