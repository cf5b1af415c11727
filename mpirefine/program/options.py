"""Every option of a refinement, declared once: the command line, its help, the checks and the JSON in the run file come
from here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import Field, asdict, dataclass, fields
from types import NoneType
from typing import get_args, get_type_hints

from mpirefine.errors import ParameterError
from mpirefine.program.declaration import opt
from mpirefine.program.eman2.options import IDLE, EmanOptions, translated

# what steers the search and the statistics of the likelihood only
LIKELIHOOD = (
    "assign",
    "delta",
    "maxshift",
    "temperature",
    "held_out",
    "tau2_fudge",
    "local",
    "fixed_poses",
    "keep_simmx",
    "block_mb",
    "threads",
)

EMAN_GROUP = "options of EMAN2's e2refinemulti (docs/eman2.md says what is the same)"


@dataclass(frozen=True)
class Options(EmanOptions):
    """What a refinement was asked to do; None stands for an automatic choice, which `auto.resolve` replaces."""

    input: str = opt("", "particle file: RELION STAR (3.0 or later), EMAN2 list or HDF stack", level=0)
    models: str = opt("", "starting maps, comma separated (MRC or EMAN2 HDF, any box and pixel size)", level=0)
    nmodels: int | None = opt(None, "make this many seeds from one starting map, by seeded noise", level=0, least=2)
    sym: str = opt("c1", "symmetry, one for all maps or one each: c<n>, d<n>, tet, oct, icos", level=0)
    iter: int | None = opt(None, "iterations, at most (default: 8, or 40 for seeds of one map)", level=0, least=1)
    targetres: float | None = opt(
        None, "resolution aimed at; seeds are low-passed to it, matching uses no more", unit="Å", level=0, least=0.1
    )
    mass: str | None = opt(
        None,
        "mass, one for all maps or one each: maps are written with density 1 as contour level",
        unit="kDa",
        level=0,
    )
    path: str | None = opt(None, "results folder (default: the next free multi_NN)", level=0)
    sep: int | None = opt(
        None,
        "projections a particle contributes to, at most (default: 8, or the best with class averages)",
        level=0,
        least=1,
    )
    assign: str = opt(
        "soft", "soft: by probability; hard: the best --sep projections", level=0, choices=("soft", "hard")
    )
    threads: int = opt(1, "threads per rank", level=0, least=1)
    check: bool = opt(False, "find every problem of the input, do no work", level=0, short="-c")
    apix: float | None = opt(None, "pixel size of the particles, instead of what the files say", unit="Å", least=1e-3)
    radius: float | None = opt(None, "particle radius (default: from the starting maps)", unit="Å", least=1.0)
    maxshift: float | None = opt(None, "largest shift searched (default: 8 % of the box)", unit="px", least=0.0)
    delta: float | None = opt(
        None, "step of directions on the fine grid (default: from radius and resolution)", unit="degrees", least=0.5
    )
    align_sym: bool = opt(False, "turn starting maps whose axes lie elsewhere than those of --sym")
    mask: str | None = opt(
        None, "solvent mask, one for all maps or one each (MRC on the particles' grid, 0 to 1; default: a soft sphere)"
    )
    seeds_from: str = opt(
        "noise",
        "how --nmodels makes seeds of one map: noise added; random-subsets: alike, particles handed out at random in "
        "the "
        "first iteration; phase-randomised: random phases of the fine features; fragments: each lacks another part",
        choices=("noise", "random-subsets", "phase-randomised", "fragments"),
    )
    tau2_fudge: float = opt(4.0, "weight of the data against the prior in the maps' Wiener filter", least=0.01)
    held_out: float | None = opt(
        None,
        "share of the particles (default 0.05, more of few; 2000 at most) that are left out of the maps until "
        "the end, to test whether maps differ; 0: no test",
        least=0.0,
        most=0.5,
    )
    min_share: float = opt(
        0.05, "a map with less than this part of an equal share of the particles is empty", least=0.0
    )
    on_empty: str = opt(
        "reseed",
        "what happens to an empty map: made anew from the largest one; kept as it is; or left out from then on",
        choices=("reseed", "freeze", "drop"),
    )
    automask3d: str | None = opt(None, "mask each map by EMAN2's threshold,radius,nshells,nshellsgauss,nmaxseed")
    local: float | None = opt(
        None,
        "from the fourth iteration on, search views this near the last one only (default: everywhere)",
        unit="degrees",
        least=0.1,
    )
    fixed_poses: bool = opt(False, "take angles and shifts of the particle file, choose the map only")
    temperature: float | None = opt(
        None, "of the first probabilities, falling to 1 (default: 1, or 4 for seeds of one map)", least=1.0
    )
    no_ctf: bool = opt(False, "the images carry no contrast transfer")
    invert: str | None = opt(
        None,
        "turn the contrast of all particles; or of what is named, comma separated: optics groups by name or number, "
        "particles, maps, map2",
        bare="particles",
    )
    no_normalise: bool = opt(
        False, "take the images as they are, instead of bringing each one's background to mean 0, no slope, deviation 1"
    )
    mapformat: str = opt("mrc", "format of the maps that are written", choices=("mrc", "hdf"))
    setformat: str | None = opt(
        None, "format of the particles' sets that are written (default: that of --input)", choices=("star", "lst")
    )
    keep_simmx: bool = opt(False, "keep the whole matrix of coarse scores in the run file")
    patience: int = opt(3, "stop after this many iterations without gain in resolution or moves; 0: never", least=0)
    runs: int = opt(1, "repeat with this many seeds in run_01, run_02, ..., and tell what the runs agree on", least=1)
    seed: int = opt(0, "of everything random: grid turns, noise seeds", least=0)
    lowmem: bool = opt(False, "read particles again in each pass instead of keeping their pixels")
    block_mb: int = opt(64, "memory of one block of class sums", unit="MB", least=1)
    verbose: int = opt(1, "0: warnings only, 1: what is decided and found, 2: everything", least=0, short="-v")

    def to_json(self) -> str:
        """JSON of all fields."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def typed(cls, given: dict) -> Options:
        """What was typed, over the defaults of a preset; see `emanoptions.translated`."""
        return cls(**translated(given))

    @property
    def map_suffix(self) -> str:
        """Of the maps that are written."""
        return "." + self.mapformat

    @property
    def by_classes(self) -> tuple[str, ...]:
        """The options that ask for scores by a comparator and class averages, as EMAN2 does it; without any, the
        likelihood is used.
        """
        return tuple(
            one.name for one in fields(self) if one.metadata["classes"] and getattr(self, one.name) not in (None, False)
        )

    @property
    def not_by_classes(self) -> tuple[str, ...]:
        """Options that were given and have no meaning where particles are scored by comparators."""
        return tuple(
            one.name
            for one in fields(self)
            if one.name in LIKELIHOOD and getattr(self, one.name) not in (one.default, None)
        )

    @property
    def useless(self) -> tuple[str, ...]:
        """A line for each option that was given beside another one that leaves it nothing to do."""

        def off(name: str) -> bool:
            return str(getattr(self, name)).lower() in ("0", "none", "")

        pairs = [
            ("shrinks1", self.twostage == 0, "--twostage 0 has no first search"),
            ("m3dkeep", self.m3diter == 1, "--m3diter 1 leaves nothing out"),
            ("m3dkeepsig", self.m3diter == 1, "--m3diter 1 leaves nothing out"),
            *(
                (
                    f"{kind}raligncmp",
                    getattr(self, f"{kind}ralign") is not None and off(f"{kind}ralign"),
                    f"--{kind}ralign none refines nothing",
                )
                for kind in ("sim", "class")
            ),
            (
                "twostage",
                bool(self.twostage and self.shrinks1 and self.twostage != self.shrinks1),
                "--shrinks1 says the factor",
            ),
        ]
        return tuple(
            f"{flag_of(name)} does nothing: {reason}"
            for name, applies, reason in pairs
            if applies and getattr(self, name) not in (None, False, 0)
        )

    @property
    def idle(self) -> tuple[str, ...]:
        """A line for each option that was given and has nothing to do here."""
        return tuple(
            f"{flag_of(name)} does nothing: {reason}"
            for name, reason in IDLE.items()
            if getattr(self, name) != next(f.default for f in fields(self) if f.name == name)
        )

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Inverse of `to_json`; ParameterError for fields this version does not know."""
        values = json.loads(text)
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise ParameterError(f"the run was started by another version: unknown option {', '.join(unknown)}")
        return cls(**values)


def flag_of(name: str) -> str:
    """What is typed for an option."""
    return "--" + name.replace("_", "-")


def option_types() -> dict[str, type]:
    """The type of each option's value; that of an optional one without None."""
    hints = get_type_hints(Options)
    return {
        f.name: next((k for k in get_args(hints[f.name]) if k is not NoneType), hints[f.name]) for f in fields(Options)
    }


