"""Which arrays of obsm are shown, and which measures outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellucid_dask.display import first_few
from cellucid_dask.errors import RequestError

# Names of embeddings in order of preference; any other of 1 to 3 columns comes after.
_PREFERRED = ("umap", "tsne", "draw_graph", "phate", "trimap", "pacmap", "spatial")
_LATENT = ("scvi", "scanvi", "latent", "harmony", "x_pca")


@dataclass(frozen=True)
class Embedding:
    """Some columns of an obsm array."""

    key: str
    columns: tuple[int, ...]

    @property
    def dimension(self) -> int:
        """1, 2 or 3."""
        return len(self.columns)


def choose_embeddings(
    widths: Mapping[str, int], asked: Sequence[str] | None
) -> dict[int, Embedding]:
    """Choose one embedding per dimension.

    Parameters
    ----------
    widths
        Number of columns of every obsm array.
    asked
        ``"X_umap"`` or, of wider arrays, ``"X_pca:0,1"``; ``None`` chooses by name.

    Returns
    -------
    dict
        Embeddings by dimension, ascending.

    Raises
    ------
    RequestError
        There is no embedding, or one of `asked` does not exist.
    """
    if asked is None:
        narrow = sorted((key for key, width in widths.items() if 1 <= width <= 3), key=_rank)
        chosen: dict[int, Embedding] = {}
        for key in narrow:
            chosen.setdefault(widths[key], Embedding(key, tuple(range(widths[key]))))
        if not chosen:
            raise RequestError(
                f"There is no embedding of 1 to 3 columns; obsm has {listed(widths)}. Name one "
                "with --embedding KEY or --embedding KEY:0,1, or pass --genes-only."
            )
        return dict(sorted(chosen.items()))
    chosen = {}
    for spec in asked:
        embedding = _parse(spec, widths)
        if other := chosen.get(embedding.dimension):
            raise RequestError(
                f"Embeddings {other.key!r} and {embedding.key!r} are both "
                f"{embedding.dimension}-dimensional: an export shows one a dimension."
            )
        chosen[embedding.dimension] = embedding
    return dict(sorted(chosen.items()))


def choose_latent(widths: Mapping[str, int], asked: str | None) -> str | None:
    """Choose the obsm array in which outlier quantiles are measured, if there is one."""
    if asked is not None:
        if asked not in widths:
            raise RequestError(f"obsm has no {asked!r}; it has {listed(widths)}.")
        return asked
    for word in _LATENT:
        keys = sorted(key for key in widths if word in key.lower() and "umap" not in key.lower())
        if keys:
            return keys[0]
    return None


def _rank(key: str) -> tuple[int, int, str]:
    plain = key.lower().removeprefix("x_")
    rank = next((i for i, word in enumerate(_PREFERRED) if word in plain), len(_PREFERRED))
    return rank, len(plain), key


def _parse(spec: str, widths: Mapping[str, int]) -> Embedding:
    key, _, columns = (spec, "", "") if spec in widths else spec.rpartition(":")
    if key not in widths:
        raise RequestError(f"obsm has no embedding {key or spec!r}; it has {listed(widths)}.")
    try:
        chosen = tuple(int(each) for each in columns.split(",")) if columns else ()
    except ValueError:
        raise RequestError(f"Embedding {spec!r}: write its columns as {key}:0,1.") from None
    chosen = chosen or tuple(range(widths[key]))
    if not 1 <= len(chosen) <= 3:
        raise RequestError(
            f"Embedding {key!r} has {widths[key]} columns: choose up to three as {key}:0,1."
        )
    if len(set(chosen)) < len(chosen) or not all(0 <= each < widths[key] for each in chosen):
        raise RequestError(f"Embedding {spec!r}: {key} has columns 0 to {widths[key] - 1}.")
    return Embedding(key, chosen)


def listed(widths: Mapping[str, int]) -> str:
    """Return the arrays of obsm and their widths, for messages."""
    return first_few([f"{key} ({n} columns)" for key, n in widths.items()], 20) or "nothing"
