"""Whether everybody can use a screen: controls have names, texts have contrast, and there is one heading."""

from __future__ import annotations

from typing import Literal

from playwright.sync_api import Page, expect

_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

_NAMELESS = """() => {
    const named = (node) => node.innerText?.trim() || node.getAttribute("aria-label") || node.title
        || node.labels?.length || document.getElementById(node.getAttribute("aria-labelledby"));
    const controls = "a, button, input, select, textarea, [role=progressbar], [tabindex]:not(main)";
    return [...document.querySelectorAll(controls)].filter((node) => node.checkVisibility() && !named(node))
        .map((node) => node.outerHTML.slice(0, 200));
}"""
_CONTRAST = """() => {
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const luminance = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * linear(colour[i] / 255), 0);
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const known = new Map();
    const rgba = (colour) => known.get(colour) ?? known.set(colour, drawn(colour)).get(colour);
    const drawn = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    const ground = (node) => {
        if (!node) return [255, 255, 255];
        const own = rgba(getComputedStyle(node).backgroundColor);
        return own[3] === 1 ? own : over(own, ground(node.parentElement));
    };
    const faded = (node) => node && (Number(getComputedStyle(node).opacity) < 1 || faded(node.parentElement));
    const apart = "[aria-hidden=true], .off-screen, .skip, noscript, option, :disabled";
    const found = new Set();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walk.nextNode(); text; text = walk.nextNode()) {
        const node = text.parentElement;
        if (!text.data.trim() || !node.checkVisibility() || faded(node) || node.closest(apart)) continue;
        const below = ground(node);
        const both = [luminance(over(rgba(getComputedStyle(node).color), below)), luminance(below)].sort();
        const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        if (ratio < 4.5) found.add(`${ratio.toFixed(2)} ${node.className} ${text.data.trim().slice(0, 40)}`);
    }
    return [...found];
}"""
"""Text whose contrast to what is below it is too low; what is faded as a whole, or cannot be used, is left out."""


def settled(page: Page) -> None:
    """Wait until a screen has its data."""
    expect(page.locator("main h1")).to_have_count(1)
    expect(page.locator(".loading")).to_have_count(0)
    page.wait_for_timeout(100)


def illegible(page: Page) -> list[str]:
    """Controls without a name, and texts too faint, in light or in dark, of a screen that has its data."""
    settled(page)
    found: list[str] = page.evaluate(_NAMELESS)
    for theme in _THEMES:
        page.emulate_media(color_scheme=theme)
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        found += [f"{theme}: {text}" for text in page.evaluate(_CONTRAST)]
    return found
