"""The options of EMAN2's e2refinemulti, and their translation into the program's own options.

Those with `classes` select EMAN2's way: scores by comparators, and class averages. Names are EMAN2's, of 2011 and of
today. None stands for an automatic value, which `presets.choose` fills in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpirefine.errors import ParameterError
from mpirefine.program.declaration import opt


@dataclass(frozen=True)
class EmanOptions:
    """Options of EMAN2's way; docs/eman2.md says what is the same, better or different."""

    preset: str | None = opt(
        None,
        "defaults of e2refinemulti, of today or of 2011, for options that are left out",
        choices=("eman2", "eman2-2011"),
        classes=True,
    )
    projector: str | None = opt(None, "how maps are projected: a projector, see 'help projectors'", classes=True)
    orientgen: str | None = opt(
        None, "which directions are projected: an orientation generator, see 'help orientgens'", classes=True
    )
    prethreshold: bool = opt(
        False, "before projecting, zero a map below half the sigma of its nonzero voxels", classes=True
    )
    simcmp: str | None = opt(
        None, "comparator that scores particles against projections, see 'help cmps'", classes=True
    )
    simalign: str | None = opt(None, "aligner of projections and particles, see 'help aligners'", classes=True)
    simaligncmp: str | None = opt(None, "comparator of --simalign", classes=True)
    simralign: str | None = opt(None, "aligner that refines the alignment (refine), or none", classes=True)
    simraligncmp: str | None = opt(None, "comparator of --simralign", classes=True)
    simmask: str | None = opt(None, "mask (one image) for the score", classes=True)
    shrink: int | None = opt(None, "particles are shrunk by this factor before they are scored", least=0, classes=True)
    twostage: int | None = opt(
        None,
        "search all projections at this shrink factor first, and align the best ones in full; 0: align all in full",
        least=0,
        classes=True,
    )
    shrinks1: int | None = opt(None, "shrink factor of the first search; 0: by the box", least=0, classes=True)
    prefilt: bool = opt(
        False, "match each projection's power spectrum to the particle's before they are aligned", classes=True
    )
    usefilt: str | None = opt(
        None,
        "filtered particles of --input, for scores and alignment; the particles of --input are averaged",
        classes=True,
    )
    treeclassify: bool = opt(
        False,
        "EMAN2's search by a tree of projections; here it turns on the first search, as --twostage does",
        classes=True,
    )
    classiter: int | None = opt(
        None, "rounds of aligning and averaging a class; 0: to the projection only", least=0, classes=True
    )
    classkeep: float | None = opt(
        None,
        "share of a class's particles that is averaged; with --classkeepsig: how many sigma from the mean quality",
        classes=True,
    )
    classkeepsig: bool = opt(False, "--classkeep counts standard deviations", classes=True)
    classcmp: str | None = opt(None, "comparator that decides which particles to keep", classes=True)
    classalign: str | None = opt(None, "aligner of particles and class average", classes=True)
    classaligncmp: str | None = opt(None, "comparator of --classalign", classes=True)
    classralign: str | None = opt(None, "aligner that refines the alignment, or none", classes=True)
    classraligncmp: str | None = opt(None, "comparator of --classralign", classes=True)
    classaverager: str | None = opt(None, "averager of the class averages, see 'help averagers'", classes=True)
    classnormproc: str | None = opt(None, "processor of each particle before it is aligned, or none", classes=True)
    classrefsf: bool = opt(False, "give class averages the structure factor of their projection", classes=True)
    classautomask: bool = opt(False, "mask the class average between rounds with its own density", classes=True)
    pad: int | None = opt(
        None, "box that class averages are padded to for the reconstruction; 0: none", unit="px", least=0, classes=True
    )
    recon: str | None = opt(None, "reconstructor, see 'help reconstructors'", classes=True)
    m3dkeep: float | None = opt(
        None, "share of the class averages that a map is made from; with --m3dkeepsig: sigma", classes=True
    )
    m3dkeepsig: bool = opt(False, "--m3dkeep counts standard deviations", classes=True)
    m3diter: int | None = opt(
        None,
        "passes of a reconstruction; class averages that disagree are left out after the first",
        least=1,
        classes=True,
    )
    m3dsetsf: bool = opt(False, "give maps the structure factor in strucfac.txt", classes=True)
    m3dpreprocess: str | None = opt(
        None, "processor of class averages before the reconstruction, or none", classes=True
    )
    m3dpostprocess: str | None = opt(None, "processor of the maps after the reconstruction, or none", classes=True)
    model: str | None = opt(None, "one starting map, of which --nmodels seeds are made (2)")
    mapfragment: bool = opt(
        False, "seeds of --model: each lacks a different part of the map; same as --seeds-from fragments"
    )
    randphase: bool = opt(
        False, "seeds of --model: random phases of the fine features; same as --seeds-from phase-randomised"
    )
    randclassify: bool = opt(
        False,
        "seeds of --model: particles assigned at random in the first iteration; same as --seeds-from random-subsets",
    )
    speed: int | None = opt(None, "1 to 7: a higher speed takes larger angular steps (5)", least=1, most=7)
    breaksym: bool = opt(False, "search all copies of a symmetric view, and reconstruct without symmetry")
    parallel: str | None = opt(None, "no effect, accepted for EMAN2: mpirun sets the number of ranks", short="-P")
    nomirror: bool = opt(False, "no effect, accepted for EMAN2: it has none there either")
    nosingle: bool = opt(False, "no effect, accepted for EMAN2: no refinement of single maps is started afterwards")
    cmpdiff: bool = opt(False, "no effect, accepted for EMAN2: belongs to its tree of projections")
    treeincomplete: int = opt(0, "no effect, accepted for EMAN2: belongs to its tree of projections")
    ppid: int = opt(-1, "no effect, accepted for EMAN2: the process of its graphical window")


