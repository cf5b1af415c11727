"""How well classifications of the same particles agree, and the majority of several classifications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def contingency(first: np.ndarray, second: np.ndarray, classes: int) -> np.ndarray:
    """Counts (classes, classes) of particles by their class in the first and in the second classification; particles
    without a class (−1) in either are left out.
    """
    both = (first >= 0) & (second >= 0)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (first[both], second[both]), 1)
    return counts


def adjusted_rand_index(counts: np.ndarray) -> float:
    """Agreement of two classifications from their contingency table: 1 if equal, 0 as by chance (Hubert &
    Arabie 1985).
    """

    def count_pairs(n: np.ndarray) -> float:
        return float((n * (n - 1) / 2).sum())

    same, rows, columns, every = (
        count_pairs(counts),
        count_pairs(counts.sum(axis=1)),
        count_pairs(counts.sum(axis=0)),
        count_pairs(counts.sum(keepdims=True)),
    )
    expected, most = rows * columns / max(every, 1.0), (rows + columns) / 2
    return 1.0 if most == expected else (same - expected) / (most - expected)


def match_classes(counts: np.ndarray) -> np.ndarray:
    """The class of the first classification (classes,) that corresponds to each class of the second, one to one, so
    that most particles agree.
    """
    from scipy.optimize import linear_sum_assignment

    first, second = linear_sum_assignment(-counts)
    return first[np.argsort(second)]


@dataclass(frozen=True)
class Consensus:
    """The majority of n classifications of p particles.

    `ari` (n, n) are their adjusted Rand indices; `central` is the one that agrees best with the rest and gives the
    numbering; `numbering` (n, classes) is its class for each class of the others; `label` (p,) the class in more than
    half of them, −1 where there is none; `votes` (p,) the share of the most frequent class.
    """

    ari: np.ndarray
    central: int
    numbering: np.ndarray
    label: np.ndarray
    votes: np.ndarray


def consensus(labels: Sequence[np.ndarray], classes: int) -> Consensus:
    """The consensus of classifications, each labels (p,) from 0, −1 for particles without a class."""
    runs = len(labels)
    tables = [[contingency(a, b, classes) for b in labels] for a in labels]
    ari = np.array([[adjusted_rand_index(counts) for counts in row] for row in tables])
    central = int(np.argmax(ari.sum(axis=1)))
    numbering = np.stack([match_classes(tables[central][run]) for run in range(runs)])
    ballots = np.zeros((len(labels[0]), classes))
    for own, names in zip(labels, numbering):
        known = np.flatnonzero(own >= 0)
        ballots[known, names[own[known]]] += 1 / runs
    votes = ballots.max(axis=1)
    return Consensus(ari, central, numbering, np.where(votes > 0.5 + 1e-9, ballots.argmax(axis=1), -1), votes)
