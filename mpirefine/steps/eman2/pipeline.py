"""The steps of an iteration by scores and class averages, as e2refinemulti goes about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpirefine.data.poses import Assignments, Candidates
from mpirefine.distribution import reduce
from mpirefine.distribution.window import Window
from mpirefine.maths.eman2.poses import from_eman
from mpirefine.maths.eman2.processors.fitted_filters import wiener_by_fsc
from mpirefine.maths.eman2.similarity import ReferenceStack, Scores
from mpirefine.maths.fourier.fsc import resolution_at
from mpirefine.maths.geometry.align_maps import onto
from mpirefine.steps.eman2.class_averages import Membership, average_classes
from mpirefine.steps.eman2.files import StoreClasses, map_header
from mpirefine.steps.eman2.map_making import Slices, make_map
from mpirefine.steps.eman2.scores import score_rows
from mpirefine.steps.eman2.views import directions, project, support
from mpirefine.steps.likelihood.classify import counted, handed_out, hands_out
from mpirefine.steps.likelihood.fine_search import empty_candidates
from mpirefine.steps.likelihood.postprocess import HALF_MAP_FSC, solvent
from mpirefine.steps.likelihood.reconstruct import half_curves, supported
from mpirefine.steps.state import Context, State

WIENER_STRETCH = 1.2  # e2refinemulti's sscale: maps keep features to this much beyond where the FSC falls


class ProjectViews:
    """Maps on rank 0 to projections in a window of each node."""

    name = "project"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        views, nx = ctx.method.views, ctx.grid.nx
        seed = int(np.random.default_rng([ctx.options.seed, state.iteration]).integers(2**31))
        orientations = ctx.team.from_root(directions, views, ctx.symmetries, state.dropped, seed)
        window = ctx.resources.enter_context(Window(ctx.team, (len(orientations), nx, nx), np.float32))
        ctx.projections = project(ctx.team, window, orientations, state.volumes, views, ctx.grid.apix)
        return replace(state, orientations=orientations)


class Score:
    """Own particles against all projections; the best of each row are kept."""

    name = "simmx"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        method, images = ctx.method, ctx.projections.images
        search = replace(method.search, mask=support(images)) if method.automask else method.search
        # of maps that are alike one is enough
        references = ReferenceStack(images[state.orientations.of_model(0)] if hands_out(state, ctx) else images, search)
        found = empty_candidates(len(ctx.particles), ctx.options.sep, ctx.models)
        found.model_evidence[:] = -np.inf
        rows = np.flatnonzero(~ctx.particles.set_aside)
        with ctx.progress(len(rows), f"iteration {state.iteration}: matching") as bar:
            for row, scores in score_rows(ctx.twins or ctx.flipped, rows, references, ctx.grid.nx, bar.update):
                keep_best(found, row, scores, state.orientations.model[: len(scores.score)])
        return replace(state, candidates=found)


def keep_best(found: Candidates, row: int, scores: Scores, model: np.ndarray) -> None:
    """Fill a row with the lowest scores; equal ones by the lower number. The evidence is minus the score, so that
    larger is better.
    """
    best = np.argsort(scores.score, kind="stable")[: found.reference.shape[1]]
    best = best[np.isfinite(scores.score[best])]
    places = slice(0, len(best))
    poses = from_eman(scores.alignment.take(best))
    found.reference[row, places], found.score[row, places], found.evidence[row, places] = (
        best,
        scores.score[best],
        -scores.score[best],
    )
    found.angle[row, places], found.shift[row, places], found.mirror[row, places] = poses.angle, poses.shift, poses.mirror
    np.maximum.at(found.model_evidence[row], model, -scores.score)


class ChooseBest:
    """Every particle to its best projections, all with weight 1; its map is that of the best one."""

    name = "classify"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        if hands_out(state, ctx):
            state = replace(state, candidates=handed_out(state, ctx))
        found = state.candidates
        used = found.reference >= 0
        model = np.where(used[:, 0], state.orientations.model[found.reference[:, 0]], -1).astype(np.int32)
        posterior = (model[:, None] == np.arange(ctx.models)).astype(np.float32)
        ones = np.ones(len(found), np.float32)
        assignments = Assignments(used.astype(np.float32), posterior, model, np.zeros(len(found), np.int32))
        return counted(replace(state, trust=ones, grey=ones.astype(np.float64)), assignments, ctx)


class AverageClasses:
    """The particles of every class brought together, aligned and averaged."""

    name = "average"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        used = (state.assignments.model >= 0) & ~ctx.particles.set_aside
        members = Membership.of(state.candidates.reference, used, ctx.block.start)
        with ctx.progress(len(state.orientations), f"iteration {state.iteration}: averaging") as bar:
            found = average_classes(
                ctx.team, members, ctx.flipped, ctx.twins, ctx.projections, ctx.method.rounds, bar.update
            )
        return replace(state, classes=tuple(found))


def slices_of(state: State, model: int, half: int | None = None) -> Slices:
    """Own class averages of a map, or of one half of its particles."""
    own = [one for one in state.classes if one.average is not None and state.orientations.model[one.number] == model]
    number = np.array([one.number for one in own], int)
    images = [one.average.image if half is None else one.average.halves[half] for one in own]
    weight = np.array([float(one.average.used.sum() if half is None else one.average.half_count[half]) for one in own])
    snr = [one.average.snr_total if half is None else one.average.half_snr[half] for one in own]
    known = bool(own) and all(curve is not None for curve in snr)
    filtered = np.array([bool(one.average.wiener_filtered) for one in own]) if known else None
    stack = np.stack(images) if own else np.zeros((0, 0, 0), np.float32)
    return Slices(
        stack, state.orientations.rotation[number], weight, number, np.stack(snr) if known else None, filtered
    )


class MakeMaps:
    """A map of each model's class averages, and two of those of its particles' halves."""

    name = "reconstruct"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        how, grid = ctx.method.maps, ctx.grid
        maps, halves, rows, headers, lone = [], [], [], [], []
        curves: dict[str, list[np.ndarray]] = {}
        for m, symmetry in enumerate(ctx.symmetries):
            symmetry = "c1" if ctx.method.views.breaksym else symmetry
            made = make_map(ctx.team, slices_of(state, m), grid.nx, symmetry, grid.apix, how)
            plain = replace(how, passes=1, postprocess=None, structure_factor=None)
            pair, filled = [], []
            for half in (0, 1):
                part = slices_of(state, m, half)
                filled.append(sum(ctx.team.allgather(float(part.weight.sum()))) > 0)
                pair.append(
                    make_map(
                        ctx.team, part.take(np.isin(part.number, made.used)), grid.nx, symmetry, grid.apix, plain
                    ).volume
                )
            rows.append((len(made.used), len(made.left_out)))
            lone += [(m, half) for half in (0, 1) if filled[1 - half] and not filled[half]]
            headers.append(map_header(made, f"classes_{state.iteration:02d}.hdf"))
            if ctx.team.is_root:
                for name, values in half_curves(
                    pair, ctx.mask_of(m), np.random.default_rng([ctx.options.seed, state.iteration, m])
                ).items():
                    curves.setdefault(name, []).append(values)
                maps.append(made.volume)
                halves.append(pair)
        root = ctx.team.is_root
        summary = dict(state.summary, class_averages=rows, one_half=lone)
        return replace(
            state,
            previous=state.volumes,
            volumes=np.stack(maps) if root else None,
            halves=np.array(halves) if root else None,
            map_headers=tuple(headers),
            curves=dict(state.curves, **{name: np.array(values) for name, values in curves.items()}),
            summary=summary,
        )


class FinishMaps:
    """Filtered by their half-maps, masked, brought to the frame and hand of the first; the views of the particles go
    with them.
    """

    name = "postprocess"

    def run(self, state: State, ctx: Context) -> State:
        """Collective."""
        volumes, halves, resolution, rotation, origins = state.volumes, state.halves, None, None, None
        with ctx.team.together("finishing the maps"):
            if ctx.team.is_root:
                resolution = [resolution_at(curve, HALF_MAP_FSC, ctx.grid) for curve in state.curves["half_fsc"]]
                volumes, halves, rotation, origins = self._finished(state, ctx)
        resolution, origins = ctx.team.bcast((resolution, origins))
        rotation = reduce.bcast_array(ctx.team, rotation)
        used = [ctx.grid.resolution(r) for r in state.rings]
        orientations = replace(state.orientations, rotation=rotation)
        return replace(
            state,
            volumes=volumes,
            halves=halves,
            orientations=orientations,
            origins=origins,
            summary=dict(state.summary, resolution=resolution, matched_to=used),
        )

    @staticmethod
    def _finished(state: State, ctx: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """On rank 0. Maps, half-maps, the rotation of every projection in the new frames, and where the old origins lie
        in them.
        """
        origins = np.zeros((ctx.models, 3))
        volumes, halves, rotation = state.volumes.copy(), state.halves.copy(), state.orientations.rotation.copy()
        own_filter = ctx.method.maps.postprocess is None
        for m, volume in enumerate(volumes):
            if not volume.any():
                continue
            if own_filter:
                volumes[m] = filtered(volume, supported(state.curves["half_fsc"][m], state.rings[m]), ctx)
            volumes[m] *= solvent(volumes[m], m, ctx)
            if m and volumes[0].any():
                move = onto(volumes[m], volumes[0], ctx.grid, ctx.symmetries[m], ctx.symmetries[0])
                volumes[m], halves[m] = move(volumes[m]), np.stack([move(half) for half in halves[m]])
                part = state.orientations.of_model(m)
                rotation[part], origins[m] = move.views(rotation[part]), move.origin
        return volumes, halves, rotation, origins


def filtered(volume: np.ndarray, curve: np.ndarray, ctx: Context) -> np.ndarray:
    """By the SNR that the map's half-maps tell, as e2refinemulti filters by the FSC between maps (which takes away what
    they differ in).
    """
    frequency = np.arange(len(curve)) / ctx.grid.length
    return wiener_by_fsc(volume, ctx.grid.apix, fscfile=np.stack([frequency[1:], curve[1:]], -1), sscale=WIENER_STRETCH)


PIPELINE = (ProjectViews(), Score(), ChooseBest(), AverageClasses(), StoreClasses(), MakeMaps(), FinishMaps())
