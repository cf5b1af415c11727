"""Files that are read by no reader here: what each kind is, and which program makes a file of it that is read."""

from __future__ import annotations

import os
from pathlib import Path

from mpirefine.errors import FormatError, InputError

UNPACK = "unpack it first ({} {{name}})"
MOVIE = "frames or micrographs, no particles: correct their motion and extract particles first"
MODEL = (
    "an atomic model: make a map of it first (EMAN2's e2pdb2mrc.py {name} {stem}.mrc --apix=.. --box=.. --res=.., or "
    "ChimeraX's molmap)"
)
TABLE = "a table, no images: write a STAR file (_rlnImageName index@stack.mrcs, ...) or a list of EMAN2 (.lst) from it"
CONVERT = "convert it first (EMAN2's e2proc2d.py {name} {stem}.hdf; a map: e2proc3d.py)"
# suffix -> what to do, with the file's name and stem; those of particle files that are read elsewhere stand here too
KINDS: dict[str, str] = {
    ".gz": UNPACK.format("gunzip"),
    ".tgz": UNPACK.format("tar xzf"),
    ".tar": UNPACK.format("tar xf"),
    ".bz2": UNPACK.format("bunzip2"),
    ".xz": UNPACK.format("unxz"),
    ".zst": UNPACK.format("unzstd"),
    ".zip": UNPACK.format("unzip"),
    ".7z": UNPACK.format("7z x"),
    ".tif": f"if it holds particles, {CONVERT[:-1]}, or IMOD's tif2mrc); else it holds {MOVIE}",
    ".tiff": f"if it holds particles, {CONVERT[:-1]}, or IMOD's tif2mrc); else it holds {MOVIE}",
    ".eer": f"{MOVIE} (RELION's own motion correction and MotionCor3 read EER)",
    ".dm3": f"a file of Gatan's: {CONVERT}",
    ".dm4": f"a file of Gatan's: {CONVERT}",
    ".img": f"a file of IMAGIC: {CONVERT}",
    ".hed": f"a file of IMAGIC: {CONVERT}",
    ".spi": f"a file of SPIDER: {CONVERT}",
    ".cif": MODEL,
    ".pdb": MODEL,
    ".ent": MODEL,
    ".json": "metadata, no images: of an EMAN2 project give the list of particles (sets/*.lst) or the map (.hdf)",
    ".csv": TABLE,
    ".txt": TABLE,
    ".star": "names particles: give it as --input; a map is .mrc or .hdf",
}
PACKED: dict[bytes, str] = {  # first bytes of a file -> what unpacks it to the standard output
    b"\x1f\x8b\x08": "gzip -dc",
    b"BZh": "bzip2 -dc",
    b"\xfd7zXZ\x00": "xz -dc",
    b"\x28\xb5\x2f\xfd": "zstd -dc",
    b"PK\x03\x04": "unzip -p",
    b"7z\xbc\xaf\x27\x1c": "7z x -so",
}


def check_kind(path: str | os.PathLike[str]) -> None:
    """InputError when the suffix is that of a kind of file that is known, but not read; it says what to do with it."""
    known = Path(path)
    words = KINDS.get(known.suffix.lower())
    if words:
        advice = words.format(name=known.name, stem=known.stem)
        raise InputError(f"{path}: '{known.suffix}' is no format that is read: {advice}")


def check_unpacked(path: str | os.PathLike[str], first: bytes) -> None:
    """FormatError when a file, by its first bytes, is compressed whatever its suffix says."""
    name = Path(path).name
    for magic, command in PACKED.items():
        if first.startswith(magic):
            raise FormatError(
                f"{path}: is compressed, whatever its suffix says: unpack it first ({command} {name} > unpacked_{name})"
            )
