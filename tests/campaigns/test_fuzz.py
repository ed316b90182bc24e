"""What the fuzz campaign feeds is taken cleanly, and what it is to find is found."""

import pytest

from campaigns.fuzz import SIDES, Answers, Broken, Pace, Requests, fuzz


@pytest.mark.parametrize("target", [Requests, Answers])
def test_good_bytes_are_taken(target):
    made = target()
    for seed in made.seeds():
        made.take(seed)
        made.take(seed[:2] + seed[2:][: len(seed) // 2])
        made.take(seed[:1] + b"\x01" + seed[2:])


def test_an_exchange_that_breaks_inside_is_found_out(monkeypatch):
    made = Requests()
    monkeypatch.setattr(
        made.exchange.wire, "handle",
        lambda *_: (200, "application/json", b'{"error":["EGeneral:Internal error"]}'),
    )  # fmt: skip
    with pytest.raises(Broken, match="internal error"):
        made.take(made.seeds()[0])


def test_an_order_made_without_a_signature_is_found_out(monkeypatch):
    made = Requests()
    real = made.exchange.post
    monkeypatch.setattr(
        made.exchange, "post",
        lambda method, body, nonce, kind, honest: real(method, body, nonce, kind, True),
    )  # fmt: skip
    order = next(s for s in made.seeds() if made.exchange.methods[s[0]] == "AddOrder")
    with pytest.raises(Broken, match="1 orders were made, 0 named"):
        made.take(order[:1] + b"\x01" + order[2:])


def test_a_client_that_takes_anything_for_an_id_is_found_out(monkeypatch):
    made = Answers()
    monkeypatch.setattr(made.client, "place", lambda *_: "yes")
    with pytest.raises(Broken, match="took 'yes'"):
        made.take(bytes([made.names.index("AddOrder"), 0]) + b"{}")


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_a_short_run_breaks_nothing(side):
    pytest.importorskip("atheris", reason="the optional fuzzer is not installed: make peers")
    found = fuzz(side, 5, 3, Pace())
    assert (found["broken"], found["why"]) == (0, "")
    assert found["inputs"] > 1000
    assert found["edges"] > 300
