"""The documentation site: builds without a warning and without any other host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\bsrc=["'](?:https?:)?//"""
    r"""|<link(?=[^>]*rel=["'](?:stylesheet|icon|preload|preconnect))[^>]*href=["'](?:https?:)?//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages; strict, so a dead link or a page that nobody can find is a failure."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_documentation_is_in_the_site(site):
    def names(folder, suffix):
        found = folder.rglob(f"*{suffix}")
        return {str(path.relative_to(folder).with_suffix("")) for path in found}

    assert names(ROOT / "docs", ".md") - names(site, ".html") == set()


def test_no_page_loads_anything_from_another_host(site):
    outside = [p.name for p in site.rglob("*.html") if LOADED.search(p.read_text("utf-8"))]
    assert outside == []
