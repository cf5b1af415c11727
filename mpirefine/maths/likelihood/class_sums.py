"""Class sums: particles brought to the frame of their projection and added up, as samples on Fourier rings.

A class has Σ w c X / σ² and Σ w c² / σ² (w weight, c CTF, X transform of the image, σ² noise power), so that classes,
halves and ranks can be added; the ratio is the class average. Turning is a phase on the angular coefficients of the
rings, mirroring a conjugation: nothing is interpolated before the sums are inserted into the volume.
"""

from __future__ import annotations

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.poses import InPlanePoses
from mpirefine.maths.fourier.polar import PolarGrid, angular_band, angular_coefficients, half_circle
from mpirefine.maths.image.ctf import contrast_transfer

IMAGE_BATCH, IMAGE_ACCURACY = 16, 1e-3  # of class averages, which are only looked at


def sparse_rings(polar: PolarGrid, radius: float, full_radius: float) -> np.ndarray:
    """Which half-circle samples (k, t) are needed, bool: inner rings have few angular orders, for which every 2nd, 4th
    or 8th sample is enough.

    The rule is that of `PolarGrid.for_content`, for each ring by itself; radii are in pixels.
    """
    keep, (rings, samples) = np.zeros(polar.half_shape, bool), polar.half_shape
    for k in range(rings):
        least = angular_band(polar.nx, polar.radii[k], radius) + angular_band(polar.nx, polar.radii[k], full_radius)
        step = max(s for s in (1, 2, 4, 8) if samples % s == 0 and (s == 1 or 2 * samples // s >= least))
        keep[k, ::step] = True
    return keep


def to_projection(samples_nkt: np.ndarray, poses: InPlanePoses, grid: PolarGrid, orders: int) -> np.ndarray:
    """Half-circle samples (n, k, t) complex64 of particles, brought to the frame of their projections; only angular
    orders below `orders` are kept.
    """
    x, y = grid.points[..., 0].astype(np.float32), grid.points[..., 1].astype(np.float32)
    move = (poses.shift * (2 * np.pi / grid.nx)).astype(np.float32)[:, :, None, None]
    phase = move[:, 0] * x + move[:, 1] * y
    ramp = np.empty(phase.shape, np.complex64)
    np.cos(phase, out=ramp.real)
    np.sin(phase, out=ramp.imag)
    ramp *= samples_nkt
    coefficients = angular_coefficients(ramp, axis=2)[..., :orders]
    order = np.arange(orders)
    turn = np.exp(-1j * order * poses.angle[:, None]).astype(np.complex64)
    coefficients *= turn[:, None]
    mirrored = np.flatnonzero(poses.mirror)
    coefficients[mirrored] = ((-1.0) ** order).astype(np.float32) * coefficients[mirrored].conj()
    return half_circle(coefficients, 2, grid.n_angles)


def transfer_power_in_projection(ctf: CTFParams, poses: InPlanePoses, polar: PolarGrid, grid: Grid) -> np.ndarray:
    """CTF² (n, k, t) float32 on the half circle, in the frame of the projections: the axes of astigmatism and of even
    aberrations turn with the particle.
    """
    points = polar.points.reshape(-1, 2) / grid.length
    curve = contrast_transfer(ctf, points[:, 0], points[:, 1], turn=poses.angle, mirror=poses.mirror)
    return (curve * curve).reshape(len(ctf), *polar.half_shape)


class ClassSums:
    """Sums of a block of classes, for both halves: `signal` (c, 2, k, t) complex128, `weight` (c, 2, k, t) float64,
    `count` (c, 2).
    """

    def __init__(self, classes: int, polar: PolarGrid):
        self.polar = polar
        self.signal = np.zeros((classes, 2, *polar.half_shape), np.complex128)
        self.weight = np.zeros((classes, 2, *polar.half_shape))
        self.count = np.zeros((classes, 2))

    @staticmethod
    def bytes_per_class(polar: PolarGrid) -> int:
        """Memory of one class."""
        return 2 * (24 * polar.half_shape[0] * polar.half_shape[1] + 8)

    def add(
        self, where: np.ndarray, half: np.ndarray, share: np.ndarray, samples: np.ndarray, power: np.ndarray
    ) -> None:
        """Add n particles in place: class `where` in the block, half, weight `share`, samples (n, k, t) in the frame of
        the projection, and `power` c²/σ² (n, k, t).
        """
        for n, (c, h) in enumerate(zip(where.tolist(), half.tolist())):
            self.signal[c, h] += share[n] * samples[n]
            self.weight[c, h] += share[n] * power[n]
        np.add.at(self.count, (where, half), share)


def average_images(
    samples_ckt: np.ndarray, weight_ckt: np.ndarray, polar: PolarGrid, floor_k: np.ndarray
) -> np.ndarray:
    """Class averages (c, y, x) float32 from polar sums: Wiener division with `floor_k` added to the weights, then the
    adjoint non-uniform FFT with ring areas as weights.
    """
    import finufft

    spectrum = samples_ckt / (weight_ckt + floor_k[:, None])
    spectrum = spectrum * (polar.quadrature / polar.half_shape[1])[:, None] / polar.nx**2
    x, y = (polar.points * (2 * np.pi / polar.nx)).reshape(-1, 2).T.astype(np.float32)
    images = np.empty((len(spectrum), polar.nx, polar.nx), np.float32)
    if len(images):
        batch = min(IMAGE_BATCH, len(images))
        plan = finufft.Plan(1, (polar.nx, polar.nx), n_trans=batch, eps=IMAGE_ACCURACY, isign=1, dtype="complex64")
        plan.setpts(np.ascontiguousarray(y), np.ascontiguousarray(x))
        values = np.zeros((batch, x.size), np.complex64)
        for start in range(0, len(images), batch):
            part = spectrum[start : start + batch]
            values[: len(part)] = part.reshape(len(part), -1)
            images[start : start + batch] = plan.execute(values).real.reshape(batch, polar.nx, polar.nx)[: len(part)]
    return images
