"""Folders of runs, and the file names in them.

Names follow EMAN2: iteration II and map MM count from 01; iteration 00 holds the starting maps.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from mpirefine.errors import InputError

# files of a run that ended before it had a run.h5
BEGUN = ("run.log", "0_refine_parms.json", "sets", "iterations", "run.h5.tmp")
PARENT_FILES = re.compile(r"run_\d+|even|odd|sets|run\.log|runs\.json|consensus\..*|fsc_eotest\.txt", re.IGNORECASE)
NAMED = 5  # file names that an error shows at most


def choose_folder(path: str | None) -> Path:
    """On rank 0. The folder of a new run: `path`, or the next free multi_NN. InputError when it is not empty."""
    folder = Path(path) if path is not None else next_free()
    if (folder / "run.h5").exists():
        raise InputError(
            f"--path {folder}: holds a run already: name another folder, or continue it with 'python -m mpirefine "
            f"resume {folder}'"
        )
    if not set(entries(folder)) <= set(BEGUN) or entries(folder / "sets") or entries(folder / "iterations"):
        refuse(folder, entries(folder))
    return folder


def create(path: str | None) -> Path:
    """On rank 0. Make the folder of a new run; InputError when it cannot be made or is not empty."""
    return make_with_sets(choose_folder(path))


def choose_parent(path: str | None) -> Path:
    """On rank 0. The folder of several runs (--runs, eotest): `path`, or the next free multi_NN.

    It may hold some of these runs. InputError when it holds anything else.
    """
    folder = Path(path) if path is not None else next_free()
    if (folder / "run.h5").exists():
        raise InputError(f"--path {folder}: holds a single run: name another folder for --runs")
    foreign = [name for name in entries(folder) if not PARENT_FILES.fullmatch(name)]
    if foreign:
        refuse(folder, foreign)
    return folder


def entries(folder: Path) -> list[str]:
    """Sorted names in a folder; none when it does not exist. InputError when it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"--path {folder}: cannot be used ({error.strerror})") from None


def refuse(folder: Path, names: list[str]) -> NoReturn:
    """Raise InputError about a folder that is not empty, with the first of the `names` in it."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise InputError(f"--path {folder}: holds {', '.join(names[:NAMED])}{more}: name a new or empty folder")


def next_free() -> Path:
    """The next free multi_NN in the current folder."""
    taken = [int(p.name[6:]) for p in Path(".").glob("multi_*") if p.name[6:].isdigit()]
    return Path(f"multi_{max(taken, default=0) + 1:02d}")


def make_with_sets(folder: Path) -> Path:
    """Make the folder, with a folder sets in it; InputError when that fails."""
    try:
        (folder / "sets").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--path {folder}: cannot be made ({error.strerror})") from None
    return folder


def repeat_path(folder: Path, number: int) -> Path:
    """The folder of a repeated run; `number` counts from 0."""
    return folder / f"run_{number + 1:02d}"


def map_path(folder: Path, iteration: int, model: int, suffix: str) -> Path:
    """The file of a map; `model` counts from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}{suffix}"


def hard_map_path(folder: Path, iteration: int, model: int, suffix: str) -> Path:
    """The file of a map from each particle in its best projection only; `model` counts from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}_hard{suffix}"


def half_map_path(folder: Path, iteration: int, model: int, half: int, suffix: str) -> Path:
    """The file of a half-map; `model` and `half` count from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}_half{half + 1}{suffix}"


def full_map_path(folder: Path, iteration: int, model: int, suffix: str) -> Path:
    """A map at the particles' own size; `model` from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}_full{suffix}"


def full_half_map_path(folder: Path, iteration: int, model: int, half: int, suffix: str) -> Path:
    """A half-map at the particles' own size; `model` and `half` from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}_full_half{half + 1}{suffix}"


def full_fsc_path(folder: Path, iteration: int, model: int) -> Path:
    """FSC of the half-maps at the particles' own size; `model` from 0."""
    return folder / f"fsc_full_{iteration:02d}_{model + 1:02d}.txt"


def fsc_path(folder: Path, kind: str, iteration: int) -> Path:
    """The file of FSC curves; `kind` is halves, previous or between."""
    return folder / f"fsc_{kind}_{iteration:02d}.txt"


def set_path(folder: Path, name: str, model: int, suffix: str) -> Path:
    """The particle file of a map; `model` counts from 0."""
    return folder / "sets" / f"{name}_m{model + 1:02d}{suffix}"
