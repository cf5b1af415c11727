"""Which rank owns which rows: contiguous ranges, one for each part. Pure integers, the same on all ranks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Rows = slice | np.ndarray  # selects rows of an array: a slice, indices, or a bool mask


class Block(NamedTuple):
    """A half-open range of rows, `start` to before `stop`.

    >>> [tuple(b) for b in Block(3, 8).chunks(2)]
    [(3, 5), (5, 7), (7, 8)]
    """

    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    @property
    def as_slice(self) -> slice:
        """The range as an array index."""
        return slice(self.start, self.stop)

    def chunks(self, length: int) -> Iterator[Block]:
        """The block in pieces of at most `length` rows."""
        for start in range(self.start, self.stop, length):
            yield Block(start, min(start + length, self.stop))


@dataclass(frozen=True)
class Partition:
    """`n` rows cut into contiguous blocks, one per part; blocks may be empty.

    >>> [tuple(b) for b in Partition.even(10, 3, quantum=4)]
    [(0, 4), (4, 8), (8, 10)]
    """

    n: int
    bounds: tuple[int, ...]

    @classmethod
    def even(cls, n: int, parts: int, quantum: int = 1) -> Partition:
        """Blocks of whole quanta (groups of `quantum` rows), as even as possible; the first blocks get the extra
        quanta.

        Only the last quantum may hold fewer rows. Batches then have the same shapes for any number of parts.
        """
        quanta = -(-n // quantum)
        each, extra = divmod(quanta, parts)
        counts = [each + (part < extra) for part in range(parts)]
        bounds = [0]
        for count in counts:
            bounds.append(min(bounds[-1] + count * quantum, n))
        return cls(n, tuple(bounds))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, part: int) -> Block:
        if not 0 <= part < len(self):
            raise IndexError(f"part {part} of a partition into {len(self)}")
        return Block(self.bounds[part], self.bounds[part + 1])

    def __iter__(self) -> Iterator[Block]:
        return (self[part] for part in range(len(self)))

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each part."""
        return tuple(block.size for block in self)

    def owner(self, index: int) -> int:
        """The part that holds row `index`. Raises IndexError beyond the rows."""
        if not 0 <= index < self.n:
            raise IndexError(f"row {index} of {self.n}")
        return bisect_right(self.bounds, index) - 1
