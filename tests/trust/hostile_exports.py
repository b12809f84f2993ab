"""Exports that somebody made on purpose, and whether a reader hangs, grows or says too much.

``python -m tests.trust.hostile_exports`` makes 400 and runs every reader on each;
``--every 10`` takes every tenth.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import socket
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import cellucid_dask
from tests.helpers import edit_json, small_anndata
from tests.read.exports import add_graph
from tests.trust.confined import Case, Outcome, Step, command, main, run

Damage = Callable[[Path], object]
Cases = Iterator[tuple[str, Damage]]
N_CELLS, N_CASES = 60, 400
IDENTITY, OBS, VAR = "dataset_identity.json", "obs_manifest.json", "var_manifest.json"
GRAPH, CHECKSUMS, CATALOG = "connectivity_manifest.json", "checksums.sha256", "datasets.json"
DOCUMENTS = (IDENTITY, OBS, VAR, GRAPH)
GENE, CODES, SCORE = "var/gene1.values.u8.gz", "obs/cell_type.codes.u8.gz", "obs/score.values.u8.gz"
POINTS, EDGES = "points_2d.bin.gz", "connectivity/edges.src.bin.gz"
BINARIES = (GENE, CODES, SCORE, POINTS, EDGES, "vectors/velocity_umap_2d.bin.gz")
RECORDS = (".cellucid-dask/run.json", ".cellucid-dask/lease.json", ".cellucid-dask/receipts/a.json")
FILES = (*DOCUMENTS, CHECKSUMS, "index.html", CATALOG, *BINARIES, *RECORDS)
TEXTS = (
    "\x1b[2J\x1b]0;owned\x07", "a\rb", "\b\b\b\b", "\x00", "\x9b31m", "\u202egnp.exe", "\n",
    "\u2066x\u2069", "a/b", "a\\b", "con", "%2e%2e%2f", "../../../outside/secret", "/etc/passwd",
    "https://host/a?sig=1", "file:///etc/passwd", "x" * 100_000, "\ud800", "\N{PILE OF POO}", "",
    " ", ".", "..", "<script>alert(1)</script>", "{key}", "{0.__class__}", "%s%n", "\u2028",
    "\ufeff", "-rf",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, "7", "\x1b[31m", [], {}, [[]], {"a": 1}, 10**400, 2**40 - 1,
)  # fmt: skip
CLAIMS = (10**9, 10**10, 10**12, 2**40 - 1, 2**40, 10**15, 10**18, 2**63, 2**64)


def put(export: Path, name: str, data: bytes) -> None:
    file = export / name
    file.parent.mkdir(parents=True, exist_ok=True)
    remove(file)
    file.write_bytes(data)


def remove(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


def place(make: Callable[[Path], object], name: str) -> Damage:
    """Put something that is no file in place of one."""

    def damage(export: Path) -> None:
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        remove(export / name)
        make(export / name)

    return damage


def listen(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def sparse(path: Path) -> None:
    """Make a file of a terabyte that takes no room."""
    with path.open("wb") as file:
        file.truncate(2**40)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def unreadable(path: Path) -> None:
    path.touch()
    path.chmod(0)


def link_to(target: str | Path) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def content(make: Callable[[bytes], bytes], *names: str) -> Damage:
    """Put other content into files, made of what they have."""

    def damage(export: Path) -> None:
        for name in names:
            is_there = (export / name).is_file()
            put(export, name, make((export / name).read_bytes() if is_there else b""))

    return damage


def always(data: bytes, *names: str) -> Damage:
    return content(lambda _: data, *names)


def replaced(name: str, old: str, new: str) -> Damage:
    """Change the text of a document, so that it need not be JSON."""
    return content(lambda data: data.replace(old.encode(), new.encode(), 1), name)


def setting(name: str, way: tuple[Any, ...], value: object) -> Damage:
    """Put a value into a document."""

    def change(document: Any) -> None:
        for part in way[:-1]:
            document = document[part]
        document[way[-1]] = value

    return lambda export: edit_json(export / name, change)


def paths_of(document: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over the paths of all values in a document."""
    entries: Any = ()
    if isinstance(document, dict):
        entries = document.items()
    elif isinstance(document, list):
        entries = enumerate(document[:2])
    for key, value in entries:
        yield (*way, key)
        yield from paths_of(value, (*way, key))


