"""What the pilot learns before anything is assigned: grey scales of maps, the sign of contrast, halves that are in
every map.
"""

from dataclasses import replace

import numpy as np
import pytest

from mpirefine.errors import InputError
from mpirefine.maths.fourier.filters import lowpass_gauss
from mpirefine.maths.image.ctf import contrast_transfer
from mpirefine.maths.likelihood.posterior import assign
from mpirefine.steps.eman2.twins import check_twins
from mpirefine.steps.likelihood.pilot import pilot
from mpirefine.steps.likelihood.project import Project
from mpirefine.steps.likelihood.search.candidates import find_candidates
from mpirefine.steps.shared.particles import MemoryStack, OwnParticles
from mpirefine.steps.workspace import Workspace
from tests.steps.small import GRID, context, simulate


def piloted(team, truth, made, factors=(1.0, 1.0), names=(), **table):
    """The state after the pilot, with the starting maps times `factors`."""
    ctx, state = context(team, truth, made)
    ctx.particles.table = replace(
        ctx.particles.table,
        **{
            name: values[ctx.block.as_slice]
            if isinstance(values, np.ndarray) and len(values) == ctx.partition.n
            else values
            for name, values in table.items()
        },
    )
    if team.is_root:
        state = replace(state, volumes=(state.volumes * np.array(factors)[:, None, None, None]).astype(np.float32))
    state = replace(state, half=ctx.particles.table.half)
    return ctx, pilot(state, ctx, names)


def labels(ctx, state):
    with Workspace() as work:
        state = Project(work).run(state, ctx)
        found = find_candidates(state, ctx, np.arange(len(ctx.particles)))
    model = assign(found, state.orientations.model, sep=8, soft=True).model
    return np.concatenate(ctx.team.allgather(model))


@pytest.mark.slow
@pytest.mark.ranks(1, 3)
def test_grey_scales_of_starting_maps_do_not_matter(team):
    truth, made = simulate(n=80, snr=0.4)
    ctx, first = piloted(team, truth, made)
    known = labels(ctx, first)
    assert (known == made["label"]).mean() > 0.9
    for factors in ((0.3, 0.3), (4.0, 0.5)):
        ctx, state = piloted(team, truth, made, factors)
        np.testing.assert_allclose(state.noise.scale, first.noise.scale, rtol=1e-3)
        if team.is_root:
            np.testing.assert_allclose(state.volumes, first.volumes, atol=2e-3 * first.volumes.max())
        np.testing.assert_array_equal(labels(ctx, state), known)


@pytest.mark.ranks(1)
def test_maps_come_out_as_strong_as_their_particles_show_them(team):
    truth, made = simulate(n=160, snr=0.4)
    _, state = piloted(team, truth, made, (1.0, 3.0))
    ctx, planted = context(team, truth, made)
    wanted = planted.volumes * planted.noise.scale[0]
    ratio = [(a * b).sum() / (b * b).sum() * state.noise.scale[0] for a, b in zip(state.volumes, wanted)]
    # the references are blurred, which both pay for alike
    assert 0.9 < ratio[0] / ratio[1] < 1.1 and 0.8 < ratio[0] < 1.4


@pytest.mark.ranks(1, 2)
def test_dark_particles_stop_the_run_with_the_numbers(team):
    truth, made = simulate(n=60, snr=0.5)
    made["images"] = -made["images"]
    with pytest.raises(InputError, match=r"optics group 'all'.*log-likelihood of \d+.*[0-9]+ tried.*--invert$"):
        piloted(team, truth, made)


@pytest.mark.ranks(1)
def test_one_dark_group_and_one_dark_map_are_named(team):
    truth, made = simulate(n=80, snr=0.5)
    groups = dict(
        group=(np.arange(80) % 2).astype(np.int32),
        group_names=("bright", "odd ones"),
        optics=np.arange(2, dtype=np.int32),
    )
    mixed = dict(made, images=made["images"] * np.where(np.arange(80) % 2, -1, 1)[:, None, None].astype(np.float32))
    with pytest.raises(InputError, match="optics group 'odd ones'.*--invert 2"):
        piloted(team, truth, mixed, **groups)
    with pytest.raises(InputError, match="seed_1.mrc fits.*--invert map2"):
        piloted(team, truth, made, (1.0, -1.0), names=("seed_0.mrc", "seed_1.mrc"))


@pytest.mark.ranks(1)
def test_some_dark_particles_among_the_others_are_told(team, caplog):
    truth, made = simulate(n=80, snr=0.5)
    made["images"] = made["images"] * np.where(np.arange(80) % 4 == 1, -1, 1)[:, None, None].astype(np.float32)
    with caplog.at_level("WARNING", logger="mpirefine"):
        piloted(team, truth, made)
    assert "fit the maps better with their contrast turned" in caplog.text


@pytest.mark.ranks(1, 2)
def test_filtered_twins_must_be_those_of_the_particles(team):
    truth, made = simulate(n=80, snr=0.5)
    ctx, _ = context(team, truth, made)
    smooth = np.stack([lowpass_gauss(image, GRID, 1 / 30) for image in made["images"]])
    for images, said in (
        (smooth, ""),
        (-smooth, "contrast is turned"),
        (np.roll(smooth, 5, axis=0), "not the same particles"),
    ):
        twins = OwnParticles(ctx.particles.table, MemoryStack(images[ctx.block.as_slice]), GRID, pixels=None)
        if not said:
            check_twins(ctx, twins, "twins.hdf")
            continue
        with pytest.raises(InputError, match=f"--usefilt twins.hdf: .*{said}"):
            check_twins(ctx, twins, "twins.hdf")


@pytest.mark.ranks(1, 2)
def test_half_sets_of_the_file_must_be_in_every_map(team):
    truth, made = simulate(n=80, snr=0.5)
    parted = made["label"].astype(np.int8)
    ctx, state = piloted(team, truth, made, subset=parted, half=parted)
    assert (state.half != parted[ctx.block.as_slice]).any()
    sound = (np.arange(80) % 2).astype(np.int8)
    ctx, state = piloted(team, truth, made, subset=sound, half=sound)
    np.testing.assert_array_equal(state.half, sound[ctx.block.as_slice])


@pytest.mark.slow
@pytest.mark.ranks(1, 2)
def test_images_multiplied_by_their_ctf_say_the_same(team):
    truth, made = simulate(n=80, snr=0.4)
    ctx, plain = piloted(team, truth, made)
    known = labels(ctx, plain)
    curve = contrast_transfer(made["ctf"], *reversed(GRID.frequencies()))
    images = np.fft.irfft2(np.fft.rfft2(made["images"]) * curve, s=(GRID.nx, GRID.nx)).astype(np.float32)
    half = np.arange(80) % 2 == 1
    mixed = dict(
        made, images=np.where(half[:, None, None], images, made["images"]), ctf=replace(made["ctf"], premultiplied=half)
    )
    groups = dict(group=half.astype(np.int32), group_names=("raw", "done"), optics=np.arange(2, dtype=np.int32))
    ctx, state = piloted(team, truth, mixed, **groups)
    assert (labels(ctx, state) == known).mean() > 0.97
    # the noise is that before the multiplication
    np.testing.assert_allclose(state.noise.sigma2[1, 4:14], state.noise.sigma2[0, 4:14], rtol=0.25)
    np.testing.assert_allclose(state.noise.scale[1] / state.noise.scale[0], 1, rtol=0.25)
