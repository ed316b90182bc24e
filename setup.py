"""Packaging: `pip install -e .` gives the command `kraken-ai-trader`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
NOT_INSTALLED = {"setup", "conftest", "test_trader"}


def version() -> str:
    """The version from the package, without importing it and its dependencies."""
    text = (HERE / "trader" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise SystemExit('trader/__init__.py: expected a line __version__ = "…"')
    return found[1]


def requirements() -> list[str]:
    """The direct dependencies; the locked versions are for `scripts/install.sh`."""
    lines = (HERE / "requirements.in").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(("#", "-"))]


setup(
    name="kraken-ai-trader",
    version=version(),
    description="AI crypto trader for the Kraken spot exchange: paper first, evidence, then live",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["MIT_LICENSE"],
    python_requires=">=3.11",
    install_requires=requirements(),
    extras_require={
        "cluster": ["distributed"],
        "exchanges": ["ccxt"],
        "news": ["feedparser", "vaderSentiment"],
    },
    py_modules=sorted({path.stem for path in HERE.glob("*.py")} - NOT_INSTALLED),
    packages=find_packages(include=["trader", "trader.*", "commands", "commands.*", "scripts"]),
    package_data={"": ["**/*.*"]},
    exclude_package_data={"": ["**/__pycache__/*", "*.sh"]},
    entry_points={"console_scripts": ["kraken-ai-trader=run_trader:run"]},
)
