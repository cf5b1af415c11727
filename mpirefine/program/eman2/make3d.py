"""The command `make3d`: reconstruct a map from class averages, as e2make3d does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
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
from mpirefine.program.validation import check_share
from mpirefine.steps.eman2.choices import MapMaking
from mpirefine.steps.eman2.map_making import Slices, make_map
from mpirefine.steps.eman2.stacks import map_header
from mpirefine.storage.eman2.hdf_header import matrix_of, number_of
from mpirefine.storage.images import check_writable, open_images


def make_map_of_averages(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write the map to --output; InputError or ParameterError for files or options it cannot use."""
    logs.set_up(team.rank, team.size, 1)
    map_making, symmetry = team.from_root(prepare_making, args)
    apix, *columns = support.prepare_on_root(team, read_averages, args)
    slices = Slices(*columns)
    nx = slices.images.shape[-1]
    mine = Partition.even(len(slices.images), team.size)[team.rank]
    own_slices = slices.take(np.arange(mine.start, mine.stop))
    result = make_map(team, own_slices, nx, symmetry, apix, map_making)
    volumes = None if result.volume is None else [in_box(result.volume, args.outsize or nx)]
    support.write_from_root(team, args.output, volumes, apix, [map_header(result, args.input)])
    logs.say(f"{len(result.used)} class averages in {args.output}, {len(result.left_out)} left out")


def prepare_making(args: argparse.Namespace) -> tuple[MapMaking, str]:
    """On rank 0. The components of the reconstruction, and the symmetry; InputError or ParameterError for options."""
    check_writable(args.output)
    support.check_positive("iter", args.iter)
    check_share("--keep", args.keep, args.keepsig)
    if args.outsize is not None:
        support.check_positive("outsize", args.outsize)
    (symmetry,) = defaults.check_symmetries([args.sym])
    map_making = MapMaking(
        build("reconstructors", args.recon),
        args.pad,
        args.iter,
        args.keep,
        args.keepsig,
        build_optional("processors", args.preprocess),
        build_optional("processors", args.postprocess),
        load(args.setsf) if args.setsf else None,
    )
    return map_making, symmetry


def read_averages(args: argparse.Namespace) -> tuple[object, ...]:
    """On rank 0. Read the class averages with a view; returns Å per pixel, and the fields of Slices in their order.

    InputError when there are none, or a header value is invalid.
    """
    with open_images(args.input) as file:
        all_headers = [file.header(i) for i in range(file.count)]
        chosen = [
            i
            for i, head in enumerate(all_headers)
            if "xform.projection" in head and args.input_model in (None, head.get("model_id"))
        ]
        if not chosen:
            model = f" and model_id {args.input_model}" if args.input_model else ""
            raise InputError(
                f"{args.input}: no image with xform.projection{model} in its header: give class averages with views"
            )
        images, apix = file.read(chosen), args.apix or file.apix or 1.0
    headers = {i: all_headers[i] for i in chosen}
    matrix = np.array(header_column(args.input, headers, "xform.projection", matrix_of))
    counts = header_column(args.input, headers, "ptcl_repr", number_of, 1)
    weight = np.array([1.0] * len(chosen) if args.no_wt else counts)
    snr = [curve for head in headers.values() if (curve := head.get("ctf_snr_total")) is not None]
    if len(snr) == len(chosen) and len({np.shape(curve) for curve in snr}) > 1:
        raise InputError(
            f"{args.input}: header ctf_snr_total: curves of different lengths: give averages that were made together"
        )
    known = len(snr) == len(chosen)
    flags = header_column(args.input, headers, "ctf_wiener_filtered", number_of, 0)
    filtered = np.array([bool(flag) for flag in flags])
    shift = -matrix[:, :2, 3]  # the translation of a view moved its projection: this moves the average back
    return (
        apix,
        images,
        matrix[:, :, :3],
        weight,
        np.array(chosen),
        np.stack(snr) if known else None,
        filtered if known else None,
        shift if shift.any() else None,
    )


def header_column(
    name: str, headers: Mapping[int, Mapping[str, Any]], key: str, convert: Callable[[Any], Any], default: Any = None
) -> list[Any]:
    """A header value of all images; InputError when `convert` gives None for one."""
    return [
        support.check_header(name, i, key, head.get(key, default), convert(head.get(key, default)))
        for i, head in headers.items()
    ]
