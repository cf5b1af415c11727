"""The command `make3d`: reconstruct a map from class averages, as e2make3d does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mpirefine.data.partition import Partition
from mpirefine.distribution.team import Team
from mpirefine.errors import InputError, ParameterError
from mpirefine.maths.geometry.helical_map import impose
from mpirefine.maths.geometry.helix import parse_helix
from mpirefine.program import logs
from mpirefine.program.catalogue import build, load
from mpirefine.program.eman2 import presets, support
from mpirefine.program.start import defaults
from mpirefine.program.validation import check_share
from mpirefine.steps.eman2.choices import MapMaking
from mpirefine.steps.eman2.map_making import Slices, make_map
from mpirefine.steps.eman2.stacks import map_header
from mpirefine.storage.eman2.hdf_header import matrix_of, number_of
from mpirefine.storage.images import check_writable, open_images, read_volumes

NORMALISE = "normalize.edgemean"  # of each average, unless --preprocess says otherwise


def make_map_of_averages(args: argparse.Namespace, team: Team) -> None:
    """Collective. Write the map to --output; InputError or ParameterError for files or options it cannot use."""
    logs.set_up(team.rank, team.size, 1)
    support.tell_idle(args)
    map_making, symmetry = team.from_root(prepare_making, args)
    if not map_making.compares:
        logs.say(f"--recon {map_making.recon.name}: {presets.ONE_PASS}; --iter and --keep do nothing")
    apix, nx, number, *columns = support.prepare_on_root(team, read_views, args)
    mine = Partition.even(len(number), team.size)[team.rank]
    rows = np.arange(mine.start, mine.stop)
    with team.together("reading the averages"), open_images(args.input) as file:
        images = file.read(number[rows]) if len(rows) else np.zeros((0, nx, nx), np.float32)
    more = (None if column is None else column[rows] for column in columns[2:])
    slices = Slices(images, columns[0][rows], columns[1][rows], number[rows], *more)
    result = make_map(team, slices, nx, symmetry, apix, map_making)
    volumes = None if result.volume is None else [with_helix(result.volume, symmetry, args.helical_z)]
    support.write_from_root(team, args.output, volumes, apix, [map_header(result, args.input)])
    logs.say(f"{len(result.used)} class averages in {args.output}, {len(result.left_out)} left out")


def with_helix(volume: np.ndarray, symmetry: str, share: float) -> np.ndarray:
    """On rank 0. The map (z, y, x), with the symmetry of the central `share` of its height if that is helical."""
    coil = parse_helix(symmetry)
    return volume if coil is None or not share or not volume.any() else impose(volume, coil, coil.rise(), share)


def prepare_making(args: argparse.Namespace) -> tuple[MapMaking, str]:
    """On rank 0. The components of the reconstruction, and the symmetry; InputError or ParameterError for options."""
    check_writable(args.output)
    support.check_positive("iter", args.iter)
    check_share("--keep", args.keep, args.keepsig)
    for name in ("outsize", "startweight"):
        if getattr(args, name) is not None:
            support.check_positive(name, getattr(args, name))
    if min(args.pad, args.padvol) < 0:
        raise ParameterError(f"--pad {args.pad}, --padvol {args.padvol}: a box is more than 0 pixels")
    recon = build("reconstructors", args.recon)
    if args.start and "compares" not in recon.traits:
        raise ParameterError(f"--start: --recon {recon.name} begins without a map: leave it out, or use fourier")
    if not 0 <= args.helical_z <= 1:
        raise ParameterError(f"--helical-z {args.helical_z:g}: must be from 0 to 1")
    (symmetry,) = defaults.check_symmetries([args.sym])
    recon(8, symmetry)  # refuses symmetries that it cannot apply
    map_making = MapMaking(
        recon,
        args.pad,
        args.iter,
        args.keep,
        args.keepsig,
        support.build_several("processors", args.preprocess or [NORMALISE]),
        support.build_several("processors", args.postprocess),
        structure_factor_of(args.setsf),
        args.padvol,
        args.outsize or 0,
        args.keepabs,
        read_start(args.start),
        args.startweight,
    )
    return map_making, symmetry


def structure_factor_of(name: str | None) -> np.ndarray | None:
    """On rank 0. The curve (n, 2) of --setsf; InputError or FormatError for a file that cannot be used."""
    if not name or name.lower() == "none":
        return None
    return load(presets.STRUCTURE_FACTOR if name.lower() == "auto" else name)


def read_start(name: str | None) -> np.ndarray | None:
    """On rank 0. The map (z, y, x) of --start; InputError when the file holds no single cubic map."""
    if not name:
        return None
    volumes, _ = read_volumes(name)
    if len(volumes) != 1:
        raise InputError(f"--start {name}: {len(volumes)} maps: give a file with one")
    return volumes[0]


def read_views(args: argparse.Namespace) -> tuple[object, ...]:
    """On rank 0. Read what the headers say of the class averages with a view.

    Returns Å per pixel, the box, the numbers of these averages in the file, and their fields in Slices from `rotation`
    on, but for `number`. InputError when there are none, or a header value is invalid.
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
        apix, nx = args.apix or file.apix or 1.0, file.shape[-1]
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
        nx,
        np.array(chosen),
        matrix[:, :, :3],
        weight,
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
