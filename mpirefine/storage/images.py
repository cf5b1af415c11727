"""Catalogue of image formats, by the suffix of a file: MRC maps and stacks, EMAN2's HDF files, and EMAN2's lists of
images in other files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.particles import ParticleTable
from mpirefine.errors import InputError
from mpirefine.storage import mrc
from mpirefine.storage.eman2.conversion import list_particles
from mpirefine.storage.eman2.hdf import EmanHdf
from mpirefine.storage.eman2.hdf_writer import write_hdf
from mpirefine.storage.eman2.list_images import ListImages
from mpirefine.storage.eman2.lst import read_lst
from mpirefine.storage.eman2.particles import EmanParticles, read_eman_particles
from mpirefine.storage.foreign_files import check_kind
from mpirefine.storage.image_file import MAPS, STACK, ImageFile, MrcImages, StackHeader
from mpirefine.storage.places import clip_command, find

log = logging.getLogger(__name__)
HDF, LIST = (".hdf", ".h5"), (".lst",)
SELECTION = ":"  # EMAN2's file:bits and file:selection


def _suffix(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lower()


def open_images(path: str | os.PathLike[str]) -> ImageFile:
    """Open a file of images for reading, to be closed with `with`. InputError when it cannot be read or its format is
    not known.
    """
    name, suffix = str(path), _suffix(path)
    if name.startswith("bdb:"):
        raise InputError(
            f"{name}: EMAN2's old database is read by no program since 2013: convert it with an EMAN2 of that time "
            "to .hdf"
        )
    if SELECTION in Path(name).name and not os.path.exists(name):
        raise InputError(f"{name}: selections after a colon are not read: make a list (.lst) of the images")
    check_kind(path)
    if suffix in LIST:
        return ListImages(path, open_images)
    if suffix in HDF:
        return EmanHdf(path)
    if suffix in STACK + MAPS:
        return MrcImages(path)
    raise InputError(f"{name}: '{suffix}' is no format that is read: {', '.join(MAPS + STACK + HDF + LIST)}")


def open_stack(path: str | os.PathLike[str]) -> ImageFile:
    """Open a stack of images, whatever its suffix: a file that is no HDF is taken for MRC. InputError when it cannot be
    read.
    """
    check_kind(path)
    return EmanHdf(path) if _suffix(path) in HDF else MrcImages(path, stack=True)


def stack_header(path: str | os.PathLike[str]) -> StackHeader:
    """Size and pixel size of a stack. InputError when it cannot be read or holds maps."""
    with open_stack(path) as file:
        if len(file.shape) != 2:
            raise InputError(f"{path}: holds maps of {' x '.join(map(str, file.shape[::-1]))} voxels, not images")
        ny, nx = file.shape
        return StackHeader(file.path, (file.count, ny, nx), file.apix, file.note)


def files_of_list(path: str | os.PathLike[str]) -> set[str]:
    """The files that a list of images names; none for a file of another format. InputError when a list cannot be
    read.
    """
    if _suffix(path) not in LIST:
        return set()
    return {str(find(entry.file, Path(path)).path) for entry in read_lst(path)}


def read_images_as_particles(
    path: str | os.PathLike[str],
    apix: float | None = None,
    *,
    ctf: bool = True,
    poses: bool = False,
    ctf_required: bool = True,
) -> EmanParticles:
    """On rank 0. The particles of a list or stack; arguments and errors as of `particle_file.read_particles`."""
    with open_images(path) as images:
        return read_eman_particles(Path(path), images, apix, ctf=ctf, poses=poses, ctf_required=ctf_required)


def convert_to_list(path: Path, table: ParticleTable, grid: Grid) -> EmanParticles:
    """A list of EMAN2 with these particles."""
    return list_particles(path, table, grid)


def read_volumes(path: str | os.PathLike[str]) -> tuple[list[np.ndarray], float]:
    """All cubic maps (z, y, x) float32 of a file and their Å per voxel (0 when unknown). InputError when one is not
    cubic.
    """
    with open_images(path) as file:
        if file.note:
            log.warning("%s", file.note)
        if isinstance(file, MrcImages) and len(file.shape) != 3:
            return [mrc.read_volume(path)[0]], file.apix
        volumes = []
        for index in range(file.count):
            volume = file.read([index])[0]
            if len(set(volume.shape)) != 1 or volume.ndim != 3:
                box = max(volume.shape)
                pad = f"pad it to {box} ({clip_command(path, box)})" if volume.ndim == 3 else "these are images"
                size = " x ".join(map(str, volume.shape[::-1]))
                raise InputError(f"{path}: {size} voxels, but a map must be cubic: {pad}")
            volumes.append(volume)
        return volumes, file.apix


def check_writable(path: str | os.PathLike[str], *, headers: bool = False) -> None:
    """InputError when no file of this name can be written: the format is not known, or cannot hold `headers`, or the
    folder does not exist.
    """
    suffix, folder = _suffix(path), Path(path).absolute().parent
    if suffix not in HDF + MAPS + STACK:
        raise InputError(f"{path}: '{suffix}' is no format that is written: {', '.join(MAPS + STACK + HDF[:1])}")
    if headers and suffix not in HDF:
        raise InputError(f"{path}: '{suffix}' files keep no headers, which hold views and maps: write .hdf")
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}")


def write_images(
    path: str | os.PathLike[str],
    images: Sequence[np.ndarray],
    apix: float,
    headers: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write images (y, x) or maps (z, y, x) in the format of the suffix; `apix` in Å. MRC files hold no headers, and
    one map only. Raises InputError when the format cannot hold them.
    """
    check_writable(path)
    suffix = _suffix(path)
    if suffix in HDF:
        write_hdf(path, images, headers if headers is not None else [{}] * len(images), apix)
    elif len(images) and np.ndim(images[0]) == 3:
        if len(images) > 1:
            raise InputError(f"{path}: an MRC file holds one map, not {len(images)}: write .hdf, or one file each")
        mrc.write_volume(path, images[0], apix)
    elif suffix in MAPS and len(images) > 1:
        raise InputError(f"{path}: {len(images)} images would be read back as a map: write .mrcs or .hdf")
    else:
        mrc.write_stack(path, np.stack(images), apix)
