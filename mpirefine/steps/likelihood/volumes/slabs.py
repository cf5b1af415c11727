"""The padded Fourier volume in slabs of kz planes: insertion of class sums, and the transform back to a map."""

from __future__ import annotations

import numpy as np

from mpirefine.data.partition import Block, Partition
from mpirefine.distribution import reduce
from mpirefine.maths.geometry.symmetry import copies_in_box
from mpirefine.maths.likelihood.class_sums import ClassSums
from mpirefine.maths.likelihood.fourier_volume import Slab, crop_axis, kernel_correction
from mpirefine.steps.shared.maps import symmetries_of
from mpirefine.steps.state import Context, State

PAD = 2  # edge of the Fourier volume in boxes: trilinear insertion needs twice the box
# samples inserted together, at least: adding them costs a pass over the slab, so they are not fewer than a share of it
INSERT_SAMPLES = 1 << 18
SLAB_SHARE = 16  # a sixteenth of the slab's voxels
FLOP_PER_SAMPLE = 8 * 6 * 2  # multiply and add six numbers at eight voxels


def padded_box(nx: int) -> int:
    """Edge of the padded Fourier volume of a box of `nx` pixels."""
    return PAD * nx


def insert(sums: ClassSums, block: Block, state: State, ctx: Context, slab: Slab) -> None:
    """Insert the summed classes of a block into the own slab, in place, under each symmetry operation of their map."""
    samples, area = sums.samples, sums.samples.area.astype(np.float32)
    points = np.concatenate([samples.points, np.zeros((len(samples), 1))], -1) * PAD
    step = max(1, max(INSERT_SAMPLES, slab.sums.shape[1] // SLAB_SHARE) // len(points))
    filled = np.flatnonzero(sums.count.sum(axis=1) > 0)
    model = state.orientations.model[block.as_slice][filled]
    for m, symmetry in enumerate(symmetries_of(state, ctx)):
        copies = copies_in_box(symmetry, ctx.grid.nx, ctx.grid.apix)
        for group in np.array_split(filled[model == m], -(-int((model == m).sum()) // step) or 1):
            if not len(group):
                continue
            values = (sums.signal[group] * area).astype(np.complex64).transpose(1, 0, 2).reshape(2, -1)
            weights = (sums.weight[group] * area).astype(np.float32).transpose(1, 0, 2).reshape(2, -1)
            positions = points @ state.orientations.rotation[block.start + group]
            for turn, shift, share in zip(*copies):
                place = (positions.reshape(-1, 3) @ turn).astype(np.float32)
                moved = values if not shift else values * shift_along_axis(place, shift, slab.box)
                done = slab.insert(m, place, share * moved, share * weights)
                ctx.clock.count(FLOP_PER_SAMPLE * done)


def shift_along_axis(place: np.ndarray, shift: float, box: int) -> np.ndarray:
    """Phases (n,) complex64 that bring what lies `shift` voxels along z into place, at points (n, 3) of the padded
    spectrum of a `box`.

    With V(M x + t) = V(x) the transform at Mᵀ q is that at q times exp(i (Mᵀ q) · t).
    """
    return np.exp((2j * np.pi * shift / box) * place[:, 2]).astype(np.complex64)


def inverse_transform(ctx: Context, spectrum_lkh: np.ndarray, box: int) -> np.ndarray | None:
    """Collective. A map (z, y, x) float32 on rank 0, in the particles' box, from slabs of a padded half-spectrum.

    Each rank transforms its planes along ky and crops them; an exchange gives it all kz of some rows y; then it
    transforms along kz and kx.
    """
    from scipy import fft

    nx, team = ctx.grid.nx, ctx.team
    planes, rows = Partition.even(box, team.size), Partition.even(nx, team.size)
    partial = crop_axis(fft.ifft(spectrum_lkh, axis=1), 1, nx)
    received = reduce.exchange(team, [np.ascontiguousarray(partial[:, part.as_slice]) for part in rows])
    mine = rows[team.rank]
    columns = np.concatenate([r.reshape(planes[i].size, mine.size, box // 2 + 1) for i, r in enumerate(received)])
    columns = crop_axis(fft.ifft(columns, axis=0), 0, nx)
    real = crop_axis(fft.irfft(columns, n=box, axis=2), 2, nx)
    gathered = reduce.gather_rows(team, np.ascontiguousarray(real.transpose(1, 0, 2), np.float32), rows)
    if gathered is None:
        return None
    axis = kernel_correction(nx, box)
    return (gathered.transpose(1, 0, 2) / (axis[:, None, None] * axis[:, None] * axis)).astype(np.float32)
