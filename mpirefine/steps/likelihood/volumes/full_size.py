"""Maps at the particles' own size: one pass over the images as they were recorded, with final poses and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from mpirefine.data.grid import Grid
from mpirefine.data.lens import Lens
from mpirefine.data.partition import Block, Partition
from mpirefine.distribution import reduce
from mpirefine.maths.fourier.filters import resample
from mpirefine.maths.geometry.symmetry import Copies, copies_in_box
from mpirefine.maths.image.masks import soft_sphere
from mpirefine.maths.likelihood.central_slices import in_plane
from mpirefine.maths.likelihood.fourier_volume import Slab, fold, radial_index
from mpirefine.maths.likelihood.image_samples import ImageSamples
from mpirefine.steps.likelihood.estimates.full_size_noise import noise_on
from mpirefine.steps.likelihood.state import LikelihoodState
from mpirefine.steps.likelihood.turner import Contributions
from mpirefine.steps.likelihood.volumes.slabs import PAD, padded_box, shift_along_axis
from mpirefine.steps.likelihood.volumes.wiener import reconstruct_map
from mpirefine.steps.shared.maps import DISC_DIMENSIONS, DISC_EDGE, solvent_mask, symmetries_of
from mpirefine.steps.state import Context, FullMap, amplitude

SLAB_BYTES = 512 << 20  # of a rank: as many maps as fit are made in one pass over the images
# a sample on its way to the rank that owns its voxels: x, y, z in the padded volume, real and imaginary part, weight
SAMPLE_NUMBERS = 6


def full_size_maps(state: LikelihoodState, ctx: Context, grid: Grid) -> Iterator[FullMap]:
    """Collective. Each final map, in order, on `grid`; volumes and curves are on rank 0.

    A rank holds its slabs of the maps of one pass, and a few images. Scales and noise are those of the last iteration;
    beyond the rings of the working grid the noise is measured outside the particles.
    """
    box = padded_box(grid.nx)
    noise = {own: noise_on(state, ctx, own) for own in dict.fromkeys(lens.grid for lens in ctx.particles.lenses)}
    for part in maps_of_passes(ctx, box):
        slab = Slab(box, Partition.even(box, ctx.team.size)[ctx.team.rank], part.size)
        insert_particles(state, ctx, FullSize(grid, slab, part, noise))
        yield from finished(state, ctx, grid, slab, part)


def maps_of_passes(ctx: Context, box: int) -> Iterator[Block]:
    """The maps that are made together: as many as fit into SLAB_BYTES."""
    most = max(Partition.even(box, ctx.team.size).counts) * box * (box // 2 + 1)
    return Block(0, ctx.models).chunks(max(1, SLAB_BYTES // (4 * SAMPLE_NUMBERS * most)))


class FullSize:
    """What a pass inserts into: the own `slab` of the maps `part` on `grid`; `noise` (g, k) of images on each of their
    grids.
    """

    def __init__(self, grid: Grid, slab: Slab, part: Block, noise: Mapping[Grid, np.ndarray]):
        self.grid, self.slab, self.part, self.noise = grid, slab, part, noise
        self._last: ImageSamples | None = None
        self._copies: dict[str, Copies] = {}

    def samples(self, ctx: Context, lens: Lens) -> ImageSamples:
        """The samples of images of a lens, which is most often that of the images before."""
        if self._last is None or self._last.lens is not lens:
            self._last = ImageSamples(lens, self.grid, disc_of_lens(ctx, lens))
        return self._last

    def copies(self, symmetry: str) -> Copies:
        """The copies of a map of this symmetry in its box."""
        if symmetry not in self._copies:
            self._copies[symmetry] = copies_in_box(symmetry, self.grid.nx, self.grid.apix)
        return self._copies[symmetry]


def insert_particles(state: LikelihoodState, ctx: Context, full: FullSize) -> None:
    """Collective. Add every image to the maps of a pass, in the order of the files; slabs are changed in place."""
    pairs = Contributions.of(state)
    model = state.orientations.model[pairs.reference]
    pairs = pairs.take(np.flatnonzero((model >= full.part.start) & (model < full.part.stop)))
    chunks = ctx.particles.in_order_of_files(np.unique(pairs.particle))
    rounds = max(ctx.team.allgather(len(chunks)))
    owners = Partition.even(full.slab.box, ctx.team.size)
    with ctx.particles.passing(), ctx.progress(rounds, "full-size maps") as bar:
        for number in range(rounds):
            with ctx.team.together("reading particles"):
                own = samples_of(state, ctx, full, pairs, chunks[number]) if number < len(chunks) else {}
            for target in range(2 * full.part.size):
                samples = own.get(target, np.zeros((0, SAMPLE_NUMBERS), np.float32))
                for received in delivered(ctx, samples, owners):
                    full.slab.add(target // 2, target % 2, received[:, :3], received[:, 3:])
            bar.update(1)


def samples_of(
    state: LikelihoodState, ctx: Context, full: FullSize, pairs: Contributions, rows: np.ndarray
) -> dict[int, np.ndarray]:
    """Samples (n, 6) of own `rows` of one lens by target, 2 · (map of the pass) + half-set; InputError when the images
    cannot be read.
    """
    lens = ctx.particles.lens(rows)
    samples, noise = full.samples(ctx, lens), full.noise[lens.grid][ctx.particles.table.group[rows]]
    strength = amplitude(state, ctx, rows) * grey_factor(ctx.grid, lens.grid, full.grid)
    values, weights = samples.of_images(ctx.particles.recorded(rows), ctx.particles.ctf(rows), strength, noise)
    pairs = pairs.take(np.flatnonzero(np.isin(pairs.particle, rows)))
    views, place_of_row = views_of(state, ctx, pairs), {row: at for at, row in enumerate(rows.tolist())}
    found: dict[int, list[np.ndarray]] = {}
    symmetries = symmetries_of(state, ctx)
    for pair in range(len(pairs.particle)):
        particle, place, reference = pairs.particle[pair], pairs.place[pair], pairs.reference[pair]
        at = place_of_row[particle]
        model, share = state.orientations.model[reference], state.assignments.weight[particle, place]
        value = share * samples.moved_back(values[at], state.candidates.shift[particle, place] * ctx.grid.apix)
        weight = share * weights[at]
        target = 2 * (int(model) - full.part.start) + int(state.half[particle])
        for turn, shift, held in zip(*full.copies(symmetries[model])):
            points = (samples.points * PAD) @ views[pair] @ turn
            moved = value if not shift else value * shift_along_axis(points, shift, full.slab.box)
            numbers = held * np.stack([moved.real, moved.imag, weight], axis=1)
            found.setdefault(target, []).append(folded(points, numbers))
    return {target: np.concatenate(parts) for target, parts in found.items()}


def views_of(state: LikelihoodState, ctx: Context, pairs: Contributions) -> np.ndarray:
    """Rotations (n, 3, 3) from map to image; with --fixed-poses those of the particle file themselves, and not of the
    projections nearest to them.
    """
    if ctx.settings.fixed_poses:
        return ctx.particles.given_poses.rotation[pairs.particle]
    at = pairs.particle, pairs.place
    return in_plane(
        state.orientations.rotation[pairs.reference], state.candidates.angle[at], state.candidates.mirror[at]
    )


def folded(positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Samples (n, 6) in the half of the volume that is stored."""
    positions, source, mate = fold(positions.astype(np.float32))
    numbers = numbers[source]
    numbers[mate, 1] *= -1
    return np.concatenate([positions, numbers], axis=1, dtype=np.float32)


