"""Reading and writing MRC2014 maps and stacks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from mpirefine.errors import FormatError, InputError
from mpirefine.storage.atomic import replacing
from mpirefine.storage.foreign_files import check_unpacked
from mpirefine.storage.places import check_file, clip_command

HEADER: np.dtype = np.dtype(
    [
        ("n", "<i4", 3),
        ("mode", "<i4"),
        ("nstart", "<i4", 3),
        ("m", "<i4", 3),
        ("cell", "<f4", 3),
        ("angles", "<f4", 3),
        ("axes", "<i4", 3),
        ("dmin", "<f4"),
        ("dmax", "<f4"),
        ("dmean", "<f4"),
        ("ispg", "<i4"),
        ("nsymbt", "<i4"),
        ("extra1", "V8"),
        ("exttyp", "S4"),
        ("nversion", "<i4"),
        ("extra2", "V84"),
        ("origin", "<f4", 3),
        ("map", "S4"),
        ("machst", "u1", 4),
        ("rms", "<f4"),
        ("nlabl", "<i4"),
        ("label", "S80", 10),
    ]
)
BIG_ENDIAN_HEADER: np.dtype = HEADER.newbyteorder(">")
MODES: dict[int, np.dtype] = {
    0: np.dtype("i1"),
    1: np.dtype("<i2"),
    2: np.dtype("<f4"),
    6: np.dtype("<u2"),
    12: np.dtype("<f2"),
}


@dataclass(frozen=True)
class MrcHeader:
    """The part of a header that reading needs."""

    path: str
    shape: tuple[int, int, int]  # sections, rows, columns
    dtype: np.dtype  # of pixels, in the byte order of the file
    offset: int  # bytes before the first pixel
    apix: float  # Å per pixel; 0 when the header does not say
    ispg: int  # space group; 0 for a stack of images
    note: str = ""  # warning about a file that can be read nevertheless


def read_header(path: str | os.PathLike[str]) -> MrcHeader:
    """Read the header of a map or stack, in either byte order, and check the length of the file.

    Raises InputError when the file cannot be read, FormatError when it is no MRC file or is truncated.
    """
    path = str(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(HEADER.itemsize)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    check_unpacked(path, raw)
    if len(raw) < HEADER.itemsize:
        raise FormatError(f"{path}: {len(raw)} bytes are too few for an MRC header of 1024: the file is truncated")
    order: Literal["<", ">"] = "<"
    fields = np.frombuffer(raw, HEADER)[0]
    if not _plausible(fields):
        order, fields = ">", np.frombuffer(raw, BIG_ENDIAN_HEADER)[0]
    if not _plausible(fields):
        raise FormatError(
            f"{path}: no MRC header found (sizes {tuple(int(n) for n in fields['n'])}, mode {int(fields['mode'])})"
        )
    mode = int(fields["mode"])
    if mode not in MODES:
        raise FormatError(f"{path}: mode {mode} is not read; convert to mode {', '.join(map(str, MODES))}")
    nx, ny, nz = (int(n) for n in fields["n"])
    dtype = MODES[mode].newbyteorder(order)
    offset, note = _first_pixel(
        path, size, int(fields["nsymbt"]), nx * ny * nz * dtype.itemsize, f"{nz} sections of {nx} x {ny}, mode {mode}"
    )
    apix = float(fields["cell"][0]) / int(fields["m"][0]) if fields["m"][0] > 0 else 0.0
    return MrcHeader(
        path, (nz, ny, nx), dtype, offset, apix if np.isfinite(apix) and apix > 0 else 0.0, int(fields["ispg"]), note
    )


def _first_pixel(path: str, size: int, extended: int, pixels: int, layout: str) -> tuple[int, str]:
    """Byte at which pixels begin in a file of `size` bytes, and a warning when the extended header is missing. `pixels`
    is their size in bytes, `layout` the same in words. FormatError when pixels are missing.
    """
    if size >= HEADER.itemsize + extended + pixels:
        return HEADER.itemsize + extended, ""
    if size == HEADER.itemsize + pixels:
        return HEADER.itemsize, (
            f"{path}: the header announces an extended header of {extended} bytes that is not there: the file is as "
            "long as header and pixels alone, and is read so"
        )
    if extended:
        raise FormatError(
            f"{path}: {size} bytes, but the header asks for {HEADER.itemsize + extended + pixels}: 1024, an extended "
            f"header of {extended}, and {pixels} of pixels ({layout}): the extended header is missing or the file is "
            "truncated: copy it again"
        )
    raise FormatError(
        f"{path}: {size} bytes, but the header asks for {HEADER.itemsize + pixels} ({layout}): the file is truncated, "
        "copy it again"
    )


def _plausible(fields: np.void) -> bool:
    return bool(
        (fields["n"] > 0).all()
        and (fields["n"] < 1 << 24).all()
        and 0 <= fields["mode"] < 128
        and 0 <= fields["nsymbt"] < 1 << 28
    )


def read_sections(header: MrcHeader, indices: np.ndarray) -> np.ndarray:
    """(n, y, x) float32 sections of the given indices (from 0); errors as of `open_pixels` and `sections_of`."""
    with open_pixels(header) as file:
        return sections_of(file, header, indices)


def open_pixels(header: MrcHeader) -> BinaryIO:
    """The file of a header, open for reading; InputError when it is not there any more."""
    try:
        return open(header.path, "rb")
    except OSError as error:
        raise InputError(f"{header.path}: cannot be read ({error.strerror})") from None


def sections_of(file: BinaryIO, header: MrcHeader, indices: np.ndarray) -> np.ndarray:
    """(n, y, x) float32 sections of the given indices (from 0) of an open file; runs of neighbours are read at once.
    FormatError when the file is too short.
    """
    _, ny, nx = header.shape
    out = np.empty((len(indices), ny, nx), np.float32)
    if not len(indices):
        return out
    breaks = np.flatnonzero(np.diff(indices) != 1) + 1
    for run in np.split(np.arange(len(indices)), breaks):
        file.seek(header.offset + int(indices[run[0]]) * ny * nx * header.dtype.itemsize)
        pixels = np.fromfile(file, header.dtype, len(run) * ny * nx)
        if pixels.size != len(run) * ny * nx:
            raise FormatError(
                f"{header.path}: section {int(indices[run[-1]]) + 1} cannot be read: the file is truncated"
            )
        out[run] = pixels.reshape(len(run), ny, nx)
    return out


def read_volume(path: str | os.PathLike[str]) -> tuple[np.ndarray, float]:
    """A cubic map (z, y, x) float32 and its Å per voxel (0 when unknown). InputError when it is not cubic."""
    header = read_header(path)
    if len(set(header.shape)) != 1:
        nz, ny, nx = header.shape
        box = max(header.shape)
        raise InputError(
            f"{path}: {nx} x {ny} x {nz} voxels, but a map must be cubic: pad it to {box} ({clip_command(path, box)})"
        )
    return read_sections(header, np.arange(header.shape[0])), header.apix


def write_volume(path: str | os.PathLike[str], array: np.ndarray, apix: float, ispg: int = 1) -> None:
    """Write a map (z, y, x) as 32-bit floats (mode 2); `apix` in Å per voxel, `ispg` 0 makes it a stack. An interrupted
    write leaves no file.
    """
    array = np.ascontiguousarray(array, "<f4")
    fields = np.zeros((), HEADER)
    fields["n"] = fields["m"] = array.shape[::-1]
    fields["mode"], fields["axes"], fields["angles"], fields["ispg"] = 2, (1, 2, 3), 90.0, ispg
    fields["cell"] = np.array(array.shape[::-1]) * apix
    fields["dmin"], fields["dmax"], fields["dmean"], fields["rms"] = (
        array.min(),
        array.max(),
        array.mean(dtype=float),
        array.std(dtype=float),
    )
    fields["nversion"], fields["map"], fields["machst"], fields["nlabl"] = 20140, b"MAP ", (0x44, 0x44, 0, 0), 1
    fields["label"][0] = b"mpirefine"
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(fields.tobytes())
        array.tofile(file)


def write_stack(path: str | os.PathLike[str], images_pyx: np.ndarray, apix: float) -> None:
    """Write images (p, y, x) as a stack of 32-bit floats; `apix` in Å per pixel."""
    write_volume(path, images_pyx, apix, 0)
