"""The address holds the view, and the page says when it shows what the address means."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from tests.page.looking import Looker, go, pixels, ready, until

pytestmark = pytest.mark.xdist_group("page")


def state(page: Any) -> dict[str, str]:
    return dict(parse_qsl(page.url.partition("#")[2]))


def chosen(page: Any) -> dict[str, Any]:
    """Return what the controls show."""
    return page.evaluate(
        """() => {
            const value = (selector) => document.querySelector(selector)?.value;
            const text = (selector) => document.querySelector(selector)?.textContent;
            const texts = (selector) =>
                [...document.querySelectorAll(selector)].map((one) => one.textContent);
            return {
                gene: text("#bar:not([hidden]) h2"), map: value("#bar select"),
                group: value("#legend select"), by: value("#analysis select"),
                size: value("#tools input"), analysis: text("#analysis:not([hidden]) h2"),
                ends: texts("#bar .ends span"), pressed: texts("[aria-pressed=true]"),
                hidden: texts("#legend [aria-checked=false] span"),
                heads: texts(".head > :first-child"),
            };
        }"""
    )  # fmt: skip


def test_a_link_restores_the_view(look: Looker) -> None:
    page = look(8, dim=2)
    page.fill("#query", "lyz")
    page.press("#query", "Enter")
    until(page, "location.hash.includes('gene=LYZ')")
    page.select_option("#legend select", "donor")
    page.click("#legend li:nth-child(1) [role=checkbox]")
    page.select_option("#bar select", "viridis")
    page.focus("#bar input[aria-label^=Highest]")
    page.keyboard.press("ArrowLeft")
    page.click("#tools button:text-is('+ Panel')")
    page.click("#tools button:text-is('Compare')")
    until(
        page, "document.querySelectorAll('.head').length === 2 && location.hash.includes('panel=')"
    )
    page.select_option("#analysis select", "cell_type")
    page.click("#analysis button:text-is('Boxes')")
    page.click("#tools button:text-is('Names')")
    page.focus("#cells")
    for key in "+", "+", "ArrowLeft", "ArrowUp":
        page.keyboard.press(key)
    until(page, "location.hash.includes('cam=')")
    assert set(state(page)) == {
        "dim", "gene", "group", "hide", "clip", "map", "cam", "labels", "with", "panel", "by",
        "box",
    }  # fmt: skip

    again = look(8, page.url.partition("#")[2])
    assert chosen(again) == chosen(page)
    assert chosen(again)["hidden"] == ["d1"]
    assert state(again) == state(page)
    page.mouse.move(500, 630)
    page.evaluate("document.activeElement.blur()")
    ready(page)
    # the camera is rounded in the address, by parts of a pixel
    assert (pixels(again) != pixels(page)).mean() < 0.001

    page.go_back()  # undoes the choice of the field, not each turn of the camera
    until(page, "document.querySelector('#legend select').value === 'cell_type'")
    page.go_back()
    until(page, "document.querySelector('#bar').hidden")


def test_three_dimensions_are_restored_from_where_they_were_seen(look: Looker) -> None:
    page = look(8, gene="NKG7", labels=0)
    before = pixels(page)
    page.focus("#cells")
    for key in "Shift+ArrowLeft", "Shift+ArrowUp", "+":
        page.keyboard.press(key)
    until(page, "location.hash.includes('cam=')")
    assert (pixels(page) != before).any()
    again = look(8, page.url.partition("#")[2])
    np.testing.assert_array_equal(pixels(again), pixels(page))


def test_another_address_is_another_view(look: Looker) -> None:
    page = look(8, dim=2, gene="LYZ", hide=1)
    first, shown = pixels(page), chosen(page)
    go(page, dim=2, obs="score")
    assert chosen(page)["gene"] == "score"
    assert not chosen(page)["hidden"]
    go(page, dim=2, gene="LYZ", hide=1)
    assert chosen(page) == shown
    np.testing.assert_array_equal(pixels(page), first)


@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        ("gene=nope", "no gene “nope”"),
        ("obs=nope", "no field “nope”"),
        ("group=score", "no field of categories “score”"),
        ("dim=9", "no embedding in “9D”"),
        ("field=<b>", "no vector field “<b>”"),
        ("gene=%3Cimg src=x onerror=alert(1)%3E", "<img src=x onerror=alert(1)>"),
        ("unknown=1&__proto__=2&constructor=3&dim=abc&hide=x,99999-1,7&clip=a,b", ""),
        ("cam=1,NaN,3&size=-4&labels=&graph=yes", ""),
        ("clip=5,1&map=nope&cam=1e9,1e9,1e9&size=1e9&gene=LYZ", "no color map “nope”"),
        ("%E0%A4%A&&&==&gene", ""),
        ("hide=0-65535", ""),
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense(look: Looker, fragment: str, sentence: str) -> None:
    page = look(8, fragment)
    assert sentence in page.inner_text("#notice")
    assert bool(sentence) == page.is_visible("#notice")
    if sentence:  # shown without
        assert chosen(page)["group"] == "cell_type"


def test_the_page_says_when_it_is_ready(look: Looker, browser: Any, site: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        """globalThis.states = [];
        new MutationObserver(() => {
            const { state } = document.documentElement?.dataset ?? {};
            if (state && state !== states.at(-1)) states.push(state);
        }).observe(document, { subtree: true, attributes: true, childList: true });"""
    )
    page.goto(f"{site.url}/8/#gene=LYZ")
    ready(page)
    assert page.evaluate("states") == ["loading", "ready"]
    go(page, gene="CD3D")
    assert page.evaluate("states") == ["loading", "ready", "loading", "ready"]
    context.close()
    assert not look.wrong


def test_what_is_newest_is_shown(look: Looker) -> None:
    """Many changes at once: only the last one counts."""
    page = look(8, dim=2, gene="LYZ")
    page.evaluate(
        """for (const gene of ["CD3D", "NKG7", "MS4A1", "LYZ", "CD3D"])
            location.hash = `dim=2&gene=${gene}`;"""
    )
    until(page, "document.querySelector('#bar h2')?.textContent === 'CD3D'")
    other = look(8, dim=2, gene="CD3D")
    np.testing.assert_array_equal(pixels(page), pixels(other))


def test_panels_more_than_there_is_room_for_are_told_of(look: Looker) -> None:
    page = look(8, dim=2, gene="CD3D", **{"with": "LYZ\tMS4A1\tNKG7\tscore"})
    assert page.locator(".head").count() == 4
    assert "No more than 4 panels are shown" in page.inner_text("#notice")
    assert page.is_disabled("#tools button:text-is('+ Panel')")
    go(page, dim=2, gene="CD3D", **{"with": "LYZ\tMS4A1\tNKG7"})
    assert page.locator(".head").count() == 4
