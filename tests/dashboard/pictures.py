"""Pictures of every page for the docs: `python -m tests.dashboard.pictures URL FOLDER`.

Desktop in dark, the overview on a phone in light. Needs Chromium and a dashboard that runs.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from conftest import _FLAGS
from trader.dashboard.app import PAGES

TALLEST = 1500
_WHERE = {"overview": "", "decisions": "decisions?q=approved"}
_PALETTE = 128


def take(url: str, folder: Path, scheme: str, width: int, names: dict[str, str]) -> None:
    """One picture a page, `names` → file name without ending."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        size: Any = {"width": width, "height": 900 if width > 640 else 844}
        context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        for name, file in names.items():
            page.goto(f"{url}/{_WHERE.get(name, name)}")
            page.wait_for_selector("body[data-ready]", timeout=30_000)
            if name == "backtests":
                for box in page.locator("#list input[type=checkbox]").all()[:3]:
                    box.check()
            if name == "decisions":
                page.locator("#list button.link").nth(0).click()
            if name == "market":
                page.fill("#add", "rsi_14")
            page.wait_for_timeout(1500)
            height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{file}.png")
            page.set_viewport_size(size)
            _shrink(folder / f"{file}.png")
        browser.close()


def _shrink(path: Path) -> None:
    """Few colours are enough for a page, and a repository is no photo album."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(_PALETTE)
    small.save(path, optimize=True)


def main(url: str, folder: Path) -> None:
    """All pictures of the docs."""
    take(url, folder, "dark", 1440, {name: f"dashboard-{name}" for name in PAGES})
    take(url, folder, "light", 390, {"overview": "dashboard-phone"})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
