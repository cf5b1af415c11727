"""Whether the filtered images of --usefilt belong to the particles, judged by a sample of both."""

from __future__ import annotations

import numpy as np

from mpirefine.errors import InputError
from mpirefine.steps.shared.maps import particle_disc
from mpirefine.steps.shared.particles import OwnParticles
from mpirefine.steps.shared.samples import sampled_rows
from mpirefine.steps.state import Context

SAMPLE, FEW = 128, 8  # particles that are compared; with fewer than FEW nothing is concluded
CLEAR = 4.0  # standard errors from which a difference is taken as real


def correlations(images_pyx: np.ndarray, second_pyx: np.ndarray, mask_yx: np.ndarray) -> np.ndarray:
    """(p,) correlation coefficients of images and other images (p, y, x), each with its counterpart, within a mask."""
    first, second = (
        (stack - np.average(stack, axis=(1, 2), weights=np.broadcast_to(mask_yx, stack.shape))[:, None, None]) * mask_yx
        for stack in (images_pyx.astype(np.float64), second_pyx.astype(np.float64))
    )
    power = np.sqrt((first**2).sum(axis=(1, 2)) * (second**2).sum(axis=(1, 2)))
    return (first * second).sum(axis=(1, 2)) / np.where(power > 0, power, 1)


def check_twins(ctx: Context, twins: OwnParticles, name: str) -> None:
    """Collective. Check that the filtered images `twins` are those of the particles; `name` is their file.

    They are when they correlate better with their own particles than with the next ones. InputError when they do not,
    or when their contrast is turned.
    """
    rows = sampled_rows(
        ctx, SAMPLE, 0, np.zeros(len(ctx.particles.table.group_names), np.int64), np.ones(len(ctx.particles))
    )
    rows = rows[~twins.set_aside[rows]]
    images, mask = ctx.particles.images(rows), particle_disc(ctx)
    filtered = twins.images(rows)
    if len(rows) < 2:  # there is no next particle on this rank
        images, filtered = images[:0], filtered[:0]
    own, next_one = (
        np.concatenate(ctx.team.allgather(correlations(part, filtered, mask)))
        for part in (images, np.roll(images, 1, axis=0))
    )
    error = max(float(np.std(own - next_one)) / np.sqrt(max(len(own), 1)), 1e-12)
    if len(own) < FEW:
        return
    measured = (
        f"--usefilt {name}: the images correlate with their particles by {own.mean():.3f}, with the next ones by "
        f"{next_one.mean():.3f}"
    )
    if own.mean() < -CLEAR * error:
        raise error_on_all_ranks(f"{measured}: their contrast is turned: multiply them by -1")
    if (own - next_one).mean() < CLEAR * error:
        raise error_on_all_ranks(f"{measured}: they are not the same particles, or not in the same order")


def error_on_all_ranks(text: str) -> InputError:
    """An InputError that is shown once, since all ranks raise it."""
    error = InputError(text)
    error.on_all_ranks = True
    return error