def bomb(nbytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(nbytes >> 20)) + packer.flush()


def everywhere(count: int) -> Damage:
    """Claim so many cells in all documents, as they must agree."""

    def damage(export: Path) -> None:
        width = 2 if count <= 65_535 else 4
        edit_json(export / IDENTITY, lambda m: m["stats"].update(n_cells=count))
        for name in OBS, VAR:
            edit_json(export / name, lambda m: m.update(n_points=count))
        edit_json(export / GRAPH, lambda m: m.update(n_cells=count, index_bytes=width))

    return damage


def both(*damages: Damage) -> Damage:
    return lambda export: [damage(export) for damage in damages]


# Families: each yields cases for as long as it has some.


def not_files(_: random.Random, outside: Path, __: Path) -> Cases:
    kinds: dict[str, Callable[[Path], object]] = {
        "fifo": os.mkfifo, "socket": listen, "directory": Path.mkdir, "sparse": sparse,
        "link out": link_to(outside / "secret"), "link to a folder": link_to(outside),
        "/dev/zero": link_to("/dev/zero"), "/dev/tty": link_to("/dev/tty"), "loop": loop,
        "dangling": link_to("/nowhere/at/all"), "unreadable": unreadable,
    }  # fmt: skip
    for name in FILES:
        for kind, make in kinds.items():
            yield f"{kind} {name}", place(make, name)
    for folder in ("var", "obs", "connectivity", ".cellucid-dask", "_page"):
        for kind in ("fifo", "link to a folder", "loop"):
            yield f"{kind} {folder}", place(kinds[kind], folder)


def claims(chance: random.Random, _: Path, __: Path) -> Cases:
    for count in CLAIMS:
        yield f"{count} cells everywhere", everywhere(count)
        damage = both(everywhere(count), *(place(sparse, name) for name in BINARIES))
        yield f"{count} cells in sparse files", damage
    fields = [
        (IDENTITY, ("stats", "n_cells")), (IDENTITY, ("stats", "n_genes")),
        (IDENTITY, ("stats", "n_edges")), (VAR, ("n_points",)), (OBS, ("n_points",)),
        (GRAPH, ("n_cells",)), (GRAPH, ("n_edges",)), (GRAPH, ("max_neighbors",)),
        (GRAPH, ("index_bytes",)), (OBS, ("_categoricalFields", 0, 3)),
        (OBS, ("_categoricalFields", 0, 5)), (VAR, ("fields", 0, 2)),
    ]  # fmt: skip
    pairs = [(name, way, count) for name, way in fields for count in CLAIMS]
    chance.shuffle(pairs)
    for name, way, count in pairs:
        yield f"{way} of {name} is {count}", setting(name, way, count)


def values(chance: random.Random, _: Path, base: Path) -> Cases:
    """Wrong types and values in each field of each document."""
    found = [
        (name, way) for name in DOCUMENTS for way in paths_of(json.loads((base / name).read_text()))
    ]
    chance.shuffle(found)
    odd = cycle(chance.sample(ODD_VALUES, len(ODD_VALUES)))
    for name, way in found:
        value = next(odd)
        yield f"{way} of {name} is {value!r:.30}", setting(name, way, value)


def odd_names(chance: random.Random, _: Path, __: Path) -> Cases:
    fields: list[tuple[str, tuple[Any, ...]]] = [
        (VAR, ("fields", 0, 0)), (OBS, ("_continuousFields", 0, 0)),
        (OBS, ("_categoricalFields", 0, 0)), (OBS, ("_categoricalFields", 0, 1, 0)),
        (IDENTITY, ("name",)), (IDENTITY, ("id",)), (IDENTITY, ("cellucid_data_version",)),
        (IDENTITY, ("embeddings", "files", "2d")), (VAR, ("_varSchema", "pathPattern")),
        (VAR, ("_format",)), (VAR, ("var_gene_id_column",)), (VAR, ("layer",)),
        (OBS, ("_obsSchemas", "continuous", "pathPattern")), (GRAPH, ("sourcesPath",)),
        (OBS, ("_obsSchemas", "categorical", "codesPathPattern")), (GRAPH, ("format",)),
        (IDENTITY, ("vector_fields", "fields", "velocity_umap", "files", "2d")),
        (IDENTITY, ("export_settings", "identity_sha256")), (IDENTITY, ("created_at",)),
        (IDENTITY, ("vector_fields", "fields", "\x1b[7m")), (VAR, ("\x1b[7mkey",)),
    ]  # fmt: skip
    pairs = [(name, way, text) for name, way in fields for text in TEXTS]
    chance.shuffle(pairs)
    for name, way, text in pairs:
        yield f"{way} of {name} is {text!r:.30}", setting(name, way, text)


