"""Exports that somebody damaged, on purpose or not: a sentence, and nothing else happens."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import posixpath
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import cellucid_dask
from tests.helpers import edit_json
from tests.page.looking import NOT_LOADED, Looker, Site, drawn, go, safe_name, some

pytestmark = pytest.mark.xdist_group("page")

IDENTITY, OBS, VAR = "dataset_identity.json", "obs_manifest.json", "var_manifest.json"
BAD_OBS = "obs_manifest.json is damaged"
EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
Damage = Callable[[Path], None]


@pytest.fixture
def damaged(site: Site, tmp_path: Path) -> Callable[[Damage], str]:
    """Make a small export and damage it; return its folder."""
    clean = site.root / "clean"
    if not clean.exists():
        (site.root / "secret.txt").write_text("secret")
        cellucid_dask.export(
            some(200, ["g", "h"], kind=["a", "b"] * 100, score=range(200)),
            clean, progress=False, centroid_min_points=1,
        )  # fmt: skip

    def damage(how: Damage) -> str:
        target = site.root / tmp_path.name
        shutil.copytree(clean, target)
        how(target)
        return target.name

    return damage


def edit(name: str, change: Callable[[Any], Any]) -> Damage:
    return lambda export: edit_json(export / name, change)


def put(name: str, data: bytes) -> Damage:
    return lambda export: void((export / name).write_bytes(data))


def void(_: object) -> None:
    pass


def drop(name: str) -> Damage:
    return lambda export: (export / name).unlink()


def replace(name: str, old: str, new: str) -> Damage:
    def damage(export: Path) -> None:
        text = (export / name).read_text()
        assert old in text
        (export / name).write_text(text.replace(old, new, 1))

    return damage


def cut(name: str) -> Damage:
    return lambda export: void((export / name).write_bytes((export / name).read_bytes()[:-40]))


def bomb() -> bytes:
    """Return a hundred kilobytes that are a hundred megabytes when inflated."""
    return gzip.compress(bytes(100 * 2**20), 9)


def cells(count: int) -> Damage:
    """Let all documents speak of so many cells."""

    def damage(export: Path) -> None:
        stats(n_cells=count)(export)
        for name in OBS, VAR:
            edit_json(export / name, lambda one: one.update(n_points=count))

    return damage


def stats(**values: object) -> Damage:
    return edit(IDENTITY, lambda one: one["stats"].update(values))


def nothing_to_show(name: str) -> Damage:
    return put(name, b"null")


FAILED: dict[str, tuple[Damage, str]] = {
    "no identity": (drop(IDENTITY), "dataset_identity.json is missing"),
    "no manifest": (drop(OBS), "obs_manifest.json is missing"),
    "no genes": (drop(VAR), "var_manifest.json is missing"),
    "no points": (drop("points_2d.bin.gz"), "points_2d.bin.gz is missing"),
    "not JSON": (put(IDENTITY, b"{'a': 1}"), "not valid JSON"),
    "HTML": (put(VAR, EVIL.encode()), "not valid JSON"),
    "null": (nothing_to_show(IDENTITY), "damaged"),
    "null obs": (nothing_to_show(OBS), "damaged"),
    "null var": (nothing_to_show(VAR), "damaged"),
    "list": (put(IDENTITY, b"[1, 2]"), "damaged"),
    "NaN": (replace(VAR, '["g",', '["g",NaN,'), "holds NaN or Infinity"),
    "Infinity": (replace(OBS, '["score",', '["score",-Infinity,'), "holds NaN or Infinity"),
    "huge": (stats(n_cells=4e9), "more than a browser can hold"),
    "huger": (stats(n_cells=1e300), "does not say how many cells"),
    "negative": (stats(n_cells=-1), "does not say how many cells"),
    "text": (stats(n_cells="200"), "does not say how many cells"),
    "larger": (cells(100_000_001), "more than a browser can hold"),
    "large": (cells(100_000_000), "shorter than it should be"),
    "more cells": (cells(201), "shorter than it should be"),
    "fewer cells": (cells(199), "longer than it should be"),
    "other cells": (edit(OBS, lambda one: one.update(n_points=201)), "another number of cells"),
    "bomb": (put("points_2d.bin.gz", bomb()), "longer than it should be"),
    "plain bomb": (put("points_2d.bin.gz", bytes(30 * 2**20)), "longer than it should be"),
    "cut": (cut("points_2d.bin.gz"), "cannot be read to its end"),
    "empty": (put("points_2d.bin.gz", b""), "shorter than it should be"),
    "noise": (put("points_2d.bin.gz", b"\x1f\x8b" + bytes(range(256)) * 9), "cannot be read"),
    "no embedding": (edit(IDENTITY, lambda one: one["embeddings"].update(files={})), "names no"),
    "categories": (replace(OBS, '["a","b"]', '"ab"'), BAD_OBS),
    "categories that are none": (replace(OBS, '["a","b"]', "[1,null]"), BAD_OBS),
    "missing marker": (replace(OBS, '"uint8",255', '"uint8",900000000'), BAD_OBS),
    "no marker": (replace(OBS, '"uint8",255', '"uint8",{}'), BAD_OBS),
    "fields": (edit(OBS, lambda one: one.update(_categoricalFields=[None])), BAD_OBS),
    "more fields": (edit(OBS, lambda one: one.update(_continuousFields={"a": 1})), BAD_OBS),
    "genes": (edit(VAR, lambda one: one.update(fields=[None])), "var_manifest.json is damaged"),
    "range": (edit(VAR, lambda one: one.update(fields=[["g", 3, 1]])), "a range of values is none"),
}  # fmt: skip


def paths(pattern: str) -> list[Damage]:
    """Return the ways in which an export can name a file elsewhere."""
    return [
        edit(IDENTITY, lambda one: one["embeddings"].update(files={"2d": pattern})),
        edit(VAR, lambda one: one["_varSchema"].update(pathPattern=pattern)),
        edit(OBS, lambda one: one["_obsSchemas"]["categorical"].update(codesPathPattern=pattern)),
    ]


ELSEWHERE = [
    "../secret.txt", "/secret.txt", "//127.0.0.1:9/secret", "http://127.0.0.1:9/secret",
    "..\\secret.txt", "%2e%2e/secret.txt", "var/../../secret.txt", "var/%2E%2e/.%2e/secret.txt",
    "\t../secret.txt", "https:/x", "data:,secret", "file:///etc/passwd", "blob:x", "?secret",
    "javascript:alert(1)", "..%2fsecret.txt", "..%5csecret.txt", "#secret", "http://[", "", ".",
]  # fmt: skip


@pytest.mark.parametrize("name", FAILED)
def test_a_damaged_export_fails_in_a_sentence(
    look: Looker, damaged: Callable[[Damage], str], name: str
) -> None:
    damage, sentence = FAILED[name]
    began = time.monotonic()
    page = look(damaged(damage), expect="failed", allow=NOT_LOADED)
    assert time.monotonic() - began < 30
    assert page.is_visible("#message")
    said = page.inner_text("#message")
    assert sentence in said
    assert "Something went wrong" not in said
    assert page.title() in {"Single-cell atlas", "clean"}


def test_a_path_that_leads_out_is_not_read(
    look: Looker, damaged: Callable[[Damage], str], site: Site
) -> None:
    export = damaged(paths("/")[0])
    page = look(export, expect="failed", allow=NOT_LOADED)
    site.requested.clear()
    for path in ELSEWHERE:
        paths(path)[0](site.root / export)
        page.reload()
        page.wait_for_selector("html:not([data-state=loading])", state="attached")
        said = page.inner_text("#message")
        assert any(part in said for part in ("leads out", "is missing", "er than it should be")), (
            path
        )
    for asked in site.requested:
        path = unquote(asked.partition("?")[0]).replace("\\", "/")
        assert posixpath.normpath(path).startswith(f"/{export}"), asked


def test_paths_in_manifests_that_lead_out_are_not_read(
    look: Looker, damaged: Callable[[Damage], str], site: Site
) -> None:
    def damage(export: Path) -> None:
        paths("../secret.txt")[1](export)
        edit_json(export / IDENTITY, lambda one: one.update(
            gene_aliases=None, cell_ids="../secret.txt",
            vector_fields={"fields": {
                "v": {"files": {"2d": "../secret.txt"}}, EVIL: None, "w": {"files": 3},
            }},
        ))  # fmt: skip
        edit_json(export / IDENTITY, lambda one: one["stats"].update(has_connectivity=True))
        manifest = {
            "n_edges": 1, "index_dtype": "uint16", "sourcesPath": "../secret.txt",
            "destinationsPath": "//127.0.0.1:9/secret",
        }  # fmt: skip
        (export / "connectivity_manifest.json").write_text(json.dumps(manifest))

    before = len(site.requested)
    export = damaged(damage)
    page = look(export, allow=NOT_LOADED)
    assert drawn(page) > 200
    for state in {"gene": "g"}, {"field": "v"}, {"graph": 1}:
        page = look(export, expect="failed", **state)
        assert "leads out of this export" in page.inner_text("body")
    look(export, field="w")
    assert not any("secret" in path for path in site.requested[before:])


def test_the_rest_stays_usable(look: Looker, damaged: Callable[[Damage], str]) -> None:
    """A file that is not there is only missed when it is asked for."""

    def damage(export: Path) -> None:
        (export / "var/g.values.u8.gz").unlink()
        (export / "obs/score.values.u8.gz").write_bytes(bomb())

    page = look(damaged(damage), gene="h", allow=NOT_LOADED)
    for state, file in {"gene=g": "var/g.values.u8.gz is missing", "obs=score": "score"}.items():
        page.evaluate("hash => { location.hash = hash }", state)
        page.wait_for_selector("html[data-state=failed]", state="attached")
        assert file in page.inner_text("#notice")
        assert page.is_hidden("#cover")
        go(page, gene="h")
        assert page.inner_text("#bar h2") == "h"
        assert drawn(page) > 200


def test_names_are_text(look: Looker, damaged: Callable[[Damage], str]) -> None:
    """Markup in names is shown, and never run; addresses are links only to the web."""

    def damage(export: Path) -> None:
        edit_json(export / IDENTITY, lambda one: one.update(
            name=EVIL, description=EVIL, id=EVIL, created_at=EVIL,
            source={"name": EVIL, "citation": EVIL, "url": "javascript:alert(1)"},
        ))  # fmt: skip
        kind = f"{EVIL}/kind"
        text = (export / OBS).read_text().replace('"kind"', json.dumps(kind))
        (export / OBS).write_text(text.replace('["a","b"]', json.dumps([EVIL, "__proto__"])))
        for file in (export / "obs").glob("kind.*"):
            file.rename(file.with_name(file.name.replace("kind", safe_name(kind))))
        edit_json(export / VAR, lambda one: one["fields"][0].__setitem__(0, "__proto__"))
        (export / "var/g.values.u8.gz").rename(export / "var/proto.values.u8.gz")

    export = damaged(damage)
    page = look(export)
    assert page.title() == EVIL
    assert page.inner_text("#name") == EVIL
    assert EVIL in page.inner_text("#legend")
    assert page.locator("body img, body script").count() == 0
    page.click("#tools button:text-is('About')")
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog a").count() == 0
    page.keyboard.press("Escape")
    page.hover("#cells", position={"x": 300, "y": 300})
    go(page, gene="__proto__", panel="spread")
    assert page.inner_text("#bar h2") == "__proto__"
    go(page, gene="constructor")
    assert "no gene “constructor”" in page.inner_text("#notice")
    go(page, panel="dots", genes="__proto__\th")
    with page.expect_download() as download:
        page.select_option("#tools select[aria-label^='Save']", "1")
    assert "/" not in download.value.suggested_filename
    assert page.locator("body img, body script").count() == 0


def test_odd_centroids_are_passed_over(look: Looker, damaged: Callable[[Damage], str]) -> None:
    odd = [None, 3, {"category": None, "position": None}, {"category": "a", "position": ["x", {}]},
           {"category": "b", "position": [0, 0], "n_points": 7}]  # fmt: skip
    page = look(
        damaged(edit(OBS, lambda one: one["_categoricalFields"][0].__setitem__(4, {"2": odd})))
    )
    assert drawn(page) > 200


@pytest.mark.usefixtures("damaged")
def test_a_catalog_that_leads_out(look: Looker, site: Site) -> None:
    root = site.root / "listed"
    later = itertools.count(int(time.time()) + 10)

    def rewrite(text: str) -> None:
        (root / "datasets.json").write_text(text)
        second = next(later)  # else the server says that it has not changed
        os.utime(root / "datasets.json", (second, second))

    shutil.copytree(site.root / "clean", root / "a b% #?")
    cellucid_dask.catalog(root)
    assert drawn(look("listed")) > 200
    for path, sentence in {
        "../clean/": "leads out", "//127.0.0.1:9/": "leads out", "http://127.0.0.1:9/": "leads out",
        "nowhere/": "dataset_identity.json is missing",
    }.items():  # fmt: skip
        listed = {"default": "x", "datasets": [{"id": "x", "path": path, "name": EVIL}]}
        rewrite(json.dumps(listed))
        page = look("listed", expect="failed", allow=NOT_LOADED)
        assert sentence in page.inner_text("#message")
    for document in "[]", "{}", "null", '{"datasets": [null]}', '{"datasets": [{"id": 1}]}':
        rewrite(document)
        page = look("listed", expect="failed")
        assert "datasets.json is damaged" in page.inner_text("#message")
