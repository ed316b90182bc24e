"""The documentation tells what is there, and nothing that is not."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from config import KNOWN, markdown
from run_trader import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
EVERYTHING = [*COMMANDS, "backtest", "monitor_dashboard"]
GOLDEN = "run: make golden"
EXAMPLE = re.compile("\b\n *Example")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def command(name: str) -> click.Command:
    """A command of run_trader, or a program under scripts."""
    module = f"commands.{name}" if name in COMMANDS else f"scripts.{name}"
    found: click.Command = importlib.import_module(module).command
    return found


def family(top: click.Command) -> list[click.Command]:
    """A command and all commands under it."""
    under = top.commands.values() if isinstance(top, click.Group) else ()
    return [top, *(deeper for child in under for deeper in family(child))]


def options(top: click.Command) -> set[str]:
    return {word for one in family(top) for param in one.params for word in param.opts} | {
        "--help"
    }


def readme_rows() -> dict[str, str]:
    """Command → its row in the table of the README."""
    rows = re.findall(r"^\| `(?:run_trader\.py|scripts)[ /](\w+).*$", README, re.MULTILINE)
    lines = re.findall(r"^\| `(?:run_trader\.py|scripts)[ /]\w+.*$", README, re.MULTILINE)
    return dict(zip(rows, lines, strict=True))


def readme_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_every_link_to_a_file_leads_somewhere(path):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [t for t in targets if not (path.parent / t).exists()] == []


def test_every_command_has_its_row_in_the_readme():
    assert list(readme_rows()) == EVERYTHING


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_row_of_the_readme_names_only_options_that_exist(name):
    told = set(re.findall(r"--[a-z-]+", readme_rows()[name]))
    assert told - options(command(name)) == set()


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_command_shows_an_example(name):
    # The character \b tells click to leave the lines of a paragraph as they are.
    bare = [c.name for c in family(command(name)) if not EXAMPLE.search(c.help or "")]
    assert bare == []


@pytest.mark.parametrize("line", readme_commands())
def test_a_command_of_the_readme_exists(line):
    words = shlex.split(line)
    at = next(
        (i for i, w in enumerate(words) if w.endswith(("run_trader.py", "install.sh"))), None
    )
    if at is None:
        program = next((w for w in words if w.endswith(".py")), None)
        assert program is None or (ROOT / program).exists()
    elif words[at + 1 : at + 2] not in ([], ["test"]):
        told = {word for word in words[at + 2 :] if word.startswith("--")}
        assert told - options(command(words[at + 1])) == set()


def test_every_setting_is_documented():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == markdown(), GOLDEN


def test_settings_named_in_the_readme_exist():
    table = README.split("## Settings")[1].split("## ")[0]
    told = set(re.findall(r"`([A-Z_]{4,})`", table))
    assert {name for name in told if f"`{name}`" not in markdown()} == set()


def test_the_defaults_in_the_readme_are_those_in_force():
    rows = re.findall(
        r"^\| ((?:`[A-Z_]{4,}`(?:, )?)+) \| ((?:`[^`]*`(?:, )?)*) \|", README, re.MULTILINE
    )
    told = {
        n: v
        for names, values in rows
        for n, v in zip(re.findall("`(.+?)`", names), re.findall("`(.*?)`", values), strict=False)
    }
    assert {n: v for n, v in told.items() if KNOWN[n].default != v} == {}


@pytest.mark.slow
def test_the_reference_pages_tell_what_there_is():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "reference.py", "--check"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout == "", GOLDEN


@pytest.mark.slow
def test_every_module_has_its_line_in_the_structure():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "structure.py"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    files = re.compile(r"^\| `([^`]+)`", re.MULTILINE)
    held = (ROOT / "PROJECT_STRUCTURE.md").read_text(encoding="utf-8")
    assert files.findall(held) == files.findall(done.stdout), GOLDEN


def test_every_other_file_of_the_structure_is_there():
    from scripts.structure import OTHER_FILES

    names = [name for names in OTHER_FILES for name in names.split(", ")]
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_the_glossary_is_in_order_and_has_no_word_twice():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = [w.strip().lower() for w in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)][1:]
    assert words == sorted(set(words))


RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def test_no_two_decision_records_have_one_number():
    numbers = [int(path.name[:4]) for path in RECORDS]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_decision_record_is_half_a_page_and_says_the_price(path):
    text = path.read_text(encoding="utf-8")
    parts = ("**Context.**", "**Choice.**", "**Price.**", "**Look again**")
    assert [part for part in parts if part not in text] == []
    assert len(text.splitlines()) <= 35


def test_the_changelog_tells_of_trading_behaviour_first():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    firsts = re.findall(r"^## .*\n+### (.*)$", text, re.MULTILINE)
    assert set(firsts) == {"Trading behaviour"}
