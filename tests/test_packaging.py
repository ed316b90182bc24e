"""What `pip install .` gives: every module, no test, a command that works in any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = ("trader", "commands", "scripts")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that the project stays clean."""
    folder = tmp_path_factory.mktemp("packaging")
    copy = folder / "project"
    copy.mkdir()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("requirements*"),
                 ROOT / "pyproject.toml", ROOT / "MIT_LICENSE"]:  # fmt: skip
        shutil.copy(path, copy)
    for name in (*INSTALLED, "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, copy],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """The wheel, unpacked as pip would."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_module_and_every_other_file_of_the_packages(site):
    own = {"setup.py", "conftest.py", "test_trader.py"}
    wanted = {path.name for path in ROOT.glob("*.py")} - own
    inside = [path for name in INSTALLED for path in (ROOT / name).rglob("*.*")]
    wanted |= {
        str(path.relative_to(ROOT))
        for path in inside
        if path.is_file() and path.suffix not in {".sh", ".pyc"}
    }
    held = {str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()}
    assert wanted - held == set()


def test_the_wheel_holds_no_test(site):
    assert not (site / "tests").exists()
    assert not (site / "test_trader.py").exists()


def test_the_command_is_declared(site):
    declared = next(site.glob("*.dist-info/entry_points.txt")).read_text()
    assert "kraken-ai-trader = run_trader:run" in declared


def test_the_installed_program_runs_from_any_folder(site, tmp_path):
    call = "import sys; sys.argv = ['kraken-ai-trader', 'doctor', '--offline']; " \
           "import run_trader; run_trader.run()"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "data") in done.stdout
