"""Transforms of maps that are compared with several others: each map is transformed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpirefine.data.grid import Grid


@dataclass(frozen=True)
class MapSpectrum:
    """Half-spectrum (l, k, h) of a map and its power per rounded shell 0 .. nx // 2, float64."""

    transform: np.ndarray
    power: np.ndarray
    shells: np.ndarray  # shell of each coefficient, flat; the last one collects what lies beyond Nyquist
    weight: np.ndarray  # 2 where a coefficient stands for its Friedel mate too

    @classmethod
    def of(cls, map_zyx: np.ndarray) -> MapSpectrum:
        """Of a cubic map."""
        from scipy import fft

        nx = map_zyx.shape[0]
        shells = np.minimum(Grid(nx, 1.0).shells(3), nx // 2 + 1).ravel()
        transform = fft.rfftn(map_zyx)
        weight = np.full(transform.shape, 2.0)
        weight[..., 0] = 1
        if nx % 2 == 0:
            weight[..., -1] = 1
        power = _shell_totals(np.abs(transform).astype(np.float64) ** 2, shells, weight)
        return cls(transform, power, shells, weight)

    def fsc(self, other: MapSpectrum) -> np.ndarray:
        """Correlation with another map per shell; 0 where one of them is empty."""
        cross = _shell_totals((self.transform * other.transform.conj()).real, self.shells, self.weight)
        power = np.sqrt(self.power * other.power)
        return np.where(power > 0, cross / np.where(power > 0, power, 1), 0.0)


def _shell_totals(values: np.ndarray, shells: np.ndarray, weight: np.ndarray) -> np.ndarray:
    last = values.shape[0] // 2
    return np.bincount(shells, (values * weight).ravel(), last + 2)[: last + 1]


def fsc_matrix(maps_mzyx: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """(m, m, k) FSC of every map with every map."""
    spectra = [MapSpectrum.of(volume) for volume in maps_mzyx]
    return np.array([[a.fsc(b) for b in spectra] for a in spectra])
