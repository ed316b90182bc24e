"""What lies in the inbox is answered once, and none of it can end the bot."""

import errno
import json
import threading
import time

import pytest

from trader.domain.errors import OutcomeUnknown
from trader.storage import inbox as module
from trader.storage.inbox import Inbox


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "inbox" / "book"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def inbox(tmp_path, folder):
    return Inbox(tmp_path, "book")


def put(folder, text):
    (folder / "1.ask").write_text(text, encoding="utf-8")


def answer(folder):
    return json.loads((folder / "1.answer").read_text(encoding="utf-8"))


def waiting(**request):
    return json.dumps({"expires_at": time.time() + 9, **request})


def test_a_request_is_answered_once(inbox, folder):
    put(folder, waiting(order=1))
    assert [inbox.serve(lambda request: {"got": request["order"]}) for _ in range(2)] == [1, 0]
    assert (answer(folder), [path.name for path in folder.iterdir()]) == (
        {"got": 1},
        ["1.answer"],
    )


@pytest.mark.parametrize(
    "text",
    ["[1]", '"x"', "7", "null", "junk", "", "[" * 100_000, "{}", '{"expires_at": null}',
     '{"expires_at": "soon"}', '{"expires_at": NaN}', '{"expires_at": Infinity}'],
)  # fmt: skip
def test_what_is_no_request_is_answered_with_an_error_and_dropped(inbox, folder, text):
    put(folder, text)
    assert inbox.serve(lambda _: pytest.fail("carried out")) == 0
    assert answer(folder)["error"]["category"] == "usage"
    assert not list(folder.glob("1.ask")) + list(folder.glob("1.taken"))


def test_a_request_that_is_too_old_is_dropped(inbox, folder):
    put(folder, json.dumps({"expires_at": time.time() - 1}))
    assert inbox.serve(lambda _: pytest.fail("carried out")) == 0
    assert list(folder.iterdir()) == []


def test_a_folder_in_place_of_a_request_ends_nothing(inbox, folder):
    (folder / "1.ask").mkdir()
    assert inbox.serve(lambda _: {}) == 0
    inbox.clear()


def test_an_answer_without_room_is_given_when_there_is_some(inbox, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    put(folder, waiting())
    with monkeypatch.context() as patched:
        patched.setattr(module, "_write", full)
        assert inbox.serve(lambda _: {"sent": True}) == 1
    assert not (folder / "1.answer").exists()
    inbox.serve(lambda _: pytest.fail("carried out twice"))
    assert answer(folder) == {"sent": True}


def test_nobody_is_told_that_nothing_was_sent_when_it_was_taken(inbox, folder):
    def take():
        while not (found := list(folder.glob("*.ask"))):
            time.sleep(0.01)
        found[0].replace(found[0].with_suffix(".taken"))

    taker = threading.Thread(target=take)
    taker.start()
    with pytest.raises(OutcomeUnknown, match="may have been carried out"):
        inbox.ask({"order": {}}, patience_s=0.2)
    taker.join()


def test_a_request_that_nobody_takes_is_withdrawn(inbox, folder):
    assert inbox.ask({"order": {}}, patience_s=0.1) is None
    assert list(folder.iterdir()) == []
