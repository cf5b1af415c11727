"""Settings of the steps, from the options of the user."""

from __future__ import annotations

from typing import cast

from mpirefine.errors import ParameterError
from mpirefine.program.options import Options
from mpirefine.steps.settings import Automask, OnEmpty, Settings


def settings_of(options: Options, mass: tuple[float, ...] | None = None) -> Settings:
    """Settings from resolved options and the `mass` of each map in kDa; ParameterError for a wrong --automask3d."""
    assert options.iter is not None and options.sep is not None and options.temperature is not None
    return Settings(
        iterations=options.iter,
        seed=options.seed,
        threads=options.threads,
        sep=options.sep,
        soft=options.assign == "soft",
        temperature=options.temperature,
        tau2_fudge=options.tau2_fudge,
        held_out=options.held_out,
        min_share=options.min_share,
        on_empty=cast(OnEmpty, options.on_empty),
        random_subsets=bool(options.seeds_from == "random-subsets" and options.nmodels),
        local=options.local,
        fixed_poses=options.fixed_poses,
        keep_simmx=options.keep_simmx,
        helical_z=options.helical_z,
        helical_search=options.helical_search,
        automask=parse_automask(options.automask3d) if options.automask3d else None,
        mass=mass,
        patience=options.patience,
        block_mb=options.block_mb,
    )


def parse_automask(setting: str) -> Automask:
    """Parse EMAN2's five numbers of --automask3d; ParameterError for anything else."""
    try:
        threshold, radius, nshells, nshellsgauss, nmaxseed = setting.split(",")
        return Automask(float(threshold), int(radius), int(nshells), int(nshellsgauss), int(nmaxseed))
    except ValueError:
        raise ParameterError(
            f"--automask3d {setting}: give five numbers: threshold,radius,nshells,nshellsgauss,nmaxseed"
        ) from None
