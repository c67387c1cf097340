"""A node that only knows the genesis record finds the federation key by itself, or says why not."""

from pathlib import Path

import pytest

from bft.codec.canonical import encode
from bft.errors import ConfigError
from chain.node.anchor import KEY_NAME, anchored
from chain.node.config import NodeConfig
from tests.chain.audit.log_server import log_answers, served
from tests.chain.audit.mill import Mill, make_genesis
from tests.chain.federation_fixture import FEDERATION_KEY
from tests.chain.node.homes import make_config


def node_of(mill: Mill, home: Path, *replicas: str) -> NodeConfig:
    """Settings that pin nothing."""
    config = make_config(home, federation_key="", replicas=replicas)
    Path(config.genesis).write_bytes(encode(mill.genesis))
    return config


def test_a_pinned_key_is_taken_as_it_is(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    assert anchored(config) == config
    assert config.federation_key == FEDERATION_KEY.hex()


def test_the_key_follows_from_the_log_that_some_replica_serves(tmp_path: Path) -> None:
    mill = Mill().found().cycle()
    assert mill.state.federation_key is not None
    answers = log_answers(encode(mill.genesis), mill.entries, page=3)
    with served(answers) as url:
        found = anchored(node_of(mill, tmp_path, "http://127.0.0.1:1", url))
    assert found.federation_key == mill.state.federation_key.key.hex()
    assert (tmp_path / KEY_NAME).read_text().strip() == found.federation_key
    again = anchored(node_of(mill, tmp_path))  # nobody has to be asked twice
    assert again.federation_key == found.federation_key


def test_a_log_of_another_chain_leads_to_no_key(tmp_path: Path) -> None:
    mill, other = Mill(), Mill(genesis=make_genesis(7)).found()
    with (
        served(log_answers(encode(other.genesis), other.entries)) as url,
        pytest.raises(ConfigError, match=r"none follows from the genesis record.*proof"),
    ):
        anchored(node_of(mill, tmp_path, url))
    assert not (tmp_path / KEY_NAME).exists()


def test_before_the_ceremony_is_over_there_is_none(tmp_path: Path) -> None:
    mill = Mill()
    mill.ceremony_round()
    with (
        served(log_answers(encode(mill.genesis), mill.entries)) as url,
        pytest.raises(ConfigError, match="the log ends before the federation has its key"),
    ):
        anchored(node_of(mill, tmp_path, url))


def test_without_anybody_to_ask_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no replica is named"):
        anchored(node_of(Mill(), tmp_path))
