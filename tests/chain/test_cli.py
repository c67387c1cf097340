"""`gristmill node` and `gristmill verify`: results on stdout, the exit status says the rest."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bft.codec.canonical import encode
from bft.codec.envelope import seal
from bft.crypto.hashing import sha256
from chain.gossip_events import BlockSubmitted, FinalitySubmitted
from chain.node.config import keep_genesis, save_config
from chain.node.core import NodeCore, unix_ms
from chain.output import dated
from chain.receipts import join_receipts
from chain.records.receipt import ExecutionReceipt
from gristmill import exits
from gristmill.cli import main
from tests.chain.audit.log_server import served
from tests.chain.federation_fixture import (
    CHAIN_ID,
    FEDERATION_KEY,
    GENESIS,
    OTHER,
    START,
    WINNER,
    block_on,
    finality_of,
    key_of,
    make_chain,
)
from tests.chain.node.homes import make_config
from tests.ports import claim_ports

FIRST, SECOND = make_chain(2)
CERTIFICATE = FIRST.coinbase.certificate
KEY = FEDERATION_KEY.hex()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's home with two blocks, of which the first is final."""
    config = make_config(tmp_path)
    save_config(config)
    core = NodeCore(config, unix_ms)
    for block in (FIRST, SECOND):
        core.step(BlockSubmitted(data=block.data), lambda effect: None)
    core.step(FinalitySubmitted(finality=finality_of(FIRST)), lambda effect: None)
    core.close()
    return tmp_path


