"""Every option of a refinement, declared once: the command line, its help, checks and JSON follow from here."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from types import NoneType
from typing import get_args, get_type_hints

from mpirefine.errors import ParameterError
from mpirefine.program.declaration import add_option, flag_of, opt
from mpirefine.program.eman2.options import IDLE, EmanOptions, translate

# options of the likelihood, without effect in EMAN2's way
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
    "full_box",
    "no_full_maps",
    "block_mb",
)

EMAN_GROUP = "options of EMAN2's e2refinemulti (docs/eman2.md says what is the same)"


@dataclass(frozen=True)
class Options(EmanOptions):
    """The options of a refinement; None stands for an automatic value, which `defaults.resolve` fills in."""

    input: str = opt(
        "",
        "particle file: RELION STAR (3.0 or later), cryoSPARC .cs (after a comma its passthrough file), EMAN2 list or "
        "HDF stack",
        level=0,
    )
    models: str = opt("", "starting maps, comma separated (MRC or EMAN2 HDF, any box and pixel size)", level=0)
    nmodels: int | None = opt(None, "make this many seeds from one starting map, by seeded noise", level=0, least=2)
    sym: str = opt(
        "c1",
        "symmetry, one for all maps or one each: c<n>, d<n>, tet, oct, icos; of a helix along z h<copies>:<starts>:"
        "<twist in degrees>:<rise in pixels of the particle file>",
        level=0,
    )
    iter: int | None = opt(None, "iterations, at most (default: 8, or 40 for seeds of one map)", level=0, least=1)
    targetres: float | None = opt(
        None,
        "target resolution: seeds are low-pass filtered to it, and matching uses nothing finer",
        unit="Å",
        level=0,
        least=0.1,
    )
    mass: str | None = opt(
        None,
        "mass, one for all maps or one each: maps are scaled so that the contour level 1 encloses it",
        unit="kDa",
        level=0,
    )
    path: str | None = opt(None, "results folder (default: the next free multi_NN)", level=0)
    sep: int | None = opt(
        None,
        "projections that a particle contributes to, at most (default: 8; the best one with class averages)",
        level=0,
        least=1,
    )
    assign: str = opt(
        "soft",
        "weights of a particle in maps; soft: probabilities; hard: equal for its best --sep projections",
        level=0,
        choices=("soft", "hard"),
    )
    threads: int = opt(1, "threads per rank", level=0, least=1)
    check: bool = opt(False, "check the input for problems, and stop", level=0, short="-c")
    apix: float | None = opt(None, "pixel size of the particles, instead of the one in the files", unit="Å", least=1e-3)
    box: int | None = opt(
        None,
        "box in which particles are matched, at most their own (default: Nyquist 1.5 times finer than --targetres)",
        unit="px",
        least=16,
    )
    full_box: int | None = opt(
        None, "box of the final full-size maps (default: that of the particles)", unit="px", least=16
    )
    no_full_maps: bool = opt(False, "make no maps at the particles' own size where they are matched in a smaller box")
    radius: float | None = opt(None, "particle radius (default: from the starting maps)", unit="Å", least=1.0)
    maxshift: float | None = opt(
        None,
        "largest shift searched, in the particles' own pixels, the coarsest if they differ (default: 8 % of the box)",
        unit="px",
        least=0.0,
    )
    delta: float | None = opt(
        None, "angular step of views on the fine grid (default: from radius and resolution)", unit="degrees", least=0.5
    )
    helical_tilt: float = opt(
        15.0, "views of helices that are searched, from the equator", unit="degrees", least=0.0, most=45.0
    )
    helical_z: float = opt(
        0.3, "central share of a helical map's height, from which its symmetry is imposed", least=0.05, most=1.0
    )
    helical_search: bool = opt(False, "refine twist and rise of helices in every iteration, within 5 % of those before")
    align_sym: bool = opt(False, "rotate starting maps whose symmetry axes differ from those of --sym")
    mask: str | None = opt(
        None, "solvent mask, one for all maps or one each (any box and pixel size, 0 to 1; default: a soft sphere)"
    )
    seeds_from: str = opt(
        "noise",
        "how --nmodels makes seeds of one map; noise: added noise; random-subsets: equal maps, particles assigned at "
        "random in the first iteration; phase-randomised: random phases of the fine features; fragments: each lacks a "
        "different part",
        choices=("noise", "random-subsets", "phase-randomised", "fragments"),
    )
    tau2_fudge: float = opt(4.0, "weight of the data against the prior in the maps' Wiener filter", least=0.01)
    held_out: float | None = opt(
        None,
        "share of the particles that are kept out of the maps, to test at the end whether maps differ (default: 0.05, "
        "more for few particles, at most 2000 particles); 0: no test",
        least=0.0,
        most=0.5,
    )
    min_share: float = opt(
        0.05, "a map with less than this fraction of an equal share of the particles counts as empty", least=0.0
    )
    on_empty: str = opt(
        "reseed",
        "what happens to an empty map; reseed: replaced by a seed of the largest map; freeze: kept as it is; drop: "
        "left out from then on",
        choices=("reseed", "freeze", "drop"),
    )
    automask3d: str | None = opt(
        None, "mask each map with EMAN2's mask.auto3d: threshold,radius,nshells,nshellsgauss,nmaxseed"
    )
    local: float | None = opt(
        None,
        "from the fourth iteration on, search only views within this angle of the last one (default: all views)",
        unit="degrees",
        least=0.1,
    )
    fixed_poses: bool = opt(False, "use angles and shifts of the particle file, and choose only the map")
    temperature: float | None = opt(
        None, "temperature of the posterior at the start, falling to 1 (default: 1; 4 for seeds of one map)", least=1.0
    )
    no_ctf: bool = opt(False, "the images have no CTF")
    invert: str | None = opt(
        None,
        "invert the contrast of all particles, or of what is named, comma separated: optics groups by name or number, "
        "particles, maps, map2",
        bare="particles",
    )
    no_normalise: bool = opt(
        False, "use images as they are, instead of bringing each background to mean 0, no slope, standard deviation 1"
    )
    mapformat: str = opt("mrc", "format of the output maps", choices=("mrc", "hdf"))
    setformat: str | None = opt(
        None, "format of the output particle sets (default: that of --input)", choices=("star", "cs", "lst")
    )
    keep_simmx: bool = opt(False, "store the whole matrix of coarse scores in the run file")
    patience: int = opt(
        3, "stop after this many iterations without better resolution or moved particles; 0: never", least=0
    )
    runs: int = opt(1, "repeat with this many random seeds in run_01, run_02, ..., and compare the runs", least=1)
    seed: int = opt(0, "seed of the random numbers", least=0)
    lowmem: bool = opt(False, "keep particles in a file on the node's own disk instead of in memory")
    scratch: str | None = opt(None, "folder for that file, which is gone when the run ends (default: $TMPDIR or /tmp)")
    block_mb: int = opt(64, "memory of one block of class sums", unit="MB", least=1)
    verbose: int = opt(1, "0: warnings only, 1: decisions and results, 2: everything", least=0, short="-v")

    def to_json(self) -> str:
        """All options as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def typed(cls, given: dict) -> Options:
        """Options as typed, over the defaults of a preset; ParameterError for options that exclude each other."""
        return cls(**translate(given))

    @property
    def map_suffix(self) -> str:
        """The suffix of output maps."""
        return "." + self.mapformat

    @property
    def by_classes(self) -> tuple[str, ...]:
        """The given options that select EMAN2's way; without any of them the likelihood is used."""
        return tuple(
            option.name
            for option in fields(self)
            if option.metadata["classes"] and getattr(self, option.name) not in (None, False)
        )

    @property
    def not_by_classes(self) -> tuple[str, ...]:
        """The given options that have no effect in EMAN2's way."""
        return tuple(
            option.name
            for option in fields(self)
            if option.name in LIKELIHOOD and getattr(self, option.name) not in (option.default, None)
        )

    @property
    def useless(self) -> tuple[str, ...]:
        """A line for each given option that has no effect because of another option."""

        def off(name: str) -> bool:
            return str(getattr(self, name)).lower() in ("0", "none", "")

        rules = [
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
                "--shrinks1 sets the factor",
            ),
        ]
        return tuple(
            f"{flag_of(name)} does nothing: {reason}"
            for name, applies, reason in rules
            if applies and getattr(self, name) not in (None, False, 0)
        )

    @property
    def idle(self) -> tuple[str, ...]:
        """A line for each given option that never has an effect."""
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
            raise ParameterError(
                f"the run was started by another version of mpirefine: unknown option {', '.join(unknown)}"
            )
        return cls(**values)


def option_types() -> dict[str, type]:
    """The type of each option's value, without None."""
    hints = get_type_hints(Options)
    return {
        f.name: next((k for k in get_args(hints[f.name]) if k is not NoneType), hints[f.name]) for f in fields(Options)
    }


def add_to(parser: argparse.ArgumentParser, *, full: bool, only: tuple[str, ...] = ()) -> None:
    """Declare the options on a parser, EMAN2's last.

    `full` shows all of them in the help, `only` restricts them to some names.
    """
    of_eman, kinds = {option.name for option in fields(EmanOptions)}, option_types()
    group = parser.add_argument_group(EMAN_GROUP) if full and not only else parser
    for option in sorted(fields(Options), key=lambda option: option.name in of_eman):
        if not only or option.name in only:
            add_option(group if option.name in of_eman else parser, option, kinds[option.name], full)
