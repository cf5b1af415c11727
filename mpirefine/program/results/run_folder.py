"""Names in the folder of a run, as EMAN2's users know them: iteration II and map MM, both from 01; 00 are the seeds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from mpirefine.errors import InputError

# what a run leaves that ended before it had a run.h5
BEGUN = ("run.log", "0_refine_parms.json", "sets", "iterations", "run.h5.tmp")
OF_MANY = re.compile(r"run_\d+|even|odd|sets|run\.log|runs\.json|consensus\..*|fsc_eotest\.txt", re.IGNORECASE)
NAMED = 5  # files that a complaint names


def free(path: str | None) -> Path:
    """On rank 0. The folder that a new run will have: the one asked for, or the next free multi_NN. InputError when it
    is not empty.
    """
    folder = Path(path) if path is not None else next_free()
    if (folder / "run.h5").exists():
        raise InputError(
            f"--path {folder}: holds a run already: name another folder, or go on with 'python -m mpirefine resume "
            f"{folder}'"
        )
    if not set(entries(folder)) <= set(BEGUN) or entries(folder / "sets") or entries(folder / "iterations"):
        refuse(folder, entries(folder))
    return folder


def create(path: str | None) -> Path:
    """On rank 0. Make it."""
    return make_with_sets(free(path))


def of_many(path: str | None) -> Path:
    """On rank 0. The folder for repeated runs, which their first run makes: the one asked for, which may hold some of
    them, or the next free one. InputError when it holds anything else.
    """
    folder = Path(path) if path is not None else next_free()
    if (folder / "run.h5").exists():
        raise InputError(f"--path {folder}: holds a single run: name another folder for --runs")
    others = [name for name in entries(folder) if not OF_MANY.fullmatch(name)]
    if others:
        refuse(folder, others)
    return folder


def entries(folder: Path) -> list[str]:
    """What lies in a folder; nothing in one that is not there. InputError when it cannot be looked into."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"--path {folder}: cannot be used ({error.strerror})") from None


def refuse(folder: Path, names: list[str]) -> NoReturn:
    """InputError about a folder that is not empty, and the first `names` in it."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise InputError(f"--path {folder}: holds {', '.join(names[:NAMED])}{more}: name a new or empty folder")


def next_free() -> Path:
    """multi_NN in the current folder."""
    taken = [int(p.name[6:]) for p in Path(".").glob("multi_*") if p.name[6:].isdigit()]
    return Path(f"multi_{max(taken, default=0) + 1:02d}")


def make_with_sets(folder: Path) -> Path:
    """The folder, with one for sets; InputError when it cannot be made."""
    try:
        (folder / "sets").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--path {folder}: cannot be made ({error.strerror})") from None
    return folder


def repeat_path(folder: Path, number: int) -> Path:
    """One of repeated runs; `number` from 0."""
    return folder / f"run_{number + 1:02d}"


def map_path(folder: Path, iteration: int, model: int, suffix: str) -> Path:
    """A map; `model` from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}{suffix}"


def hard_map_path(folder: Path, iteration: int, model: int, suffix: str) -> Path:
    """The map of the particles that chose it, each in its best projection only; `model` from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}_hard{suffix}"


def half_map_path(folder: Path, iteration: int, model: int, half: int, suffix: str) -> Path:
    """A half-map; `model` and `half` from 0."""
    return folder / f"threed_{iteration:02d}_{model + 1:02d}_half{half + 1}{suffix}"


def fsc_path(folder: Path, kind: str, iteration: int) -> Path:
    """FSC curves of an iteration."""
    return folder / f"fsc_{kind}_{iteration:02d}.txt"


def set_path(folder: Path, name: str, model: int, suffix: str) -> Path:
    """The particles of one map; `model` from 0."""
    return folder / "sets" / f"{name}_m{model + 1:02d}{suffix}"
