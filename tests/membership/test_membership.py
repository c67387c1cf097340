"""A lost replica's way back, with processes and the operators' commands.

The whole trial (4 -> one replaced -> 7 -> refresh -> 4, with miners, a node and an audit) is
`python -m tests.membership`; it takes minutes.
"""

from pathlib import Path

import pytest

from coordinator.config import Home
from tests.membership.trial import Trial

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_wiped_replica_observes_and_is_replaced_by_a_new_home(tmp_path: Path) -> None:
    """Its key never votes again; its operator comes back with another one."""
    trial = Trial(tmp_path, miners=0, nodes=0, say=print)
    try:
        trial.found()
        trial.until("the key is made", lambda: trial.status("operator-0").get("federation_key"))
        key = trial.status("operator-0")["federation_key"]
        trial.fleet.stop("operator-3")
        for file in Home(trial.homes["operator-3"]).path.glob("journal*"):
            file.unlink()
        trial.start("operator-3")
        trial.until("it observes", lambda: trial.status("operator-3")["role"] == "observer")
        assert "must not vote under its key again" in trial.status("operator-3")["reason"]
        new = trial.newcomer("operator-3-again")
        stay = [f"operator-{index}" for index in range(3)]
        trial.change([*stay, "operator-3-again"], "--replace", f"operator-3={new}")
        certificates = trial.certificates()
        assert [one.epoch for one in certificates] == [0, 1]
        assert {one.key.hex() for one in certificates} == {key}
    finally:
        trial.fleet.close()
