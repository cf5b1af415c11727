"""Checks of the values of options, before any file is read."""

from __future__ import annotations

from dataclasses import fields

from mpirefine.errors import ParameterError, Problems
from mpirefine.program.declaration import flag_of
from mpirefine.program.options import Options


def validate(options: Options) -> None:
    """ParameterError with every option that is missing, out of range, or excluded by another one."""
    problems = Problems()
    problems.add(*find_missing(options), *find_out_of_range(options), *find_contradictions(options))
    problems.raise_if_any(ParameterError)


def find_missing(options: Options) -> list[str]:
    """Problems of options that are left out and have no default."""
    required = (("input", "the particle file"), ("models", "the starting maps"))
    problems = [f"--{name} is missing: give {text}" for name, text in required if not getattr(options, name)]
    if options.preset == "eman2-2011" and options.iter is None:
        problems.append("--iter is missing: give it, e2refinemulti of 2011 has no default for it")
    return problems


def find_out_of_range(options: Options) -> list[str]:
    """Problems of values that are too small or too large."""
    problems, shares = [], Problems()
    for option in fields(Options):
        value, least, most = getattr(options, option.name), option.metadata["least"], option.metadata["most"]
        if value is None or least is None:
            continue
        if not value >= least:
            problems.append(f"{flag_of(option.name)} {value}: must be {least:g} or more")
        elif value > most:
            problems.append(f"{flag_of(option.name)} {value}: must be {most:g} or less")
    for name in ("classkeep", "m3dkeep"):
        value = getattr(options, name)
        if value is not None:
            with shares.collect():
                check_share(flag_of(name), value, getattr(options, name + "sig"))
    return problems + shares.texts


def check_share(flag: str, value: float, sigma: bool) -> None:
    """ParameterError when a value is no share of 0 to 1; with `sigma` it counts standard deviations, and is valid."""
    if not sigma and not 0 < value <= 1:
        raise ParameterError(
            f"{flag} {value:g}: a share is more than 0 and at most 1 (standard deviations with {flag}sig)"
        )


def find_contradictions(options: Options) -> list[str]:
    """Problems of options that exclude each other."""
    rules = (
        (
            options.fixed_poses and (options.local or options.keep_simmx),
            "--fixed-poses: there is no search of poses: leave out --local and --keep-simmx",
        ),
        (
            options.align_sym and (options.fixed_poses or options.mask),
            "--align-sym rotates the maps, which then disagree with --fixed-poses and --mask: leave it out, or align "
            "the maps before",
        ),
        ((options.box or 0) % 2, f"--box {options.box}: must be even"),
        ((options.full_box or 0) % 2, f"--full-box {options.full_box}: must be even"),
        (options.scratch and not options.lowmem, "--scratch names the folder for --lowmem: give --lowmem too"),
        (options.full_box and options.no_full_maps, "--full-box and --no-full-maps: give one of them"),
        (
            options.local and options.keep_simmx,
            "--keep-simmx needs the scores of all views: leave out --local",
        ),
    )
    return [text for broken, text in rules if broken]
