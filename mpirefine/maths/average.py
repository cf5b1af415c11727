"""Class sums: particles brought to the frame of their projection and added, as angular coefficients of their rings.

A class holds Σ w c X / σ² and Σ w c² / σ², so that several classes, halves or ranks add up, and their ratio is the average. Turning is a
phase on the coefficients and mirroring a conjugation: nothing is interpolated before the sums enter the volume.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.maths.ctf import contrast_transfer
from mpirefine.maths.polar import PolarGrid, angular_coefficients, half_circle


@dataclass(frozen=True)
class Placing:
    """How n particles lie on their projections: in-plane angle (radians), mirror, shift (n, 2) in pixels."""

    angle: np.ndarray
    mirror: np.ndarray
    shift: np.ndarray

    def take(self, rows) -> "Placing":
        return Placing(self.angle[rows], self.mirror[rows], self.shift[rows])


def to_projection(samples_nkt: np.ndarray, placing: Placing, grid: PolarGrid, orders: int) -> np.ndarray:
    """Angular coefficients (n, k, m = 0 .. orders − 1) complex64 of particles moved back to the frame of their projection."""
    x, y = grid.points[..., 0].astype(np.float32), grid.points[..., 1].astype(np.float32)
    move = (placing.shift * (2 * np.pi / grid.nx)).astype(np.float32)[:, :, None, None]
    phase = move[:, 0] * x + move[:, 1] * y
    ramp = np.empty(phase.shape, np.complex64)
    np.cos(phase, out=ramp.real)
    np.sin(phase, out=ramp.imag)
    ramp *= samples_nkt
    coefficients = angular_coefficients(ramp, axis=2)[..., :orders]
    order = np.arange(orders)
    turn = np.exp(-1j * order * placing.angle[:, None]).astype(np.complex64)
    coefficients *= turn[:, None]
    mirrored = np.flatnonzero(placing.mirror)
    coefficients[mirrored] = ((-1.0) ** order).astype(np.float32) * coefficients[mirrored].conj()
    return coefficients


def transfer_power_in_projection(ctf: CTFParams, placing: Placing, polar: PolarGrid, grid: Grid) -> np.ndarray:
    """c² (n, k, t) float32 on the half circle of the projection's frame: the axes of astigmatism turn with the particle."""
    turned = ctf.defocus_angle + np.degrees(placing.angle)
    turned = np.where(placing.mirror, -turned, turned)
    points = polar.points.reshape(-1, 2) / grid.length
    curve = contrast_transfer(replace(ctf, defocus_angle=turned), points[:, 0], points[:, 1])
    return (curve * curve).reshape(len(ctf), *polar.half_shape)


class ClassSums:
    """Sums of a block of classes, both halves: `signal` (c, 2, k, m) complex128 and `weight` (c, 2, k, t) float64."""

    def __init__(self, classes: int, polar: PolarGrid, orders: int):
        self.polar, self.orders = polar, orders
        rings, samples = polar.half_shape
        self.signal = np.zeros((classes, 2, rings, orders), np.complex128)
        self.weight = np.zeros((classes, 2, rings, samples))
        self.count = np.zeros((classes, 2))

    @staticmethod
    def bytes_per_class(polar: PolarGrid, orders: int) -> int:
        rings, samples = polar.half_shape
        return 2 * (rings * (16 * orders + 8 * samples) + 8)

    def add(self, where: np.ndarray, half: np.ndarray, share: np.ndarray, coefficients: np.ndarray, power: np.ndarray) -> None:
        """Add n particles: class in the block, half, weight, coefficients (n, k, m), and c²/σ² (n, k, t)."""
        for n, (c, h) in enumerate(zip(where.tolist(), half.tolist())):
            self.signal[c, h] += share[n] * coefficients[n]
            self.weight[c, h] += share[n] * power[n]
        np.add.at(self.count, (where, half), share)

    def samples(self, classes: slice | np.ndarray) -> np.ndarray:
        """Signal (c, 2, k, t) complex64 of some classes on the half circle, from the summed coefficients."""
        return half_circle(self.signal[classes].astype(np.complex64), 3, self.polar.n_angles)


def average_images(samples_ckt: np.ndarray, weight_ckt: np.ndarray, polar: PolarGrid, floor_k: np.ndarray) -> np.ndarray:
    """Class averages (c, y, x) float32 from polar sums: Wiener division, then the adjoint non-uniform FFT with ring areas as weights."""
    import finufft
    spectrum = samples_ckt / (weight_ckt + floor_k[:, None])
    spectrum = spectrum * (polar.quadrature / polar.half_shape[1])[:, None] / polar.nx ** 2
    x, y = (polar.points * (2 * np.pi / polar.nx)).reshape(-1, 2).T.astype(np.float32)
    images = np.empty((len(spectrum), polar.nx, polar.nx), np.float32)
    if len(images):
        plan = finufft.Plan(1, (polar.nx, polar.nx), n_trans=1, eps=1e-4, isign=1, dtype="complex64")
        plan.setpts(np.ascontiguousarray(y), np.ascontiguousarray(x))
        for image, values in zip(images, spectrum):
            image[:] = plan.execute(np.ascontiguousarray(values.reshape(-1), np.complex64)).real
    return images
