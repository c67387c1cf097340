"""The operator's commands, as an operator types them."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bft.crypto.hashing import sha256
from chain.records.federation import Genesis
from coordinator.config import Home, load_setup, read_record
from gristmill import exits
from gristmill.cli import main
from tests.coordinator.service.mill import BUSY, Mill, running


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, Any]:
    """(exit status, data or error) of one command with --json."""
    status = main([*map(str, args), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is (status == exits.OK)
    return status, told["data"] if "data" in told else told["error"]


async def beside(mill: Mill, capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, Any]:
    """The same while the federation runs in this process."""
    return await asyncio.to_thread(run, capsys, *args)


def test_a_federation_is_founded_by_commands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = [tmp_path / name for name in ("ada", "bob", "eve", "dan")]
    members: list[object] = []
    for number, home in enumerate(homes):
        link, api = f"127.0.0.1:{7000 + number}", f"127.0.0.1:{8000 + number}"
        arguments = ("--home", home, "--name", home.name, "--link", link, "--api", api)
        status, told = run(capsys, "operator", "init", *arguments, "--plain-keys")
        assert status == exits.OK
        members += ["--member", told["member"]]
    founded = tmp_path / "founded"
    options = ("--name", "mill", "--params", "minimal", "--output", founded)
    status, told = run(capsys, "federation", "found", *options, *members)
    assert status == exits.OK and told["members"] == 4
    for index, home in enumerate(homes):
        files = ("--genesis", founded / "genesis.bin", "--model", founded / "model.bin")
        status, joined = run(capsys, "operator", "join", "--home", home, *files)
        assert (status, joined) == (exits.OK, {"chain_id": told["chain_id"], "replica": index})
        assert load_setup(home).member.operator.decode() == home.name
    genesis = read_record(founded / "genesis.bin", Genesis)
    assert genesis.job.genesis_model == sha256((founded / "model.bin").read_bytes())


def test_keys_are_not_made_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--home", tmp_path, "--name", "ada", "--link", "h:1", "--api", "h:2")
    assert run(capsys, "operator", "init", *arguments, "--plain-keys")[0] == exits.OK
    status, error = run(capsys, "operator", "init", *arguments, "--plain-keys")
    assert status == exits.CONFIG and "never overwritten" in error["detail"]


def test_a_home_without_genesis_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--home", tmp_path, "--name", "ada", "--link", "h:1", "--api", "h:2")
    assert run(capsys, "operator", "init", *arguments, "--plain-keys")[0] == exits.OK
    command = [sys.executable, "-m", "gristmill", "operator", "run", "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == exits.CONFIG
    assert "genesis.bin is missing" in done.stderr and "Traceback" not in done.stderr


async def test_a_running_federation_can_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await mill.until(lambda: all(mill.state(i).cycle > 2 for i in range(4)))
        genesis = ("--genesis", Home(mill.homes[0]).genesis)
        status, told = await beside(mill, capsys, "federation", "show", *genesis)
        assert status == exits.OK
        assert [replica["replica"] for replica in told["replicas"]] == [0, 1, 2, 3]
        status, told = await beside(mill, capsys, "federation", "cycles", *genesis)
        assert status == exits.OK
        assert told["cycles"][0]["cycle"] == 1 and told["cycles"][0]["closed"] == "no-miners"
        status, _ = await beside(mill, capsys, "federation", "certificate", 1, *genesis)
        assert status == exits.NOT_FOUND
        status, told = await beside(mill, capsys, "operator", "status", "--home", mill.homes[2])
        assert (status, told["replica"]) == (exits.OK, 2)
        assert told["membership"]["operators"] and told["membership"]["without_share"] == []
        await mill.stop(3)
        _, told = await beside(mill, capsys, "operator", "status", "--home", mill.homes[2])
        assert "4 members stand still when one more is gone" in told["membership"]["warnings"][0]


async def test_the_doctor_finds_a_running_replica_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, 4, BUSY) as mill:
        await mill.until(lambda: mill.state().federation_key)
        status, told = await beside(mill, capsys, "operator", "doctor", "--home", mill.homes[0])
        assert [one for one in told["findings"] if not one["ok"]] == []
        assert status == exits.OK
        names = [one["name"] for one in told["findings"]]
        assert names[-3:] == ["peer 1", "peer 2", "peer 3"]


async def test_the_doctor_names_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, 2, BUSY, start=0) as mill:
        home = Home(mill.homes[0])
        home.tls_certificate.write_bytes(Home(mill.homes[1]).tls_certificate.read_bytes())
        status, told = await beside(mill, capsys, "operator", "doctor", "--home", home.path)
        bad = [one["name"] for one in told["findings"] if not one["ok"]]
        assert (status, bad) == (exits.CONFIG, ["certificate", "quorum", "peer 1"])
        home.identity_key.chmod(0o644)
        status, told = await beside(mill, capsys, "operator", "doctor", "--home", home.path)
        assert status == exits.CONFIG
        assert [one["name"] for one in told["findings"]] == ["files"]


async def test_a_federation_that_is_away_is_unavailable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path, 1, BUSY, start=0) as mill:
        genesis = ("--genesis", Home(mill.homes[0]).genesis)
        for command in (("show",), ("cycles",), ("certificate", 1)):
            status, _ = await beside(mill, capsys, "federation", *command, *genesis)
            assert status == exits.UNAVAILABLE
        status, _ = await beside(mill, capsys, "operator", "status", "--home", mill.homes[0])
        assert status == exits.UNAVAILABLE
