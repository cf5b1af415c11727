"""Step: slabs of sums to half-maps and maps: Wiener division, distributed inverse FFT, kernel correction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.distribution import reduce
from mpirefine.maths.fourier.fsc import first_uncertain, fsc, randomise_phases, without_mask_effect
from mpirefine.maths.likelihood.fourier_volume import (
    crop_axis,
    divide,
    kernel_correction,
    radial_index,
    shell_sums,
)
from mpirefine.steps.likelihood.average import PAD
from mpirefine.steps.state import Context, State

HALF_FLOOR = (
    0.1  # Wiener floor of half-maps, as a share of the shell's mean weight: keeps unsampled corners from exploding
)
LEAST_FSC = 1e-3


def inverse_transform(ctx: Context, spectrum_lkh: np.ndarray, box: int) -> np.ndarray | None:
    """Collective. Map (z, y, x) float32 on rank 0 from kz slabs of a padded half-spectrum, cropped to the particles'
    box.

    Along ky in the slab, cropped; then an Alltoall gives every rank all kz of some rows y; then along kz and kx.
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


class Reconstruct:
    """Two half-maps and one map of every model; the map's Wiener weight comes from the half-maps' FSC."""

    name = "reconstruct"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        slab, shells = state.slab, ctx.grid.nx // 2
        radius = radial_index(slab.box, slab.block, PAD)
        maps, halves, lone = [], [], []
        told: dict[str, list[np.ndarray]] = {}
        for m in range(ctx.models):
            weight = [slab.weight(m, h) for h in (0, 1)]
            numerator = [slab.numerator(m, h) for h in (0, 1)]
            sums = np.stack([shell_sums(w, radius, shells) for w in weight])
            reduce.sum_in_place(ctx.team, sums)
            mean = sums[:, 0] / np.maximum(sums[:, 1], 1)
            lone += [(m, h) for h in (0, 1) if not sums[h, 0].any() and sums[1 - h, 0].any()]
            pair = [
                inverse_transform(ctx, divide(numerator[h], weight[h], radius, HALF_FLOOR * mean[h]), slab.box)
                for h in (0, 1)
            ]
            if ctx.team.is_root:
                for name, values in half_curves(
                    pair, ctx.mask_of(m), np.random.default_rng([ctx.options.seed, state.iteration, m])
                ).items():
                    told.setdefault(name, []).append(values)
            curve = reduce.bcast_array(ctx.team, told["half_fsc"][m] if ctx.team.is_root else None)
            known = np.clip(supported(curve, state.rings[m])[:shells], LEAST_FSC, 1 - LEAST_FSC)
            floor = mean.sum(axis=0) * (1 - known) / (2 * known) / ctx.options.tau2_fudge
            whole = inverse_transform(
                ctx, divide(numerator[0] + numerator[1], weight[0] + weight[1], radius, floor), slab.box
            )
            maps.append(whole)
            halves.append(pair)
        root = ctx.team.is_root
        return replace(
            state,
            previous=state.volumes,
            volumes=np.stack(maps) if root else None,
            halves=np.array(halves) if root else None,
            slab=None,
            summary=dict(state.summary, one_half=lone),
            curves=dict(state.curves, **{name: np.array(values) for name, values in told.items()}),
        )


def supported(curve: np.ndarray, rings: int) -> np.ndarray:
    """A half-map FSC (shell,) to filter by; where it is not known (nan), since one half is empty, what was matched is
    taken to be half signal.
    """
    return np.where(np.isnan(curve), np.where(np.arange(len(curve)) <= rings, 0.5, 0.0), curve)


def half_curves(pair: list[np.ndarray], mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """FSC (shell,) of two half-maps: unmasked, masked, masked with random phases, and what is left without the mask's
    own part.

    All are nan where one of the two is empty: there is nothing to compare the other with, which does not say that it
    shows nothing.
    """
    if pair[0].any() != pair[1].any():
        unknown = np.full(len(pair[0]) // 2 + 1, np.nan)
        return {name: unknown for name in ("half_fsc_unmasked", "half_fsc_masked", "half_fsc_randomised", "half_fsc")}
    plain = np.nan_to_num(fsc(*pair))
    first = first_uncertain(plain)
    masked = np.nan_to_num(fsc(*(half * mask for half in pair)))
    randomised = np.nan_to_num(fsc(*(randomise_phases(half, first, rng) * mask for half in pair)))
    return {
        "half_fsc_unmasked": plain,
        "half_fsc_masked": masked,
        "half_fsc_randomised": randomised,
        "half_fsc": without_mask_effect(masked, randomised, first),
    }
