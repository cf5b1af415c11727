"""Maps of one model from slabs of Fourier sums: Wiener filter, distributed inverse FFT, half-maps and their FSC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpirefine.distribution import reduce
from mpirefine.maths.fourier.half_maps import known_fsc
from mpirefine.maths.likelihood.fourier_volume import Slab, divide, shell_sums
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.likelihood.volumes.slabs import inverse_transform
from mpirefine.steps.shared.maps import half_map_curves, impose_on_root, settle_helix, symmetries_of
from mpirefine.steps.state import Context
from mpirefine.steps.summary import RefinedHelix

# added to the weights of half-maps, as a share of the shell's mean weight: limits noise where there are few samples
HALF_FLOOR = 0.1
LEAST_FSC = 1e-3  # the FSC in the Wiener filter is kept this far from 0 and 1


@dataclass(frozen=True)
class ReconstructedMap:
    """The map of one model, its half-maps and their FSC; maps and curves are on rank 0."""

    volume: np.ndarray | None  # (z, y, x)
    halves: list[np.ndarray | None]  # (z, y, x) each
    curves: Mapping[str, np.ndarray]  # (k,) by name
    lone_halves: list[tuple[int, int]]  # as in Summary, on all ranks
    helix: RefinedHelix | None = None  # as in Summary, on all ranks


def reconstruct_map(
    model: int, place: int, state: LikelihoodState, slab: Slab, radius: np.ndarray, ctx: Context
) -> ReconstructedMap:
    """Collective. Wiener-filtered map and half-maps of one model, whose sums are at `place` in the slab.

    The prior power is `tau2_fudge` times the signal power that follows from the half-maps' FSC (Scheres 2012).
    `radius` is the shell of each voxel of the own slab. Of a helix all maps get the symmetry of their central part.
    """
    weight = [slab.weight(place, h) for h in (0, 1)]
    numerator = [slab.numerator(place, h) for h in (0, 1)]
    shells = ctx.grid.nx // 2
    sums = np.stack([shell_sums(w, radius, shells) for w in weight])
    reduce.sum_in_place(ctx.team, sums)
    mean = sums[:, 0] / np.maximum(sums[:, 1], 1)
    lone_halves = [(model, h) for h in (0, 1) if not sums[h, 0].any() and sums[1 - h, 0].any()]
    half_maps = []
    for h in (0, 1):
        divided = divide(numerator[h], weight[h], radius, HALF_FLOOR * mean[h])
        half_maps.append(inverse_transform(ctx, divided, slab.box))
    symmetry, refined = settle_helix(model, half_maps, symmetries_of(state, ctx)[model], state, ctx)
    half_maps = [impose_on_root(half, symmetry, ctx) for half in half_maps]
    curves: dict[str, np.ndarray] = {}
    if half_maps[0] is not None and half_maps[1] is not None:
        curves = half_map_curves((half_maps[0], half_maps[1]), model, state, ctx)
    curve = reduce.bcast_array(ctx.team, curves["half_fsc"] if ctx.team.is_root else None)
    known = np.clip(known_fsc(curve, state.last_rings[model])[:shells], LEAST_FSC, 1 - LEAST_FSC)
    floor = mean.sum(axis=0) * (1 - known) / (2 * known) / ctx.settings.tau2_fudge
    whole = divide(numerator[0] + numerator[1], weight[0] + weight[1], radius, floor)
    volume = impose_on_root(inverse_transform(ctx, whole, slab.box), symmetry, ctx)
    return ReconstructedMap(volume, half_maps, curves, lone_halves, refined)
