"""Exports as cellucid-zarr that somebody made on purpose, see `hostile_exports`.

``python -m tests.trust.hostile_zarr_exports`` makes 200 and runs every reader on each;
``--every 10`` takes every tenth.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import edit_json, small_anndata
from tests.trust.confined import Case, Outcome, Step, command, main, run
from tests.trust.hostile_exports import (
    CHECKSUMS,
    CLAIMS,
    ODD_VALUES,
    TEXTS,
    Cases,
    Damage,
    both,
    cases_of,
    content,
    export_apart,
    link_to,
    listen,
    loop,
    place,
    read_all,
    serve,
    sparse,
)

N_CASES = 200
METADATA = ".zmetadata"
ARRAYS = (
    "X/data", "X/indices", "X/indptr", "obs/_index", "obs/score", "obs/cell_type/codes",
    "obs/cell_type/categories", "obsm/X_umap", "obsm/velocity_umap", "var/_index",
    "obsp/connectivities/data", "obsp/connectivities/indptr", "uns/cellucid/name",
)  # fmt: skip
GROUPS = ("X", "obs", "obs/cell_type", "obsm", "var", "uns/cellucid", "obsp/connectivities")
DOCUMENTS = (
    METADATA, ".zgroup", ".zattrs", "obs/.zattrs", "X/.zattrs", "X/data/.zarray",
    "obs/score/.zarray", "uns/cellucid/.zgroup", CHECKSUMS,
)  # fmt: skip


def setting(document: str, way: tuple[Any, ...], value: object) -> Damage:
    """Put a value into a document, and into what is consolidated of it."""

    def put(content: Any, path: tuple[Any, ...]) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = value

    return both(
        lambda export: edit_json(export / document, lambda found: put(found, way)),
        lambda export: edit_json(
            export / METADATA, lambda found: put(found["metadata"], (document, *way))
        ),
    )


def chunks_of(array: str, make: Callable[[], bytes]) -> Damage:
    """Put other content into all chunks of an array."""

    def damage(export: Path) -> None:
        for file in (export / array).glob("[0-9]*"):
            file.write_bytes(make())

    return damage


def in_place_of_chunks(array: str, make: Callable[[Path], object]) -> Damage:
    def damage(export: Path) -> None:
        for file in (export / array).glob("[0-9]*"):
            file.unlink()
            make(file)

    return damage


def inflating(nbytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(nbytes >> 20)) + packer.flush()


def claims(_: random.Random, __: Path, ___: Path) -> Cases:
    dtype: Any
    for array in ARRAYS:
        document = f"{array}/.zarray"
        for count in CLAIMS[::2]:
            shape, whole = setting(document, ("shape", 0), count), array.endswith("name")
            if not whole:
                yield f"{array} of {count}", shape
                chunk = setting(document, ("chunks", 0), count)
                yield f"a chunk of {array} of {count}", both(shape, chunk)
                yield (
                    f"{array} of {count} in chunks of one",
                    both(shape, setting(document, ("chunks", 0), 1)),
                )
        for dtype in ("|O", "<f8", "|S2147483647", "|V1000000000", "<M8[ns]", "object", [], 7):
            yield f"{array} of {dtype}", setting(document, ("dtype",), dtype)
    for count in CLAIMS[::2]:
        yield f"X of {count}", setting("X/.zattrs", ("shape",), [count, count])
        cells = (setting(f"{each}/.zarray", ("shape", 0), count) for each in ARRAYS[3:-2])
        yield f"{count} cells everywhere", both(setting("X/.zattrs", ("shape", 0), count), *cells)


def bombs(_: random.Random, __: Path, ___: Path) -> Cases:
    codecs: tuple[Any, ...] = (
        None, {"id": "pickle"}, {"id": "nowhere"}, {"id": "zstd", "level": 1}, 7, [],
        {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    )  # fmt: skip
    for array in ARRAYS:
        yield f"{array} inflates to a gigabyte", chunks_of(array, partial(inflating, 2**30))
        yield f"{array} inflates to 40 MB", chunks_of(array, partial(inflating, 40 << 20))
        yield f"{array} is cut", content(lambda data: data[:-3], f"{array}/0", f"{array}/0.0")
        yield f"{array} is empty", chunks_of(array, bytes)
        yield f"{array} of other bytes", chunks_of(array, lambda: b"\xff\x00" * 500)
        for codec in codecs:
            yield f"{array} by {codec}", setting(f"{array}/.zarray", ("compressor",), codec)
        for filters in ([{"id": "pickle"}], [{"id": "shuffle", "elementsize": 2**31 - 1}], 7):
            yield f"{array} through {filters}", setting(f"{array}/.zarray", ("filters",), filters)
    text = np.full(1, 2**31 - 1, "<u4").tobytes()
    for array in ("obs/_index", "var/_index", "uns/cellucid/name"):
        packed = zlib.compress(text * 60)
        yield f"long texts in {array}", chunks_of(array, lambda: packed)  # noqa: B023  the same


def documents(_: random.Random, __: Path, ___: Path) -> Cases:
    deep = 10**6
    forms: dict[str, Callable[[], bytes]] = {
        "open lists": lambda: b"[" * deep, "deep objects": lambda: b'{"a":' * deep,
        "deep metadata": lambda: b'{"metadata":' + b"[" * 900 + b"]" * 900 + b"}",
        "many lists": lambda: b'{"metadata":[' + b"[]," * (8 << 20) + b"[]]}",
        "many keys": lambda: b"{" + b",".join(b'"%d":1' % i for i in range(2_000_000)) + b"}",
        "much text": lambda: b'{"a":"' + b"a" * (100 << 20) + b'"}', "a list": lambda: b"[1]",
        "null": lambda: b"null", "nothing": bytes, "no UTF-8": lambda: b'{"a":"\xff\xfe"}',
        "NaN": lambda: b'{"metadata":NaN}', "other": lambda: b'{"metadata":{"a":7,"b/.zarray":[]}}',
        "a number": lambda: b'{"zarr_format":' + b"9" * 10**6 + b"}",
    }  # fmt: skip
    for name in DOCUMENTS:
        for form, make in forms.items():
            yield f"{form} as {name}", content(lambda _, make=make: make(), name)  # type: ignore[misc]
    for value in ODD_VALUES:
        for document in ("obs/.zattrs", "X/.zattrs", "obs/cell_type/.zattrs", "obsm/.zattrs"):
            for key in ("encoding-type", "column-order", "_index", "shape"):
                yield f"{key} of {document} is {value!r:.30}", setting(document, (key,), value)
        for key in ("shape", "chunks", "fill_value", "order", "zarr_format"):
            yield f"{key} of a column is {value!r:.30}", setting("obs/score/.zarray", (key,), value)


def not_files(_: random.Random, outside: Path, __: Path) -> Cases:
    kinds: dict[str, Callable[[Path], object]] = {
        "fifo": os.mkfifo, "socket": listen, "directory": Path.mkdir, "sparse": sparse,
        "link out": link_to(outside / "secret"), "link to a folder": link_to(outside),
        "/dev/zero": link_to("/dev/zero"), "loop": loop, "dangling": link_to("/nowhere/at/all"),
    }  # fmt: skip
    for kind, make in kinds.items():
        for name in DOCUMENTS:
            yield f"{kind} {name}", place(make, name)
        for array in ARRAYS:
            yield f"{kind} as chunks of {array}", in_place_of_chunks(array, make)
        for group in GROUPS:
            yield f"{kind} in place of {group}", place(make, group)
    for name in ("obs/score", "X/data", "obsm", "uns/cellucid"):
        yield f"{name} of another store", place(link_to(outside / "store" / name), name)


def names(chance: random.Random, _: Path, __: Path) -> Cases:
    texts = [text for text in TEXTS if text != "\ud800"]  # no name of a file
    chance.shuffle(texts)
    for value in texts:
        if (
            len(value) < 200
            and "/" not in value
            and "\x00" not in value
            and value not in ("", ".", "..")
        ):
            yield f"a column called {value!r:.30}", partial(rename, old="obs/score", new=value)
            yield (
                f"an embedding called {value!r:.30}",
                partial(rename, old="obsm/X_umap", new=value),
            )
            yield f"a file called {value!r:.30}", partial(add, name=value)
        yield f"metadata of {value!r:.30}", partial(describe, name=value)
        yield f"column-order {value!r:.30}", setting("obs/.zattrs", ("column-order",), [value])
        yield f"_index {value!r:.30}", setting("var/.zattrs", ("_index",), value)
        for path in ("var/_index", "obs/_index", "uns/cellucid/name", "uns/cellucid/id"):
            yield f"{value!r:.30} in {path}", partial(write_text, path=path, text=value)


def rename(export: Path, old: str, new: str) -> None:
    """Call a column or an array otherwise, also in what is consolidated."""
    group, _, name = old.partition("/")
    (export / old).rename(export / group / new)

    def edit(found: Any) -> None:
        metadata = found["metadata"]
        for path in [path for path in metadata if path.startswith(f"{old}/")]:
            metadata[f"{group}/{new}{path.removeprefix(old)}"] = metadata.pop(path)

    edit_json(export / METADATA, edit)
    if group == "obs":
        order = json.loads((export / "obs/.zattrs").read_text())["column-order"]
        setting(
            "obs/.zattrs", ("column-order",), [new if each == name else each for each in order]
        )(export)


def add(export: Path, name: str) -> None:
    (export / "obs" / name).write_bytes(b"x")


def describe(export: Path, name: str) -> None:
    """Name an array in the metadata that is nowhere."""
    edit_json(
        export / METADATA,
        lambda found: found["metadata"].update(
            {f"{name}/.zarray": found["metadata"]["obs/score/.zarray"]}
        ),
    )


def write_text(export: Path, path: str, text: str) -> None:
    """Put a text into all places of an array of texts."""
    data = text.encode("utf-8", "surrogatepass")
    for file in (export / path).glob("[0-9]*"):
        count = json.loads((export / path / ".zarray").read_text())["shape"]
        n = count[0] if count else 1
        one = len(data).to_bytes(4, "little") + data
        file.write_bytes(zlib.compress(n.to_bytes(4, "little") + one * n))


FAMILIES = (claims, bombs, documents, not_files, names)
ZARR = ("--format", "cellucid-zarr", "--no-progress")


def look(base: Path, source: Path, damage: Damage, outside: Path, work: Path) -> Outcome:
    """Run every reader on a damaged export, and every writer on a copy of it."""
    copies = iter(range(100))

    def copy() -> Path:
        folder = work / str(next(copies))
        for name in ("bad", "good"):
            shutil.copytree(base, folder / name)
        write_text(folder / "good", "uns/cellucid/id", "good")
        damage(folder / "bad")
        return folder / "bad"

    target = copy()
    steps: dict[str, Step] = {
        "open": read_all(target),
        "verify": command("verify", target),
        "verify --source": command("verify", target, "--source", source),
        "view": serve(target),
        "view several": serve(target.parent),
        "catalog": command("catalog", copy().parent),
        "page": command("page", copy()),
        "export --resume": command("export", source, copy(), "--resume", *ZARR),
        "export --force": command("export", source, copy(), "--force", *ZARR),
    }
    outcome = run(steps, outside, work)
    if "good" not in outcome.said.get("catalog", "good"):
        outcome.faults.append(("raw error", "catalog does not list the other export"))
    return outcome


def make_base(folder: Path, outside: Path) -> tuple[Path, Path]:
    """Make the export that is damaged, and its source; another where nothing may be read."""
    adata, base, source = small_anndata(n_cells=60), folder / "base", folder / "cells.h5ad"
    adata.obsm["velocity_umap"] = np.ones((60, 2), np.float32)
    adata.obsp["connectivities"] += adata.obsp["connectivities"].T
    adata.write_h5ad(source)
    export_apart(source, base, format="cellucid-zarr", connectivities="connectivities")
    shutil.copytree(base, outside / "store")
    return base, source


def cases(chance: random.Random, folder: Path, outside: Path) -> Iterator[list[Case]]:
    """Yield the cases of each family."""
    return cases_of(FAMILIES, look, chance, outside, make_base(folder, outside))


if __name__ == "__main__":
    sys.exit(main(cases, N_CASES, str(__doc__)))
