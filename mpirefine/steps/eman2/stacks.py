"""Headers and planes of EMAN2's files of projections, matrices and class averages, for refinements and commands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpirefine.data.poses import Orientations
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.eman2.poses import Alignment, to_eman_columns
from mpirefine.steps.eman2.class_averages import ClassResult
from mpirefine.steps.eman2.map_making import MapOfAverages
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.state import Context, ImageStack, stack_on_root

PLANES = 7  # of EMAN2's classmx and cls_result
HEADER_BYTES, ROW_BYTES = 4096, 8  # of an image's header in HDF files; of a particle in the list of its class


def transform_header(rotation: np.ndarray) -> np.ndarray:
    """EMAN2's transform (3, 4) float32 of a rotation (3, 3) without shift."""
    return np.concatenate([rotation, np.zeros((3, 1))], axis=1).astype(np.float32)


def projection_headers(orientations: Orientations, names: Sequence[str]) -> list[dict[str, object]]:
    """EMAN2's headers of projections: view, map (from 1) and its file in `names`, and 0 particles."""
    return [
        {
            "xform.projection": transform_header(rotation),
            "model_id": int(model) + 1,
            "ptcl_repr": 0,
            "source_model": names[model],
        }
        for rotation, model in zip(orientations.rotation, orientations.model)
    ]


def class_header(result: ClassResult, source: str, reference: str, orientations: Orientations) -> dict[str, object]:
    """EMAN2's header of a class average; an empty class has its view and no particles.

    `source` is the particle file, `reference` that of the projections.
    """
    about: dict[str, object] = {
        "xform.projection": transform_header(orientations.rotation[result.number]),
        "projection_image": reference,
        "projection_image_idx": result.number,
        "model_id": int(orientations.model[result.number]) + 1,
        "class_ptcl_src": source,
    }
    average = result.average
    if average is None:
        return {**about, "ptcl_repr": 0}
    excluded = result.rows[~average.used]
    quality = average.quality[average.used]
    snr: dict[str, object] = {}
    if average.snr_total is not None:
        snr = {"ctf_snr_total": average.snr_total, "ctf_wiener_filtered": int(bool(average.wiener_filtered))}
    return {
        **about,
        **snr,
        "ptcl_repr": int(average.used.sum()),
        "class_ptcl_idxs": result.rows[average.used],
        "exc_class_ptcl_idxs": excluded if len(excluded) else None,
        "class_qual": average.class_quality,
        "class_ssnr": average.ssnr,
        "class_ptcl_qual": float(quality.mean()),
        "class_ptcl_qual_sigma": float(quality.std()),
    }


def map_header(volume: MapOfAverages, source: str) -> dict[str, object]:
    """EMAN2's header of a map: number of particles, and the class averages of file `source` in it and left out."""
    return {
        "ptcl_repr": volume.weight,
        "threed_ptcl_idxs": volume.used if len(volume.used) else None,
        "threed_excl_ptcl_idxs": volume.left_out if len(volume.left_out) else None,
        "threed_ptcl_src": source,
    }


def gather_class_averages(
    team: Team, results: Sequence[ClassResult], source: str, reference: str, orientations: Orientations, nx: int
) -> tuple[list[np.ndarray], list[dict[str, object]]] | None:
    """Collective. On rank 0 all class averages (y, x) in order of class, and their headers; None on other ranks.

    Arguments as in `class_header`; `nx` is the box in pixels.
    """
    images = np.zeros((len(results), nx, nx), np.float32)
    for image, result in zip(images, results):
        if result.average:
            image[:] = result.average.image
    parts = reduce.exchange(team, [images if rank == 0 else images[:0] for rank in range(team.size)])
    own = [(result.number, class_header(result, source, reference, orientations)) for result in results]
    headers = [header for of_rank in team.allgather(own) for header in of_rank]
    if not team.is_root:
        return None
    whole = np.concatenate(parts)
    order = sorted(range(len(headers)), key=lambda i: headers[i][0])
    return [whole[i] for i in order], [headers[i][1] for i in order]


def class_results(team: Team, results: Sequence[ClassResult], planes: np.ndarray | None) -> list[np.ndarray] | None:
    """Collective. EMAN2's cls_result, PLANES images (particle, place) on rank 0; None on other ranks.

    They are: class, used (1) or not (0), dx, dy, dalpha and mirror of the pose that takes the particle onto its class
    average, and scale. `planes` are those of `classification_matrix`, on rank 0.
    """
    own = [(r.number, r.rows, r.average.used, r.average.alignment.matrix()) for r in results if r.average]
    of_ranks = team.allgather(own)
    if planes is None:
        return None
    out = np.zeros((PLANES, *planes.shape[1:]), np.float32)
    out[0], out[6] = planes[0], 1
    for number, rows, used, matrices in (aligned for of_rank in of_ranks for aligned in of_rank):
        pose = Alignment.from_matrix(matrices)
        for i, row in enumerate(rows):
            place = np.flatnonzero(np.rint(planes[0][row]) == number)[:1]
            for plane, values in zip(out[1:6], (used, pose.tx, pose.ty, pose.alpha, pose.mirror)):
                plane[row, place] = values[i]
    return list(out)


def stacks_of_iteration(state: Eman2State, ctx: Context, source: str, map_suffix: str) -> list[ImageStack]:
    """Collective. The files that e2refinemulti leaves of an iteration, on rank 0; none on other ranks.

    They are projections_II.hdf, classmx_II.hdf, classes_II.hdf and cls_result_II.hdf. `source` is the particle file,
    `map_suffix` the suffix of map files.
    """
    number, apix, projections = f"{state.iteration:02d}.hdf", ctx.grid.apix, state.projected
    views = projections.orientations
    averages = gather_class_averages(ctx.team, state.classes, source, f"projections_{number}", views, ctx.grid.nx)
    planes = classification_matrix(state, ctx)
    after = class_results(ctx.team, state.classes, planes)
    if averages is None or planes is None or after is None:
        return []
    names = [f"threed_{state.iteration - 1:02d}_{m:02d}{map_suffix}" for m in range(1, ctx.models + 1)]
    return [
        ImageStack(f"projections_{number}", list(projections.images), apix, projection_headers(views, names)),
        ImageStack(f"classmx_{number}", list(planes), 1.0),
        ImageStack(f"classes_{number}", averages[0], apix, averages[1]),
        ImageStack(f"cls_result_{number}", after, 1.0),
    ]


def stack_bytes(state: Eman2State, ctx: Context) -> int:
    """Bytes on disk of the stacks of an iteration with as many projections as the state has."""
    classes, places = len(state.orientations), ctx.settings.sep
    images = classes * (ctx.grid.nx**2 * 4 + 2 * HEADER_BYTES)
    return images + ctx.partition.n * places * (2 * PLANES * 4 + ROW_BYTES)


def classification_matrix(state: Eman2State, ctx: Context) -> np.ndarray | None:
    """Collective. EMAN2's classmx (PLANES, particles, sep) on rank 0; None on other ranks.

    The planes are: class, weight, dx, dy, dalpha, mirror, scale.
    """
    pose = to_eman_columns(state.candidates)
    columns = (
        state.candidates.reference,
        state.assignments.weight,
        *(pose[f"candidates/{name}"] for name in ("dx", "dy", "dalpha", "mirror")),
    )
    whole = stack_on_root(
        [reduce.gather_rows(ctx.team, np.ascontiguousarray(column, np.float32), ctx.partition) for column in columns]
    )
    return None if whole is None else np.concatenate([whole, np.ones_like(whole[:1])])
