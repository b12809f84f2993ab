"""A realistic data set to try things on, and a first export of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from cellucid_dask.errors import ExportError

N_CELLS, N_GENES = 20_000, 2_000
_TYPES = ("B cell", "CD4 T cell", "CD8 T cell", "NK cell", "Monocyte", "Dendritic cell", "Platelet")
_MARKERS = ("MS4A1", "IL7R", "CD8A", "NKG7", "LYZ", "FCER1A", "PPBP")


def make_dataset(n_cells: int = N_CELLS, n_genes: int = N_GENES, seed: int = 0) -> anndata.AnnData:
    """Simulate blood cells: cell types with marker genes, log-normalized counts.

    Parameters
    ----------
    n_cells, n_genes
        Size of the data set.
    seed
        Of the random numbers.

    Returns
    -------
    AnnData
        CSR ``X`` (log1p of counts per 10,000) and ``layers["counts"]``, float32; categories
        and numbers in obs; ``X_umap`` (n_cells, 2) and ``X_pca`` (n_cells, 10).
    """
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(len(_TYPES), 3.0))
    kind = rng.choice(len(_TYPES), n_cells, p=share)
    mean = rng.lognormal(-3.5, 1.5, n_genes)
    fold = rng.lognormal(0, 0.4, (len(_TYPES), n_genes))
    for number in range(len(_TYPES)):  # the first genes are the types' markers
        mean[number], fold[:, number], fold[number, number] = 0.05, 0.1, 60
    depth = rng.lognormal(0, 0.35, n_cells)
    counts = sparse.vstack(
        [
            sparse.csr_matrix(
                rng.poisson(mean * fold[kind[rows]] * depth[rows, None]).astype(np.float32)
            )
            for rows in np.array_split(np.arange(n_cells), max(n_cells // 2000, 1))
        ],
        format="csr",
    )
    total = np.asarray(counts.sum(axis=1)).ravel()
    normalized = counts.copy()
    per_value = np.repeat(np.maximum(total, 1), np.diff(counts.indptr))
    normalized.data = np.log1p(counts.data / per_value * 1e4).astype(np.float32)
    center = rng.normal(0, 6, (len(_TYPES), 2))
    latent = rng.normal(0, 1, (n_cells, 10)) + rng.normal(0, 4, (len(_TYPES), 10))[kind]
    genes = [*_MARKERS, *(f"GENE{number:04d}" for number in range(n_genes - len(_MARKERS)))]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(kind, pd.Index(_TYPES)),
            "donor": pd.Categorical(rng.choice(["D1", "D2", "D3"], n_cells)),
            "total_counts": total,
            "is_doublet": rng.random(n_cells) < 0.03,
        },
        index=[f"CELL{number:06d}" for number in range(n_cells)],
    )
    return anndata.AnnData(
        normalized,
        obs=obs,
        var=pd.DataFrame(index=genes[:n_genes]),
        obsm={
            "X_umap": (center[kind] + rng.normal(0, 1.2, (n_cells, 2))).astype(np.float32),
            "X_pca": latent.astype(np.float32),
        },
        layers={"counts": counts},
    )


def demo(folder: Path) -> str:
    """Make a data set in a folder, export and verify it; return a text of what to try next.

    Raises
    ------
    ExportError
        The export does not verify.
    """
    from cellucid_dask.api import export  # noqa: PLC0415  make_dataset does not need it
    from cellucid_dask.read.verify import verify  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    source, target = folder / "pbmc_like.h5ad", folder / "export"
    make_dataset().write_h5ad(source, compression="gzip")
    result = export(source, target, dataset_name="PBMC-like demo", force=True, progress=False)
    report = verify(target, source)
    if not report.ok:
        raise ExportError(f"The export failed verification: {report.findings[0]}.")
    return _story(folder, source, target, result, report)


def _story(folder: Path, source: Path, target: Path, result: Any, report: Any) -> str:
    command = sys.argv[0] if sys.argv[0].endswith("cellucid-dask") else "cellucid-dask"
    return f"""\
Created   {source}: {N_CELLS:,} cells x {N_GENES:,} genes
Exported  {result}
Verified  {report.n_files:,} files; {report.n_compared} genes within half a step of their source

View it
  {command} view {target}

More examples
  {command} plan {source}
  {command} verify {target} --source {source} --genes all
  {command} export {source} {folder}/counts --layer counts --genes MS4A1,LYZ
  {command} export YOUR.h5ad OUT"""
