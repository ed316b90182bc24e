"""`stop` with settings that have faults: the switch lies where the bot looks, or it says so."""

import json

import pytest

SWITCH = "STOP"


@pytest.fixture
def settings(data, tmp_path, monkeypatch):
    """Write a `.env` in an empty folder of its own; nothing else says where the data lie."""
    data.rmdir()
    monkeypatch.delenv("DATA_DIR")

    def write(*lines):
        (tmp_path / ".env").write_text("\n".join((*lines, "")), encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.parametrize("bad", ["WEBHOKURL=x", "LOG_LEVEL=LOUD", "INDICATORS=no_such_module"])
def test_a_bad_line_elsewhere_does_not_keep_the_switch_from_its_folder(settings, run, bad):
    home = settings("SANDBOX_FEED=simulated", "DATA_DIR=elsewhere", bad)
    status, out, err = run("stop", "--json")
    assert (status, json.loads(out)["stopped"]) == (0, True)
    assert (home / "elsewhere" / SWITCH).exists()
    assert not (home / "data").exists()
    assert err.count("WEBHOKURL") == ("WEBHOKURL" in bad)


@pytest.mark.parametrize(
    "bad", ["DATADIR=elsewhere", "DATA_DIR elsewhere", "DATA_DIR=a\nDATA_DIR=b"]
)
def test_where_the_folder_is_not_known_nothing_is_called_stopped(settings, run, bad):
    settings("SANDBOX_FEED=simulated", bad)
    status, out, _ = run("stop", "--json")
    document = json.loads(out)
    assert (status, document["stopped"]) == (2, False)
    assert "not known whether the bot looks there" in document["detail"]


def test_with_a_setting_of_the_account_at_fault_the_switch_is_set_and_no_more(settings, run):
    home = settings("SANDBOX=fasle", "DATA_DIR=elsewhere")
    status, out, err = run("stop")
    assert (status, (home / "elsewhere" / SWITCH).exists()) == (2, True)
    assert out.startswith("PAPER or LIVE")
    assert "nothing can be cancelled or sold from here" in out
    assert err.count("SANDBOX=fasle") == 1


def test_nothing_is_lifted_with_settings_at_fault(settings, run):
    home = settings("DATA_DIR=elsewhere", "SANDBOX_FEED=simulated")
    run("stop")
    settings("DATA_DIR=elsewhere", "WEBHOKURL=x")
    assert run("resume")[0] == 2
    assert (home / "elsewhere" / SWITCH).exists()
