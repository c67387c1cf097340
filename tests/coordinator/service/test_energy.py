"""What a replica says that it used: over HTTP, on its page, in `gristmill energy`."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
from click.testing import CliRunner

from chain.energy.cli import energy
from chain.federation import api
from coordinator.service.energy import own_cpu_ms
from tests.coordinator.service.mill import BUSY, running

BURN = (
    "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
)


def test_cpu_time_of_workers_that_still_run_counts() -> None:
    before = own_cpu_ms()
    with subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        assert own_cpu_ms() - before >= 290
        worker.communicate()
    assert own_cpu_ms() - before >= 290, "nor is it lost when they end"


async def test_a_replica_tells_what_each_cycle_used(tmp_path: Path) -> None:
    async with running(tmp_path, 1, BUSY) as mill, aiohttp.ClientSession() as session:
        await mill.until(lambda: mill.state().cycle > 3)
        async with session.get(mill.urls[0] + api.ENERGY) as answer:
            told = await answer.json()
        cycles = [line["cycle"] for line in told["cycles"]]
        assert cycles[:3] == [1, 2, 3]
        for line in told["cycles"]:
            assert line["wall_ms"] >= 0 and line["cpu_ms"] >= 0
            if line["estimated"]:
                assert line["energy_mj"] == line["cpu_ms"] * told["watts_per_core"]
        async with session.get(mill.urls[0] + "/cycles/2") as answer:
            page = await answer.text()
        assert "this replica, joules" in page and "training, joules" not in page
        picture = tmp_path / "energy.svg"
        asked = ["--url", mill.urls[0], "--json", "--plot", str(picture)]
        done = await asyncio.to_thread(CliRunner().invoke, energy, asked)
        report = json.loads(done.output)
        assert report["ok"] and report["first_cycle"] == 1 and report["blocks"] == 0
        assert report["replicas_told"] == 1 and report["joules_per_block"] is None
        assert picture.read_text().startswith("<svg")
