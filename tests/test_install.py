"""The installer, with an interpreter that only writes down what it was asked to do."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = (ROOT / "scripts" / "install.sh", ROOT / "scripts" / "audit.sh",
           *sorted((ROOT / ".ci").iterdir()))  # fmt: skip

RECORDER = """#!/bin/sh
case "$*" in *"import "*) exit 0;; esac
echo "$*" >> "{log}"
case "$*" in *"pip install"*) exit {pip_status};; esac
echo answer
"""


class Checkout:
    """A copy of what the installer needs, with a recording interpreter in `.venv`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"
        (folder / "scripts").mkdir()
        shutil.copy(SCRIPTS[0], folder / "scripts")
        for name in ("requirements.txt", "requirements-dev.txt", ".env.example"):
            shutil.copy(ROOT / name, folder)
        self.interpreter(folder / ".venv" / "bin" / "python")

    def interpreter(self, path: Path, pip_status: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDER.format(log=self.log, pip_status=pip_status))
        path.chmod(0o755)

    def install(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        self.log.unlink(missing_ok=True)
        return subprocess.run(
            [str(self.folder / "scripts" / "install.sh"), *words],
            cwd="/", capture_output=True, text=True, env=os.environ | environ, check=False,
        )  # fmt: skip

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_alone_it_only_sets_up(checkout):
    done = checkout.install()
    assert (done.returncode, done.stdout) == (0, "")
    assert len(checkout.calls()) == 1
    assert checkout.calls()[0].endswith("-r requirements.txt")
    assert all((checkout.folder / name).is_dir() for name in ("data", "models", "logs"))


def test_the_second_time_nothing_is_installed(checkout):
    checkout.install()
    checkout.install()
    assert checkout.calls() == []


def test_changed_requirements_are_installed_again(checkout):
    checkout.install()
    (checkout.folder / "requirements.txt").write_text("click==8.5.1\n")
    checkout.install()
    assert len(checkout.calls()) == 1


def test_the_settings_are_for_the_owner_alone_and_never_overwritten(checkout):
    checkout.install()
    settings = checkout.folder / ".env"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    settings.write_text("PAIRS=ETH/EUR\n")
    checkout.install()
    assert settings.read_text() == "PAIRS=ETH/EUR\n"


def test_its_words_go_to_the_program_and_the_answer_stays_alone_on_stdout(checkout):
    done = checkout.install("status", "--json", "a b")
    assert checkout.calls()[-1] == "run_trader.py status --json a b"
    assert done.stdout == "answer\n"


def test_the_word_test_brings_the_test_tools_and_runs_the_suite(checkout):
    checkout.install("test", "-x")
    assert checkout.calls()[0].endswith("-r requirements-dev.txt")
    assert checkout.calls()[-1] == "test_trader.py -x"


def test_packages_that_cannot_be_installed_are_one_clear_line_and_tried_again(checkout):
    checkout.interpreter(checkout.folder / ".venv" / "bin" / "python", pip_status=1)
    done = checkout.install("start")
    assert done.returncode == 1
    assert "error: The packages could not be installed." in done.stderr
    assert "run_trader.py start" not in checkout.calls()
    checkout.install("start")
    assert len(checkout.calls()) == 1


def test_a_machine_without_a_new_python_is_told_so(checkout, tmp_path):
    shutil.rmtree(checkout.folder / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "env"):
        (tools / name).symlink_to(shutil.which(name))
    old = tools / "python3"
    old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2'\nexit 1\n")
    old.chmod(0o755)
    done = checkout.install("start", PATH=str(tools))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_shell_scripts_are_clean(script):
    beside = Path(sys.executable).with_name("shellcheck")
    tool = str(beside) if beside.exists() else shutil.which("shellcheck")
    if tool is None:
        pytest.skip("shellcheck has no package for this platform")
    done = subprocess.run(
        [tool, "--external-sources", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


USERS_LIST = {"krakenex", "pandas", "numpy", "ta", "scikit-learn", "joblib", "python-dotenv",
              "requests", "click", "flask"}  # fmt: skip


def locked(name: str) -> dict[str, str]:
    """Package → its line, the marker included."""
    lines = (ROOT / name).read_text().splitlines()
    return {re.split("[=<>~ ;]", line)[0].lower() + line.partition(";")[2]: line for line in lines}


def versions(name: str) -> set[str]:
    """Package and version; on which systems it is wanted may differ."""
    return {line.partition(";")[0].strip() for line in locked(name).values()}


def test_what_tests_holds_what_runs_in_the_same_versions():
    assert versions("requirements.txt") - versions("requirements-dev.txt") == set()


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_everything_that_is_asked_for_is_locked(name):
    lines = (ROOT / f"{name}.in").read_text().splitlines()
    asked = {line.split(";")[0].strip().lower() for line in lines if line[:1].isalnum()}
    held = {line.split("==")[0] for line in locked(f"{name}.txt").values()}
    assert asked - held == set()


def test_the_locks_are_exact_and_name_no_other_place():
    lines = [*locked("requirements.txt").values(), *locked("requirements-dev.txt").values()]
    assert [line for line in lines if "==" not in line or "://" in line] == []


def test_the_packages_of_the_design_are_there_and_pytest_only_where_tests_run():
    run = {line.split("==")[0] for line in locked("requirements.txt").values()}
    test = {line.split("==")[0] for line in locked("requirements-dev.txt").values()}
    assert USERS_LIST - run == set()
    assert "pytest" in test - run
