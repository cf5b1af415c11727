"""Header values of particle images in EMAN2's lists and stacks: CTF, micrograph and pose."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from mpirefine.data.emanctf import EmanCTF
from mpirefine.errors import Problems
from mpirefine.storage.eman2.hdf_header import matrix_of, number_of
from mpirefine.storage.eman2.list_images import ListImages
from mpirefine.storage.image_file import ImageFile
from mpirefine.storage.particle_checks import NO_CTF
from mpirefine.storage.places import shortened

log = logging.getLogger(__name__)
CTF, MICROGRAPH, POSE = "ctf", "ptcl_source_image", "xform.projection"
PIXELS = ("apix_x", "apix_y", "apix_z")
FLIPPED = "phases_flipped"  # 0: those of this image are not; EMAN2 has no such value and takes all for flipped


class ParticleImages:
    """The images of a list or stack: `entries` are file, index there and the list's own header values; `files` each
    file once, `file` (p,) int32 which of them, `image` (p,) int64 the index there.
    """

    def __init__(self, path: Path, images: ImageFile):
        self.path, self._images = path, images
        self.is_list = isinstance(images, ListImages)
        self.entries: list[tuple[Path, int, dict[str, Any]]] = (
            images.entries if isinstance(images, ListImages) else [(path, row, {}) for row in range(images.count)]
        )
        number = {file: number for number, file in enumerate(dict.fromkeys(entry[0] for entry in self.entries))}
        self.files = list(number)
        self.file = np.array([number[entry[0]] for entry in self.entries], np.int32)
        self.image = np.array([entry[1] for entry in self.entries], np.int64)

    def open_file(self, place: Path) -> ImageFile:
        """One of `files`. InputError when it cannot be read."""
        return self._images.file(place) if isinstance(self._images, ListImages) else self._images

    def warn(self) -> None:
        """Log which files of a list were found elsewhere than written."""
        for note in self._images.listed.notes if isinstance(self._images, ListImages) else ():
            log.warning("%s", note)

    def values(self, key: str) -> list[Any]:
        """(p,) values of a header key; None where an image has none."""
        return [self._images.value(row, key) for row in range(len(self.entries))]


def read_ctfs(particles: ParticleImages, problems: Problems, *, required: bool) -> list[EmanCTF]:
    """The CTF of every image; empty where none has one, which is a problem when they are `required`."""
    path, found, missing = particles.path, [], []
    for row, value in enumerate(particles.values(CTF)):
        if value is None:
            missing.append(row)
        else:
            with problems.collect(f"{path}: row {row + 1}: "):
                found.append(EmanCTF.from_header(value))
    if len(missing) < len(particles.entries):
        text = "no CTF in the header, but others have one: run CTF estimation for all, or say --no-ctf"
        problems.add_rows(path, missing, text)
        return found
    if required:
        source = NO_CTF.format("EMAN2's e2ctf_auto.py or e2ctf.py")
        problems.add(f"{path}: no image has a CTF (header {CTF}): {source}")
    return []


def read_flipped(particles: ParticleImages) -> np.ndarray:
    """(p,) bool, images whose phases are flipped: all, unless a header says of its image that they are not."""
    return np.array([number_of(value) != 0 for value in particles.values(FLIPPED)], bool)


def read_micrographs(particles: ParticleImages, problems: Problems) -> tuple[list[str], np.ndarray]:
    """Names of micrographs, and (p,) int which of them each image is from; the image's file where the header has no
    micrograph.
    """
    found = particles.values(MICROGRAPH)
    wrong = [row for row, value in enumerate(found) if value is not None and not isinstance(value, str)]
    if wrong:
        text = f"{MICROGRAPH}: {shortened(found[wrong[0]])} is no name of a micrograph"
        problems.add_rows(particles.path, wrong, text)
        return [], np.zeros(0, int)
    names = [name or str(entry[0]) for name, entry in zip(found, particles.entries)]
    number = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(number), np.array([number[name] for name in names], int)


def read_transforms(
    particles: ParticleImages, problems: Problems, *, required: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Rotation (p, 3, 3) and shift (p, 2) in pixels from the box centre to the particle; a mirrored view is the one
    from behind. Unless `required` None, and only what the list itself holds is checked.
    """
    path = particles.path
    own = [entry[2].get(POSE) for entry in particles.entries]
    wrong = [row for row, value in enumerate(own) if value is not None and matrix_of(value) is None]
    if wrong:
        problems.add_rows(path, wrong, f"{POSE}: {shortened(own[wrong[0]])} is no Transform of finite numbers")
    if not required:
        return None, None
    values = particles.values(POSE)
    found = [matrix_of(value) for value in values]
    missing = [row for row, value in enumerate(values) if value is None]
    text = f"--fixed-poses needs {POSE} in the list or header: refine the particles first"
    problems.add_rows(path, missing, text)
    wrong = [r for r, value in enumerate(values) if value is not None and found[r] is None and own[r] is None]
    if wrong:
        text = f"header {POSE}: {shortened(values[wrong[0]])} is no Transform of finite numbers"
        problems.add_rows(path, wrong, text)
    matrix = np.array([np.eye(3, 4) if value is None else value for value in found], np.float64).reshape(-1, 3, 4)
    rotation = matrix[:, :, :3].copy()
    rotation[np.linalg.det(rotation) < 0, 2] *= -1
    return rotation, matrix[:, :2, 3]