NOW: dict[str, Any] = dict(
    iter=6,
    sym="c1",
    mass="0",
    targetres=12.0,
    speed=5,
    sep=-1,
    projector="standard",
    simalign="rotate_translate_flip",
    shrink=0,
    shrinks1=0,
    classiter=-1,
    classkeep=0.9,
    classalign="rotate_translate_flip",
    classnormproc="normalize.edgemean",
    recon="fourier",
    m3dkeep=0.8,
    m3dpreprocess="normalize.edgemean",
    patience=0,
)
OF_2011: dict[str, Any] = dict(
    models="threed.0a.mrc",
    mass="0",
    sep=1,
    projector="standard",
    orientgen="eman:delta=5.0:inc_mirror=0:perturb=1",
    simalign="rotate_translate_flip",
    simaligncmp="dot",
    simralign="none",
    simraligncmp="dot",
    simcmp="dot:normalize=1",
    shrink=0,
    twostage=0,
    classkeep=0.8,
    classiter=3,
    classalign="rotate_translate_flip",
    classaligncmp="phase",
    classralign="none",
    classraligncmp="dot:normalize=1",
    classaverager="mean",
    classcmp="dot:normalize=1",
    classnormproc="normalize.edgemean",
    pad=0,
    recon="fourier",
    m3dkeep=0.8,
    m3diter=4,
    m3dpreprocess="normalize.edgemean",
    m3dpostprocess="none",
    patience=0,
)
SEEDS = {"mapfragment": "fragments", "randphase": "phase-randomised", "randclassify": "random-subsets"}
PRESETS = {"eman2": NOW, "eman2-2011": OF_2011}
# options that are accepted and have no effect, with the reason
IDLE = {
    "parallel": "mpirun sets the number of ranks",
    "nomirror": "it has no effect in EMAN2 either",
    "nosingle": "no refinement of single maps is started afterwards",
    "cmpdiff": "there is no tree of projections: all are searched",
    "treeincomplete": "there is no tree of projections: all are searched",
    "ppid": "no graphical window started this run",
}


def translate(given: dict[str, Any]) -> dict[str, Any]:
    """Options as typed, over the defaults of the preset, with EMAN2's spellings replaced by the program's own.

    This concerns --model, the options for seeds, a mass of 0, and -1 for automatic values. ParameterError for options
    that exclude each other.
    """
    values = {**PRESETS.get(given.get("preset", ""), {}), **given}
    ways = [name for name in SEEDS if values.pop(name, False)]
    if len(ways) > 1 or ways and "seeds_from" in given:
        raise ParameterError(
            f"--{ways[0]} and --{ways[1] if len(ways) > 1 else 'seeds-from'} are two ways to make seeds: give only one"
        )
    single = values.pop("model", None)
    if single and given.get("models"):
        raise ParameterError("--model gives one map to make seeds of, --models maps that differ: leave one of them out")
    if single:
        if given.get("preset") and not ways and "seeds_from" not in given:
            raise ParameterError(
                "--model with EMAN2's defaults needs one of --mapfragment, --randphase, --randclassify"
            )
        values.update(models=single, nmodels=values.get("nmodels", 2))
    elif ways and values.get("nmodels") is None:
        raise ParameterError(
            f"--{ways[0]} makes seeds of one map: give it with --model, and their number with --nmodels"
        )
    if ways:
        values["seeds_from"] = SEEDS[ways[0]]
    if str(values.get("mass") or "0").strip() in ("0", "0.0"):
        values["mass"] = None
    for name in ("sep", "classiter"):
        if values.get(name) == -1:
            values[name] = None
    return values
