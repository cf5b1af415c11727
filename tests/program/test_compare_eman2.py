"""tools/compare_eman2 without EMAN2, and with programs that stand for it: a module EMAN2 that reads files with the code
of this program, with one fault planted, and programs that copy files.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.program.small import ROOT, clean_environment

MODULE = """
import json

import numpy as np

from mpirefine.storage.images import open_images

EMANVERSION = "2.99 (not EMAN2)"


class Transform:
    pass


class Image:
    def __init__(self, pixels, header):
        self.pixels, self.header = pixels, header

    def numpy(self):
        return self.pixels

    def has_attr(self, key):
        return key in self.header

    def __getitem__(self, key):
        value = self.header[key]
        return np.ravel(value).tolist() if isinstance(value, np.ndarray) else value


class EMData:
    @staticmethod
    def read_images(name):
        with open_images(name) as file:
            images = [Image(file.read([i])[0], file.header(i)) for i in range(file.count)]
        if name.endswith("likelihood/threed_01_02.hdf"):
            images[0].pixels[5, 5, 5] += 1
        if "classes_" in name:
            images[1].header["model_id"] = 7
        return images


def js_open_dict(name):
    return json.load(open(name))
"""
PROGRAM = """#!{python}
import glob, os, shutil, sys
name, words = os.path.basename(sys.argv[0]), [word.split("=")[-1] for word in sys.argv[1:]]
out = [word for word in words if word.startswith("x_")]
source = {{"e2classify.py": "own_class.hdf", "e2make3d.py": "own_3d.hdf"}}.get(name, "simmx.hdf")
for path in out:
    shutil.copy(source, path)
if name == "e2proc2d.py" and "x_norm.hdf" in out:
    os.remove("x_norm.hdf")
if name == "e2refinemulti.py":
    os.mkdir("multi_01")
    for path in glob.glob("preset_eman2/classmx_*") + glob.glob("preset_eman2/projections_*"):
        shutil.copy(path, "multi_01")
"""
NAMES = "iminfo proc3d proc2d project3d classify simmx classaverage make3d classextract refinemulti version".split()


def compare(*words, path="", timeout=300):
    """The finished tool, with `path` before the PATH."""
    environment = clean_environment()
    environment["PATH"] = os.pathsep.join([*filter(None, [str(path)]), environment["PATH"]])
    return subprocess.run(
        [sys.executable, str(ROOT / "tools/compare_eman2"), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def install(folder, module=MODULE):
    """Programs named as EMAN2's, and a Python that finds `module` as EMAN2; but for e2proclst.py."""
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/EMAN2.py").write_text(module)
    texts = {f"e2{name}.py": PROGRAM.format(python=sys.executable) for name in NAMES}
    texts["python"] = f'#!/bin/sh\nPYTHONPATH="{folder}/lib:{ROOT}" exec "{sys.executable}" "$@"\n'
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def test_it_says_why_it_is_not_run(tmp_path):
    """No program of EMAN2; a Python that cannot import it: status 0, one line, and nothing made."""
    for path, reason in (("", "e2version.py is not on the PATH"), (tmp_path / "bin", "cannot import EMAN2")):
        if path:
            install(path, "raise ImportError('libEM2 is missing')\n")
        done = compare(tmp_path / "new", path=path)
        assert done.returncode == 0 and reason in json.loads(done.stdout)["skipped"]
        assert len(done.stderr.splitlines()) == 1 and reason in done.stderr and "https://eman2.org" in done.stderr
        assert not (tmp_path / "new").exists()
    assert "libEM2 is missing" in done.stderr


@pytest.mark.slow
def test_what_is_compared(tmp_path):
    """The planted faults are found, and nothing else; programs that fail are named with their last line."""
    place = install(tmp_path / "bin")
    size = ("--particles=24", "--box=24", "--iter=1", "--ranks=2", "--snr=2")
    done = compare(tmp_path / "new", *size, path=place)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["eman2"] == "2.99 (not EMAN2)"
    for name in ("preset eman2", "likelihood", "e2refinemulti"):
        assert told[name]["of"] == 24 and told[name]["right"] >= 12 and told[name]["cpu_seconds"] >= 0, told[name]
    assert told["likelihood"]["right"] >= 18
    assert told["e2refinemulti"]["right"] == told["preset eman2"]["right"]
    back = told["read_back"]
    assert set(back["different"]) == {"likelihood/threed_01_02.hdf", "preset_eman2/classes_01.hdf"}, back
    assert back["different"]["preset_eman2/classes_01.hdf"] == "image 1: model_id is [7]"
    assert back["equal"] == back["files"] - 2 > 20
    programs = told["programs"]
    assert programs["of"] == 19 and programs["ran"] == 17 and programs["agree"] == {"classes": 1.0, "maps": 1.0}
    failed = " ".join(programs["failed"])
    assert "e2proclst.py" in failed and "wrote no x_norm.hdf" in programs["failed"].values()
    again = compare(tmp_path / "new", path=place)
    assert again.returncode == 1 and "exists: give a new folder" in again.stderr
