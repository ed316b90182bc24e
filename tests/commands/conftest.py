import json

import pytest

from commands.common import guarded
from run_trader import cli


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder that the commands use."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DATA_DIR", str(folder))
    return folder


@pytest.fixture
def run(data, capsys):
    """Run a command in this process: (exit status, stdout, stderr)."""

    def call(*words):
        status = guarded(cli, [str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def answer(run):
    """The one JSON document a command prints, with its exit status 0."""

    def call(*words, status=0):
        code, out, err = run(*words)
        assert code == status, err
        return json.loads(out)

    return call
