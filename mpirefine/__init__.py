"""Multi-model refinement of single particles in cryo-electron microscopy, for supercomputers."""

__version__ = "0.1.0"
