"""Every control by keyboard, named, and to be read in light and in dark."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.page.looking import Looker, go, pixels, until

pytestmark = pytest.mark.xdist_group("page")

# Everything that a mouse can operate and that is to be seen now.
CONTROLS = """[...document.querySelectorAll("button, input, select, summary, a[href], #cells")]
        .filter((one) => !one.disabled && one.checkVisibility({ visibilityProperty: true })
            && !one.closest("#cover[hidden]"))
"""
SHORT = """
    const short = ({ tagName, id, ariaLabel, title, textContent }) =>
        `${tagName} ${id} ${ariaLabel ?? title} ${textContent.slice(0, 40)}`;
"""


def tabbed(page: Any) -> list[dict[str, Any]]:
    """Return what Tab leads to, in order, and how each shows that it has the focus."""
    page.evaluate("document.activeElement.blur()")
    found: list[dict[str, Any]] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        one = page.evaluate(
            f"""() => {{ {SHORT}
                const one = document.activeElement, style = getComputedStyle(one);
                if (one === document.body) return null;
                const at = {CONTROLS}.indexOf(one);
                return {{ at, name: short(one), width: parseFloat(style.outlineWidth),
                    style: style.outlineStyle, color: style.outlineColor }};
            }}"""
        )
        if one is None or (found and one["at"] == found[0]["at"]):
            break
        found.append(one)
    return found


def check_focus(page: Any) -> None:
    all_of_them = page.evaluate(f"() => {{ {SHORT} return {CONTROLS}.map(short); }}")
    found = tabbed(page)
    missed = [name for i, name in enumerate(all_of_them) if i not in {one["at"] for one in found}]
    assert not missed
    assert len(found) > 10
    for one in found:
        assert one["width"] >= 2, one
        assert one["style"] not in {"none", "hidden"}, one


def unnamed(page: Any) -> list[str]:
    """Return the controls without a name, as the browser tells assistive technology."""
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    roles = {
        "button", "checkbox", "combobox", "slider", "textbox", "searchbox", "listbox", "option",
        "dialog", "link", "toolbar", "application", "complementary", "main", "image",
    }  # fmt: skip
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in roles
        and not node.get("name", {}).get("value", "").strip()
    ]


FULL = {"gene": "LYZ", "group": "cell_type", "dim": 2}


@pytest.mark.parametrize("panel", ["", "spread", "dots", "select"])
def test_tab_leads_to_every_control(look: Looker, panel: str) -> None:
    page = look(
        8, **FULL, panel=panel, genes="CD3D\tLYZ", hide=1, lasso="1_2_0_0_0_0_-1_-1_1_-1_1_1_-1_1"
    )
    check_focus(page)
    assert not unnamed(page)


def test_panels_and_lists_and_dialogs_are_named(look: Looker) -> None:
    page = look(8, **FULL, **{"with": "obs/donor\tCD3D"})
    check_focus(page)
    page.fill("#query", "l")
    assert not unnamed(page)
    page.keyboard.press("Escape")
    page.click("#tools button:text-is('About')")
    page.wait_for_selector("dialog[open]")
    assert not unnamed(page)


def focus(page: Any, selector: str) -> None:
    """Move the focus to a control by Tab alone."""
    page.evaluate("document.activeElement.blur()")
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({selector!r})"):
            return
    raise AssertionError(selector)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_all_can_be_done_by_keyboard(look: Looker) -> None:  # noqa: PLR0915  one long session
    page = look(8, dim=2, obs="cell_type")

    focus(page, "#query")
    page.keyboard.type("c")
    press(page, "ArrowDown", "ArrowUp", "ArrowUp", "ArrowDown")
    assert page.get_attribute("#query", "aria-activedescendant") == "option0"
    assert page.get_attribute("#query", "aria-expanded") == "true"
    press(page, "Escape")
    assert page.is_hidden("#found")
    page.keyboard.type("d3")
    press(page, "Enter")
    until(page, "location.hash.includes('gene=CD3D')")

    focus(page, "#bar select")
    press(page, "v")
    until(page, "location.hash.includes('map=viridis')")
    focus(page, "#bar input[aria-label^=Lowest]")
    press(page, "ArrowRight", "ArrowRight")
    until(page, "location.hash.includes('clip=')")
    focus(page, "#bar .ends button")
    press(page, "Enter")
    until(page, "!location.hash.includes('clip=')")

    focus(page, "#legend li:nth-child(2) [role=checkbox]")
    press(page, "Space")
    until(page, "location.hash.includes('hide=1')")
    assert page.get_attribute("#legend li:nth-child(2) [role=checkbox]", "aria-checked") == "false"
    focus(page, "#legend li:nth-child(3) .only")
    press(page, "Enter")
    until(page, "location.hash.includes('hide=0-1%2C3-4')")
    focus(page, "#legend header button")
    press(page, "Enter")
    until(page, "!location.hash.includes('hide=')")
    focus(page, "#bar header button")
    press(page, "Enter")
    until(page, "!location.hash.includes('gene=')")
    focus(page, "#recent button")
    press(page, "Enter")
    until(page, "location.hash.includes('gene=CD3D')")
    focus(page, "#legend select")
    press(page, "d")
    until(page, "location.hash.includes('group=donor')")

    focus(page, "#cells")
    for keys in ["ArrowLeft", "ArrowUp"], ["+", "+"], ["-"]:
        before = page.evaluate("location.hash")
        press(page, *keys)
        until(page, f"location.hash !== {before!r} && location.hash.includes('cam=')")
    press(page, "0")
    until(page, "!location.hash.includes('cam=')")
    for name, change in {
        "Zoom in": "location.hash.includes('cam=0%2C0%2C1.5')",
        "Show all cells": "!location.hash.includes('cam=')",
        "Names of the categories": "location.hash.includes('labels=0')",
        "Embedding in 3D": "location.hash.includes('dim=3')",
    }.items():
        focus(page, f"#tools button[title='{name}']")
        press(page, "Space")
        until(page, change)
    focus(page, "#cells")
    press(page, "Shift+ArrowLeft")
    until(page, "location.hash.includes('cam=')")
    focus(page, "#tools input")
    press(page, "ArrowRight")
    until(page, "location.hash.includes('size=1.19')")

    focus(page, "#tools button[aria-label^='About']")
    press(page, "Enter")
    page.wait_for_selector("dialog[open]")
    press(page, "Escape")
    assert page.is_hidden("dialog")
    assert page.evaluate("document.activeElement.textContent") == "About"

    focus(page, "#tools select[aria-label^='Save']")
    with page.expect_download() as download:
        press(page, "ArrowDown")
    assert download.value.suggested_filename.endswith("-CD3D.png")

    focus(page, "#tools button[aria-label^='Compare']")
    press(page, "Enter")
    until(page, "location.hash.includes('panel=spread')")
    focus(page, "#analysis button[aria-label='Dot plot']")
    press(page, "Enter")
    until(page, "location.hash.includes('panel=dots')")
    focus(page, "#analysis input[aria-label='Genes to add']")
    page.keyboard.type("lyz")
    press(page, "Enter")
    until(page, "location.hash.includes('genes=LYZ')")
    focus(page, "#analysis button[aria-label='Close the analysis']")
    press(page, "Enter")
    until(page, "!location.hash.includes('panel=')")


def test_the_focus_stays_where_it_is_when_the_view_changes(look: Looker) -> None:
    page = look(8, **FULL)
    focus(page, "#legend li:nth-child(2) [role=checkbox]")
    press(page, "Space", "Space")
    until(page, "!location.hash.includes('hide=')")
    press(page, "Space")
    until(page, "location.hash.includes('hide=1')")
    assert page.evaluate("document.activeElement.title") == page.get_attribute(
        "#legend li:nth-child(2) [role=checkbox]", "title"
    )


# Text that is to be seen, its color, and all colors behind it from the front to the back.
TEXTS = """
() => {
    const found = [], style = (one, part) => getComputedStyle(one, part);
    const note = (element, text, color) => {
        const behind = [];
        for (let one = element; one; one = one.parentElement)
            behind.push(style(one).backgroundColor);
        found.push({ text: text.trim().slice(0, 40), color, behind });
    };
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const { data, parentElement: one } = walk.currentNode;
        const visible = one.checkVisibility({ opacityProperty: true }) && !one.disabled;
        if (data.trim() && visible && !one.closest("noscript, svg"))
            note(one, data, style(one).color);
    }
    for (const one of document.querySelectorAll("input[placeholder]"))
        if (one.checkVisibility()) note(one, one.placeholder, style(one, "::placeholder").color);
    for (const one of document.querySelectorAll("#analysis svg text"))
        note(one, one.textContent, style(one).fill);
    return found;
}
"""


def parse(color: str) -> tuple[float, ...]:
    if color.startswith("color(srgb"):
        parts = [float(each) for each in re.findall(r"[\d.]+", color)]
        return (*(255 * part for part in parts[:3]), parts[3] if len(parts) > 3 else 1.0)
    parts = [float(each) for each in re.findall(r"[\d.]+", color)]
    return (parts[0], parts[1], parts[2], parts[3] if len(parts) > 3 else 1.0)


def luminance(color: tuple[float, ...]) -> float:
    parts = [part / 255 for part in color[:3]]
    r, g, b = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def over(front: tuple[float, ...], back: tuple[float, ...]) -> tuple[float, ...]:
    mixed = [f * front[3] + b * (1 - front[3]) for f, b in zip(front[:3], back[:3], strict=True)]
    return (*mixed, 1.0)


def contrast(text: dict[str, Any]) -> float:
    """Return the ratio of WCAG."""
    back: tuple[float, ...] = (255.0, 255.0, 255.0, 1.0)
    for layer in reversed(text["behind"]):
        back = over(parse(layer), back)
    one, other = luminance(over(parse(text["color"]), back)), luminance(back)
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(look: Looker, scheme: str) -> None:
    page = look(8, **FULL, hide=1, panel="spread", context={"color_scheme": scheme})

    def check() -> None:
        texts = page.evaluate(TEXTS)
        assert len(texts) > 20
        weak = [(text["text"], round(contrast(text), 2)) for text in texts if contrast(text) < 4.5]
        assert not weak

    check()
    go(page, **FULL, panel="dots", genes="LYZ\tCD3D", **{"with": "donor"})
    page.fill("#query", "l")
    check()
    page.keyboard.press("Escape")
    go(page, gene="nope", panel="select", lasso="1_2_0_0_0_0_-1_-1_1_-1_1_1_-1_1")
    assert page.inner_text("#notice")
    check()
    page.click("#tools button:text-is('About')")
    check()
    assert pixels(page).shape[0] > 100


def test_focus_is_seen_against_what_is_around(look: Looker) -> None:
    for scheme in "light", "dark":
        page = look(8, **FULL, context={"color_scheme": scheme})
        accent, panel, ground = page.evaluate(
            """["--accent", "--panel", "--ground"].map((name) => {
                const one = document.createElement("i");
                one.style.color = `var(${name})`;
                document.body.append(one);
                return getComputedStyle(one).color;
            })"""
        )
        for behind in panel, ground:
            assert contrast({"color": accent, "behind": [behind]}) >= 3