def delivered(ctx: Context, samples: np.ndarray, owners: Partition) -> list[np.ndarray]:
    """Collective. The samples (n, 6) of all ranks that touch own planes of the volume."""
    if ctx.team.size == 1:
        return [samples]
    box = owners.n
    lower = np.floor(samples[:, 2]).astype(np.int64) % box
    stops = np.array([block.stop for block in owners])
    first, second = (np.searchsorted(stops, plane, side="right") for plane in (lower, (lower + 1) % box))
    both = np.flatnonzero(first != second)
    rank = np.concatenate([first, second[both]])
    order = np.argsort(rank, kind="stable")
    sent = samples[np.concatenate([np.arange(len(samples)), both])[order]]
    bounds = np.searchsorted(rank[order], np.arange(ctx.team.size + 1))
    return reduce.exchange(ctx.team, [sent[start:stop] for start, stop in zip(bounds[:-1], bounds[1:])])


def disc_of_lens(ctx: Context, lens: Lens) -> np.ndarray:
    """(y, x) soft disc in images of a lens that covers the particle at any allowed shift."""
    radius = ctx.plan.full_radius * ctx.grid.apix / lens.grid.apix
    return soft_sphere(lens.grid.nx, radius, DISC_EDGE * ctx.grid.apix / lens.grid.apix, DISC_DIMENSIONS)


def grey_factor(working: Grid, recorded: Grid, full: Grid) -> float:
    """Grey scale of a map on the grid `full` in `recorded` images, relative to that of the map on the `working` grid in
    the same images there: transforms are sums over pixels and voxels.
    """
    return full.apix**3 / (working.apix * recorded.apix**2)


def finished(state: LikelihoodState, ctx: Context, grid: Grid, slab: Slab, part: Block) -> Iterator[FullMap]:
    """Collective. The maps of a pass from their sums, one after the other."""
    radius = radial_index(slab.box, slab.block, PAD)
    for place, model in enumerate(range(part.start, part.stop)):
        mask = None
        with ctx.team.together("the mask of a full-size map"):
            if ctx.team.is_root:
                mask = np.clip(resample(ctx.mask_of(model), ctx.grid, grid), 0, 1)
        settings = replace(ctx.settings, helical_search=False)
        full = replace(ctx, grid=grid, masks=None if mask is None else mask[None], settings=settings)
        made = reconstruct_map(model, place, state, slab, radius, full)
        first, second = made.halves
        if made.volume is None or first is None or second is None:
            yield FullMap(model)
            continue
        if ctx.settings.automask is not None:  # made on the working grid, as that of the last iteration's map
            solvent = solvent_mask(state.root_volumes[model], model, ctx)
            mask = np.clip(resample(solvent.astype(np.float32), ctx.grid, grid), 0, 1)
        yield FullMap(model, made.volume * mask, np.stack([first, second]), made.curves)
