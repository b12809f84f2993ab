"""Sources that somebody made on purpose: metadata that claim more than is there, bombs, cycles.

``python -m tests.trust.hostile_sources`` makes 100, h5ad files and Zarr stores, and runs ``plan``
and ``export`` on each; ``--every 5`` takes every fifth.
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

import h5py
import numcodecs
import numpy as np

from tests.helpers import edit_json, small_anndata, write_h5ad, write_zarr
from tests.trust.confined import Case, Outcome, Step, command, main, run

N_CASES = 100
Damage = Callable[[Path], object]  # of a copy of a file or store
Cases = Iterator[tuple[str, str, Damage]]  # a name, which base, and what is done to it
MARK = "FOREIGN"  # a category, gene and text of the file that nothing may be read from
V3, V2 = "csr3.zarr", "csr2.zarr"
HUGE = (10**12, 10**15, 2**62)


def hdf5(edit: Callable[[h5py.File], object]) -> Damage:
    def damage(path: Path) -> None:
        with h5py.File(path, "a") as file:
            edit(file)

    return damage


def replaced(name: str, **how: Any) -> Damage:
    """Put another data set in place of one, with its attributes."""

    def edit(file: h5py.File) -> None:
        kept = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, **how).attrs.update(kept)

    return hdf5(edit)


def attribute(name: str, key: str, value: Any) -> Damage:
    return hdf5(lambda file: file[name].attrs.__setitem__(key, value))


def inflating(nbytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(nbytes >> 20)) + packer.flush()


def bomb(name: str, nbytes: int) -> Damage:
    """Let every chunk of a data set inflate to more than its shape says."""

    def edit(file: h5py.File) -> None:
        kept, values = dict(file[name].attrs), file[name][()]
        del file[name]
        made = file.create_dataset(
            name, values.shape, values.dtype, chunks=values.shape, compression="gzip"
        )
        made.id.write_direct_chunk((0,) * values.ndim, inflating(nbytes))
        made.attrs.update(kept)

    return hdf5(edit)


def large_attribute(name: str, key: str, value: Callable[[], Any]) -> Damage:
    def damage(path: Path) -> None:
        old = path.rename(path.with_suffix(".old"))
        with h5py.File(old) as source, h5py.File(path, "w", libver="latest") as file:
            for each in source:
                source.copy(each, file)
            file.attrs.update(source.attrs)
            if name in file and name != "/":  # only a group of this version has room for it
                del file[name]
            group = file.require_group(name)
            for each in source[name] if name != "/" else ():
                source.copy(f"{name}/{each}", group)
            group.attrs.update({k: v for k, v in source[name].attrs.items() if k != key})
            group.attrs[key] = value()
        old.unlink()

    return damage


def claims(_: random.Random, __: Path) -> Cases:
    """HDF5 data sets that say they are larger than what there is."""
    for count in HUGE:
        one = {"shape": (count,), "chunks": (1000,), "dtype": "f4"}
        yield f"data of {count}", "csr.h5ad", replaced("X/data", **one)
        yield f"indices of {count}", "csr.h5ad", replaced("X/indices", **one | {"dtype": "i4"})
        yield f"indptr of {count}", "csr.h5ad", replaced("X/indptr", **one | {"dtype": "i8"})
        yield (
            f"codes of {count}",
            "csr.h5ad",
            replaced("obs/cell_type/codes", **one | {"dtype": "i1"}),
        )
        yield f"a column of {count}", "csr.h5ad", replaced("obs/score", **one)
        text = {"dtype": h5py.string_dtype()}
        yield (
            f"categories of {count}",
            "csr.h5ad",
            replaced("obs/cell_type/categories", **one | text),
        )
        yield f"cells of {count}", "csr.h5ad", replaced("obs/_index", **one | text)
        yield f"genes of {count}", "csr.h5ad", replaced("var/_index", **one | text)
        yield f"shape of {count}", "csr.h5ad", attribute("X", "shape", (count, count))
        yield (
            f"rows of {count}",
            "dense.h5ad",
            replaced("X", shape=(count, 12), chunks=(10, 12), dtype="f4"),
        )
        yield (
            f"columns of {count}",
            "dense.h5ad",
            replaced("X", shape=(40, count), chunks=(1, 1000), dtype="f4"),
        )
        yield (
            f"an embedding of {count}",
            "csr.h5ad",
            replaced("obsm/X_umap", shape=(40, count), chunks=(1, 1000), dtype="f4"),
        )
        yield (
            f"one {count} of contiguous values",
            "csr.h5ad",
            replaced("obs/score", shape=(min(count, 2**40),), dtype="f4"),
        )
    for shape in ((-1, 12), (40,), (40, 12, 1), (), (2**63 - 1, 12), "forty", (40.5, 12)):
        yield f"shape {shape}", "csr.h5ad", attribute("X", "shape", shape)
    for size in (2**20, 2**30, 2**31 - 1):
        yield (
            f"text of {size} bytes each",
            "csr.h5ad",
            replaced("obs/sample", shape=(40,), chunks=(1,), dtype=f"S{size}"),
        )
        yield (
            f"names of {size} bytes each",
            "csr.h5ad",
            replaced("obs/_index", shape=(40,), chunks=(1,), dtype=f"S{size}"),
        )
    yield (
        "large chunks",
        "csr.h5ad",
        replaced(
            "X/data",
            shape=(100,),
            maxshape=(None,),
            chunks=(2**29,),
            dtype="f4",
            compression="gzip",
        ),
    )
    yield (
        "an array in each value",
        "csr.h5ad",
        replaced("obs/score", shape=(40,), dtype=np.dtype(("f4", (2**24,))), chunks=(1,)),
    )


def bombs(_: random.Random, __: Path) -> Cases:
    for base, name in (
        ("csr.h5ad", "X/data"), ("csr.h5ad", "X/indices"), ("csr.h5ad", "X/indptr"),
        ("dense.h5ad", "X"), ("csr.h5ad", "obs/score"), ("csr.h5ad", "obs/cell_type/codes"),
        ("csr.h5ad", "obsm/X_umap"), ("csr.h5ad", "obs/depth"),
        ("csr.h5ad", "obsp/connectivities/data"),
    ):  # fmt: skip
        yield f"{name} of {base} inflates to 2 GB", base, bomb(name, 2**31)
    yield "obs/score inflates to 40 MB", "csr.h5ad", bomb("obs/score", 40 << 20)
    for name, key in (
        ("obs", "column-order"), ("/", "other"), ("X", "encoding-type"), ("X", "shape"),
        ("obs", "_index"), ("obs/cell_type", "ordered"),
    ):  # fmt: skip
        yield (
            f"many bytes in {key}",
            "csr.h5ad",
            large_attribute(name, key, lambda: np.zeros(300 << 20, "S1")),
        )
        yield (
            f"a long text in {key}",
            "csr.h5ad",
            large_attribute(name, key, lambda: "x" * (300 << 20)),
        )
    text = {"dtype": h5py.string_dtype(), "shape": (40,)}
    yield (
        "a text of 300 MB",
        "csr.h5ad",
        both(
            replaced("obs/sample", **text),
            hdf5(lambda file: file["obs/sample"].__setitem__(3, "x" * (300 << 20))),
        ),
    )


def both(*damages: Damage) -> Damage:
    return lambda path: [damage(path) for damage in damages]


def odd(_: random.Random, outside: Path) -> Cases:
    """Attributes, groups and types that no writer makes."""
    value: Any
    for value in (7, "score", ["../var/symbol"], ["score", "score"], [b"\xff\xfe"], ["nowhere"],
                  ["/X/data"], [""], np.zeros((2, 2)), ["\x1b[2J"], ["__categories"]):  # fmt: skip
        yield f"column-order {value!r:.30}", "csr.h5ad", attribute("obs", "column-order", value)
    for value in (7, "", ".", "..", "../X/data", "nowhere", "/X/data", np.zeros(3), "cell_type"):
        yield f"_index {value!r:.30}", "csr.h5ad", attribute("obs", "_index", value)
    for value in (7, "", "awkward-array", "csr_matrix", b"\xff", np.zeros(3), "dict", "\x1b[2J"):
        yield f"encoding {value!r:.30} of obs", "csr.h5ad", attribute("obs", "encoding-type", value)
        yield f"encoding {value!r:.30} of X", "csr.h5ad", attribute("X", "encoding-type", value)
        yield (
            f"encoding {value!r:.30} of a column",
            "csr.h5ad",
            attribute("obs/cell_type", "encoding-type", value),
        )
    links: dict[str, Callable[[h5py.File], object]] = {
        "obs in itself": lambda f: f["obs"].__setitem__("me", f["obs"]),
        "the root in obsm": lambda f: f["obsm"].__setitem__("X_all", f["/"]),
        "X in itself": lambda f: (f["X"].pop("data"), f["X"].__setitem__("data", f["X"])),
        "uns in uns": lambda f: f["uns"].__setitem__("neighbors", f["uns"]),
        "a soft loop": lambda f: (f.pop("X"), f.__setitem__("X", h5py.SoftLink("/X"))),
        "soft links in a ring": lambda f: (
            f["obsm"].__setitem__("X_a", h5py.SoftLink("X_b")),
            f["obsm"].__setitem__("X_b", h5py.SoftLink("X_a")),
        ),
        "a link to itself by file": lambda f: f["obsm"].__setitem__(
            "X_f", h5py.ExternalLink("source.h5ad", "/obsm/X_f")
        ),
        "references in a column": lambda f: f["obs"].create_dataset(
            "score2", data=np.array([f["X"].ref] * 40, h5py.ref_dtype)
        ),
        "a type as X": lambda f: (f.pop("X"), f.__setitem__("X", np.dtype("f4"))),
        "an opaque column": lambda f: (f["obs"].pop("score"), f["obs"].create_dataset(
            "score", data=np.zeros(40, "V16"))),
        "a compound column": lambda f: (f["obs"].pop("score"), f["obs"].create_dataset(
            "score", data=np.zeros(40, [("a", "f4"), ("b", "S9")]))),
        "a deep column": lambda f: deepen(f["obs"]),
        "a group as codes": lambda f: (f["obs/cell_type"].pop("codes"),
                                       f["obs/cell_type"].create_group("codes")),
        "codes out of range": lambda f: f["obs/cell_type/codes"].__setitem__(0, 99),
        "complex values": lambda f: (f["obs"].pop("score"), f["obs"].create_dataset(
            "score", data=np.zeros(40, "c16"))),
        "vectors of different lengths": lambda f: (f["obs"].pop("score"), f["obs"].create_dataset(
            "score", (40,), h5py.vlen_dtype(np.dtype("f4")))),
    }  # fmt: skip
    for name, edit in links.items():
        yield name, "csr.h5ad", hdf5(edit)
    for name in ("X", "obs", "var", "obs/cell_type", "obsm/X_umap", "obs/_index", "raw"):
        yield f"{name} links out", "csr.h5ad", hdf5(partial(link_to, name=name, to=outside))
    for cut in (0.2, 0.5, 0.9, 0.999):
        yield f"{cut} of the file", "csr.h5ad", partial(shorten, part=cut)
    for seed in range(8):
        yield f"random bytes {seed}", "csr.h5ad", partial(spoil, seed=seed)


def link_to(file: h5py.File, name: str, to: Path) -> None:
    del file[name]
    file[name] = h5py.ExternalLink(to / "o.h5ad", name)


def deepen(group: h5py.Group) -> None:
    for _ in range(2000):
        group = group.create_group("x")


def shorten(path: Path, part: float) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * part))


def spoil(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(40):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data)


# Zarr


def setting(name: str, way: tuple[Any, ...], value: Any) -> Damage:
    """Put a value into a document of a store."""

    def change(document: Any) -> None:
        for part in way[:-1]:
            document = document[part]
        document[way[-1]] = value

    return lambda store: edit_json(store / name, change)


def chunks(name: str, make: Callable[[], bytes]) -> Damage:
    """Put other content into all chunks of an array."""

    def damage(store: Path) -> None:
        for file in [*store.glob(f"{name}/c/**/*"), *store.glob(f"{name}/[0-9]*")]:
            if file.is_file():
                file.write_bytes(make())

    return damage


def text(name: str, make: Callable[[], bytes]) -> Damage:
    return lambda store: (store / name).write_bytes(make())


def zarr_claims(_: random.Random, __: Path) -> Cases:
    dtype: Any
    for count in HUGE:
        for name in ("X/data", "X/indptr", "obs/score", "obs/_index", "obs/cell_type/codes"):
            yield f"{name} of {count} in 3", V3, setting(f"{name}/zarr.json", ("shape",), [count])
            yield f"{name} of {count} in 2", V2, setting(f"{name}/.zarray", ("shape",), [count])
            grid = ("chunk_grid", "configuration", "chunk_shape")
            yield (
                f"chunks of {count} of {name} in 3",
                V3,
                setting(f"{name}/zarr.json", grid, [count]),
            )
            yield (
                f"chunks of {count} of {name} in 2",
                V2,
                setting(f"{name}/.zarray", ("chunks",), [count]),
            )
    for dtype in ("<f8999", "|V1000000000", "|S2147483647", "object", "<M8[ns]", "|O", [], 7):
        yield f"values of {dtype}", V2, setting("obs/score/.zarray", ("dtype",), dtype)


PACKED: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "zstd": ({"level": 1}, numcodecs.Zstd),
    "blosc": (numcodecs.Blosc().get_config(), numcodecs.Blosc),
    "lz4": ({"acceleration": 1}, numcodecs.LZ4),
    "gzip": ({"level": 1}, partial(numcodecs.GZip, 1)),
    "zlib": ({"level": 1}, partial(numcodecs.Zlib, 1)),
    "bz2": ({"level": 1}, partial(numcodecs.BZ2, 1)),
}


def packed(codec: Callable[[], Any]) -> bytes:
    return bytes(codec().encode(bytes(2000 << 20)))


def zarr_bombs(_: random.Random, __: Path) -> Cases:
    for name in ("X/data", "obs/score", "X/indptr", "obs/cell_type/categories"):
        for kind, (config, codec) in PACKED.items():
            put_chunks = chunks(name, partial(packed, codec))
            yield (
                f"{name} of {kind} that inflates to 2 GB",
                V2,
                both(
                    setting(f"{name}/.zarray", ("compressor",), config | {"id": kind}), put_chunks
                ),
            )
            if kind in ("gzip", "zstd"):
                options = config | ({"checksum": False} if kind == "zstd" else {})
                yield (
                    f"{name} of {kind} that inflates to 2 GB in 3",
                    V3,
                    both(
                        setting(
                            f"{name}/zarr.json",
                            ("codecs", -1),
                            {"name": kind, "configuration": options},
                        ),
                        put_chunks,
                    ),
                )


def zarr_codecs(_: random.Random, outside: Path) -> Cases:
    for config in ({"id": "pickle"}, {"id": "json2"}, {"id": "msgpack2"}, {"id": "nowhere"}, 7):
        yield f"compressor {config}", V2, setting("obs/score/.zarray", ("compressor",), config)
        yield f"filters {config}", V2, setting("obs/score/.zarray", ("filters",), [config])
    evil = b"cos\nsystem\n(S'touch " + str(outside / "touched").encode() + b"'\ntR."
    yield (
        "a chunk that is a pickle",
        V2,
        both(
            setting("obs/score/.zarray", ("filters",), [{"id": "pickle"}]),
            setting("obs/score/.zarray", ("compressor",), None),
            setting("obs/score/.zarray", ("dtype",), "|O"),
            chunks("obs/score", lambda: evil),
        ),
    )
    for name in ("obs/score", "X/data/c", "obsm", "X", "obs/cell_type/codes"):
        yield (
            f"{name} of a store links out",
            V3,
            partial(link_out, name=name, to=outside / "o.zarr" / name),
        )
        yield f"{name} of a store is a pipe", V3, partial(pipe, name=name)


def zarr_documents(_: random.Random, __: Path) -> Cases:
    large = b'{"a":"' + b"x" * (300 << 20) + b'"}'
    for name in (".zattrs", ".zgroup", "obs/.zattrs", "X/data/.zarray"):
        yield f"deep JSON in {name}", V2, text(name, lambda: b"[" * 10**6)
        yield f"no JSON in {name}", V2, text(name, lambda: b"\xff\x00")
        yield f"large {name}", V2, text(name, lambda: large)
    deep = json.loads("[" * 300 + "]" * 300)
    many = {str(i): i for i in range(10**6)}
    for name in ("zarr.json", "obs/zarr.json", "X/data/zarr.json"):
        yield f"deep JSON in {name}", V3, text(name, lambda: b'{"attributes":' + b"[" * 10**6)
        yield f"a list as {name}", V3, text(name, lambda: b"[1]")
        yield f"many keys in {name}", V3, setting(name, ("attributes", "b"), many)
        yield f"deep attributes in {name}", V3, setting(name, ("attributes", "a"), deep)
    yield "a large .zmetadata", V2, text(".zmetadata", lambda: large)
    other = {".zgroup": {"zarr_format": 2}, "../outside/.zgroup": {"zarr_format": 2}}
    yield (
        "a .zmetadata of another store",
        V2,
        text(
            ".zmetadata",
            lambda: json.dumps({"zarr_consolidated_format": 1, "metadata": other}).encode(),
        ),
    )
    for value in (["../var/symbol"], 7, None, ["score", "score"], [["score"]], "\x1b[2J"):
        yield (
            f"column-order {value!r:.30} in Zarr",
            V3,
            setting("obs/zarr.json", ("attributes", "column-order"), value),
        )
    for value in ("../var/_index", "..", 7, None, "/etc", "\x1b[2J"):
        yield (
            f"_index {value!r:.30} in Zarr",
            V3,
            setting("obs/zarr.json", ("attributes", "_index"), value),
        )


def pipe(store: Path, name: str) -> None:
    for file in (store / name).rglob("*"):
        if file.is_file() and not file.name.endswith(".json"):
            file.unlink()
            os.mkfifo(file)


def link_out(store: Path, name: str, to: Path) -> None:
    place = store / name
    shutil.rmtree(place)
    place.symlink_to(to)


FAMILIES = (claims, bombs, odd, zarr_claims, zarr_bombs, zarr_codecs, zarr_documents)


def look(base: Path, damage: Damage, outside: Path, work: Path) -> Outcome:
    """Plan and export a damaged source."""
    source = work / f"source{base.suffix}"
    (shutil.copytree if base.is_dir() else shutil.copyfile)(base, source)
    damage(source)
    options = ("--memory-budget", "200MiB", "--no-page")
    steps: dict[str, Step] = {
        "plan": command("plan", source, *options),
        "export": command("export", source, work / "out", "--no-progress", *options),
        "export --genes-only": command(
            "export", source, work / "genes", "--genes-only", "--no-progress", *options
        ),
    }
    outcome = run(steps, outside, work)
    for file in work.glob("*/*.json"):
        if MARK in file.read_text() and file.parent.name in ("out", "genes"):
            outcome.faults.append(("foreign bytes", f"in {file.parent.name}/{file.name}"))
    return outcome


def cases(_: random.Random, folder: Path, outside: Path) -> Iterator[list[Case]]:
    """Yield the cases of each family."""
    bases = {
        "csr.h5ad": write_h5ad(small_anndata(), folder / "csr.h5ad"),
        "dense.h5ad": write_h5ad(small_anndata(form="dense"), folder / "dense.h5ad"),
        "csr3.zarr": write_zarr(small_anndata(), folder / "csr3.zarr"),
        "csr2.zarr": write_zarr(small_anndata(), folder / "csr2.zarr", version=2),
    }
    other = small_anndata(seed=3, genes=[f"{MARK}{i}" for i in range(12)])
    other.obs["cell_type"] = other.obs["cell_type"].cat.rename_categories({"T cell": MARK})
    write_h5ad(other, outside / "o.h5ad")
    write_zarr(other, outside / "o.zarr")
    for family in FAMILIES:
        yield [
            (name, partial(look, bases[base], damage, outside))
            for name, base, damage in family(_, outside)
        ]


if __name__ == "__main__":
    sys.exit(main(cases, N_CASES, str(__doc__)))
