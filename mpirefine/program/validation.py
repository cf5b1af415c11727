"""Whether the values of options can be, before any file is read."""

from __future__ import annotations

from dataclasses import fields

from mpirefine.errors import ParameterError, Problems
from mpirefine.program.options import Options, flag_of


def validate(options: Options) -> None:
    """ParameterError with every value that is out of range and every option that is missing."""
    problems = Problems()
    problems.add(*missing_options(options), *out_of_range(options), *contradictions(options))
    problems.raise_if_any(ParameterError)


def missing_options(options: Options) -> list[str]:
    """Complaints about options that have no default."""
    required = (("input", "the particle file"), ("models", "the starting maps"))
    found = [f"--{name} is missing: give {text}" for name, text in required if not getattr(options, name)]
    if options.preset == "eman2-2011" and options.iter is None:
        found.append("--iter is missing: e2refinemulti of 2011 has no default for it")
    return found


def out_of_range(options: Options) -> list[str]:
    """Complaints about values that are too small or too large."""
    found = []
    for option in fields(Options):
        value, least, most = getattr(options, option.name), option.metadata["least"], option.metadata["most"]
        if value is None or least is None:
            continue
        if not value >= least:
            found.append(f"{flag_of(option.name)} {value}: must be {least:g} or more")
        elif value > most:
            found.append(f"{flag_of(option.name)} {value}: must be {most:g} or less")
    for name in ("classkeep", "m3dkeep"):
        value = getattr(options, name)
        if value is not None and not getattr(options, name + "sig") and not 0 < value <= 1:
            found.append(
                f"{flag_of(name)} {value}: a share is more than 0 and at most 1; with {flag_of(name + 'sig')} it "
                "counts sigma"
            )
    return found


def contradictions(options: Options) -> list[str]:
    """Complaints about options that exclude each other."""
    rules = (
        (
            options.fixed_poses and (options.local or options.keep_simmx),
            "--fixed-poses searches nothing: leave out --local and --keep-simmx",
        ),
        (
            options.align_sym and (options.fixed_poses or options.mask),
            "--align-sym turns the maps away from the poses of --fixed-poses and from --mask: leave it out, or turn "
            "the maps first",
        ),
        (
            options.local and options.keep_simmx,
            "--keep-simmx keeps the scores of a search everywhere: leave out --local",
        ),
    )
    return [text for broken, text in rules if broken]