def json_forms(_: random.Random, __: Path, ___: Path) -> Cases:
    deep, wide = 10**6, '"\N{PILE OF POO}"}'.encode()
    large: dict[str, Callable[[bytes], bytes]] = {
        "open lists": lambda _: b"[" * deep, "lists": lambda _: b"[" * deep + b"]" * deep,
        "deep objects": lambda _: b'{"a":' * deep + b"1" + b"}" * deep,
        "an object of deep lists": lambda _: b'{"stats":' + b"[" * 900 + b"]" * 900 + b"}",
        "many lists": lambda _: b'{"fields":[' + b"[]," * (8 << 20) + b"[]]}",
        "some lists": lambda _: b'{"fields":[' + b"[]," * (2 << 20) + b"[]]}",
        "many objects": lambda _: b'{"fields":[' + b"{}," * (16 << 20) + b"{}]}",
        "many keys": lambda _: b"{" + b",".join(b'"%d":1' % i for i in range(2_000_000)) + b"}",
        "many texts": lambda _: b'{"fields":[' + b'"ab",' * (4 << 20) + b"1]}",
        "wide text": lambda _: b'{"a":"' + b"a" * (100 << 20) + b'","b":' + wide,
        "some wide text": lambda _: b'{"a":"' + b"a" * (32 << 20) + b'","b":' + wide,
        "a long number": lambda _: b'{"n_points":' + b"9" * 10**6 + b"}",
    }  # fmt: skip
    small: dict[str, bytes] = {
        "a list": b"[1]", "null": b"null", "empty": b"", "blank": b" " * 1000, "NUL": bytes(1000),
        "not UTF-8": b'{"a":"\xff\xfe"}', "UTF-16": '{"a":1}'.encode("utf-16"),
        "a byte order mark": b'\xef\xbb\xbf{"a":1}', "escapes": b'{"\\u001b[2J":"\\ud800"}',
        "HTML": b"<html>\x1b[2J</html>", "a prototype": b'{"__proto__":{"a":1}}',
    }  # fmt: skip
    for form, make in large.items():
        yield f"{form} as all documents", content(make, *DOCUMENTS, CHECKSUMS)
        for name in (*DOCUMENTS, CHECKSUMS, CATALOG, RECORDS[0]):
            yield f"{form} as {name}", content(make, name)
    for form, data in small.items():
        for name in (*DOCUMENTS, CHECKSUMS, CATALOG, RECORDS[0]):
            yield f"{form} as {name}", always(data, name)
    for name in DOCUMENTS:
        for token in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "0x10", "01"):
            yield f"{token} in {name}", replaced(name, "60", token)
        twice = '{"n_points":1e9,"n_points":60,"stats":{},'
        yield f"duplicate keys in {name}", replaced(name, "{", twice)


def members(_: random.Random, __: Path, ___: Path) -> Cases:
    small, empty = (gzip.compress(bytes(count), mtime=0) for count in (N_CELLS, 0))
    forms: dict[str, Callable[[bytes], bytes]] = {
        "bomb of a gigabyte": lambda _: bomb(2**30),
        "truncated": lambda d: d[:-9], "empty": lambda _: b"", "header alone": lambda d: d[:10],
        "ten thousand members": lambda _: small * 10_000, "trailing bytes": lambda d: d + b"x",
        "empty members": lambda _: empty * 50_000, "zlib": zlib.compress,
        "wrong checksum": lambda d: d[:-8] + b"abcd" + d[-4:],
        "wrong length": lambda d: d[:-4] + b"\xff" * 4,
        "a long name": lambda d: d[:3] + b"\x08" + d[4:10] + b"n" * 10**6 + b"\x00" + d[10:],
        "a name without end": lambda d: d[:3] + b"\x08" + d[4:10] + b"n" * 10**7,
        "extra fields": lambda d: d[:3] + b"\x04" + d[4:10] + b"\xff\xff" + bytes(65535) + d[10:],
        "reserved bits": lambda d: d[:3] + b"\xe0" + d[4:],
        "a bad block": lambda d: d[:10] + b"\x07" * 50, "zeros": lambda _: bytes(10**6),
    }  # fmt: skip
    for name in BINARIES:
        for form, make in forms.items():
            yield f"{form} as {name}", content(make, name)


