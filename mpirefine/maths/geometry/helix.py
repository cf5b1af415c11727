"""Helices along z: EMAN2's text and operations, and the shares of copies that a box holds."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from mpirefine.data.rotations import rotation_from_eman
from mpirefine.errors import ParameterError

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")
ORDER = ("nstart", "daz", "tz", "maxtilt", "apix")  # of the numbers after h<nsym>
NARROWEST = 1.0  # degrees from the equator that views reach when nothing else is said
FORM = "h<nsym>:<nstart>:<daz>:<tz>, like h20:1:45:5"


class Helix(NamedTuple):
    """nsym copies, nstart of them around the axis; the next nstart are turned by `daz` degrees and shifted by `tz`.

    `tz` is in pixels, or in Å where `apix` (Å per pixel) is given; views reach `maxtilt` degrees from the equator, or
    NARROWEST when that is not said.
    """

    nsym: int
    nstart: int
    daz: float
    tz: float
    maxtilt: float | None = None
    apix: float | None = None

    @property
    def text(self) -> str:
        """As `parse_helix` reads it."""
        numbers = {"maxtilt": self.maxtilt, "apix": self.apix}
        named = "".join(f":{name}={value:.8g}" for name, value in numbers.items() if value is not None)
        return f"h{self.nsym}:{self.nstart}:{self.daz:.8g}:{self.tz:.8g}{named}"

    @property
    def tilt(self) -> float:
        """Degrees from the equator that views reach."""
        return NARROWEST if self.maxtilt is None else self.maxtilt

    @property
    def steps(self) -> np.ndarray:
        """Steps along the helix (nsym,) of each copy: 0, 1, −1, 2, −2, ..., each nstart times, as in EMAN2."""
        ring = np.arange(self.nsym) // self.nstart
        return (ring + 1) // 2 * np.where(ring % 2, 1, -1)

    def rise(self, apix: float | None = None) -> float:
        """Shift of one step in pixels of `apix` Å; without it in those that `tz` counts in."""
        return self.tz if self.apix is None else self.tz / (apix or self.apix)

    def in_angstrom(self, apix: float, tilt: float) -> Helix:
        """The same with its rise in Å, for pixels of `apix` Å, and with `tilt` degrees where none was given."""
        maxtilt = tilt if self.maxtilt is None else self.maxtilt
        return self._replace(tz=self.rise() * apix, apix=apix, maxtilt=maxtilt)

    def in_pixels(self, apix: float) -> Helix:
        """The same with its rise in pixels of `apix` Å."""
        return self._replace(tz=self.rise(apix), apix=None)

    def turns(self) -> np.ndarray:
        """Rotations (nsym, 3, 3) of the copies: az = steps · daz + 360 (k mod nstart) / nstart. EMAN2's h."""
        around = np.arange(self.nsym) % self.nstart * (360.0 / self.nstart)
        return rotation_from_eman(self.steps * self.daz + around, 0, 0)

    def shifts(self, apix: float | None = None) -> np.ndarray:
        """Shifts (nsym,) of the copies along z, in the pixels of `rise`."""
        return self.steps * self.rise(apix)


def parse_helix(name: str) -> Helix | None:
    """The helix of a text h<nsym>:<nstart>:<daz>:<tz>[:<maxtilt>[:<apix>]], or with names as in
    h20:nstart=1:daz=45:tz=5; commas serve as well. None for a text that does not begin with h and a digit.

    Raises ParameterError where the numbers cannot be those of a helix.
    """
    text = str(name).strip().lower()
    if not re.match(r"h\d", text):
        return None
    head, *parts = re.split("[:,]", text)
    found: dict[str, str] = {}
    for at, part in enumerate(parts):
        key, _, value = part.rpartition("=")
        key = key or (ORDER[at] if at < len(ORDER) else "")
        if key not in ORDER or key in found or not NUMBER.fullmatch(value):
            raise ParameterError(f"symmetry '{name}': '{part}' is no number of a helix, which is written {FORM}")
        found[key] = value
    if not head[1:].isdigit() or not {"nstart", "daz", "tz"} <= set(found) or not found["nstart"].isdigit():
        raise ParameterError(f"symmetry '{name}': a helix is written {FORM}")
    apix = float(found["apix"]) if "apix" in found else None
    maxtilt = float(found["maxtilt"]) if "maxtilt" in found else None
    coil = Helix(int(head[1:]), int(found["nstart"]), float(found["daz"]), float(found["tz"]), maxtilt, apix)
    if coil.nsym < 1 or coil.nstart < 1 or (apix is not None and apix <= 0) or not 0 <= coil.tilt <= 90:
        raise ParameterError(
            f"symmetry '{name}': nsym and nstart must be at least 1, apix above 0, maxtilt 0 to 90 degrees: {FORM}"
        )
    return coil


def held_shares(shifts: np.ndarray, height: float) -> np.ndarray:
    """Share (n,) that a box of some `height` holds of each copy, shifted along the axis by `shifts` (n,)."""
    return np.clip(1 - np.abs(shifts) / height, 0, None)
