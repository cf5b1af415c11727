"""What was found of the images when they were read, in words."""

from __future__ import annotations

import numpy as np

NEAR_LEVEL, NEAR_SPREAD = (
    0.25,
    1.25,
)  # deviations: backgrounds nearer to 0; factor: deviations nearer to 1 are those of normalised images
RAMP = 0.5  # deviations over half of the box from which on a slope is told


def background_report(values: np.ndarray, box: int) -> str:
    """One line; `values` (p, 4 or more): level, slope along x and y per pixel, standard deviation of each image's
    background.
    """
    if not len(values):
        return "no image can be used"
    level, slope, scale = values[:, 0], np.hypot(values[:, 1], values[:, 2]) * box / 2, values[:, 3]
    away = np.abs(level) > NEAR_LEVEL * scale
    gain = (scale > NEAR_SPREAD) | (scale < 1 / NEAR_SPREAD)
    ramps = slope > RAMP * scale
    middle, spread = np.median(level), np.percentile(level, (16, 84))
    low, centre, high = np.percentile(scale, (16, 50, 84))
    numbers = (
        f"background {number(middle)} (most {number(spread[0])} to {number(spread[1])}), standard deviation "
        f"{number(centre)} "
        f"(most {number(low)} to {number(high)})"
    )
    if not (away | gain | ramps).any():
        return f"images were normalised before: {numbers}"
    kinds = [
        f"{int(count.sum())} {text}"
        for count, text in ((away, "raw background"), (gain, "other gain"), (ramps, "a ramp"))
        if count.any()
    ]
    many = np.mean(away | gain | ramps) > 0.5
    what = (
        "raw counts"
        if np.mean(away) > 0.5
        else "images are not normalised"
        if many
        else "some images are not normalised"
    )
    return (
        f"{what}: {numbers}; of {len(values)} images "
        + ", ".join(kinds)
        + ": each one is normalised (--no-normalise: taken as it is)"
    )


def number(value: float) -> str:
    """Without needless digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
