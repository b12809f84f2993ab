"""What the page counts and selects, in a real browser, against numpy on what the export holds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from tests.page.looking import (
    CELLS,
    QUANTIZATIONS,
    Looker,
    decoded,
    points,
    ready,
    saved,
    size_of,
    table,
    until,
)

pytestmark = pytest.mark.xdist_group("page")


def in_category(atlas: ad.AnnData, field: str, name: str) -> np.ndarray:
    column = atlas.obs[field]
    return np.asarray(column.isna() if name == "(none)" else column == name)


@pytest.mark.parametrize("bits", QUANTIZATIONS)
@pytest.mark.parametrize("gene", ["CD3D", "MS4A1", "NKG7"])
def test_distribution_is_that_of_the_decoded_values(
    look: Looker, exports: Path, atlas: ad.AnnData, bits: int | None, gene: str
) -> None:
    page = look(bits, gene=gene, panel="spread", by="cell_type")
    rows = table(page)
    values = decoded(exports / str(bits), gene)
    assert len(rows) == 5
    for row in rows:
        some = values[in_category(atlas, "cell_type", row["category"])]
        assert int(row["cells"]) == len(some)
        expected = [some.mean(), *np.quantile(some, [0.25, 0.5, 0.75]), (some > 0).mean()]
        got = [float(row[name]) for name in ("mean", "q1", "median", "q3", "share > 0")]
        np.testing.assert_allclose(got, expected, atol=1e-12)
    note = page.inner_text("#analysis")
    assert ("below 0" in note) == (gene == "MS4A1")
    assert ("half a step" in note) == (gene == "CD3D" and bits is not None)


def test_hidden_categories_are_left_out_and_rows_follow_the_mean(
    look: Looker, atlas: ad.AnnData
) -> None:
    page = look(8, gene="LYZ", panel="spread", group="cell_type", hide="0,4", ranked=1)
    rows = table(page)
    assert {row["category"] for row in rows} == set(atlas.obs.cell_type.cat.categories[1:])
    means = [float(row["mean"]) for row in rows]
    assert means == sorted(means, reverse=True)
    page.goto(f"{page.url}&by=donor")
    until(page, "document.querySelector('#analysis h2').textContent === 'LYZ by donor'")
    seen = in_category(atlas, "cell_type", "T") | in_category(atlas, "cell_type", "(none)")
    assert sum(int(row["cells"]) for row in table(page)) == (~seen).sum()


def test_dot_plot_of_a_pasted_list(look: Looker, exports: Path, atlas: ad.AnnData) -> None:
    page = look(8, obs="cell_type")
    page.fill("#query", "cd3d, LYZ nope\tNKG7")
    page.press("#query", "Enter")
    page.wait_for_selector("#analysis svg")
    ready(page)
    rows = table(page)
    assert {row["gene"] for row in rows} == {"CD3D", "LYZ", "NKG7"}
    for row in rows:
        some = decoded(exports / "8", row["gene"])[in_category(atlas, "cell_type", row["category"])]
        expected = [some.mean(), (some > 0).mean()]
        np.testing.assert_allclose(
            [float(row["mean"]), float(row["share expressing"])], expected, atol=1e-12
        )
    assert saved(page, "#analysis button:text-is('SVG')").startswith("<svg")
    page.click("#analysis button[aria-label='Remove LYZ']")
    until(page, "!document.querySelector('#analysis').textContent.includes('LYZ')")
    assert "genes=CD3D%09NKG7" in page.url
    page.click("#analysis button:text-is('NKG7')")
    ready(page)
    assert "gene=NKG7" in page.url


def test_unknown_names_are_said(look: Looker) -> None:
    for state, sentence in [
        ({"panel": "dots", "genes": "CD3D\tnope"}, "no gene “nope”"),
        ({"panel": "spread", "by": "nope"}, "no field of categories “nope”"),
        ({"panel": "nope"}, "no analysis “nope”"),
        ({"with": "obs/nope"}, "no gene or field “nope”"),
        ({"lasso": "1_2_0_0"}, "selection"),
        ({"lasso": "1_9_0_0_0_0_0_0_1_1_0_1"}, "selection"),
    ]:
        page = look(8, **state)
        assert sentence in page.inner_text("#notice")


def _frame(page: Any) -> tuple[float, float, float, float]:
    box = page.locator("#cells").bounding_box()
    return box["x"], box["y"], box["width"], box["height"]


def _inside(
    page: Any, exports: Path, left: float, right: float, bottom: float, top: float
) -> np.ndarray:
    """Cells of a rectangle of the picture in 2D, whose sides are given from -1 to 1."""
    width, height = size_of(page)
    x, y = (points(exports / "8", 2) * 0.9 * min(width, height) / [width, height]).T
    return np.asarray((x > left) & (x < right) & (y > bottom) & (y < top))


def _draw(page: Any, left: float, right: float, bottom: float, top: float) -> None:
    x, y, width, height = _frame(page)
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    places = [(x + (u + 1) / 2 * width, y + (1 - v) / 2 * height) for u, v in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def _selected(page: Any, count: int) -> list[dict[str, str]]:
    until(
        page, f"document.querySelector('#analysis h2')?.textContent === '{count} of {CELLS} cells'"
    )
    ready(page)
    return table(page, "#analysis button:text-is('CSV of the cells')")


def test_lasso_adds_takes_away_and_comes_back(
    look: Looker, exports: Path, atlas: ad.AnnData
) -> None:
    page = look(8, dim=2, gene="LYZ")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.click("#tools button:text-is('Select')")
    page.wait_for_selector("#analysis:not([hidden])")
    one, two, three = (-0.5, 0.1, -0.4, 0.5), (0.2, 0.6, -0.6, 0.1), (-0.2, 0.4, -0.3, 0.0)
    expected = _inside(page, exports, *one)
    _draw(page, *one)
    _selected(page, expected.sum())
    page.keyboard.down("Shift")
    _draw(page, *two)
    page.keyboard.up("Shift")
    expected |= _inside(page, exports, *two)
    _selected(page, expected.sum())
    page.keyboard.down("Alt")
    _draw(page, *three)
    page.keyboard.up("Alt")
    expected &= ~_inside(page, exports, *three)
    rows = _selected(page, expected.sum())
    assert [int(row["cell"]) for row in rows] == list(np.flatnonzero(expected))
    assert [row["name"] for row in rows] == list(atlas.obs_names[expected])
    assert any("cells.json.gz" in url for url in fetched)

    inside, outside = table(page)
    values = decoded(exports / "8", "LYZ")
    for row, some in (inside, values[expected]), (outside, values[~expected]):
        assert int(row["values"]) == len(some)
        got = [float(row[name]) for name in ("mean", "median", "share > 0")]
        np.testing.assert_allclose(
            got, [some.mean(), np.median(some), (some > 0).mean()], atol=1e-12
        )
    counts = atlas.obs.cell_type[expected].value_counts()
    for row in list(
        csv.DictReader(saved(page, "#analysis button[aria-label='Categories as CSV']").splitlines())
    ):
        if row["cell_type"] != "(none)":
            assert int(row["cells"]) == counts[row["cell_type"]]

    # The link selects the same, also where another embedding is looked at.
    state = page.url.partition("#")[2]
    for other in state, state.replace("dim=2", "dim=3"):
        again = look(8, other)
        assert [row["cell"] for row in _selected(again, expected.sum())] == [
            row["cell"] for row in rows
        ]
    again.keyboard.press("Escape")
    until(again, "!location.hash.includes('lasso')")


def test_selecting_by_keyboard(look: Looker, exports: Path) -> None:
    page = look(8, dim=2)
    page.focus("#tools button:text-is('Select')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#analysis:not([hidden])")
    for key in ["ArrowRight"] * 2 + ["ArrowUp"] + ["Shift+ArrowRight"] * 3:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    _selected(page, _inside(page, exports, 0.1 - 0.4, 0.1 + 0.4, 0.05 - 0.25, 0.05 + 0.25).sum())
    for _ in range(2):
        page.keyboard.press("Escape")
    page.wait_for_selector("#tools button:text-is('Select')[aria-pressed=false]")


def test_panels_move_together_and_stay_in_the_address(look: Looker) -> None:
    page = look(8, dim=2, gene="LYZ", **{"with": "obs/donor\tCD3D"})
    assert page.locator(".head").all_inner_texts()[1].startswith("donor")
    shots = page.evaluate(
        """() => {
            const cells = document.getElementById("cells"), gl = cells.getContext("webgl2");
            const { width, height } = cells, pixels = new Uint8Array(4 * width * height);
            gl.bindFramebuffer(gl.FRAMEBUFFER, null);
            gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
            const parts = [[0, 1], [1, 1], [0, 0]].map(([column, row]) => {
                const found = new Set();
                const from = [Math.ceil(column * width / 2), Math.ceil(row * height / 2)];
                for (let y = from[1]; y < from[1] + height / 2 - 1; y++)
                    for (let x = from[0], at; x < from[0] + width / 2 - 1; x++)
                        at = 4 * (y * width + x), found.add(pixels.slice(at, at + 3).join());
                return [...found];
            });
            return parts;
        }"""
    )
    assert {"0,114,178", "230,159,0"} <= set(shots[1])  # the two donors
    assert "0,114,178" not in shots[0] + shots[2]
    page.click(".head button[aria-label='Close the panel of donor']")
    until(page, "document.querySelectorAll('.head').length === 2")
    assert "with=CD3D" in page.url
    page.click("#tools button:text-is('+ Panel')")
    until(page, "document.querySelectorAll('.head').length === 3")
    assert "gene%2FLYZ" in page.url
