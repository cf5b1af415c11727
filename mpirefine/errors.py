"""Everything mpirefine raises on purpose. The command line turns these into one line each and exit status 2."""


class RefineError(Exception):
    """Base of all errors that are told to the user in one line, without a traceback."""

    exit_status = 2
    on_all_ranks = False  # set when every rank raises it, so that rank 0 alone tells it
    # whether the process ends without putting anything in order: HDF5 hangs on files that a full disk did not take
    at_once = False


class InputError(RefineError):
    """A file, a row of it, or a combination of files cannot be used.

    `problems` holds every complaint that was found, one line each, so that they can be told together.
    """

    def __init__(self, *problems: str):
        super().__init__("\n".join(problems))
        self.problems = problems

    def __reduce__(self):
        return (type(self), self.problems)


class FormatError(InputError):
    """A file does not follow its own format (truncated, wrong header, unreadable number)."""


class ParameterError(RefineError):
    """An option or component parameter has a name or value that is not known."""


class RankFailure(RefineError):
    """Another rank failed; the message names the rank and repeats what it said."""

    exit_status = 1


class StorageFailure(RefineError):
    """The disk did not take what was written; what was there before is whole, and the run can be taken up from it."""

    exit_status = 1
