"""EMAN2's files of projections, matrices and class averages: their headers and planes, the same in a refinement's
folder and from a command.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpirefine.data.poses import Orientations
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.maths.eman2.poses import Alignment, to_eman_columns
from mpirefine.steps.eman2.class_averages import ClassResult
from mpirefine.steps.eman2.map_making import MadeMap
from mpirefine.steps.eman2.state import Eman2State
from mpirefine.steps.state import Context, ImageStack, stack_on_root

PLANES = 7  # of EMAN2's classification matrix and of its result
HEADER_BYTES, ROW_BYTES = 4096, 8  # of an image in EMAN2's HDF files; of a particle in the list of its class


def transform_header(rotation: np.ndarray) -> np.ndarray:
    """(3, 4) of a rotation without shift."""
    return np.concatenate([rotation, np.zeros((3, 1))], axis=1).astype(np.float32)


def projection_headers(orientations: Orientations, names: Sequence[str]) -> list[dict[str, object]]:
    """EMAN2's headers of projections: view, map from 1, and 0 particles."""
    return [
        {
            "xform.projection": transform_header(rotation),
            "model_id": int(model) + 1,
            "ptcl_repr": 0,
            "source_model": names[model],
        }
        for rotation, model in zip(orientations.rotation, orientations.model)
    ]


def class_header(one: ClassResult, source: str, reference: str, orientations: Orientations) -> dict[str, object]:
    """EMAN2's header of a class average; a failed or empty one has its view and no particles."""
    about: dict[str, object] = {
        "xform.projection": transform_header(orientations.rotation[one.number]),
        "projection_image": reference,
        "projection_image_idx": one.number,
        "model_id": int(orientations.model[one.number]) + 1,
        "class_ptcl_src": source,
    }
    made = one.average
    if made is None:
        return {**about, "ptcl_repr": 0}
    excluded = one.rows[~made.used]
    quality = made.quality[made.used]
    snr = (
        {}
        if made.snr_total is None
        else {"ctf_snr_total": made.snr_total, "ctf_wiener_filtered": int(bool(made.wiener_filtered))}
    )
    return {
        **about,
        **snr,
        "ptcl_repr": int(made.used.sum()),
        "class_ptcl_idxs": one.rows[made.used],
        "exc_class_ptcl_idxs": excluded if len(excluded) else None,
        "class_qual": made.class_quality,
        "class_ssnr": made.ssnr,
        "class_ptcl_qual": float(quality.mean()),
        "class_ptcl_qual_sigma": float(quality.std()),
    }


def map_header(made: MadeMap, source: str) -> dict[str, object]:
    """EMAN2's header of a map: how many particles, and which class averages are in it and which were left out."""
    return {
        "ptcl_repr": made.weight,
        "threed_ptcl_idxs": made.used if len(made.used) else None,
        "threed_excl_ptcl_idxs": made.left_out if len(made.left_out) else None,
        "threed_ptcl_src": source,
    }


def gather_class_averages(
    team: Team, found: Sequence[ClassResult], source: str, reference: str, orientations: Orientations, nx: int
) -> tuple[list[np.ndarray], list[dict[str, object]]] | None:
    """Collective. All class averages in order with their headers, on rank 0."""
    blank = np.zeros((nx, nx), np.float32)
    images = (
        np.stack([one.average.image if one.average else blank for one in found])
        if found
        else np.zeros((0, nx, nx), np.float32)
    )
    nothing = np.zeros((0, nx, nx), np.float32)
    parts = reduce.exchange(team, [images if rank == 0 else nothing for rank in range(team.size)])
    headers = [
        one
        for rank in team.allgather([(one.number, class_header(one, source, reference, orientations)) for one in found])
        for one in rank
    ]
    if not team.is_root:
        return None
    whole = np.concatenate(parts)
    order = sorted(range(len(headers)), key=lambda i: headers[i][0])
    return [whole[i] for i in order], [headers[i][1] for i in order]


def class_results(team: Team, found: Sequence[ClassResult], planes: np.ndarray | None) -> list[np.ndarray] | None:
    """Collective. EMAN2's cls_result on rank 0, which has the planes of the matrix: class, used (1) or not (0), and the
    pose that takes the
    particle onto its average.
    """
    of_ranks = team.allgather(
        [(one.number, one.rows, one.average.used, one.average.alignment.matrix()) for one in found if one.average]
    )
    if planes is None:
        return None
    out = np.zeros((7, *planes.shape[1:]), np.float32)
    out[0], out[6] = planes[0], 1
    for number, rows, used, matrices in (result for rank in of_ranks for result in rank):
        pose = Alignment.from_matrix(matrices)
        for i, row in enumerate(rows):
            place = np.flatnonzero(np.rint(planes[0][row]) == number)[:1]
            for plane, values in zip(out[1:6], (used, pose.tx, pose.ty, pose.alpha, pose.mirror)):
                plane[row, place] = values[i]
    return list(out)


def stacks_of_iteration(state: Eman2State, ctx: Context, source: str, map_suffix: str) -> list[ImageStack]:
    """Collective. projections_II.hdf, classmx_II.hdf, classes_II.hdf and cls_result_II.hdf, as e2refinemulti leaves
    them.

    On rank 0; nothing on the others. `source` is the particle file, `map_suffix` that of the maps.
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
    """On the disk, of the stacks of an iteration with as many projections as the state has."""
    classes, places = len(state.orientations), ctx.settings.sep
    images = classes * (ctx.grid.nx**2 * 4 + 2 * HEADER_BYTES)
    return images + ctx.partition.n * places * (2 * PLANES * 4 + ROW_BYTES)


def classification_matrix(state: Eman2State, ctx: Context) -> np.ndarray | None:
    """Collective. EMAN2's classification matrix (7, particles, sep) on rank 0: class, weight, dx, dy, dalpha, mirror,
    scale.
    """
    found = state.candidates
    pose = to_eman_columns(found)
    columns = (
        found.reference,
        state.assignments.weight,
        *(pose[f"candidates/{name}"] for name in ("dx", "dy", "dalpha", "mirror")),
    )
    whole = stack_on_root(
        [reduce.gather_rows(ctx.team, np.ascontiguousarray(column, np.float32), ctx.partition) for column in columns]
    )
    return None if whole is None else np.concatenate([whole, np.ones_like(whole[:1])])
