"""What the page draws and says of cells, against what anndata holds."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import cellucid_dask
from tests.helpers import expression
from tests.page.looking import (
    CELLS,
    KINDS,
    QUANTIZATIONS,
    Codes,
    Looker,
    Site,
    alone,
    at,
    background,
    decoded,
    drawn,
    go,
    pixels,
    places,
    size_of,
    some,
    until,
)
from tests.read.exports import add_graph

pytestmark = pytest.mark.xdist_group("page")

MISSING = [0xA5, 0xA7, 0xAE]


def legend(page: Any) -> dict[str, tuple[list[int], int]]:
    """Return the color and the count of each category, as the legend has them."""
    rows = page.eval_on_selector_all(
        "#legend li",
        """rows => rows.map(row => [
            row.querySelector("span").textContent,
            getComputedStyle(row.querySelector("i")).getPropertyValue("--color"),
            row.querySelector("small").textContent,
        ])""",
    )
    return {
        name: ([int(part) for part in re.findall(r"\d+", color)], int(count.replace(",", "")))
        for name, color, count in rows
    }


def names_of(column: pd.Series) -> Codes:
    """Return the categories of a column as the page calls them."""
    return np.array(["(none)" if pd.isna(value) else str(value) for value in column], object)


def seen(page: Any, where: Codes) -> Codes:
    """Return which cells the picture shows."""
    return np.asarray((at(pixels(page), where) != background(page)).any(-1))


def check_categories(page: Any, export: Path, column: pd.Series, apart: float = 9) -> None:
    """Compare the legend with a column, and every cell that lies alone with the legend."""
    rows = legend(page)
    names = names_of(column)
    counts = dict(zip(*np.unique(names, return_counts=True), strict=True))
    assert {name: count for name, (_, count) in rows.items() if count} == counts
    where = places(page, export)
    cells = alone(where, apart)
    assert len(cells) > 100
    colors = at(pixels(page), where[cells])
    expected = [rows[name][0] for name in names[cells]]
    np.testing.assert_array_equal(colors, expected)


def check_values(page: Any, export: Path, values: Codes, low: float, high: float) -> None:
    """Compare the color of every cell that lies alone with the page's map at its value."""
    ramp = page.evaluate(
        """async () => {
            const folder = document.querySelector("script[type=module]").src;
            const { ramp } = await import(folder.replace("main.js", "colors.js"));
            return [...ramp(new URLSearchParams(location.hash.slice(1)).get("map") ?? "")];
        }"""
    )
    ramp = np.array(ramp).reshape(256, 4)[:, :3]
    where = places(page, export)
    cells = alone(where)
    colors = at(pixels(page), where[cells]).astype(int)
    steps = np.clip((values[cells] - low) / (high - low), 0, 1) * 255
    with np.errstate(invalid="ignore"):
        either = [
            np.nan_to_num(steps + half).round().clip(0, 255).astype(int) for half in (-0.01, 0.01)
        ]
    known = np.isfinite(values[cells])
    right = np.stack([(colors == ramp[step]).all(-1) for step in either]).any(0)
    assert right[known].all()
    np.testing.assert_array_equal(colors[~known], np.broadcast_to(MISSING, (sum(~known), 3)))
    assert len(np.unique(steps[known])) > 20


def test_categories_have_the_colors_of_the_legend(
    look: Looker, exports: Path, atlas: ad.AnnData
) -> None:
    page = look(8, dim=2, obs="cell_type", labels=0)
    rows = legend(page)
    assert list(rows) == [*KINDS, "(none)"]
    assert len({tuple(color) for color, _ in rows.values()}) == 5
    check_categories(page, exports / "8", atlas.obs.cell_type)
    go(page, dim=2, obs="donor", labels=0)
    check_categories(page, exports / "8", atlas.obs.donor)


@pytest.mark.parametrize("bits", QUANTIZATIONS)
def test_values_have_the_colors_of_the_map(
    look: Looker, exports: Path, atlas: ad.AnnData, bits: int | None
) -> None:
    export = exports / str(bits)
    page = look(bits, dim=2, gene="LYZ", clip="0.5,4", map="viridis", labels=0)
    values = decoded(export, "LYZ")
    source = atlas.X[:, 1].astype(np.float64)
    step = 0 if bits is None else (source.max() - source.min()) / (2**bits - 2)
    np.testing.assert_allclose(values, source, atol=step / 2 * (1 + 1e-6))
    check_values(page, export, values, 0.5, 4)
    assert page.locator("#bar .ends span").all_inner_texts() == ["0.5", "4"]

    go(page, dim=2, obs="score", clip="-1,1", labels=0)  # some are missing
    score = atlas.obs.score.to_numpy(np.float32).astype(np.float64)
    check_values(page, export, round_to(score, bits), -1, 1)
    assert "43 cells without a value" in page.inner_text("#bar")


