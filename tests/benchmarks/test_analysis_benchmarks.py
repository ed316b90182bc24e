import json

import numpy as np
import pytest
import talib

from benchmarks.__main__ import main
from benchmarks.analysis import NAMES, SHARED
from benchmarks.registry import BENCHMARKS, side_by_side
from tests.indicators.markets import market
from trader.indicators import compute


def test_the_list_names_what_can_be_measured(capsys):
    assert main(["--list", "--json"]) == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert {"analysis.shared", "analysis.registry", "analysis.linear", "analysis.stream"} <= set(
        names
    )


@pytest.mark.parametrize("words", [["moon"], ["--fast"], ["analysis.shared", "--runs", "none"]])
def test_a_wrong_word_is_misuse(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_a_line_holds_what_readers_expect(monkeypatch, capsys):
    def tiny(runs):
        yield from side_by_side("nothing", 3, {"ours": list, "theirs": list}, runs, memory=True)

    main(["--list"])
    monkeypatch.setitem(BENCHMARKS, "tiny", ("nothing at all", tiny))
    capsys.readouterr()
    assert main(["tiny", "--json", "--runs", "2"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [line["tool"] for line in lines] == ["ours", "theirs"]
    assert set(lines[0]) == {
        "item", "tool", "bars", "seconds", "min_s", "max_s", "runs", "peak_mb", "notes"
    }  # fmt: skip
    assert lines[0]["min_s"] <= lines[0]["seconds"] <= lines[0]["max_s"]


def test_the_72_columns_are_those_that_ta_lib_computes_in_the_same_benchmark():
    assert len(set(NAMES)) == 72
    candles = market(600)
    ours = compute(candles, NAMES)
    columns = {"o": candles.open, "h": candles.high, "l": candles.low, "c": candles.close,
               "v": candles.volume}  # fmt: skip
    for names, (function, inputs, params) in SHARED:
        found = getattr(talib, function)(*(columns[i] for i in inputs), **params)
        for name, theirs in zip(
            names, found if isinstance(found, tuple) else [found], strict=True
        ):
            np.testing.assert_allclose(
                ours[name][300:], theirs[300:], rtol=1e-9, atol=1e-9, err_msg=name
            )
