# Sourced by the other tools: the environment a run needs on a laptop or in a container.
export PATH="$ROOT/.venv/bin:$PATH"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
export H5PY_ALWAYS_USE_MPI=1                       # Debian's h5py chooses its serial build without it
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1         # tests use four ranks on two cores
export OMPI_MCA_btl_vader_single_copy_mechanism=none   # containers forbid the kernel's copy between processes
if mpirun --version 2>/dev/null | grep -q 'Open MPI) 4'; then export OMPI_MCA_io=romio321; fi   # its own MPI-IO is 5 times slower