def round_to(values: Codes, bits: int | None) -> Codes:
    """Return values as an export of so many bits gives them back."""
    if bits is None:
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    top = 2**bits - 2
    return np.asarray(low + np.round((values - low) / (high - low) * top) * (high - low) / top)


def test_the_map_is_the_one_that_it_is_named_after(look: Looker) -> None:
    page = look(8, dim=2)
    for name in "viridis", "cividis", "magma":
        ramp = page.evaluate(
            """async name => {
                const folder = document.querySelector("script[type=module]").src;
                return [...(await import(folder.replace("main.js", "colors.js"))).ramp(name)];
            }""",
            name,
        )
        real = mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255
        assert np.abs(np.array(ramp).reshape(256, 4)[:, :3] - real).max() < 16


def test_colors_are_clipped_where_most_values_are(look: Looker, exports: Path) -> None:
    """The 1st to the 99th percentile of what is not zero, unless the address says otherwise."""
    page = look(16, dim=2, gene="MS4A1")
    values = decoded(exports / "16", "MS4A1")
    low, high = (float(text) for text in page.locator("#bar .ends span").all_inner_texts())
    some = np.sort(values[np.abs(values) > 1e-4])
    near = [np.quantile(some, share) for share in (0.0, 0.03, 0.97, 1.0)]
    assert near[0] - 0.1 <= low <= near[1]
    assert near[2] <= high <= near[3] + 0.01


