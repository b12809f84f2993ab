"""Which arrays of obsm are shown, and which measures outliers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    @property
    def spec(self) -> str:
        """How it is asked for: ``"X_pca:0,1"``."""
        return f"{self.key}:{','.join(map(str, self.columns))}"


def choose_embeddings(
    widths: Mapping[str, int],
    asked: Sequence[str] | None,
    unfit: Callable[[str], str | None] = lambda _: None,
) -> tuple[dict[int, Embedding], list[str]]:
    """Choose one embedding per dimension.

    Parameters
    ----------
    widths
        Number of columns of every obsm array.
    asked
        ``"X_umap"`` or, of wider arrays, ``"X_pca:0,1"``; ``None`` chooses by name.
    unfit
        Says why an array cannot be shown, None if it can; asked only of arrays chosen by name.

    Returns
    -------
    embeddings
        By dimension, ascending.
    warnings
        About arrays that are left out because they cannot be shown.

    Raises
    ------
    RequestError
        There is no embedding, or one of `asked` does not exist.
    """
    if asked is None:
        return _by_name(widths, unfit)
    chosen: dict[int, Embedding] = {}
    for spec in asked:
        embedding = _parse(spec, widths)
        if other := chosen.get(embedding.dimension):
            raise RequestError(
                f"Embeddings {other.key!r} and {embedding.key!r} are both "
                f"{embedding.dimension}-dimensional: an export shows one per dimension."
            )
        chosen[embedding.dimension] = embedding
    return dict(sorted(chosen.items())), []


def _by_name(
    widths: Mapping[str, int], unfit: Callable[[str], str | None]
) -> tuple[dict[int, Embedding], list[str]]:
    chosen: dict[int, Embedding] = {}
    reasons: dict[str, str] = {}
    for key in sorted((key for key, width in widths.items() if 1 <= width <= 3), key=_rank):
        if widths[key] in chosen:
            continue
        if reason := unfit(key):
            reasons[key] = reason
        else:
            chosen[widths[key]] = Embedding(key, tuple(range(widths[key])))
    texts = [f"{key!r} {reason}" for key, reason in reasons.items()]
    if not chosen:
        raise RequestError(
            f"There is no embedding of 1 to 3 columns; obsm has {listed(widths)}"
            f"{''.join(f'; {text}' for text in texts[:3])}. Compute one with scanpy.tl.umap, name "
            "one with --embedding KEY or --embedding KEY:0,1, or pass --genes-only, for genes "
            "that cannot be looked at."
        )
    return dict(sorted(chosen.items())), [_left_out(text) for text in texts]


def choose_latent(
    widths: Mapping[str, int],
    asked: str | None,
    unfit: Callable[[str], str | None] = lambda _: None,
) -> tuple[str | None, list[str]]:
    """Choose the obsm array in which outlier quantiles are measured, if there is one.

    Parameters
    ----------
    widths, unfit
        As in `choose_embeddings`.
    asked
        Its key; ``None`` chooses by name.

    Returns
    -------
    latent
        The key, or None.
    warnings
        About arrays that are left out because they cannot be used.
    """
    if asked is not None:
        if asked not in widths:
            raise RequestError(f"obsm has no {asked!r}; it has {listed(widths)}.")
        return asked, []
    warnings: list[str] = []
    for word in _LATENT:
        for key in sorted(widths):
            if word in key.lower() and "umap" not in key.lower():
                reason = unfit(key)
                if reason is None:
                    return key, warnings
                warnings.append(_left_out(f"{key!r} {reason}"))
    return None, list(dict.fromkeys(warnings))


def _left_out(text: str) -> str:
    return f"The obsm array {text}: it is skipped."


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
