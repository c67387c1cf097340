"""A winner chooses its block's time, but winners together cannot drive the chain into the future.

Nodes refuse a block that is too far ahead of their clocks (chain/intake.py), so a chain whose times
ran away would stand still everywhere.
"""

from bft.codec.canonical import encode
from chain.audit.replay import audit
from chain.records.certificate import decode_certificate
from chain.rules.limits import WINDOW_FACTOR
from tests.chain.audit.mill import Mill

CYCLES = 6


def test_winners_that_always_take_the_latest_time_gain_one_window_and_no_more() -> None:
    mill = Mill().found()
    window_s = WINDOW_FACTOR * mill.rules.params.block_ms // 1000
    before = mill.state.tip.time
    for _ in range(CYCLES):
        mill.to_block()
        certificate, _ = decode_certificate(mill.state.certificate)
        said = mill.seen(mill.block(certificate.not_after - certificate.not_before)[:80])
        mill.order(*(mill.request(replica, said) for replica in mill.replicas[:2]))
        mill.sign()
        assert before < mill.state.tip.time <= mill.state.agreed_ms // 1000 + window_s
        before = mill.state.tip.time
    assert mill.state.tip.height == CYCLES
    report = audit(encode(mill.genesis), mill.entries)
    assert report.passed and not report.findings
