"""Step before the first: a few particles are matched to learn what all later decisions rest on.

First each map by itself, with both signs of contrast: how strong it is in the particles, whatever grey scale it came
with, and whether bright means the same in both. Then all maps together: noise and grey scale of each group, and whether
the file's half-sets are in every map.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from mpirefine.errors import InputError
from mpirefine.maths.likelihood.contrast import FEW, Signs
from mpirefine.maths.likelihood.posterior import assign
from mpirefine.steps.likelihood import contrast
from mpirefine.steps.likelihood.classify import hard_poses
from mpirefine.steps.likelihood.noise import first_estimate, residuals, sampled_rows, scales
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.simmx import find
from mpirefine.steps.likelihood.trust import by_power
from mpirefine.steps.shared.half_sets import in_every_map
from mpirefine.steps.state import Context, Noise, State

log = logging.getLogger(__name__)
SAMPLE, GROUP_SAMPLE = 256, 64
ALONE, ALONE_PER_MAP = 64, 16  # particles matched to each map by itself, at least
BOTH, BOTH_GROUP = 32, 16  # of them with both signs: of all, and of each optics group ...
MOST_GROUPS = 64  # ... of at most so many; more are taken to have one sign
CLEAR_GAIN, MIXED = (
    10.0,
    0.1,
)  # of log-likelihood, that tells the sign of one particle; share of particles against the others that is told
ROUNDS, SETTLED = 3, 1.15  # of matching again with better scales; a change of scale that needs none


@dataclass(frozen=True)
class Pilot:
    """First estimate of noise and scale from the images alone, then a better one from the best poses of a sample.

    `names` of the maps are for complaints.
    """

    names: tuple[str, ...] = ()
    name = "pilot"

    def run(self, state: State, ctx: Context) -> State:
        """Collective. InputError when particles and maps have opposite contrast."""
        trust, optics = by_power(ctx), ctx.particles.table.optics_of_group
        state = self._scaled(replace(state, trust=trust), ctx)
        state = Project().run(state, ctx)
        rows = sampled_rows(ctx, SAMPLE, GROUP_SAMPLE, optics, trust)
        sample = replace(state, candidates=find(state, ctx, rows))
        sample = replace(
            sample, assignments=assign(sample.candidates, state.orientations.model, sep=ctx.options.sep, soft=False)
        )
        in_every_map(ctx, rows, sample.assignments.model)
        noise = residuals(ctx, sample, rows, hard_poses(sample), scales(ctx, sample, rows, sample.candidates.match))
        return on_scale_of_particles(replace(state, noise=noise), ctx)

    def _scaled(self, state: State, ctx: Context) -> State:
        """Maps that are as strong as the particles show them, whatever grey scale they came with."""
        optics = ctx.particles.table.optics_of_group
        kind = optics if optics.max() < MOST_GROUPS else np.zeros_like(optics)
        rows = sampled_rows(ctx, max(ALONE, ALONE_PER_MAP * ctx.models), BOTH_GROUP, kind, state.trust)
        both = sampled_rows(ctx, BOTH, BOTH_GROUP, kind, state.trust)
        with ctx.team.together("levelling the starting maps"):
            if ctx.team.is_root:
                state = replace(state, volumes=contrast.levelled(state.volumes, ctx))
        state = replace(state, noise=first_estimate(ctx, state.volumes, state.trust))
        factors, own = np.ones(ctx.models), replace(ctx, resources=ExitStack())
        with own.resources:
            projected = Project().run(state, own)
            for attempt in range(ROUNDS if ctx.models > 1 else 1):
                said = contrast.ask(projected, own, factors, rows, both if attempt == 0 else both[:0], kind)
                if attempt == 0:
                    ctx.team.from_root(self._check_signs, said, state, ctx, int(kind.max()) + 1)
                change = contrast.scales(said) if ctx.models > 1 else np.ones(1)
                factors = factors * change
                if ctx.team.agree(
                    bool(np.abs(np.log(change)).max() < np.log(SETTLED)), "whether the maps' scales are settled"
                ):
                    break
        volumes = (state.volumes * factors[:, None, None, None]).astype(np.float32) if ctx.team.is_root else None
        return replace(state, volumes=volumes)

    def _check_signs(self, said: contrast.Said, state: State, ctx: Context, groups: int) -> None:
        """On rank 0."""
        found, own = contrast.polarity(said, state.volumes, groups)
        if not found.agree:
            raise InputError(*self._turned(found, said, ctx))
        if (own < 0).all():
            log.warning(
                "warning: particles and maps agree, but the maps look dark (protein has low values): radius, masks "
                "and --mass want bright "
                "ones: turn both, --invert particles,maps"
            )
        if not found.score.any():
            log.warning(
                "warning: the sign of contrast is not clear from %d particles: look at the maps of the first "
                "iterations",
                len(said.group),
            )
        best = said.gain[np.arange(len(said.gain)), np.abs(said.gain).argmax(axis=1)]
        against, clear = int((best < -CLEAR_GAIN).sum()), int((np.abs(best) > CLEAR_GAIN).sum())
        if clear >= FEW and against > MIXED * clear:
            log.warning(
                "warning: of %d particles with a clear sign of contrast %d fit the maps better when they are turned: "
                "are some of the stacks "
                "dark?",
                clear,
                against,
            )
        if ctx.particles.table.optics_of_group.max() >= MOST_GROUPS:
            log.info(
                "the sign of contrast was judged for all optics groups together, which are more than %d", MOST_GROUPS
            )

    def _turned(self, found: Signs, said: contrast.Said, ctx: Context) -> list[str]:
        """A line for each optics group, or map, whose contrast is against that of the others."""
        every = bool((found.group < 0).all())
        names = (
            ctx.particles.table.group_names
            if len(found.group) > 1 or ctx.particles.table.optics_of_group.max() < 1
            else ("all",)
        )
        lines = []
        for g in map(int, np.flatnonzero(found.group < 0)):
            m = int(np.abs(found.score[g]).argmax())
            flag = "--invert" if every else f"--invert {g + 1}"
            lines.append(
                f"--input: particles of optics group '{names[g]}' fit the maps with their contrast turned, by a "
                "log-likelihood of "
                f"{abs(found.gain[g, m]):.1f} each ({found.count[g]} tried, {abs(found.score[g, m]):.0f} standard "
                "errors): protein must be "
                f"bright: turn them with {flag}"
            )
        turned = np.flatnonzero(found.map < 0)
        one = len(self.names) == 1  # all maps are made of it
        for m in map(int, turned[:1] if one else turned):
            g = int(np.abs(found.score[:, m]).argmax())
            name = self.names[0 if one else m] if self.names else f"map {m + 1}"
            lines.append(
                f"--models: {name} fits the particles with its contrast turned, by a log-likelihood of "
                f"{abs(found.gain[g, m]):.1f} each "
                f"({found.count[g]} tried): protein must be bright: turn it with --invert "
                f"{'maps' if one else f'map{m + 1}'}"
            )
        return lines


def on_scale_of_particles(state: State, ctx: Context) -> State:
    """Maps whose grey scale is that of the particles: the mean scale of the groups goes into them."""
    mean = float(state.noise.scale.mean())
    volumes = (state.volumes * mean).astype(np.float32) if ctx.team.is_root else None
    return replace(state, volumes=volumes, noise=Noise(state.noise.sigma2, state.noise.scale / mean))