def run_json(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[str, Any]]:
    status = main([*args, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_tip_and_status_read_a_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer = run_json(capsys, "node", "tip", "--home", str(home))
    assert status == exits.OK
    assert answer["data"] == {
        "height": 2,
        "tip": SECOND.hash[::-1].hex(),
        "tip_time": SECOND.header.time,
        "final_height": 1,
        "final": FIRST.hash[::-1].hex(),
    }
    status, answer = run_json(capsys, "node", "status", "--home", str(home))
    assert answer["data"]["chain_id"] == CHAIN_ID.hex()
    assert main(["node", "tip", "--home", str(home)]) == exits.OK
    when = datetime.fromtimestamp(SECOND.header.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    assert f"tip time      {SECOND.header.time} ({when})\n" in capsys.readouterr().out


@pytest.mark.parametrize("told", [10**30, -(10**15), True, "soon", None])
def test_a_time_that_no_calendar_has_stays_as_it_is(told: Any) -> None:
    data = {"tip_time": told, "inside": {"tip_time": told}}
    assert dated(data, frozenset({"tip_time"})) == data


def test_a_node_that_was_run_with_flags_alone_can_be_asked_by_its_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It keeps the genesis record that it ran with; a node.yaml says itself where that is."""
    flagged = tmp_path / "flagged"
    flagged.mkdir()
    config = replace(make_config(tmp_path / "elsewhere"), home=str(flagged))
    NodeCore(config, unix_ms).close()
    assert main(["node", "tip", "--home", str(flagged)]) == exits.CONFIG
    assert "genesis.bin" in capsys.readouterr().err
    keep_genesis(config)
    status, answer = run_json(capsys, "node", "tip", "--home", str(flagged))
    assert status == exits.OK and answer["data"]["height"] == 0
    (flagged / "genesis.bin").unlink()
    save_config(config)
    keep_genesis(config)
    assert not (flagged / "genesis.bin").exists()
    assert main(["node", "tip", "--home", str(flagged)]) == exits.OK


@pytest.mark.parametrize("reference", ["1", FIRST.hash[::-1].hex()])
def test_a_block_is_shown_by_height_or_hash(
    home: Path, capsys: pytest.CaptureFixture[str], reference: str
) -> None:
    status, answer = run_json(capsys, "node", "block", reference, "--home", str(home))
    assert status == exits.OK
    assert answer["data"]["certificate"]["winner"] == WINNER.public_key.hex()
    assert main(["node", "block", reference, "--home", str(home)]) == exits.OK
    assert WINNER.public_key.hex() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reference", "status"),
    [("3", exits.NOT_FOUND), ("ab" * 32, exits.NOT_FOUND), ("ab", exits.VERIFICATION_FAILED)],
)
def test_a_block_that_is_not_there_is_said(home: Path, reference: str, status: int) -> None:
    assert main(["node", "block", reference, "--home", str(home)]) == status


def test_a_home_without_a_node_is_said(tmp_path: Path) -> None:
    assert main(["node", "tip", "--home", str(tmp_path)]) == exits.NOT_FOUND


def test_a_node_without_genesis_or_key_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node", "run", "--home", str(tmp_path)]) == exits.CONFIG
    assert "no such file; the genesis record" in capsys.readouterr().err
    make_config(tmp_path)
    genesis = str(tmp_path / "genesis.bin")
    args = ["node", "run", "--home", str(tmp_path), "--genesis", genesis]
    assert main(args) == exits.CONFIG
    for flag in ("--p2p", "--http", "--peer"):
        capsys.readouterr()
        assert main([*args, "--key", KEY, flag, "nowhere"]) == exits.CONFIG
        assert f"{flag}: 'nowhere' came; host:port is expected" in capsys.readouterr().err
    assert main([*args, "--key", KEY, "--replica", "nowhere"]) == exits.CONFIG
    assert "--replica: 'nowhere' came; URL is expected" in capsys.readouterr().err


def test_a_url_that_nobody_answers_is_said() -> None:
    assert main(["node", "tip", "--url", "http://127.0.0.1:1"]) == exits.UNAVAILABLE
    assert main(["node", "tip", "--url", "file:///etc/hostname"]) == exits.USAGE


@pytest.mark.parametrize("as_hex", [True, False])
@pytest.mark.parametrize("content", [CERTIFICATE, FIRST.data])
def test_verify_takes_a_certificate_or_a_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, as_hex: bool
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content.hex().encode() if as_hex else content)
    args = ("verify", str(file), "--key", KEY, "--chain-id", CHAIN_ID.hex())
    status, answer = run_json(capsys, *args)
    assert (status, answer["data"]["valid"]) == (exits.OK, True)
    (tmp_path / "key").write_text(KEY)
    assert main(["verify", str(file), "--key-file", str(tmp_path / "key")]) == exits.OK


def test_verify_fails_on_what_is_forged() -> None:
    flipped = bytes([*CERTIFICATE[:100], CERTIFICATE[100] ^ 1, *CERTIFICATE[101:]])
    stolen = block_on(START, miner=OTHER, winner=WINNER.public_key, payee=WINNER.public_key)
    for data in (flipped, CERTIFICATE[:-1], stolen.data):
        assert main(["verify", "--hex", data.hex(), "--key", KEY]) == exits.VERIFICATION_FAILED
    args = ["verify", "--hex", CERTIFICATE.hex(), "--key", KEY, "--chain-id", "00" * 32]
    assert main(args) == exits.REFUSED


@pytest.mark.parametrize(
    "args",
    [
        ["verify", "--key", KEY],
        ["verify", "--hex", "00"],
        ["verify", "--hex", "zz", "--key", KEY],
    ],
)
def test_verify_wants_one_thing_and_one_key(args: list[str]) -> None:
    assert main(args) == exits.USAGE


def test_verify_takes_a_receipt_with_the_genesis_record_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = ExecutionReceipt(
        chain_id=CHAIN_ID,
        epoch=0,
        client=WINNER.public_key,
        cseq=7,
        request=sha256(b"sealed"),
        sequence=9,
        outcomes=(b"accepted", b"full"),
    )
    keys = {index: key_of(f"replica {index}") for index in range(2)}
    said = {index: seal(execution, key.public_key, key.sign) for index, key in keys.items()}
    genesis, request, file = (tmp_path / name for name in ("genesis", "request", "receipt"))
    genesis.write_bytes(encode(GENESIS))
    request.write_bytes(b"sealed")
    file.write_bytes(join_receipts(said, GENESIS.membership))
    args = ("verify", str(file), "--genesis", str(genesis), "--request", str(request))
    status, answer = run_json(capsys, *args)
    assert (status, answer["data"]["outcomes"]) == (exits.OK, "accepted full")
    request.write_bytes(b"another")
    assert main([*args]) == exits.VERIFICATION_FAILED
    forged = ["verify", "--hex", file.read_bytes()[:-1].hex() + "00", "--genesis", str(genesis)]
    assert main(forged) == exits.VERIFICATION_FAILED
    assert main([*args, "--key", KEY]) == exits.USAGE


def test_verify_needs_neither_aiohttp_nor_torch() -> None:
    code = (
        "import sys; from gristmill.cli import main; "
        f"status = main(['verify', '--hex', '{CERTIFICATE.hex()}', '--key', '{KEY}']); "
        "assert not {'aiohttp', 'torch', 'asyncio'} & sys.modules.keys(); sys.exit(status)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_evidence_is_listed_and_shown_to_whom_one_names(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who does not answer is named with the reason; the rest is told all the same."""
    core = NodeCore(make_config(home), unix_ms)
    twin = block_on(START, time=FIRST.header.time + 1)
    core.step(BlockSubmitted(data=twin.data), lambda effect: None)
    core.close()
    nobody = f"http://127.0.0.1:{claim_ports(1)[0]}"
    status, answer = run_json(capsys, "node", "evidence", "--home", str(home), "--show", nobody)
    assert status == exits.OK
    (told,) = answer["data"]["evidence"]
    assert told["against"] == WINNER.public_key.hex()
    assert set(told["blocks"]) == {each.hash[::-1].hex() for each in (FIRST, twin)}
    assert told["answers"] == [f"{nobody}: {nobody}/v1/requests?wait_ms=15000: cannot connect"]
    assert main(["node", "evidence", "--home", str(home)]) == exits.OK
    assert WINNER.public_key.hex() in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"\xff\xfe", b"[]", b"{}", b"[" * 100_000, b"1" * 5_000],
    ids=["empty", "text", "no-text", "list", "object", "deep", "long-number"],
)
def test_a_status_that_is_none_is_one_line(
    body: bytes, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(lambda _: (200, {"Content-Length": str(len(body))}, body)) as url:
        assert main(["node", "status", "--url", url]) == exits.VERIFICATION_FAILED
    told = capfd.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1 and "no node's status" in told.err


def test_a_servers_text_reaches_the_terminal_plain(capfd: pytest.CaptureFixture[str]) -> None:
    told = dict.fromkeys(
        ("name", "height", "tip", "tip_time", "final_height", "final"),
        "\x1b]0;owned\x07\u202e" + "x" * 10_000,
    )
    body = json.dumps(told).encode()
    with served(lambda _: (200, {"Content-Length": str(len(body))}, body)) as url:
        main(["node", "status", "--url", url])
    shown = capfd.readouterr().out
    assert "owned" in shown and max(map(len, shown.splitlines())) < 5_000
    assert all(sign.isprintable() for sign in shown.replace("\n", ""))
