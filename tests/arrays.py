"""Files of several arrays, for tests."""

import numpy as np


def load_npz(path):
    """All arrays of a .npz file by name; the file is closed."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