def listings(_: random.Random, __: Path, ___: Path) -> Cases:
    digest = "0" * 64
    lines = {
        "escape": f"{digest}  var/\x1b[2J\n", "parent": f"{digest}  ../../outside/secret\n",
        "absolute": f"{digest}  /etc/passwd\n", "twice": f"{digest}  a\n{digest}  a\n",
        "newlines": "\n" * (8 << 20), "long": digest + "  " + "a" * (8 << 20) + "\n",
        "page out": f"{digest}  _page/../../outside/secret\n", "index": f"{digest}  index.html\n",
        "link": f"{digest}  _page/1/x.js\n", "bidi": f"{digest}  \u202evar/a\n",
    }  # fmt: skip
    for form, text in lines.items():
        yield f"{form} in checksums", always(text.encode(), CHECKSUMS)
    many = (f"{digest}  _page/{{}}\n".format(i) for i in range(700_000))
    yield "many checksums", content(lambda _: "".join(many).encode(), CHECKSUMS)
    yield "much in checksums", content(lambda _: b"\n" * (100 << 20), CHECKSUMS)
    for name in ("\x1b[2J", "a\nb", "\u202e", "-rf", "x" * 200, "a\\b", "%2e%2e"):
        for folder in ("", "var/", "_page/", "obs/", "_page/1/"):
            yield f"a file {folder}{name!r}", always(b"x", folder + name)
    page = '<html data-cellucid-page><script src="../../outside/secret"></script>\x1b[2J'
    yield "index.html that names files outside", always(page.encode(), "index.html")


def siblings(chance: random.Random, _: Path, __: Path) -> Cases:
    """What lies beside the export, in the folder of several."""
    sick = f"../sick/{IDENTITY}"
    ids = [*TEXTS, *ODD_VALUES]
    chance.shuffle(ids)
    for value in ids:
        identity = {"id": value, "name": value, "stats": {"n_cells": value, "n_genes": value}}
        yield f"a sibling called {value!r:.30}", always(json.dumps(identity).encode(), sick)
    for form in (b"[" * 10**6, b"", b"null", b"[]", b'{"id":"a"}', b"\xff"):
        yield f"a sibling of {form[:10]!r}", always(form, sick)
    kinds: dict[str, Callable[[Path], object]] = {
        "fifo": os.mkfifo, "loop": loop, "sparse": sparse, "link": link_to("/dev/zero"),
        "directory": Path.mkdir,
    }  # fmt: skip
    for kind, make in kinds.items():
        yield f"a sibling with a {kind}", place(make, sick)
        yield f"a sibling that is a {kind}", place(make, "../sick")
    for name in ("\x1b[2J", "a\nb", "\u202e", "..a", "x" * 200):
        yield f"a folder {name!r}", beside(name)


def beside(name: str) -> Damage:
    def damage(export: Path) -> None:
        shutil.copytree(export, export.parent / name)
        edit_json(export.parent / name / IDENTITY, lambda m: m.update(id="beside"))

    return damage


FAMILIES = (not_files, claims, values, odd_names, json_forms, members, listings, siblings)


# What is done with each.


def fresh(base: Path, damage: Damage, to: Path) -> Path:
    """Make a folder with one damaged export and one that is not."""
    shutil.copytree(base, to / "bad")
    shutil.copytree(base, to / "good")
    edit_json(to / "good" / IDENTITY, lambda m: m.update(id="good"))
    damage(to / "bad")
    return to / "bad"


