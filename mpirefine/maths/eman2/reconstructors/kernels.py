"""How a Fourier coefficient is shared out to the neighbours of its place in the map's transform, as in EMAN2."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mpirefine.maths.eman2.reconstructors.gridding_kernels import (
    derived_shares,
    gridding_shares,
    kaiser_bessel_shares,
)

TABLE = np.exp(-np.arange(1 << 12) / 50)  # EMAN2 looks its exponentials up in steps of 1/50
WIDTH_2, WIDTH_3, WIDTH_5 = 4 / np.pi**2, 6.4 / np.pi**2, 10.4 / np.pi**2


class Kernel(NamedTuple):
    """`size` neighbours on each axis from floor(place - before) on get a share, exp(-d^2 / width) at distance d."""

    size: int
    before: float
    width: Callable[[np.ndarray], np.ndarray] | None  # from the radius of places; None: trilinear, or the nearest alone
    normalised: bool = False  # the shares are divided by about their sum, which depends on the width
    values: Callable[[np.ndarray, int], np.ndarray] | None = None  # shares of values, while weights get 1 each


KERNELS = {
    "nearest_neighbor": Kernel(1, -0.5, None),
    "trilinear": Kernel(2, 0.0, None),
    "gauss_2": Kernel(2, 0.0, lambda radius: np.full_like(radius, WIDTH_2)),
    "gauss_3": Kernel(3, 0.5, lambda radius: (8 + radius) * WIDTH_3 / 32, normalised=True),
    "gauss_5": Kernel(6, 2.5, lambda radius: np.full_like(radius, WIDTH_5)),
    "gauss_var": Kernel(6, 2.5, lambda radius: np.minimum(radius**2 / 4000 + 0.15, 10)),
    "gridding_5": Kernel(5, 1.5, None, values=gridding_shares),
    "gridding_7": Kernel(7, 2.5, None, values=gridding_shares),
    "kaiser_bessel": Kernel(5, 2.0, None, values=kaiser_bessel_shares),
    "kaiser_bessel_derived": Kernel(9, 4.0, None, values=derived_shares),
}
KERNELS["experimental"] = KERNELS["gauss_2"]  # in EMAN2 it also writes files of single coefficients


def neighbour_shares(
    kernel: Kernel, box: int, where: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The neighbours of places (m, 3) x, y, z, in voxels of a transform (z, y, x // 2 + 1) with its origin at the
    corner.

    Returns their flat indices (x, y, z neighbours, m) as one axis, whether the Friedel mate is stored in their place (x
    neighbours, m), and the shares (x, y, z neighbours, m) of values and of weights, which most kernels have in common.
    """
    size, before, width, normalised, values = kernel
    first = np.floor(where.T - before)
    place = (first[:, None] + np.arange(size)[:, None]).astype(np.int64)
    away = place - where.T[:, None]
    share = outer((np.abs(place) <= box // 2).astype(np.float64), np.multiply)
    if width is not None:
        radius = np.linalg.norm(where, axis=1)
        share *= exponential(outer(away**2, np.add) / width(radius))
        if normalised:
            share /= np.array([1, 6, 12, 8]) @ exponential(np.arange(4)[:, None] / width(radius))
    elif size > 1 and values is None:
        share *= outer(1 - np.abs(away), np.multiply)
    mate = place[0] < 0
    y, z = (np.where(mate[:, None], -at, at) % box for at in place[1:])
    x = np.minimum(np.abs(place[0]), box // 2)
    index = x[:, None, None] + (box // 2 + 1) * (y[:, :, None] + box * z[:, None])
    return index.reshape(-1), mate, share if values is None else share * values(away, box), share


def exponential(minus: np.ndarray) -> np.ndarray:
    """exp(-minus), `minus` rounded to 1/50 as in EMAN2's table."""
    return TABLE[np.minimum((minus * 50 + 0.5).astype(np.int64), len(TABLE) - 1)]


def outer(axes: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """Values (3, neighbours, m) of the neighbours on each axis, combined to (x, y, z neighbours, m)."""
    return combine(combine(axes[0][:, None, None], axes[1][:, None]), axes[2])
