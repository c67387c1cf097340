"""`gristmill miner` at its door: what it prints, and its exit statuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bft.codec.canonical import encode
from bft.errors import ConfigError
from gristmill.cli import main
from miner.cli import miner
from miner.config import create_home, load_home
from miner.files import EventFile
from tests.chain.federation_fixture import GENESIS
from tests.miner.processes import children_of, runs
from tests.miner.small_federation import Doors, SmallFederation
from tests.patience import PATIENCE_S

UNREACHABLE = ("--federation", "http://127.0.0.1:1", "--federation", "http://127.0.0.1:2")


@pytest.fixture
def genesis_file(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.bin"
    path.write_bytes(encode(GENESIS))
    return path


def run(*args: str | Path) -> str:
    """stdout of a command that succeeds."""
    result = CliRunner().invoke(miner, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_init_makes_a_home_and_says_which_chain_it_is_for(
    tmp_path: Path, genesis_file: Path
) -> None:
    home = tmp_path / "home"
    node = "http://n:1"
    shown = run(
        "init", "--home", home, "--genesis", genesis_file, *UNREACHABLE, "--node", node, "--json"
    )
    data = json.loads(shown)["data"]
    loaded = load_home(home)
    assert data["chain_id"] == GENESIS.chain_id.hex()
    assert data["miner"] == loaded.key.public_key.hex()
    assert loaded.config.nodes == (node,)


def test_init_over_a_miner_is_refused(tmp_path: Path, genesis_file: Path) -> None:
    run("init", "--home", tmp_path / "home", "--genesis", genesis_file)
    with pytest.raises(ConfigError):
        run("init", "--home", tmp_path / "home", "--genesis", genesis_file)


def test_wrong_homes_and_addresses_end_with_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["miner", "status", "--home", str(tmp_path / "none")]) == 3
    assert "gristmill miner init" in capsys.readouterr().err
    create_home(tmp_path / "home", GENESIS)
    assert main(["miner", "run", "--home", str(tmp_path / "home"), *UNREACHABLE[:2]]) == 3
    assert "one replica alone proves nothing" in capsys.readouterr().err


def test_status_tells_what_was_done_and_who_does_not_answer(tmp_path: Path) -> None:
    create_home(tmp_path, GENESIS)
    EventFile(tmp_path).write("registered", {"cycle": 4})
    EventFile(tmp_path).write("training", {"step": 1})
    data = json.loads(run("status", "--home", tmp_path, *UNREACHABLE, "--json"))["data"]
    assert [event["event"] for event in data["events"]] == ["registered"]
    assert data["federation"].startswith("no answer")
    assert "registered" in run("status", "--home", tmp_path, *UNREACHABLE)


def test_benchmark_without_a_federation_ends_with_status_7(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model to measure on comes from the replicas."""
    create_home(tmp_path, GENESIS)
    assert main(["miner", "benchmark", "--home", str(tmp_path), *UNREACHABLE]) == 7


def test_the_command_starts_without_torch() -> None:
    code = "import miner.cli, sys; sys.exit('torch' in sys.modules or 'aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


WITHOUT_TORCH = """
import importlib.util, sys
from gristmill.cli import main
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "torch" else found(name, *more)
sys.exit(main(["miner", "run", "--home", sys.argv[1]]))
"""


def test_without_torch_the_miner_says_what_to_install(tmp_path: Path) -> None:
    create_home(tmp_path, GENESIS)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 69
    assert "gristmill[miner]" in done.stderr


@pytest.mark.integration
async def test_benchmark_and_run_as_a_person_starts_them(tmp_path: Path) -> None:
    """Processes of their own, ended by Ctrl-C, and nothing left behind."""
    import asyncio

    federation = SmallFederation()
    federation.work()
    create_home(tmp_path, federation.genesis)
    async with Doors(federation) as doors:
        addresses = [part for url in doors.urls for part in ("--federation", url)]
        command = [sys.executable, "-m", "gristmill", "miner"]
        measured = await asyncio.create_subprocess_exec(
            *command, "benchmark", "--home", tmp_path, *addresses, "--json", stdout=subprocess.PIPE
        )
        output, _ = await measured.communicate()
        assert json.loads(output)["data"]["units"] == 1
        running = await asyncio.create_subprocess_exec(
            *command, "run", "--home", tmp_path, *addresses, stderr=subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE_S):
            assert running.stderr is not None
            while b"registered cycle=1" not in await running.stderr.readline():
                pass
            children = children_of(running.pid)
            os.kill(running.pid, signal.SIGINT)
            assert await running.wait() == 0
    assert children and not any(runs(child) for child in children)
