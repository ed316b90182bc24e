"""Hooks of the documentation site: links out of `docs/`, and the one script from elsewhere.

On the code host a link such as `../main.py` opens the file; in the site, which is built to be
read without a network, it becomes the name of the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

SHIM = "https://unpkg.com/iframe-worker/shim"
"""What the search of the theme wants where pages are read from the disk; ours lies beside them."""
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#|mailto:)([^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Links that leave the documentation become text."""
    docs = Path(config["docs_dir"]).resolve()
    here = Path(page.file.abs_src_path).resolve().parent

    def told(found: re.Match[str]) -> str:
        target = (here / found[2]).resolve()
        inside = target.is_relative_to(docs) and target.is_file()
        return found[0] if inside else found[1]

    return _LINK.sub(told, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """No page loads anything from another host."""
    up = "../" * page.url.count("/")
    return output.replace(SHIM, f"{up}assets/iframe-worker.js")


def on_post_template(output: str, **_: Any) -> str:
    """Neither does the page for what is not found."""
    return output.replace(SHIM, "assets/iframe-worker.js")
