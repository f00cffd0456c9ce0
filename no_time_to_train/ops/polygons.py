"""Outlines of masks as polygons that every consumer fills to the very same pixels.

A vertex lies a quarter of a pixel inside the mask, not on the pixel edge. A rasterizer that asks for pixel centers
(pycocotools) then fills the mask, and so does one that cuts coordinates to whole numbers and fills its border
(OpenCV). A hole hangs on the outline by a slit an eighth of a pixel wide, which holds no pixel center: a ring survives
in formats that know neither holes nor several polygons, and the polygon stays simple.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from no_time_to_train.ops.rle import Rle, decode_rle, rle_to_box_xyxy

_INSET_PX = 0.25
_SLIT_PX = (0.5625, 0.6875)
"""Left and right side of a slit from the left side of its pixels; the pixels' centers are at 0.5."""


def rle_to_polygons(rle: Rle) -> list[np.ndarray]:
    """Trace a run-length encoded mask; see :func:`mask_to_polygons`."""
    left, top, right, bottom = rle_to_box_xyxy(rle).astype(int)
    crop = decode_rle(rle)[top:bottom, left:right]
    return [polygon + (left, top) for polygon in mask_to_polygons(crop)]


def mask_to_polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the parts of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        A (K, 2) float64 array of x, y pixels for every part, from the top down. Parts hang together over pixel edges,
        not over corners. Holes are bridged to the outline.

    Example:
        >>> import numpy as np
        >>> mask_to_polygons(np.ones((1, 2), bool))[0].tolist()
        [[0.25, 0.25], [1.75, 0.25], [1.75, 0.75], [0.25, 0.75]]
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    rings = _trace_rings(padded)
    parts = {number: ring.vertices for number, ring in enumerate(rings) if not ring.is_hole}
    part_of = {number: number for number in parts}
    edges = _EdgeIndex(rings)
    for number, ring in enumerate(rings):  # from the top down: what a hole hangs on comes before it
        if ring.is_hole:
            x, top = ring.first_pixel
            above = _top_of_run(padded, x, top - 1)
            part = part_of[number] = part_of[edges.ring_at(x, above)]
            parts[part] = _hang(parts[part], ring.vertices, x, above, top)
    return [vertices - 1 for vertices in parts.values()]


def join_polygons(polygons: list[np.ndarray]) -> np.ndarray:
    """Join polygons into one, for formats that hold one per object.

    Each polygon is tied to the nearest one by a line there and back: it covers no pixel center, but rasterizers that
    fill borders draw it.

    Args:
        polygons: at least one, each (K, 2) x, y.

    Returns:
        (K, 2) x, y.
    """
    joined, rest = polygons[0], list(polygons[1:])
    while rest:
        distances = [np.linalg.norm(joined[:, None] - other[None], axis=2) for other in rest]
        nearest = min(range(len(rest)), key=lambda number: distances[number].min())
        i, j = np.unravel_index(distances[nearest].argmin(), distances[nearest].shape)
        other = rest.pop(nearest)
        joined = np.concatenate([joined[: i + 1], other[j:], other[: j + 1], joined[i:]])
    return joined


@dataclass(frozen=True, eq=False)
class _Ring:
    """A closed line around a part or a hole, in the padded mask.

    Attributes:
        vertices: (K, 2) x, y, a quarter of a pixel inside the mask.
        corners: (K, 2) int, the corners of pixels that they belong to; those with even number begin a horizontal edge.
        is_hole: whether it goes around a hole.
    """

    vertices: np.ndarray
    corners: np.ndarray
    is_hole: bool

    @property
    def first_pixel(self) -> tuple[int, int]:
        """x, y of the top left pixel inside the ring."""
        return int(self.corners[0, 0]), int(self.corners[0, 1])


