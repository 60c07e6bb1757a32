"""Grouping faces by person: groups of a graph of mutual neighbours join by what all of their faces say.

So no single pair of look-alikes joins two people, as it does in single linkage and DBSCAN, which chain. The similarity
of two groups is the geometric mean of two: the average similarity of a face of one and a face of the other (average
linkage), and the cosine of the groups' mean embeddings, which is higher, the more the faces of a group differ. Of two
faces both are their similarity.

Only neighbours are compared, and all pairs of groups that are each other's best join at once, so that it stays quick
for many faces.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from cascade.archive.neighbours import FloatArray, IndexArray, Progress, nearest
from cascade.checks import integer, number
from cascade.gallery_search import DIGITS

__all__ = ["NEIGHBOURS", "GroupingError", "group_faces"]

NEIGHBOURS = 32
"""Neighbours of a face that are looked at. The faces of a person with more photos join through groups."""

GROUP_NEIGHBOURS = 8
"""The same of a group."""

EDGES_AT_ONCE = 1 << 16
"""Edges whose similarities are computed at once, which bounds the memory."""

Pairs = Iterable[tuple[int, int]]
BoolArray = npt.NDArray[np.bool_]


class GroupingError(ValueError):
    """Arrays do not fit, or what is said of faces contradicts itself; the message names the argument.

    ``faces`` are two that are said to be the same person and to be different ones; None for everything else.
    """

    def __init__(self, message: str, faces: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.faces = faces


def group_faces(
    embeddings: npt.NDArray[np.floating],
    photos: npt.ArrayLike,
    *,
    threshold: float,
    start: npt.ArrayLike | None = None,
    fresh: npt.ArrayLike | None = None,
    followers: npt.ArrayLike | None = None,
    same: Pairs = (),
    different: Pairs = (),
    neighbours: int = NEIGHBOURS,
    progress: Progress | None = None,
) -> IndexArray:
    """The group of each face: (N,) int64 from 0, numbered in the order of their first faces.

    Parameters
    ----------
    embeddings : (N, D) float32 or float16, rows of length 1.
    photos : (N,) a number or text for each face: which photo it is in. Two faces of one photo are different people.
    threshold : the least similarity at which two groups join, −1 to 1.
    start : (N,) groups to begin with, −1 for a face without one. They may grow and join, but none is split.
    fresh : (N,) bool, the faces whose neighbours are looked for; all if None. The others have been compared before.
    followers : (N,) bool, faces that join the groups of others in the end and make none of their own, such as small
        ones, which are alike whoever they are.
    same, different : pairs of faces of which somebody said so. It counts more than ``photos``, but no more than
        ``start`` where that joins faces already.
    neighbours : how many of each face are looked at.
    progress : wraps the blocks of the search for neighbours, which takes most of the time.

    Raises `GroupingError` for arrays that do not fit and for faces that are the same and different, ValueError or
    TypeError for wrong settings.
    """
    count = len(embeddings)
    limit = number("threshold", threshold, -1.0, 1.0)
    integer("neighbours", neighbours, 1)
    labels = _compact(_start(start, count))
    new, follow = _mask("fresh", fresh, count, True), _mask("followers", followers, count, False)
    if not count:
        return labels
    families = _families(labels, _pairs("same", same, count))
    apart = _apart(families, labels, _codes(photos, count), _pairs("different", different, count))
    groups = _Groups(embeddings, labels, families, apart, limit)
    groups.changed[labels[new]] = True
    a, b = _neighbour_pairs(embeddings, new, ~follow, neighbours, limit, progress)
    groups.join(labels[a], labels[b])
    # Neighbours of a face may all be in its own group. So groups are compared as well, until none joins another.
    leading = np.bincount(labels, weights=~follow) > 0
    while groups.join(*groups.near(groups.several(), leading)):
        pass
    groups.join(*groups.near(np.flatnonzero(~leading), leading), ~leading)
    return _compact(groups.family[groups.of[labels]])


class _Groups:
    """Groups of faces with the sums of their embeddings; families of groups are one person by somebody's word."""

    def __init__(
        self,
        embeddings: npt.NDArray[np.floating],
        labels: IndexArray,
        families: IndexArray,
        apart: IndexArray,
        limit: float,
    ) -> None:
        order = np.argsort(labels, kind="stable")
        self.sizes = np.bincount(labels)
        starts = np.cumsum(self.sizes) - self.sizes
        self.sums = np.add.reduceat(embeddings[order], starts, axis=0, dtype=np.float32)
        self.scales = self._scales(np.arange(len(self.sizes)))
        self.of = np.arange(len(self.sizes))  # where each group is now
        self.family = families
        self.apart = apart
        self.limit = limit
        self.changed = np.zeros(len(self.of), bool)  # since they were last compared with others

    def join(self, a: IndexArray, b: IndexArray, followers: BoolArray | None = None) -> bool:
        """Join along edges between groups ``a`` and ``b`` until no edge reaches the limit; whether any did.

        With ``followers`` (groups,), only these join, and only others.
        """
        a, b = self._unique(a, b)
        similar = self._similar(a, b)
        following = np.zeros(len(self.of), bool) if followers is None else followers.copy()
        joined = False
        while True:
            # What is below the limit seldom rises above it again, and `near` finds it if it does.
            kept = similar >= self.limit
            if followers is not None:
                kept &= following[a] != following[b]
            kept[kept] = self._may_join(a[kept], b[kept])
            a, b, similar = a[kept], b[kept], similar[kept]
            if not len(a):
                return joined
            chosen = self._best(a, b, similar)
            joined_to = self._merge(a[chosen], b[chosen])
            following[joined_to] = False
            self.changed |= joined_to
            joined = True
            a, b = self.of[a], self.of[b]
            touched = joined_to[a] | joined_to[b]
            still, (new_a, new_b) = ~touched, self._unique(a[touched], b[touched])
            a, b = np.concatenate([a[still], new_a]), np.concatenate([b[still], new_b])
            similar = np.concatenate([similar[still], self._similar(new_a, new_b)])

    def several(self) -> IndexArray:
        """The groups of several faces that have changed since this was asked last."""
        found = np.flatnonzero(self.changed & (self.of == np.arange(len(self.of))) & (self.sizes > 1))
        self.changed[:] = False
        return found

    def near(self, groups: IndexArray, among: BoolArray) -> tuple[IndexArray, IndexArray]:
        """Edges from these groups to those ``among`` (groups,) with the most similar means."""
        alive = np.flatnonzero(among & (self.of == np.arange(len(self.of))))
        found = nearest(self._means(groups), self._means(alive), count=GROUP_NEIGHBOURS + 1, floor=self.limit)
        rows, others = found.pairs()
        return groups[rows], alive[others]

    def _means(self, groups: IndexArray) -> FloatArray:
        rows = self.sums[groups]
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)

    def _unique(self, a: IndexArray, b: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Each edge between two groups of different families once, the lower group first."""
        between = self.family[a] != self.family[b]
        codes = np.unique(np.minimum(a, b)[between] * len(self.of) + np.maximum(a, b)[between])
        return codes // len(self.of), codes % len(self.of)

    def _scales(self, groups: IndexArray) -> npt.NDArray[np.float64]:
        """The geometric mean of the number of faces and the length of their sum, for each group."""
        lengths = np.linalg.norm(self.sums[groups], axis=1)
        return np.asarray(np.sqrt(self.sizes[groups] * lengths), np.float64)

    def _similar(self, a: IndexArray, b: IndexArray) -> npt.NDArray[np.float64]:
        """The similarity of the two groups of each edge, see the module."""
        found = np.empty(len(a))
        for start in range(0, len(a), EDGES_AT_ONCE):
            part = slice(start, start + EDGES_AT_ONCE)
            found[part] = np.einsum("ed,ed->e", self.sums[a[part]], self.sums[b[part]])
        return np.round(found / np.maximum(self.scales[a] * self.scales[b], 1e-12), DIGITS)

    def _may_join(self, a: IndexArray, b: IndexArray) -> BoolArray:
        one, other = self.family[a], self.family[b]
        if not len(self.apart):
            return np.asarray(one != other)
        codes = np.minimum(one, other) * len(self.of) + np.maximum(one, other)
        at = np.minimum(np.searchsorted(self.apart, codes), len(self.apart) - 1)
        found: BoolArray = (one != other) & (self.apart[at] != codes)
        return found

    def _best(self, a: IndexArray, b: IndexArray, similar: npt.NDArray[np.float64]) -> IndexArray:
        """The edges between families that are each other's best; among equal ones the lowest family."""
        one, other = self.family[a], self.family[b]
        best = np.full(len(self.of), -np.inf)
        np.maximum.at(best, one, similar)
        np.maximum.at(best, other, similar)
        partner = np.full(len(self.of), len(self.of))
        for end, far in ((one, other), (other, one)):
            top = similar == best[end]
            np.minimum.at(partner, end[top], far[top])
        mutual = np.flatnonzero(
            (partner[one] == other) & (partner[other] == one) & (similar == best[one]) & (similar == best[other])
        )
        first: IndexArray = mutual[np.unique(one[mutual] * len(self.of) + other[mutual], return_index=True)[1]]
        return first

    def _merge(self, a: IndexArray, b: IndexArray) -> BoolArray:
        """Join each group of ``b`` to that of ``a``; which groups changed."""
        self.sums[a] += self.sums[b]
        self.sizes[a] += self.sizes[b]
        self.scales[a] = self._scales(a)
        to = np.arange(len(self.of))
        to[b] = a
        self.of = to[self.of]
        one, other = self.family[a], self.family[b]
        family_to = np.arange(len(self.of))
        family_to[np.maximum(one, other)] = np.minimum(one, other)
        self.family = family_to[self.family]
        low, high = family_to[self.apart // len(self.of)], family_to[self.apart % len(self.of)]
        self.apart = np.unique(np.minimum(low, high) * len(self.of) + np.maximum(low, high))
        changed = np.zeros(len(self.of), bool)
        changed[a] = True
        return changed


def _neighbour_pairs(
    embeddings: npt.NDArray[np.floating],
    new: BoolArray,
    among: BoolArray,
    neighbours: int,
    limit: float,
    progress: Progress | None,
) -> tuple[IndexArray, IndexArray]:
    """Pairs of faces that are neighbours of each other, or one of the other if that one is not ``new``."""
    known, asked = np.flatnonzero(among), np.flatnonzero(among & new)
    if len(asked) == len(known):
        rows = embeddings if among.all() else embeddings[known]
        a, b = nearest(rows, count=neighbours, floor=limit, progress=progress).mutual_pairs()
        return known[a], known[b]
    found = nearest(embeddings[asked], embeddings[known], count=neighbours + 1, floor=limit, progress=progress)
    a, b = found.pairs()
    return asked[a], known[b]


def _mask(name: str, given: npt.ArrayLike | None, count: int, default: bool) -> BoolArray:
    mask = np.full(count, default) if given is None else np.asarray(given)
    if mask.shape != (count,) or mask.dtype != bool:
        raise GroupingError(f"{name}: expected ({count},) bool, got {mask.dtype} of {mask.shape}")
    return mask


def _start(start: npt.ArrayLike | None, count: int) -> IndexArray:
    """A group for each face: those to begin with, and a new one for each face without."""
    if start is None:
        return np.arange(count)
    given = np.asarray(start)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise GroupingError(f"start: expected ({count},) integers, got {given.dtype} of {given.shape}")
    alone = given < 0
    labels = given.astype(np.int64)
    labels[alone] = labels.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return labels


def _compact(labels: IndexArray) -> IndexArray:
    """The same groups numbered from 0 in the order of their first faces."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    found: IndexArray = rank[inverse]
    return found


def _codes(photos: npt.ArrayLike, count: int) -> IndexArray:
    given = np.asarray(photos)
    if given.shape != (count,):
        raise GroupingError(f"photos: expected ({count},) numbers or texts, got shape {given.shape}")
    codes: IndexArray = np.unique(given, return_inverse=True)[1]
    return codes


def _pairs(name: str, pairs: Pairs, count: int) -> IndexArray:
    found = np.array(list(pairs), np.int64).reshape(-1, 2)
    if len(found) and not (found.min() >= 0 and found.max() < count):
        raise GroupingError(f"{name}: expected faces from 0 to {count - 1}, got {found.min()} to {found.max()}")
    return found


def _families(labels: IndexArray, same: IndexArray) -> IndexArray:
    """The family of each group: the lowest of the groups that are one person by somebody's word."""
    family = np.arange(int(labels.max()) + 1)
    while len(same):
        one, other = family[labels[same[:, 0]]], family[labels[same[:, 1]]]
        if (one == other).all():
            break
        low, high = np.minimum(one, other), np.maximum(one, other)
        to = np.arange(len(family))
        np.minimum.at(to, high, low)
        family = to[family]
    return family


def _apart(families: IndexArray, labels: IndexArray, photos: IndexArray, different: IndexArray) -> IndexArray:
    """Codes of pairs of families that are different people, sorted. ``labels`` and ``photos``: of each face."""
    of_face = families[labels]
    a, b = of_face[different[:, 0]], of_face[different[:, 1]]
    if (a == b).any():
        one, other = different[np.flatnonzero(a == b)[0]].tolist()
        raise GroupingError(f"different: faces {one} and {other} are also said to be the same person", (one, other))
    order = np.argsort(photos, kind="stable")
    sizes = np.bincount(photos)
    starts = np.cumsum(sizes) - sizes
    ends = [(a, b)]
    for size in np.unique(sizes[sizes > 1]).tolist():
        first, second = np.triu_indices(size, 1)
        of_size = starts[sizes == size][:, None]
        ends.append((of_face[order[of_size + first]].ravel(), of_face[order[of_size + second]].ravel()))
    a, b = (np.concatenate(each) for each in zip(*ends, strict=True))
    a, b = a[a != b], b[a != b]
    return np.unique(np.minimum(a, b) * len(families) + np.maximum(a, b))
