"""How well images agree with the map that is made of them: EMAN2's determine_slice_agreement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mpirefine.maths.eman2.reconstructors.reconstructor import Reconstructor, Slices
from mpirefine.maths.eman2.reconstructors.spectra import merge_mates, merge_mates_at, plane, spectra_of

SMALLEST = 1e-9  # weights below are rounding errors, left when an image was taken out again
COARSEST = 3  # Fourier pixels up to which the low-resolution quality leaves coefficients out
LOWEST_RESOLUTION = 12.0  # Å, the finest resolution that it counts


class Agreement(NamedTuple):
    """EMAN2's reconstruct_norm, _absqual, _absqual_lowres and _weight, (n,) each."""

    norm: np.ndarray  # factor that gives the image the power of the map
    quality: np.ndarray  # weighted correlation of coefficients
    lowres: np.ndarray  # the same from 3 Fourier pixels to 12 Å
    weight: np.ndarray  # mean weight of the map's coefficients


def measure_agreement(
    reconstructor: Reconstructor,
    images: np.ndarray,
    rotations: np.ndarray,
    weights: np.ndarray,
    apix: float,
    leave_out: bool = True,
    shifts: np.ndarray | None = None,
    mirror: np.ndarray | None = None,
    snr: np.ndarray | None = None,
    filtered: np.ndarray | None = None,
) -> Agreement:
    """Compare images (n, y, x) of `apix` Å with the map of all that was inserted, each coefficient with the nearest
    voxel, weighted by its weight. Arguments as of `Reconstructor.insert`.

    `leave_out`: what the image itself contributed is taken out first; it must have been inserted with these arguments.
    Otherwise these are EMAN2's numbers without subtraction (its subtraction adds the image once more): the image is
    still in the map, the weights of x = 0 and Nyquist lack those of their mates, and each row's coefficients are
    followed by the first of the next row. Raises ParameterError when the SNR is needed and not given.
    """
    slices = Slices(spectra_of(images, shifts, mirror), rotations, weights, snr, filtered)
    numerator, weight = (
        merge_mates(reconstructor.numerator),
        merge_mates(reconstructor.weight) if leave_out else reconstructor.weight,
    )
    own = [np.zeros_like(numerator), np.zeros_like(weight)] if leave_out else []
    found = []
    for i, spectrum in enumerate(slices.spectra):
        values, where, radius = compared_coefficients(reconstructor, spectrum, rotations[i], leave_out)
        index, mate = nearest_voxels(reconstructor.box, where)
        sums = [numerator.ravel()[index], weight.ravel()[index]]
        if leave_out and weights[i]:
            touched = reconstructor.add(slices.take(slice(i, i + 1)), own[0], own[1])
            sums = [whole - merge_mates_at(part, index) for whole, part in zip(sums, own)]
            for part in own:  # back to 0 for the next image
                for places in touched:
                    part.reshape(-1)[places] = 0
        coarse = (radius > COARSEST) & (radius < apix * len(spectrum) / LOWEST_RESOLUTION)
        found.append(_compare(values, np.where(mate, sums[0].conj(), sums[0]), sums[1], coarse))
    return Agreement(*np.array(found).reshape(-1, 4).T)


def compared_coefficients(
    reconstructor: Reconstructor, spectrum: np.ndarray, rotation: np.ndarray, only_inserted: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coefficients of an image at all symmetry copies that are compared with the map: values (m,), places (m, 3),
    radii (m,). `only_inserted`: those that were inserted, not those that EMAN2 compares.
    """
    n = len(spectrum)
    radius, u, v = plane(n)
    used = reconstructor.inserted(n) & (radius > 0)
    if not only_inserted:
        spectrum = np.concatenate([spectrum, np.append(spectrum[1:, 0], 0)[:, None]], axis=1)
        u, v = np.concatenate([u, np.full((n, 1), n // 2 + 1.0)], axis=1), np.concatenate([v, v[:, :1]], axis=1)
        radius = np.hypot(u, v)
        used = radius > 0
    turned = (rotation @ reconstructor.copies.turns)[:, None]
    where = u[used][:, None] * turned[:, :, 0] + v[used][:, None] * turned[:, :, 1]
    copies = len(turned)
    copy, values = np.repeat(np.arange(copies), where.shape[1]), np.tile(spectrum[used], copies)
    values = reconstructor.moved(values, copy, where.reshape(-1, 3) * (reconstructor.box / n))
    inside = (np.abs(where[..., 0]) <= n / 2) & (np.abs(where[..., 1:]) < n / 2).all(axis=-1)
    return (
        values.reshape(copies, -1)[inside],
        where[inside] * (reconstructor.box / n),
        np.tile(radius[used], (copies, 1))[inside],
    )


def nearest_voxels(box: int, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat index (m,) of the voxel of a half-spectrum nearest to places (m, 3), and whether it is the Friedel mate."""
    half = box // 2
    place = np.clip(np.floor(where + 0.5).astype(np.int64), -half, half)
    mate = place[:, 0] < 0
    x, y, z = np.where(mate[:, None], -place, place).T
    return x + (half + 1) * (y % box + box * (z % box)), mate


def _compare(
    values: np.ndarray, sums: np.ndarray, weights: np.ndarray, coarse: np.ndarray
) -> tuple[float, float, float, float]:
    """The four numbers of `Agreement` for one image: its coefficients (m,), the map's sums and weights there."""
    known = weights > SMALLEST
    values, weights, coarse = values[known], weights[known], coarse[known]
    map_values = sums[known] / weights
    products = np.stack([(map_values * values.conj()).real, np.abs(map_values) ** 2, np.abs(values) ** 2]) * weights
    qualities = []
    for of in (products.sum(axis=1), products[:, coarse].sum(axis=1)):
        qualities.append(of[0] / np.sqrt(of[1] * of[2]) if of[1] * of[2] > 0 else 0.0)
    power = products[1:].sum(axis=1)
    return (
        np.sqrt(power[0] / power[1]) if power[1] > 0 else 1.0,
        qualities[0],
        qualities[1],
        weights.mean() if len(weights) else 0.0,
    )
