"""Finding the files that a particle file names, and checking that a file can be opened."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mpirefine.errors import InputError

NEIGHBOURS = {".mrc": ".mrcs", ".mrcs": ".mrc"}  # programs differ in the suffix of the same stack
MOST_SHOWN = 60  # characters of a name or value in an error message


def shortened(text: object) -> str:
    """A name or value for an error message: one line of printable characters, without its middle when it is long."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))
    return plain if len(plain) <= MOST_SHOWN else f"{plain[: MOST_SHOWN // 2]}...{plain[-MOST_SHOWN // 3 :]}"


def clip_command(path: str | os.PathLike[str], box: int) -> str:
    """The command that cuts or pads the images or maps of a file to a box."""
    name = Path(path)
    return f"python -m mpirefine proc {path} {name.stem}_{box}{name.suffix} --clip {box}"


def check_file(path: str | os.PathLike[str]) -> None:
    """InputError when a file cannot be read: it does not exist, is a folder or a pipe, or the name is impossible."""
    name = str(path)
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        raise InputError(f"{shortened(name)}: cannot be read (no such file)") from None
    except OSError as error:
        raise InputError(f"{shortened(name)}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{shortened(name)}: cannot be read (no file can have such a name)") from None
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{shortened(name)}: cannot be read ({'a folder' if stat.S_ISDIR(mode) else 'no ordinary file'})"
        )
    if not os.access(name, os.R_OK):
        raise InputError(f"{shortened(name)}: cannot be read (no permission)")


@dataclass(frozen=True)
class Place:
    """Where a named file was found."""

    path: Path
    note: str = ""  # warning, when the file was found elsewhere than its name says
    missing: str = ""  # error message, when there is no such file
    neighbour: bool = False  # whether the file is the .mrc or .mrcs of the same name


def find(name: str, listed_in: Path) -> Place:
    """Find the file `name` that the file `listed_in` names: from the current folder, beside `listed_in`, or from the
    folders above that; else the same with .mrc for .mrcs or the other way round.

    RELION and EMAN2 write names from the project's folder, and their lists lie some folders below it.
    """
    own = Path(name)
    folder = Path(os.path.abspath(listed_in)).parent
    bases = [Path("")] if own.is_absolute() else [Path(""), listed_in.parent, *folder.parents]
    others = [own.with_suffix(NEIGHBOURS[own.suffix])] if own.suffix in NEIGHBOURS else []
    for number, base in enumerate(bases):
        if os.path.isfile(base / own):
            return Place(base / own, f"{shortened(name)} of {listed_in} is read from {base}" if number > 1 else "")
    for base, other in product(bases, others):
        if os.path.isfile(base / other):
            return Place(
                base / other,
                f"{shortened(name)} of {listed_in} is not there: {base / other} is read instead",
                neighbour=True,
            )
    why = "it is a folder" if any(os.path.isdir(base / own) for base in bases) else "no such file"
    if not own.is_absolute():
        why += " in " + ", ".join(dict.fromkeys((os.getcwd(), str(folder)))) + " and the folders above"
    why += "".join(f", nor {shortened(other.name)}" for other in others)
    return Place(own, missing=f"{shortened(name)}: cannot be read ({why})")
