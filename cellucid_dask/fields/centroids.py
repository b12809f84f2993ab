"""Centroids of categories, and outlier quantiles of cells within their category."""

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
    """Return a centroid for each category that has enough cells.

    Parameters
    ----------
    points
        Normalized coordinates, (n_cells, d).
    groups
        The cells by category.
    categories
        Names of the groups.
    outlier_quantile
        Fraction of a category's cells, the nearest to its mean, whose mean is the centroid.
    min_points
        Number of cells that a category needs. If fewer are that near, all are used.

    Returns
    -------
    list of dict
        ``category``, ``position`` and ``n_points``, the the number of cells used.
    """
    means = _means(groups.sums(points), groups.counts)
    distances = groups.distances(points, means)
    max_distances = np.append(groups.quantiles(distances, outlier_quantile, min_points), np.nan)
    near = distances <= max_distances[np.minimum(groups.codes, groups.n_groups)]
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
    """Return the outlier quantile of each cell: the rank of its distance from its category's mean.

    Parameters
    ----------
    latent
        The space in which distances are measured, (n_cells, k), read in blocks of rows; None
        for the widest of `points`.
    points
        Normalized coordinates, (n_cells, d), by d.
    groups
        The cells by category.
    min_points
        Number of cells that a category needs.

    Returns
    -------
    ndarray
        float32, (n_cells,): rank over size of the category; NaN for cells without a category
        that is large enough.

    Raises
    ------
    RequestError
        The latent space is not finite.
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
