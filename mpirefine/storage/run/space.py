"""Free disk space, checked before writing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mpirefine.errors import StorageFailure

if TYPE_CHECKING:
    from mpirefine.distribution.team import Team


def ensure_space(team: Team, folder: Path, required: int, what: str, remedy: str) -> None:
    """Collective. StorageFailure when fewer than `required` bytes are free where `folder` is."""

    def check() -> None:
        """On rank 0. StorageFailure when there is too little space."""
        free = shutil.disk_usage(folder).free
        if free < required:
            raise StorageFailure(
                f"{what} needs {required:,} bytes on the disk, {free:,} are free in {folder}: {remedy}"
            )

    team.from_root(check)
