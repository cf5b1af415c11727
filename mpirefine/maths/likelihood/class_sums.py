"""Class sums: particles brought to the frame of their projection and added up, as samples on Fourier rings.

A class has Σ w c X / σ² and Σ w c² / σ² (w weight, c CTF, X transform of the image, σ² noise power), so that classes,
halves and ranks can be added; the ratio is the class average. Turning is a phase on the angular coefficients of the
rings, mirroring a conjugation: nothing is interpolated before the sums are inserted into the volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpirefine.data.ctf import CTFParams
from mpirefine.data.grid import Grid
from mpirefine.data.poses import InPlanePoses
from mpirefine.maths.fourier.polar import PolarGrid, angular_band, angular_coefficients, half_circle
from mpirefine.maths.image.ctf import contrast_transfer

IMAGE_BATCH, IMAGE_ACCURACY = 16, 1e-3  # of class averages, which are only looked at


@dataclass(frozen=True)
class RingSamples:
    """The samples of half circles that class sums hold: `kept` (k, t) bool of those of a polar grid."""

    polar: PolarGrid
    kept: np.ndarray

    @classmethod
    def for_content(cls, polar: PolarGrid, radius: float, full_radius: float) -> RingSamples:
        """As many as content within these radii (pixels) needs: inner rings have few angular orders, for which every
        2nd, 4th or 8th sample is enough.

        The rule is that of `PolarGrid.for_content`, for each ring by itself.
        """
        kept, (rings, samples) = np.zeros(polar.half_shape, bool), polar.half_shape
        for k in range(rings):
            least = angular_band(polar.nx, polar.radii[k], radius) + angular_band(polar.nx, polar.radii[k], full_radius)
            step = max(s for s in (1, 2, 4, 8) if samples % s == 0 and (s == 1 or 2 * samples // s >= least))
            kept[k, ::step] = True
        return cls(polar, kept)

    def __len__(self) -> int:
        return int(self.kept.sum())

    @cached_property
    def ring(self) -> np.ndarray:
        """Row of the polar grid (s,) that each sample is on."""
        return np.nonzero(self.kept)[0]

    @cached_property
    def points(self) -> np.ndarray:
        """Coordinates x, y (s, 2) in Fourier pixels."""
        return self.polar.points[self.kept]

    @cached_property
    def area(self) -> np.ndarray:
        """Fourier pixels (s,) that each sample stands for."""
        return (self.polar.quadrature / self.kept.sum(axis=1))[self.ring]

    @property
    def bytes_per_class(self) -> int:
        """Memory of the sums of one class."""
        return 2 * (24 * len(self) + 8)


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
    """Sums of a block of classes, for both halves: `signal` (c, 2, s) complex128, `weight` (c, 2, s) float64, `count`
    (c, 2).
    """

    def __init__(self, classes: int, samples: RingSamples):
        self.samples = samples
        self.signal = np.zeros((classes, 2, len(samples)), np.complex128)
        self.weight = np.zeros((classes, 2, len(samples)))
        self.count = np.zeros((classes, 2))

    def add(
        self, where: np.ndarray, half: np.ndarray, share: np.ndarray, samples: np.ndarray, power: np.ndarray
    ) -> None:
        """Add n particles in place: class `where` in the block, half, weight `share`, samples (n, k, t) in the frame of
        the projection, and `power` c²/σ² (n, k, t).
        """
        kept = self.samples.kept
        for n, (c, h) in enumerate(zip(where.tolist(), half.tolist())):
            self.signal[c, h] += share[n] * samples[n][kept]
            self.weight[c, h] += share[n] * power[n][kept]
        np.add.at(self.count, (where, half), share)


def average_images(
    signal_cs: np.ndarray, weight_cs: np.ndarray, samples: RingSamples, floor_k: np.ndarray
) -> np.ndarray:
    """Class averages (c, y, x) float32 from sums: Wiener division with `floor_k` added to the weights of each ring,
    then the adjoint non-uniform FFT with the samples' areas as weights.
    """
    import finufft

    nx = samples.polar.nx
    spectrum = signal_cs / (weight_cs + floor_k[samples.ring])
    spectrum = spectrum * samples.area / nx**2
    x, y = (samples.points * (2 * np.pi / nx)).T.astype(np.float32)
    images = np.empty((len(spectrum), nx, nx), np.float32)
    if len(images):
        batch = min(IMAGE_BATCH, len(images))
        plan = finufft.Plan(1, (nx, nx), n_trans=batch, eps=IMAGE_ACCURACY, isign=1, dtype="complex64")
        plan.setpts(np.ascontiguousarray(y), np.ascontiguousarray(x))
        values = np.zeros((batch, x.size), np.complex64)
        for start in range(0, len(images), batch):
            part = spectrum[start : start + batch]
            values[: len(part)] = part
            images[start : start + batch] = plan.execute(values).real.reshape(batch, nx, nx)[: len(part)]
    return images
