"""Where the files lie that a particle file names, and whether they can be opened at all."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mpirefine.errors import InputError

NEIGHBOURS = {".mrc": ".mrcs", ".mrcs": ".mrc"}  # the same file under the suffix another program gave it
LONGEST_TOLD = 60  # characters of a name or value that a complaint repeats


def shortened(text: object) -> str:
    """A name or value as complaints repeat it: one line of printable characters, the middle left out where it is
    long.
    """
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))
    return plain if len(plain) <= LONGEST_TOLD else f"{plain[: LONGEST_TOLD // 2]}...{plain[-LONGEST_TOLD // 3 :]}"


def check_file(path: str | os.PathLike[str]) -> None:
    """InputError when there is no such file, or none that can be read: a folder, a pipe, a name that no file can
    have.
    """
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
    """Where a name led: `note` says so when that is not where it was written to be, `missing` says where it was looked
    for in vain.
    """

    path: Path
    note: str = ""
    missing: str = ""
    neighbour: bool = False


def find(name: str, listed_in: Path) -> Place:
    """Where a file is: as written (from the current folder), beside the file that lists it, in the folders above that;
    else its .mrc/.mrcs neighbour.

    RELION and EMAN2 write names from the project's folder, in which the lists lie some folders down.
    """
    own = Path(name)
    folder = Path(os.path.abspath(listed_in)).parent
    bases = [Path("")] if own.is_absolute() else [Path(""), listed_in.parent, *folder.parents]
    other = own.with_suffix(NEIGHBOURS[own.suffix]) if own.suffix in NEIGHBOURS else None
    for number, base in enumerate(bases):
        if os.path.isfile(base / own):
            return Place(base / own, f"{shortened(name)} of {listed_in} is read from {base}" if number > 1 else "")
    for base in bases if other else ():
        if os.path.isfile(base / other):
            return Place(
                base / other,
                f"{shortened(name)} of {listed_in} is not there: {base / other} is read instead",
                neighbour=True,
            )
    looked = (
        ""
        if own.is_absolute()
        else " in " + ", ".join(dict.fromkeys((os.getcwd(), str(folder)))) + " and the folders above"
    )
    why = "it is a folder" if any(os.path.isdir(base / own) for base in bases) else "no such file"
    return Place(
        own,
        missing=f"{shortened(name)}: cannot be read ({why}{looked}{f', nor {shortened(other.name)}' if other else ''})",
    )