@pytest.mark.parametrize("bits", QUANTIZATIONS)
def test_histogram_is_of_the_cells_that_are_shown(
    look: Looker, exports: Path, atlas: ad.AnnData, bits: int | None
) -> None:
    page = look(bits, dim=2)
    summaries = page.evaluate(
        """async () => {
            const at = document.querySelector("script[type=module]").src;
            const [{ Stats }, { Export }] = await Promise.all(
                ["stats.js", "export.js"].map((name) => import(at.replace("main.js", name))));
            const data = await Export.open(new URL(".", location.href).href, 2);
            const stats = new Stats();
            const column = await data.column("gene", "LYZ");
            const group = await data.column("obs", "cell_type");
            const ask = (hidden) => stats.ask("summary", { column, group, hidden });
            return [await ask([]), await ask([0, group.missing])]
                .map(({ bins, ...rest }) => ({ bins: [...bins], ...rest }));
        }"""
    )
    values = decoded(exports / str(bits), "LYZ")
    kinds = names_of(atlas.obs.cell_type)
    for summary, shown in zip(
        summaries, (kinds != "", ~np.isin(kinds, ["T", "(none)"])), strict=True
    ):
        assert (summary["min"], summary["max"]) == (values.min(), values.max())
        steps = 255 if bits == 8 else 65535
        codes = np.round((values[shown] - values.min()) / np.ptp(values) * (steps - 1))
        bins = np.bincount((codes * 256 // steps).astype(int), minlength=256)
        np.testing.assert_array_equal(summary["bins"], bins)
        assert summary["missing"] == 0


def test_handles_clip_the_colors(look: Looker, exports: Path) -> None:
    page = look(16, dim=2, gene="NKG7", labels=0)
    values = decoded(exports / "16", "NKG7")
    for name, key, count in [("Lowest", "ArrowRight", 3), ("Highest", "ArrowLeft", 5)]:
        page.focus(f"#bar input[aria-label^={name}]")
        for _ in range(count):
            page.keyboard.press(key)
    until(page, "location.hash.includes('clip=')")
    low, high = map(
        float, page.evaluate("new URLSearchParams(location.hash.slice(1)).get('clip')").split(",")
    )
    assert values.min() < low < high < values.max()
    check_values(page, exports / "16", values, low, high)
    # Neither handle passes the other.
    page.focus("#bar input[aria-label^=Lowest]")
    page.keyboard.press("End")
    until(page, "document.querySelector('#bar input').value > 0")
    low, high = map(
        float, page.evaluate("new URLSearchParams(location.hash.slice(1)).get('clip')").split(",")
    )
    assert low < high
    page.click("#bar button:text-is('Reset')")
    until(page, "!location.hash.includes('clip=')")


def test_hidden_categories_are_out_of_picture_and_numbers(
    look: Looker, exports: Path, atlas: ad.AnnData
) -> None:
    page = look(8, dim=2, obs="cell_type", labels=0)
    where = places(page, exports / "8")
    cells = alone(where)
    kinds = names_of(atlas.obs.cell_type)[cells]

    def check(hidden: set[Any]) -> None:
        shown = seen(page, where[cells])
        np.testing.assert_array_equal(shown, [kind not in hidden for kind in kinds])

    check(set())
    page.click("#legend li:nth-child(1) [role=checkbox]")
    until(page, "location.hash.includes('hide=0')")
    check({"T"})
    go(page, dim=2, gene="LYZ", group="cell_type", hide="0,4", labels=0)
    check({"T", "(none)"})
    go(page, dim=2, obs="cell_type", labels=0)
    page.hover("#legend li:nth-child(2)")
    page.click("#legend li:nth-child(2) .only")
    until(page, "location.hash.includes('hide=')")
    page.mouse.move(400, 630)
    check({"T", "NK", "mono", "(none)"})
    page.dblclick("#legend li:nth-child(3) [role=checkbox]")
    until(page, "location.hash.includes('hide=0-1%2C3-4')")
    check({"T", KINDS[1], "mono", "(none)"})
    page.click("#legend button:text-is('Show all')")
    until(page, "!location.hash.includes('hide=')")
    check(set())


def test_hover_lights_up_and_tells_of_a_cell(
    look: Looker, exports: Path, atlas: ad.AnnData
) -> None:
    page = look(8, dim=2, obs="cell_type", labels=0)
    where = places(page, exports / "8")
    cells = alone(where, 16)
    page.hover("#legend li:nth-child(1)")
    kinds = names_of(atlas.obs.cell_type)
    lit = legend(page)["T"][0]

    def only_lit() -> bool:
        are_lit = (at(pixels(page), where[cells]) == lit).all(-1)
        return np.array_equal(are_lit, kinds[cells] == "T")

    until(page, only_lit)

    go(page, dim=2, gene="LYZ", group="cell_type", labels=0)
    left = page.locator("#cells").bounding_box()["x"]
    for cell in cells[:6]:
        said = hovered(page, where[cell] + [left, 0], cell)
        assert said["cell_type"] == kinds[cell]
        assert abs(float(said["LYZ"]) - atlas.X[cell, 1]) <= exactness(atlas.X[:, 1], said["LYZ"])


def hovered(page: Any, place: Codes, cell: int) -> dict[str, str]:
    """Return what the page tells of the cell under the pointer."""
    page.mouse.move(*place)
    until(page, f"document.querySelector('#tip div')?.textContent === 'cell {cell}'")
    lines = page.eval_on_selector_all(
        "#tip > div",
        "lines => lines.map(line => [line.firstChild.textContent.trim(), line.lastChild.data])",
    )
    return dict(lines)


def exactness(values: Codes, text: str) -> float:
    """Half a step of 8 bits, and half of the last digit that is shown."""
    digits = len(text.partition(".")[2])
    return float(np.ptp(values.astype(np.float64))) / 254 / 2 * (1 + 1e-6) + 0.5 * 10**-digits


def test_real_cells(look: Looker, pbmc: tuple[Path, ad.AnnData]) -> None:
    export, source = pbmc
    page = look("pbmc", dim=2, obs="bulk_labels", labels=0, size=0.4)
    check_categories(page, export, source.obs.bulk_labels, apart=4)

    matrix, names = expression(source, "raw")
    values = matrix[:, names.index("LYZ")]
    go(page, dim=2, gene="LYZ", labels=0)
    where = places(page, export)
    left = page.locator("#cells").bounding_box()["x"]
    cells = alone(where, 16)
    some = cells[np.argsort(values[cells])[:: max(1, len(cells) // 8)]]
    for cell in some:
        said = hovered(page, where[cell] + [left, 0], cell)
        assert abs(float(said["LYZ"]) - values[cell]) <= exactness(values, said["LYZ"])
        assert said["bulk_labels"] == source.obs.bulk_labels.iloc[cell]
    step = np.ptp(values.astype(np.float64)) / 254
    np.testing.assert_allclose(decoded(export, "LYZ"), values, atol=step / 2 * (1 + 1e-6))
    assert page.inner_text("#count") == "700 cells · 765 genes"

    before = pixels(page)
    go(page, dim=2, gene="LYZ", labels=0, graph=1)
    assert (pixels(page) != before).any()


def test_names_and_arrows_are_drawn_over_the_cells(
    look: Looker, site: Site, atlas: ad.AnnData
) -> None:
    cellucid_dask.export(atlas, site.root / "arrows", embeddings=["X_umap"], progress=False)
    add_graph(site.root / "arrows", [(0, 1), (5, 200)], CELLS)
    page = look("arrows", labels=0)
    assert not pixels(page, "labels").any()
    go(page, labels=1)
    until(page, "true")
    assert pixels(page, "labels").any()
    page.select_option("#tools select[aria-label='Vector field']", "velocity_umap")
    go(page, labels=0, field="velocity_umap")
    assert pixels(page, "labels").any()


def test_one_two_and_three_dimensions(look: Looker) -> None:
    page = look(8)
    pictures = []
    for dim in 3, 2, 1:
        page.click(f"#tools button:text-is('{dim}D')")
        until(
            page, f"document.querySelector('#tools button:nth-child({dim})').ariaPressed === 'true'"
        )
        assert drawn(page) > CELLS * 5
        pictures.append(pixels(page))
    assert not any((one == other).all() for one, other in itertools.pairwise(pictures))


def test_the_picture_follows_the_system_theme(look: Looker) -> None:
    page = look(8, dim=2, context={"color_scheme": "dark"})
    assert tuple(pixels(page)[-1, -1]) == (0x17, 0x18, 0x1C)
    page.emulate_media(color_scheme="light")
    until(page, lambda: tuple(pixels(page)[-1, -1]) == (255, 255, 255))
    assert size_of(page)[0] > 0


def test_cells_with_a_gene_are_found_among_many(look: Looker, site: Site) -> None:
    """Many cells at one place, and some apart: of these all are drawn, and as they should be."""
    count, apart = 120_000, 240
    cells = some(count, ["few", "other", "half"], score=np.zeros(count))
    values = np.zeros((count, 3), np.float32)
    random = np.random.default_rng(3)
    where = np.zeros((count, 2))
    shown = random.choice(count, apart, replace=False)
    where[shown] = np.stack(
        np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 12)), -1
    ).reshape(-1, 2)
    values[shown] = random.choice([0, 1, 2, 5], (apart, 3))
    values[:, 2] = random.choice([0, 1, 3], count)
    cells.X, cells.obsm["X_umap"] = values, where
    target = site.root / "crowd"
    for bits in (8, None):
        cellucid_dask.export(
            cells, target, var_quantization=bits, compression=0, progress=False, force=True
        )
        page = look("crowd", dim=2, gene="few", labels=0, context={})
        for gene in ["few", "other", "half", "few"]:
            go(page, gene=gene, dim=2, labels=0)
            low, high = (float(x) for x in page.locator("#bar .ends span").all_inner_texts())
            spots = places(page, target)[shown]
            ramp = ramp_of(page, "ember")
            expected = np.clip((decoded(target, gene)[shown] - low) / (high - low), 0, 1) * 255
            near = np.abs(at(pixels(page), spots).astype(int) - ramp[expected.round().astype(int)])
            assert (near.max(-1) < 24).all(), (bits, gene)
            assert len(np.unique(expected)) > 2


def ramp_of(page: Any, name: str) -> Codes:
    """Return the 256 colors of one of the page's maps."""
    colors = page.evaluate(
        """async name => {
            const folder = document.querySelector("script[type=module]").src;
            return [...(await import(folder.replace("main.js", "colors.js"))).ramp(name)];
        }""",
        name,
    )
    return np.array(colors).reshape(256, 4)[:, :3]


def test_a_map_with_a_middle_shows_both_ends_before_it(look: Looker, site: Site) -> None:
    """Of cells at one place the one farthest from the middle is seen, high or low."""
    cells = some(400, ["g"])
    values = np.tile([0.0, -1, 0, 1], 100).astype(np.float32)  # pairs at one place
    cells.X = values[:, None]
    cells.obsm["X_umap"] = np.repeat(cells.obsm["X_umap"][::2], 2, axis=0)
    target = site.root / "pairs"
    cellucid_dask.export(cells, target, progress=False, force=True)
    page = look("pairs", gene="g", map="balance", clip="-1,1", labels=0)
    spots = places(page, target)
    ramp = ramp_of(page, "balance")
    alone_there = alone(spots[::2])
    ends = np.where(values[1::2] < 0, 0, 255)[alone_there]
    assert set(ends) == {0, 255}
    np.testing.assert_array_equal(at(pixels(page), spots[::2][alone_there]), ramp[ends])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_selected_cells_stand_out_without_the_gene(look: Looker, scheme: str) -> None:
    page = look(8, context={"color_scheme": scheme})
    faded, low, behind = page.evaluate(
        """async () => {
            const folder = document.querySelector("script[type=module]").src;
            const { ramp, theme } = await import(folder.replace("main.js", "colors.js"));
            const { faded, background } = theme();
            return [faded, [...ramp("ember").subarray(0, 3)], background];
        }"""
    )
    assert np.abs(np.subtract(faded, low)).min() >= 20
    assert np.abs(np.subtract(faded, behind)).min() >= 10  # and what is not selected can be seen


def test_on_a_phone_nothing_lies_over_the_cells(look: Looker) -> None:
    page = look(8, dim=2, context={"viewport": {"width": 390, "height": 800}, "has_touch": True})
    tools, cells, side = (
        page.locator(name).bounding_box() for name in ("#tools", "#cells", "#side")
    )
    assert tools["y"] + tools["height"] <= cells["y"]
    assert cells["y"] + cells["height"] <= side["y"]
    assert cells["width"] == 390
    assert cells["height"] > 300
    page.tap("#tools button:text-is('About')")
    page.wait_for_selector("dialog[open]")
