"""Who may import whom. A module imports only layers below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Top first; modules in one row do not import each other.
LAYERS: list[set[str]] = [
    {"scripts", "test_trader"},
    {"run_trader"},
    {"commands"},
    {"main"},
    {"paper"},
    {"venues"},
    {"config"},
    {"kraken_client", "market_analyzer", "ai_trader", "risk_manager", "trading_executor",
     "monitor"},
    # The dashboard shows what the reports reckon: the ledger, and why a decision was made.
    {"trader.dashboard"},
    {"trader.reports"},
    {"trader.jobs"},
    {"trader.exchanges", "trader.storage", "trader.alerts", "trader.clocks"},
    {"trader.wal"},
    {"trader.simulation"},
    {"trader.strategies", "trader.execution"},
    {"trader.learning", "trader.risk"},
    # Patterns are written in the language of the indicators (graph, registry): one layer above.
    {"trader.patterns", "trader.periods"},
    {"trader.indicators", "trader.sentiment", "trader.performance", "trader.bootstrap"},
    {"trader.ports", "trader.extensions"},
    {"trader.domain"},
]  # fmt: skip
LEVEL = {name: i for i, row in enumerate(LAYERS) for name in row}
PURE_FROM = LEVEL["trader.simulation"]
PURE_TOO = {"market_analyzer", "ai_trader", "risk_manager"}
OUTSIDE = {"requests", "sqlite3", "flask", "smtplib", "os", "time", "random"}
READS_CONFIG = {
    "main",
    "paper",
    "venues",
    "run_trader",
    "scripts",
    "commands",
    "test_trader",
    "config",
}


def room(module: str) -> str | None:
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in LEVEL:
            return name
    return None


def sources() -> list[Path]:
    top = [p for p in ROOT.glob("*.py") if p.name not in {"setup.py", "conftest.py"}]
    return sorted(
        top + [p for d in ("trader", "commands", "scripts") for p in (ROOT / d).rglob("*.py")]
    )


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_a_module_imports_only_layers_below_its_own(path: Path) -> None:
    own = room(module_of(path))
    if own is None:
        assert module_of(path) == "trader", f"{path} has no place in the layers"
        return
    for module in imports(path):
        other = room(module)
        if other is None or other == own:
            continue
        assert LEVEL[own] < LEVEL[other], f"{module_of(path)} must not import {module}"


@pytest.mark.slow
@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_decisions_touch_no_disk_network_clock_or_chance(path: Path) -> None:
    own = room(module_of(path))
    if own is None or (LEVEL[own] < PURE_FROM and own not in PURE_TOO):
        return
    roots = {module.split(".")[0] for module in imports(path)}
    assert not roots & OUTSIDE


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_only_the_top_reads_the_configuration(path: Path) -> None:
    if room(module_of(path)) in READS_CONFIG:
        return
    assert "config" not in {module.split(".")[0] for module in imports(path)}


@pytest.mark.slow
def test_only_main_asks_whether_it_is_live() -> None:
    for path in sources():
        if room(module_of(path)) in {"main", "commands", "config"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                text = ast.unparse(node).lower()
                assert not ("mode" in text and "'live'" in text), f"{path}: {text}"
