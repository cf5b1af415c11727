"""Reconstruct a map from class averages: what e2make3d does; averages that disagree with the map are left out after the
first pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError
from mpirefine.maths.fourier.filters import in_box
from mpirefine.program import defaults, logs
from mpirefine.program.catalogue import build, build_optional, load
from mpirefine.program.eman2 import support
from mpirefine.program.launcher import check_launcher
from mpirefine.steps.eman2.choices import MapMaking
from mpirefine.steps.eman2.files import map_header
from mpirefine.steps.eman2.map_making import Slices, make_map
from mpirefine.storage.eman2.hdf_header import matrix_of, number_of
from mpirefine.storage.images import check_writable, open_images


def add_arguments(parser: argparse.ArgumentParser, full: bool) -> None:
    """Files and reconstruction."""
    add = parser.add_argument
    add("--input", required=True, help="class averages (.hdf) with their views in the headers")
    add("--output", default="threed.hdf", help="map that is written (default threed.hdf)")
    add("--sym", default="c1", help="symmetry (default c1)")
    add("--iter", type=int, default=2, help="passes; 1: nothing is left out (default 2)")
    add(
        "--keep",
        type=float,
        default=1.0,
        help="share of the averages that is kept, or with --keepsig how many sigma (default 1)",
    )
    add("--keepsig", action="store_true", help="--keep counts standard deviations")
    add("--recon", default="fourier", help="see 'help reconstructors' (default fourier)")
    add("--pad", type=int, default=0, help="box in which the map is made (default: the images')")
    add("--outsize", type=int, help="box of the map (default: the images')")
    add(
        "--preprocess",
        default="normalize.edgemean",
        help="processor of each average, or none (default normalize.edgemean)",
    )
    add("--postprocess", help="processor of the map (default: none)")
    add("--setsf", help="structure factor file: two columns, 1/Å and intensity")
    add("--input_model", type=int, help="only averages with this model_id (from 1)")
    add("--no_wt", action="store_true", help="all averages count alike, however many particles they hold")
    add("--apix", type=float, help="Å per pixel, instead of what the averages say")


def main(args: argparse.Namespace) -> int:
    """Collective."""
    with Team.world() as team:
        check_launcher(team.size)
        logs.start(team.rank, team.size, 1)
        apix, how, symmetry, *columns = support.from_root(team, prepare, args)
        slices = Slices(*columns)
        nx = slices.images.shape[-1]
        mine = Partition.even(len(slices.images), team.size)[team.rank]
        made = make_map(team, slices.take(np.arange(mine.start, mine.stop)), nx, symmetry, apix, how)
        support.write(
            team,
            args.output,
            [in_box(made.volume, args.outsize or nx)] if team.is_root else None,
            apix,
            [map_header(made, args.input)],
        )
        logs.say(f"{len(made.used)} class averages in {args.output}, {len(made.left_out)} left out")
    return 0


def prepare(args: argparse.Namespace) -> tuple:
    """On rank 0. Å per pixel, how to reconstruct, the symmetry, and the columns of Slices: all averages that are asked
    for.
    """
    check_writable(args.output)
    support.positive("iter", args.iter)
    support.share("keep", args.keep, args.keepsig)
    if args.outsize is not None:
        support.positive("outsize", args.outsize)
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