def add_to(parser: argparse.ArgumentParser, *, full: bool, only: tuple[str, ...] = ()) -> None:
    """Declare the options on a parser, EMAN2's after the others.

    `full` shows all of them in its help, `only` restricts them to some names.
    """
    of_eman, kinds = {one.name for one in fields(EmanOptions)}, option_types()
    group = parser.add_argument_group(EMAN_GROUP) if full and not only else parser
    for option in sorted(fields(Options), key=lambda option: option.name in of_eman):
        if not only or option.name in only:
            add_option(group if option.name in of_eman else parser, option, kinds[option.name], full)


def add_option(place: argparse._ActionsContainer, option: Field[object], kind: type, full: bool) -> None:
    """Declare one option; its help is hidden where it is not of level 0 and the help is not `full`."""
    meta, flag = option.metadata, flag_of(option.name)
    shown = meta["text"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    if option.default not in (None, "", False):
        shown += f" (default {option.default})"
    text = shown.replace("%", "%%") if full or meta["level"] == 0 else argparse.SUPPRESS
    flags = [meta["short"], flag] if meta["short"] else [flag]
    if kind is bool:
        place.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    bare = {} if meta["bare"] is None else {"nargs": "?", "const": meta["bare"]}
    place.add_argument(
        *flags,
        type=kind,
        default=argparse.SUPPRESS,
        help=text,
        choices=meta["choices"] or None,
        metavar=None if meta["choices"] else kind.__name__.upper(),
        **bare,
    )
