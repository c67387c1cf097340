"""A flag stands above the environment, that above the file, and that above the default."""

from pathlib import Path
from typing import Any

import pytest

from chain.node.config import NodeConfig
from gristmill import exits
from gristmill.cli import main
from miner.config import MinerConfig, create_home
from tests.chain.federation_fixture import GENESIS

FLAG, COMMAND, KEY, FILE = "127.0.0.1:4", "127.0.0.1:3", "127.0.0.1:2", "127.0.0.1:1"


@pytest.mark.parametrize("with_file", [True, False])
@pytest.mark.parametrize(
    ("flag", "command", "key", "held"),
    [
        (FLAG, COMMAND, KEY, FLAG),
        (None, COMMAND, KEY, COMMAND),
        (None, None, KEY, KEY),
        (None, None, None, FILE),
    ],
)
def test_a_nodes_address(
    flag: str | None,
    command: str | None,
    key: str | None,
    held: str,
    with_file: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[NodeConfig] = []
    monkeypatch.setattr("chain.node.service.run_node", seen.append)
    if with_file:
        (tmp_path / "node.yaml").write_text(f"p2p: {FILE}\ninbound_max: 3\n")
    for name, text in (("NODE_RUN_P2P", command), ("NODE__P2P", key)):
        if text is not None:
            monkeypatch.setenv(f"GRISTMILL_{name}", text)
    args = [] if flag is None else ["--p2p", flag]
    assert main(["node", "run", "--home", str(tmp_path), *args]) == exits.OK
    default = NodeConfig()
    assert seen[0].p2p == (held if held != FILE or with_file else default.p2p)
    assert seen[0].inbound_max == (3 if with_file else default.inbound_max)
    assert seen[0].http == default.http


@pytest.mark.parametrize(
    ("flag", "command", "key", "held"),
    [
        ("mps", "cuda", "cpu", "mps"),
        (None, "cuda", "cpu", "cuda"),
        (None, None, "cpu", "cpu"),
        (None, None, None, "auto"),
    ],
)
def test_a_miners_device(
    flag: str | None,
    command: str | None,
    key: str | None,
    held: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create_home(tmp_path, GENESIS, MinerConfig(device="auto"))
    seen: list[Any] = []
    monkeypatch.setattr("miner.main.run", lambda home, *more, **named: seen.append(home.config))
    for name, text in (("MINER_RUN_DEVICE", command), ("MINER__DEVICE", key)):
        if text is not None:
            monkeypatch.setenv(f"GRISTMILL_{name}", text)
    args = [] if flag is None else ["--device", flag]
    assert main(["miner", "run", "--plain", "--home", str(tmp_path), *args]) == exits.OK
    assert seen == [MinerConfig(device=held)]  # type: ignore[arg-type]


def test_where_a_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--home above its variable, that above the directory where one stands."""
    seen: list[NodeConfig] = []
    monkeypatch.setattr("chain.node.service.run_node", seen.append)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "node.yaml").write_text("inbound_max: 1\n")
    assert main(["node", "run"]) == exits.OK
    monkeypatch.setenv("GRISTMILL_NODE_RUN_HOME", str(tmp_path / "variable"))
    assert main(["node", "run"]) == exits.OK
    assert main(["node", "run", "--home", str(tmp_path / "flag")]) == exits.OK
    assert [Path(config.home).name for config in seen] == [tmp_path.name, "variable", "flag"]