def read_all(target: Path) -> Step:
    def step() -> None:
        opened = cellucid_dask.open_export(target)
        print(opened, opened._repr_html_(), len(json.dumps(opened.identity())))
        asked: list[Callable[[], object]] = [partial(opened.gene, g) for g in opened.genes[:3]]
        asked += [partial(opened.points, dimension) for dimension in opened.dimensions]
        asked += [
            partial(opened.vectors, field, dimension)
            for field, dimensions in opened.vector_fields.items()
            for dimension in dimensions
        ]
        asked += [lambda: opened.obs, opened.connectivity, opened.to_anndata]
        asked += [partial(opened.gene, "\x1b[2J")]
        asked += [partial(opened.plot, key) for key in ("gene1", "score", "cell_type")]
        for ask in asked:
            try:
                ask()
            except (cellucid_dask.RequestError, cellucid_dask.ExportError) as error:
                print(error)

    return step


def serve(target: Path) -> Step:
    from cellucid_dask.read.serve import Server
    from cellucid_dask.store.target import Target

    names = ["", *FILES, "../outside/secret", "%2e%2e/outside/secret", "/etc/passwd", "var/%00",
             "var//x", "var/" + "x" * 5000, "var/%1b[2J", f"bad/{IDENTITY}"]  # fmt: skip

    def step() -> None:
        server = Server(Target.of(target)).start()
        try:
            for name in names:
                fetch(server.url + name)
        finally:
            server.close()

    return step


def fetch(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            for _ in range(64):
                if not answer.read(2**20):
                    break
    except urllib.error.HTTPError as error:
        print(error.read().decode())
    except (urllib.error.URLError, ValueError, ConnectionError):
        pass  # refused


def look(base: Path, source: Path, damage: Damage, outside: Path, work: Path) -> Outcome:
    """Run every reader on a damaged export, and every writer on a copy of it."""
    copies = iter(range(100))

    def copy() -> Path:
        return fresh(base, damage, work / str(next(copies)))

    target, quiet = copy(), "--no-progress"
    steps: dict[str, Step] = {
        "open": read_all(target),
        "verify": command("verify", target),
        "verify --source": command("verify", target, "--source", source),
        "view": serve(target),
        "view several": serve(target.parent),
        "catalog": command("catalog", copy().parent),
        "page": command("page", copy()),
        "export": command("export", source, copy(), quiet),
        "export --resume": command("export", source, copy(), "--resume", quiet),
        "export --genes-only": command("export", source, copy(), "--genes-only", "--force", quiet),
        "export --force": command("export", source, copy(), "--force", quiet),
    }
    outcome = run(steps, outside, work)
    if "good: good/" not in outcome.said.get("catalog", "good: good/"):
        outcome.faults.append(("raw error", "catalog does not list the other export"))
    return outcome


def export_apart(source: Path, target: Path, **options: Any) -> None:
    """Export in a fork: threads of this process would not be in the forks that are made of it."""
    child = os.fork()
    if child == 0:
        cellucid_dask.export(source, target, progress=False, dataset_id="bad", **options)
        os._exit(0)
    os.waitpid(child, 0)


def cases_of(
    families: Iterable[Callable[..., Cases]],
    look: Callable[[Path, Path, Damage, Path, Path], Outcome],
    chance: random.Random,
    outside: Path,
    export: tuple[Path, Path],
) -> Iterator[list[Case]]:
    """Yield the cases of each family of damages to an export, of which the source comes second."""
    base, source = export
    for family in families:
        yield [
            (name, partial(look, base, source, damage, outside))
            for name, damage in family(chance, outside, base)
        ]


def make_base(folder: Path) -> tuple[Path, Path]:
    """Make the export that is damaged, and its source."""
    adata, base, source = small_anndata(n_cells=N_CELLS), folder / "base", folder / "cells.h5ad"
    adata.write_h5ad(source)
    export_apart(source, base, centroid_min_points=1)
    add_graph(base, [(0, 1), (0, 5), (3, 59)], N_CELLS)
    return base, source


def cases(chance: random.Random, folder: Path, outside: Path) -> Iterator[list[Case]]:
    """Yield the cases of each family."""
    export = make_base(folder)
    (outside / IDENTITY).write_bytes((export[0] / IDENTITY).read_bytes())
    return cases_of(FAMILIES, look, chance, outside, export)


if __name__ == "__main__":
    sys.exit(main(cases, N_CASES, str(__doc__)))
