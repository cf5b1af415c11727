"""FSC curves of two half-maps, and what a map is filtered by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpirefine.maths.fourier.fsc import first_uncertain, fsc, randomise_phases, without_mask_effect

HALF_MAP_FSC = 0.143  # half-map FSC at which a map is said to be resolved (Rosenthal & Henderson 2003)


def half_curves(pair: Sequence[np.ndarray], mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
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


def known_fsc(curve: np.ndarray, rings: int) -> np.ndarray:
    """A half-map FSC (shell,) to filter by; where it is not known (nan), since one half is empty, what was matched is
    taken to be half signal.
    """
    return np.where(np.isnan(curve), np.where(np.arange(len(curve)) <= rings, 0.5, 0.0), curve)
