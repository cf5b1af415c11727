"""Checks of what is read from the run file: the shape and the range of every value that a resumed run uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mpirefine.errors import FormatError
from mpirefine.steps.state import Context
from mpirefine.storage.run import schema

ORTHONORMAL = 1e-3  # largest deviation of rotation times transpose from the unit matrix
OPTIONAL = ("simmx", "classes/average", "classes/count", "classes/model_id")


def check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, int]) -> None:
    """FormatError that names the first dataset that is missing or has a wrong shape.

    `axes` gives the length of each named axis for this input.
    """
    for name in schema.ITEMS:
        if name in shapes:
            expected = schema.shape(name, axes)
            if len(expected) != len(shapes[name]) or any(a not in (None, b) for a, b in zip(expected, shapes[name])):
                raise FormatError(f"{path}: damaged: {name} has shape {shapes[name]} instead of {expected}")
        elif name not in OPTIONAL and not name.startswith("curves/"):
            raise FormatError(f"{path}: damaged: {name} is missing")


def finite(values: np.ndarray) -> np.ndarray:
    """Which values are neither NaN nor infinite."""
    return np.isfinite(values)


def between(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    """A test of which values are in a range, limits included."""
    return lambda values: (values >= low) & (values <= high)


def positive(values: np.ndarray) -> np.ndarray:
    """Which values are finite and above 0."""
    return np.isfinite(values) & (values > 0)


def orthonormal(rotations: np.ndarray) -> np.ndarray:
    """Which matrices (..., 3, 3) are rotations or reflections."""
    deviation = np.einsum("...ij,...kj->...ik", rotations, rotations) - np.eye(3)
    return ~(np.abs(deviation) > ORTHONORMAL).any(axis=(-2, -1)) & np.isfinite(rotations).all(axis=(-2, -1))


def ranges(ctx: Context, projections: int) -> dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]]:
    """The test that each value must pass, and its words for the error."""
    share, model = (between(0, 1 + 1e-4), "0 to 1"), f"-1 to {ctx.models - 1}"
    number, rotation, above = (finite, "finite"), (orthonormal, "a rotation"), (positive, "more than 0")
    return {
        "assignments/model": (between(-1, ctx.models - 1), model),
        "assignments/rotation": rotation,
        "assignments/shift": number,
        "assignments/weight": share,
        "assignments/posterior": share,
        "trust": share,
        "grey": above,
        "half": (between(0, 1), "0 or 1"),
        "assignments/best": (between(0, ctx.settings.sep - 1), f"0 to {ctx.settings.sep - 1}"),
        "candidates/class": (between(-1, projections - 1), f"-1 to {projections - 1}"),
        "candidates/score": number,
        "candidates/dx": number,
        "candidates/dy": number,
        "candidates/dalpha": number,
        "candidates/mirror": (between(0, 1), "0 or 1"),
        "orientations/rotation": rotation,
        "orientations/model": (between(0, ctx.models - 1), f"0 to {ctx.models - 1}"),
        "noise/sigma2": above,
        "noise/scale": above,
        "volumes/map": number,
        "volumes/half": number,
    }


def check(path: Path, values: Mapping[str, np.ndarray], ctx: Context) -> None:
    """FormatError that names the first value out of its range."""
    for name, (sound, words) in ranges(ctx, len(values["orientations/model"])).items():
        if name not in values:
            continue
        wrong = np.argwhere(~sound(values[name]))
        if len(wrong):
            place = tuple(int(i) for i in wrong[0])
            row = place[0] + 1 + (ctx.block.start if schema.item(name).of_particles else 0)
            raise FormatError(
                f"{path}: damaged: {name}, row {row} is {values[name][place].tolist()}: it must be {words}"
            )
