"""EMAN2's lists of images, for tests."""

from mpirefine.storage.eman2.lst import format_line, write_lines


def write_lst(path, entries):
    """Write entries as a list in the fast layout."""
    write_lines(path, [format_line(entry) for entry in entries])
