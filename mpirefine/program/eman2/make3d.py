"""A map of class averages, as e2make3d makes it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError
from mpirefine.maths.fourier.filters import in_box
from mpirefine.program import logs
from mpirefine.program.catalogue import build, build_optional, load
from mpirefine.program.eman2 import support
from mpirefine.program.start import defaults
from mpirefine.steps.eman2.choices import MapMaking
from mpirefine.steps.eman2.map_making import Slices, make_map
from mpirefine.steps.eman2.stacks import map_header
from mpirefine.storage.eman2.hdf import matrix_of, number_of
from mpirefine.storage.images import check_writable, open_images


def make_map_of_averages(args: argparse.Namespace, team: Team) -> None:
    """Collective. What the command of the same name does; InputError or ParameterError for what it cannot use."""
    logs.start(team.rank, team.size, 1)
    apix, how, symmetry, *columns = support.prepare_on_root(team, prepare_make3d, args)
    slices = Slices(*columns)
    nx = slices.images.shape[-1]
    mine = Partition.even(len(slices.images), team.size)[team.rank]
    made = make_map(team, slices.take(np.arange(mine.start, mine.stop)), nx, symmetry, apix, how)
    support.write_from_root(
        team,
        args.output,
        [in_box(made.volume, args.outsize or nx)] if team.is_root else None,
        apix,
        [map_header(made, args.input)],
    )
    logs.say(f"{len(made.used)} class averages in {args.output}, {len(made.left_out)} left out")


def prepare_make3d(args: argparse.Namespace) -> tuple:
    """On rank 0. Å per pixel, how to reconstruct, the symmetry, and the columns of Slices: all averages that are asked
    for.
    """
    check_writable(args.output)
    support.check_positive("iter", args.iter)
    support.check_share("keep", args.keep, args.keepsig)
    if args.outsize is not None:
        support.check_positive("outsize", args.outsize)
    (symmetry,) = defaults.check_symmetries([args.sym])
    factor = load(args.setsf) if args.setsf else None
    how = MapMaking(
        build("reconstructors", args.recon),
        args.pad,
        args.iter,
        args.keep,
        args.keepsig,
        build_optional("processors", args.preprocess),
        build_optional("processors", args.postprocess),
        factor,
    )
    with open_images(args.input) as file:
        headers = [file.header(i) for i in range(file.count)]
        chosen = [
            i
            for i, head in enumerate(headers)
            if "xform.projection" in head and (args.input_model is None or head.get("model_id") == args.input_model)
        ]
        if not chosen:
            raise InputError(
                f"{args.input}: no image with xform.projection"
                + (f" and model_id {args.input_model}" if args.input_model else "")
                + ": there is nothing to reconstruct"
            )
        images, apix = file.read(chosen), args.apix or file.apix or 1.0

    def column(key: str, kind: Callable[[Any], Any], default: Any = None) -> list[Any]:
        values = [headers[i].get(key, default) for i in chosen]
        return [support.checked(args.input, i, key, value, kind(value)) for i, value in zip(chosen, values)]

    matrix = np.array(column("xform.projection", matrix_of))
    weight = np.array([1.0] * len(chosen) if args.no_wt else column("ptcl_repr", number_of, 1))
    snr = [headers[i].get("ctf_snr_total") for i in chosen]
    known = all(curve is not None for curve in snr)
    if known and len({np.shape(curve) for curve in snr}) > 1:
        raise InputError(
            f"{args.input}: header ctf_snr_total: curves of different lengths: the averages are of different boxes "
            "or programs"
        )
    filtered = np.array([bool(flag) for flag in column("ctf_wiener_filtered", number_of, 0)])
    # a view's translation moves the projection: the average goes back by it
    shift = -matrix[:, :2, 3]
    return (
        apix,
        how,
        symmetry,
        images,
        matrix[:, :, :3],
        weight,
        np.array(chosen),
        np.stack(snr) if known else None,
        filtered if known else None,
        shift if shift.any() else None,
    )
