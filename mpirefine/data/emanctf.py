"""EMAN2's CTF parameters, as image headers have them, and their text form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpirefine.errors import FormatError

NUMBERS = ("defocus", "dfdiff", "dfang", "bfactor", "ampcont", "voltage", "cs", "apix", "dsbg")
CURVES = ("background", "snr")


@dataclass(frozen=True)
class EmanCTF:
    """EMAN2's CTF object; an amplitude contrast beyond ±100 % stands for a phase plate.

    >>> EmanCTF.from_text("E1.5 0 0 100 10 300 2.7 2.5 0.01 2,1,2 2,0.5,0.25").snr
    (0.5, 0.25)
    """

    defocus: float  # µm, underfocus positive; the mean of both axes
    dfdiff: float = 0.0  # µm, the difference of both axes
    dfang: float = 0.0  # degrees from +x, of the axis with the larger defocus
    bfactor: float = 0.0  # Å², amplitude exp(-B s²/4)
    ampcont: float = 10.0  # %
    voltage: float = 300.0  # kV
    cs: float = 2.7  # mm
    apix: float = 1.0  # Å per pixel
    dsbg: float = 1.0  # 1/Å between samples of the two curves
    background: tuple[float, ...] = ()  # power of the noise
    snr: tuple[float, ...] = ()  # signal to noise ratio

    @classmethod
    def from_text(cls, text: str) -> EmanCTF:
        """From `E` and nine numbers, then the two curves as n,value,...,value. Raises FormatError."""
        parts = text.strip().split()
        try:
            if not parts or parts[0][0] != "E" or len(parts) != len(NUMBERS) + len(CURVES):
                raise ValueError
            values: dict[str, Any] = dict(zip(NUMBERS, map(float, (parts[0][1:], *parts[1 : len(NUMBERS)]))))
            for name, part in zip(CURVES, parts[len(NUMBERS) :]):
                count, *samples = part.split(",")
                if int(count) != len(samples):
                    raise ValueError
                values[name] = tuple(map(float, samples))
        except ValueError:
            raise FormatError(f"not a CTF of EMAN2: '{text.strip()[:60]}'") from None
        return cls(**values).checked()

    @classmethod
    def from_fields(cls, values: Mapping[str, object]) -> EmanCTF:
        """From a mapping with the names of the fields, as EMAN2 writes it to JSON; other names are ignored. Raises
        FormatError.
        """
        try:
            raw: dict[str, Any] = dict(values)
            known: dict[str, Any] = {name: float(raw[name]) for name in NUMBERS if name in raw}
            known |= {name: tuple(map(float, raw.get(name, ()))) for name in CURVES}
            return cls(**known).checked()
        except (TypeError, ValueError, OverflowError):
            raise FormatError(f"not a CTF of EMAN2: {str(dict(values))[:60]}") from None

    @classmethod
    def from_header(cls, value: object) -> EmanCTF:
        """From the header item `ctf`: the text form, or a mapping. Raises FormatError."""
        return cls.from_fields(value) if isinstance(value, Mapping) else cls.from_text(str(value))

    def checked(self) -> EmanCTF:
        """The CTF itself. Raises FormatError when numbers are not finite, or voltage or pixel size not positive."""
        numbers = (getattr(self, name) for name in NUMBERS)
        if not all(map(math.isfinite, (*numbers, *self.background, *self.snr))):
            raise FormatError("a CTF of EMAN2 with numbers that are not finite")
        if self.voltage <= 0 or self.apix <= 0:
            raise FormatError(
                f"a CTF of EMAN2 with voltage {self.voltage:g} kV and {self.apix:g} Å per pixel: both must be positive"
            )
        return self

    def to_text(self) -> str:
        """The text form, as EMAN2 writes it: numbers in float32 with 10 digits, curves with 3."""
        numbers = " ".join(f"{np.float32(getattr(self, name)):.10g}" for name in NUMBERS)
        curves = (
            ",".join([str(len(curve)), *(f"{np.float32(v):.3g}" for v in curve)])
            for curve in (self.background, self.snr)
        )
        return f"E{numbers} {' '.join(curves)}"
