"""The text about the normalisation of the particle images, as they were before."""

from __future__ import annotations

import numpy as np

NEAR_LEVEL = 0.25  # standard deviations: the mean background of a normalised image is nearer to 0
NEAR_SPREAD = 1.25  # factor: the standard deviation of a normalised image is nearer to 1
RAMP = 0.5  # standard deviations over half of the box: a steeper background counts as a ramp


def background_report(values: np.ndarray, box: int, *, cropped: bool = False) -> str:
    """One line about the backgrounds of all images.

    `values` (p, 4 or more): mean, slope along x and y per pixel, and standard deviation of each background. Cropping in
    Fourier space takes noise away, so the standard deviation of `cropped` images is compared with their median, not 1.
    """
    if not len(values):
        return "no image is usable"
    level, slope, scale = values[:, 0], np.hypot(values[:, 1], values[:, 2]) * box / 2, values[:, 3]
    away = np.abs(level) > NEAR_LEVEL * scale
    expected = np.median(scale) if cropped else 1.0
    gain = (scale > NEAR_SPREAD * expected) | (scale < expected / NEAR_SPREAD)
    ramps = slope > RAMP * scale
    middle, spread = np.median(level), np.percentile(level, (16, 84))
    low, centre, high = np.percentile(scale, (16, 50, 84))
    numbers = (
        f"background {in_digits(middle)} (most {in_digits(spread[0])} to {in_digits(spread[1])}), standard deviation "
        f"{in_digits(centre)} (most {in_digits(low)} to {in_digits(high)})"
    )
    numbers += f" after cropping to {box} px" if cropped else ""
    if not (away | gain | ramps).any():
        return f"images were normalised before: {numbers}"
    kinds = [
        f"{int(count.sum())} {text}"
        for count, text in ((away, "with raw background"), (gain, "with another gain"), (ramps, "with a ramp"))
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
        + ": each image is normalised (--no-normalise leaves them as they are)"
    )


def in_digits(value: float) -> str:
    """A number without needless digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
