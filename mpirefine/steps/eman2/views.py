"""Projections of all maps in one list, as real images, shared by the ranks of a node."""

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

VIEWS_AT_ONCE = 32
LIGHT_LOWPASS = 0.3  # cutoff_abs of what --prethreshold leaves


@dataclass(frozen=True)
class Projections:
    """Images (r, y, x) float32, all of map 0, then all of map 1, ..., and where they are seen from."""

    orientations: Orientations
    images: np.ndarray


def generate_views(
    views: Views, symmetries: tuple[str, ...], dropped: tuple[int, ...] = (), seed: int | None = None
) -> Orientations:
    """On rank 0. The views of every map over its asymmetric unit; none of maps that were dropped.

    `seed` is that of what is random in them, where the generator was not given one.
    """
    return views_of_maps(
        symmetries, dropped, lambda name: rotation_from_eman(*orientation_generator(views, seed)(name).T)
    )


def orientation_generator(views: Views, seed: int | None) -> Component:
    """The orientation generator; with breaksym it gives all copies of a view."""
    known = inspect.signature(views.orientgen.function).parameters
    more: dict[str, object] = {"breaksym": True} if views.breaksym else {}
    if seed is not None and "seed" in known:
        more["seed"] = seed
    return replace(views.orientgen, parameters={**more, **views.orientgen.parameters})


def project(
    team: Team, window: Window, orientations: Orientations, volumes: np.ndarray | None, views: Views, apix: float
) -> Projections:
    """Collective. Fill the window (r, y, x) with projections of the maps (m, z, y, x) that rank 0 has; it is sealed."""
    writable = window.writable
    for m in range(int(team.bcast(None if volumes is None else len(volumes)))):
        volume = reduce.bcast_array(team, None if volumes is None else prepare_map(volumes[m], views, apix))
        for span in spans_of_rank(team, orientations, m, VIEWS_AT_ONCE):
            images = views.projector(volume, orientations.rotation[span], None, apix)
            if views.postprocess is not None:
                images = np.stack(
                    [apply(views.postprocess, image, apix)[0] if np.ptp(image) else image for image in images]
                )
            writable[span] = images
    window.seal()
    return Projections(orientations, window.array)


def prepare_map(volume: np.ndarray, views: Views, apix: float) -> np.ndarray:
    """The map as it is projected: with prethreshold its voxels below half the sigma of those that are not zero are set
    to zero, then smoothed.
    """
    if not views.prethreshold or not volume.any():
        return volume
    level = 0.5 * float(volume[volume != 0].std())
    strong = np.where(volume < level, 0, volume).astype(np.float32)
    return image_of(lowpass_gauss(strong, apix, cutoff_abs=LIGHT_LOWPASS))


def common_support(images: np.ndarray) -> np.ndarray:
    """(y, x) float32: 1 where any projection differs from its surroundings (its corner); one mask for all, so that no
    view is favoured.
    """
    return (images != images[:, :1, :1]).any(axis=0).astype(np.float32)
