"""Where the categories of a column lie, and how far out each cell is in its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cellucid_dask.errors import RequestError
from cellucid_dask.fields.groups import Floats, Groups

Centroid = dict[str, Any]


def centroids(
    points: npt.NDArray[np.float32],
    groups: Groups,
    categories: Sequence[str],
    outlier_quantile: float,
    min_points: int,
) -> list[Centroid]:
    """Place a label on every category that has enough cells.

    Parameters
    ----------
    points
        Normalized coordinates, (n_cells, d).
    groups
        The cells of every category.
    categories
        Names of the groups.
    outlier_quantile
        Share of a category's cells, the nearest to its mean, that the label is made of.
    min_points
        How many cells it takes, also after the far ones are left out.

    Returns
    -------
    list of dict
        ``category``, ``position`` and ``n_points``, the number of cells used.
    """
    means = _means(groups.sums(points), groups.counts)
    distances = groups.distances(points, means)
    limits = np.append(groups.quantiles(distances, outlier_quantile, min_points), np.nan)
    near = distances <= limits[np.minimum(groups.codes, groups.n_groups)]
    n_near = np.bincount(groups.codes[near], minlength=groups.n_groups)
    trimmed = n_near >= min_points
    inner = _means(groups.sums(points, near), n_near)
    positions = np.where(trimmed[:, np.newaxis], inner, means)
    n_used = np.where(trimmed, n_near, groups.counts)
    return [
        {
            "category": categories[int(group)],
            "position": positions[group].tolist(),
            "n_points": int(n_used[group]),
        }
        for group in np.flatnonzero(groups.counts >= max(min_points, 1))
    ]


def outlier_quantiles(
    latent: npt.NDArray[Any] | None,
    points: Mapping[int, npt.NDArray[np.float32]],
    groups: Groups,
    min_points: int,
) -> npt.NDArray[np.float32]:
    """Rank every cell by its distance from the mean of its category.

    Parameters
    ----------
    latent
        The space to measure in, (n_cells, k), read in blocks of rows; None for the widest of
        `points`.
    points
        Normalized coordinates by dimension.
    groups
        The cells of every category.
    min_points
        How many cells a category needs.

    Returns
    -------
    ndarray
        Rank over size of the category; NaN for cells without a large enough one.

    Raises
    ------
    RequestError
        If the latent space is not finite.
    """
    if latent is None and not points:
        return np.full(groups.codes.size, np.nan, dtype="<f4")
    space = points[max(points)] if latent is None else latent
    distances = groups.distances(space, _means(groups.sums(space), groups.counts))
    grouped = groups.codes < groups.n_groups
    broken = np.flatnonzero(grouped & ~np.isfinite(distances))
    if broken.size:
        raise RequestError(
            f"the latent space has values that are not finite (such as row "
            f"{_first_broken(space, broken)}): choose another latent or drop those cells"
        )
    return groups.relative_ranks(distances, min_points)


def _means(sums: Floats, counts: npt.NDArray[np.intp]) -> Floats:
    return sums / np.maximum(counts, 1)[:, np.newaxis]


def _first_broken(space: npt.NDArray[Any], candidates: npt.NDArray[np.intp]) -> int:
    for row in candidates:
        if not np.isfinite(space[row : row + 1]).all():
            return int(row)
    return int(candidates[0])