class _EdgeIndex:
    """The horizontal edges of all rings, to find one by its place."""

    def __init__(self, rings: list[_Ring]) -> None:
        starts = np.concatenate([np.zeros((0, 2), int), *(ring.corners[0::2] for ring in rings)])
        ends = np.concatenate([np.zeros((0, 2), int), *(ring.corners[1::2] for ring in rings)])
        self._y = starts[:, 1]
        self._low, self._high = np.minimum(starts[:, 0], ends[:, 0]), np.maximum(starts[:, 0], ends[:, 0])
        self._ring = np.repeat(np.arange(len(rings)), [len(ring.corners) // 2 for ring in rings])

    def ring_at(self, x: int, y: int) -> int:
        """Return the ring that the upper side of pixel x, y belongs to."""
        return int(self._ring[np.flatnonzero((self._y == y) & (self._low <= x) & (x < self._high))[0]])


def _hang(outline: np.ndarray, hole: np.ndarray, x: int, above: int, below: int) -> np.ndarray:
    """Join a hole to the outline around it by a slit.

    Args:
        outline: (K, 2) vertices.
        hole: (J, 2) vertices, the first two being the ends of its top edge from left to right.
        x: column of pixels that the slit runs through.
        above: row of pixels at whose upper side the slit begins.
        below: row of pixels at whose upper side it ends.
    """
    left, right = x + _SLIT_PX[0], x + _SLIT_PX[1]
    upper, lower = above + _INSET_PX, below - _INSET_PX
    starts, ends = outline, np.roll(outline, -1, axis=0)
    low, high = np.minimum(starts[:, 0], ends[:, 0]), np.maximum(starts[:, 0], ends[:, 0])
    edge = np.flatnonzero((starts[:, 1] == upper) & (ends[:, 1] == upper) & (low < left) & (right < high))[0]
    if ends[edge, 0] > starts[edge, 0]:
        near, far, around = left, right, np.concatenate([hole[:1], hole[:0:-1]])
    else:
        near, far, around = right, left, np.roll(hole, -1, axis=0)
    detour = [[[near, upper], [near, lower]], around, [[far, lower], [far, upper]]]
    return np.concatenate([outline[: edge + 1], *detour, outline[edge + 1 :]])


def _top_of_run(mask: np.ndarray, x: int, y: int) -> int:
    """Return the first row of the run of mask pixels in column x that ends at row y."""
    return int(np.flatnonzero(~mask[: y + 1, x])[-1]) + 1


def _trace_rings(mask: np.ndarray) -> list[_Ring]:
    """Return every ring of a mask whose border is False, those that begin higher first."""
    x, y, side_x, side_y, is_convex = _corners(mask)
    along_row = _partners(np.lexsort((side_x, x, y)))
    along_column = _partners(np.lexsort((side_y, y, x)))
    inset = np.where(is_convex, _INSET_PX, -_INSET_PX)
    vertices = np.stack([x + inset * side_x, y + inset * side_y], axis=1)
    corners = np.stack([x, y], axis=1)
    rings = []
    # A ring's first corner in reading order is the left end of its highest edge.
    for members in _cycles(along_row, along_column, np.lexsort((side_x, x, y))):
        rings.append(_Ring(vertices[members], corners[members], is_hole=not is_convex[members[0]]))
    return rings


def _corners(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners of the outline: x, y, the side (-1 or 1) to which its edges go in x and y, and whether it is convex.

    Around a corner of pixels there is one pixel of the mask (convex: the edges are its), or three (concave: the edges
    are the missing one's), or two that touch by the corner (both convex).
    """
    found = []
    quads = {(-1, -1): mask[:-1, :-1], (1, -1): mask[:-1, 1:], (-1, 1): mask[1:, :-1], (1, 1): mask[1:, 1:]}
    for (sx, sy), own in quads.items():
        beside, over, across = quads[-sx, sy], quads[sx, -sy], quads[-sx, -sy]
        for is_convex, where in ((True, own & ~beside & ~over), (False, ~own & beside & over & across)):
            y, x = np.nonzero(where)
            found.append(np.stack([x + 1, y + 1, np.full_like(x, sx), np.full_like(x, sy), np.full_like(x, is_convex)]))
    x, y, side_x, side_y, is_convex = np.concatenate(found, axis=1)
    return x, y, side_x, side_y, is_convex.astype(bool)


def _partners(order: np.ndarray) -> np.ndarray:
    """Return the other end of each corner's edge: corners along a line begin and end edges by turns."""
    partners = np.empty_like(order)
    partners[order[0::2]] = order[1::2]
    partners[order[1::2]] = order[0::2]
    return partners


def _cycles(along_row: np.ndarray, along_column: np.ndarray, order: np.ndarray) -> list[list[int]]:
    """Corners of each ring, first along a row, then along a column, and so on."""
    rows, columns = along_row.tolist(), along_column.tolist()
    seen = [False] * len(rows)
    cycles = []
    for start in order.tolist():
        if seen[start]:
            continue
        cycle, at = [], start
        while not seen[at]:
            other = rows[at]
            seen[at] = seen[other] = True
            cycle += [at, other]
            at = columns[other]
        cycles.append(cycle)
    return cycles
