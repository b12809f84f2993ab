"""What the engine asks of a format.

The engine plans, reads, transposes, resumes and commits; a format says which bytes go under which
names. It is a folder beside this file, and an entry of `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from cellucid_dask.encode.counts import GeneCounts
from cellucid_dask.encode.summary import GeneSummary
from cellucid_dask.encode.tiles import Tile
from cellucid_dask.format.checksums import FileDigest
from cellucid_dask.page import Kind
from cellucid_dask.request.resolve import Request
from cellucid_dask.store.target import RUN_DIR, Target
from cellucid_dask.types import Array, Json

# What the tasks of a format keep in the target until the run is over.
NOTES = f"{RUN_DIR}/notes"


def is_note(path: str) -> bool:
    """Whether a path, relative to the target, is that of a note, not of a file of the export."""
    return path.startswith(f"{NOTES}/")


class Fields(Protocol):
    """What an export contains beside genes and graph; a format adds what its documents need.

    Attributes
    ----------
    files
        Digests of the encoded files, by path.
    warnings
        What the user should know.
    """

    @property
    def files(self) -> dict[str, FileDigest]: ...  # noqa: D102
    @property
    def warnings(self) -> tuple[str, ...]: ...  # noqa: D102


class Graph(Protocol):
    """The neighbor graph of an export; a format adds what its documents need.

    Attributes
    ----------
    files
        Digests of its files, by path.
    scratch_bytes
        Bytes that waited in scratch.
    """

    @property
    def files(self) -> dict[str, FileDigest]: ...  # noqa: D102
    @property
    def scratch_bytes(self) -> int: ...  # noqa: D102


class GeneWriter(Protocol):
    """What encode tasks make of genes; it travels to the workers.

    A task gives genes by their position among the columns that the writer was made for.

    Attributes
    ----------
    counts
        Whether all values must be counted before any gene is written.
    exact
        Whether tiles keep counts that float32 does not represent.
    """

    @property
    def counts(self) -> bool: ...  # noqa: D102
    @property
    def exact(self) -> bool: ...  # noqa: D102

    def keys(self, first: int, last: int) -> Sequence[str]:
        """Return what receipts call some genes, see `Output.gene_keys`."""

    def check(self, counts: GeneCounts) -> None:
        """Refuse values that the format does not hold.

        Raises
        ------
        ExportError
            There are such values.
        """

    def placed(self, target: Target, counts: GeneCounts) -> Self:
        """Return the writer that knows the counts, and has checked them.

        Raises
        ------
        ExportError
            There are values that the format does not hold.
        """

    def write(self, target: Target, tiles: Sequence[Tile], first: int) -> GeneSummary:
        """Encode the genes of some tiles, the first at position `first`, and put them."""

    def sizes(self, tiles: Sequence[Tile], n_cells: int) -> list[int]:
        """Return the bytes that each of the few genes of some tiles would take."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """All that a run wrote, of which a format makes its documents.

    Attributes
    ----------
    target, request
        Where it is, and what was asked for.
    fields, graph, genes
        What was written: the format's own `Fields` and `Graph`, which may be None.
    payloads
        Digests of all its files, by path.
    joined, checksums
        Identity of the export to which genes were added, and the checksums of its other files;
        None for an export of its own.
    """

    target: Target
    request: Request
    fields: Any
    graph: Any
    genes: GeneSummary
    payloads: Mapping[str, FileDigest]
    joined: Json | None = None
    checksums: dict[str, str] | None = None


class Output(Protocol):
    """A format.

    Attributes
    ----------
    documents
        Names of the files that readers look for, in the order in which they appear. The last
        announces a complete export. They are withdrawn in the reverse order.
    unused
        Names of the options that mean nothing in this format.
    page
        What the page looks for beside it.
    """

    documents: tuple[str, ...]
    unused: frozenset[str]
    page: Kind

    def paths(self, request: Request) -> list[str]:
        """Return the paths of files or folders whose names come from the request."""

    def announced(self, existing: set[str], *, genes_only: bool) -> bool:
        """Whether the files at the top of a target announce a complete export, or its genes."""

    def check(self, target: Target) -> None:
        """Refuse a target in which files that no export wrote would be replaced."""

    def fields(
        self, request: Request, keep: Callable[[str, bytes], FileDigest], target: str
    ) -> Fields:
        """Read, check and encode all but genes and graph.

        `keep` receives the path and content of each file as soon as it is encoded, and returns its
        digest. A later one may still be refused. `target` names an export that is given no name.

        Raises
        ------
        RequestError
            A column or an array cannot be exported.
        """

    def graph(self, request: Request, target: Target) -> Graph | None:
        """Write the neighbor graph that was asked for, if any."""

    def edge_bytes(self, request: Request, block: Any, first_row: int, first_column: int) -> int:
        """Return the bytes that the edges in a block of the neighbor matrix take, about.

        It usually stores each edge twice.
        """

    def gene_keys(self, request: Request) -> dict[int, str]:
        """Return what receipts call each gene, by matrix column: its file, if it has its own."""

    def genes(self, request: Request, columns: Array, target: Target | None) -> GeneWriter:
        """Return the writer of some genes: int64, their matrix columns, ascending.

        It knows what an interrupted run noted in the target, if that is given.
        """

    def finish_genes(
        self, request: Request, target: Target, genes: GeneSummary
    ) -> dict[str, FileDigest]:
        """Write what only all genes together give; return the digests by path."""

    def n_files(self, request: Request) -> int:
        """Return how many files genes and graph will take, about."""

    def make_documents(self, written: Written) -> dict[str, bytes]:
        """Return what is published last: content by name, in the order of publication."""

    def left_over(self, target: Target, kept: set[str], *, genes_only: bool) -> list[str]:
        """Return the files of an older export that the new one does not have.

        Parameters
        ----------
        target
            Where both are.
        kept
            Paths of the new one's files.
        genes_only
            Whether only genes were written.
        """
