"""Views and projections of all maps in one list; the images are shared by the ranks of a node."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import numpy as np

from mpirefine.data.poses import Orientations
from mpirefine.data.rotations import rotation_from_eman
from mpirefine.distribution import reduce
from mpirefine.distribution.team import Team
from mpirefine.distribution.window import Window
from mpirefine.maths.eman2.processors.base import image_of
from mpirefine.maths.eman2.processors.catalogue import apply
from mpirefine.maths.eman2.processors.fourier import lowpass_gauss
from mpirefine.registry import Component
from mpirefine.steps.eman2.choices import Views
from mpirefine.steps.shared.projections import spans_of_rank, views_of_maps

VIEWS_AT_ONCE = 32  # projections made together
LIGHT_LOWPASS = 0.3  # cutoff_abs of the low-pass that follows --prethreshold


@dataclass(frozen=True)
class Projections:
    """Projections (r, y, x) float32 and their orientations: all of map 0, then all of map 1, ...

    `focused` are other images of the same views, which the second aligner of class averaging takes instead.
    """

    orientations: Orientations
    images: np.ndarray
    focused: np.ndarray | None = None


def generate_views(
    views: Views, symmetries: tuple[str, ...], dropped: tuple[int, ...] = (), seed: int | None = None
) -> Orientations:
    """On rank 0. The views of every map over its asymmetric unit; none of maps that were dropped.

    `seed` is for generators of random views whose options do not set one.
    """
    return views_of_maps(
        symmetries, dropped, lambda name: rotation_from_eman(*orientation_generator(views, seed)(name).T)
    )


def orientation_generator(views: Views, seed: int | None) -> Component:
    """The orientation generator with its parameters; with `breaksym` it gives all symmetry-related views."""
    known = inspect.signature(views.orientgen.function).parameters
    more: dict[str, object] = {"breaksym": True} if views.breaksym else {}
    if seed is not None and "seed" in known:
        more["seed"] = seed
    return replace(views.orientgen, parameters={**more, **views.orientgen.parameters})


def project(
    team: Team, window: Window, orientations: Orientations, volumes: np.ndarray | None, views: Views, apix: float
) -> Projections:
    """Collective. Fill `window` (r, y, x) with projections of the maps (m, z, y, x) of rank 0, and seal it."""
    writable = window.writable
    for m in range(int(team.bcast(None if volumes is None else len(volumes)))):
        volume = reduce.bcast_array(team, None if volumes is None else prepare_map(volumes[m], views, apix))
        for span in spans_of_rank(team, orientations, m, VIEWS_AT_ONCE):
            images = views.projector(volume, orientations.rotation[span], None, apix)
            for processor in views.postprocess:
                images = np.stack([apply(processor, image, apix)[0] if np.ptp(image) else image for image in images])
            writable[span] = images
    window.seal()
    return Projections(orientations, window.array)


def prepare_map(volume: np.ndarray, views: Views, apix: float) -> np.ndarray:
    """The map (z, y, x) as it is projected.

    With `prethreshold`, voxels below half the standard deviation of the voxels that are not 0 become 0, and the map is
    smoothed.
    """
    if not views.prethreshold or not volume.any():
        return volume
    level = 0.5 * float(volume[volume != 0].std())
    strong = np.where(volume < level, 0, volume).astype(np.float32)
    return image_of(lowpass_gauss(strong, apix, cutoff_abs=LIGHT_LOWPASS))


def common_support(images: np.ndarray) -> np.ndarray:
    """(y, x) float32, 1 where any projection (r, y, x) differs from its corner pixel, that is, from its surroundings.

    It is one mask for all projections, so that no view is favoured.
    """
    return (images != images[:, :1, :1]).any(axis=0).astype(np.float32)
