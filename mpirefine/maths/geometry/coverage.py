"""How evenly views sample the Fourier space of a map."""

from __future__ import annotations

import numpy as np

DIRECTIONS = 400  # of Fourier space
BAND = 5.0  # degrees; a projection counts for directions so close to its plane
LEAST_DENSITY = 0.1  # of that of even sampling; directions with less count as not covered


def half_sphere(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over a half sphere (Fibonacci spiral)."""
    z = (np.arange(count) + 0.5) / count
    around = np.arange(count) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(around), radius * np.sin(around), z], -1)


def fourier_coverage(views: np.ndarray, weight: np.ndarray, copies: np.ndarray) -> float:
    """Share of Fourier directions that get at least a tenth of what evenly spread views would give them.

    A projection fills the plane across its view. `views` (n, 3) are unit vectors in the map's frame, `weight` (n,) the
    particles of each, `copies` (o, 3, 3) symmetry operations. 0 without particles.
    """
    if not weight.sum():
        return 0.0
    used = weight > 0
    directions, sine = half_sphere(DIRECTIONS), np.sin(np.radians(BAND))
    density = np.zeros(DIRECTIONS)
    for copy in copies:
        density += (np.abs((views[used] @ copy) @ directions.T) < sine).T @ weight[used]
    return float(np.mean(density >= LEAST_DENSITY * sine * weight.sum() * len(copies)))
