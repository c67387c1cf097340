"""Makes docs/images from a real run: `python -m tests.pictures` (two minutes or so).

A demonstration runs; its lines become demo.svg, and while its processes work they are looked at
with what everybody has: a browser, `gristmill monitor`, `gristmill energy`.  Needs Chromium, Node
and `npm install` in tests/interop.
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from chain.monitor.ask import Asker
from chain.monitor.screen import Monitor
from chain.node.config import load_config, load_genesis, member_url
from gristmill.demo.observer import Picture
from gristmill.demo.orphans import adopt_orphans, wait_for_all
from gristmill.demo.plan import Fault, Plan
from gristmill.demo.run import Demonstration
from gristmill.demo.story import Story
from tests.interop.tools import CHROMIUM, HERE, NODE, ROOT
from tests.pictures.recording import animated

CYCLES, RECORDED = 11, 3
LOOK_S = 120
FONT_FACE = re.compile(r"@font-face\s*{[^}]*}")
"""Of other people's servers; the picture stands alone and falls back to any monospaced font."""
IMAGES = ROOT / "docs" / "images"


class Recorder:
    """A view of the demonstration that keeps its lines, and takes pictures near the end."""

    def __init__(self, plan: Plan, images: Path) -> None:
        self._plan, self._images = plan, images
        self._start = time.monotonic()
        self.lines: list[tuple[float, str]] = []
        self._recording, self._taken = True, False

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        """Keep it; late in the run, look at everything while the processes work on."""
        at_s = time.monotonic() - self._start
        print(f"{at_s:6.1f} s  {line}", file=sys.stderr)
        self._recording = self._recording and not line.startswith(f"cycle {RECORDED + 1}:")
        if self._recording:
            shown = line.replace(str(self._plan.home), "demo")
            self.lines.append((at_s, f"{at_s:6.1f} s  {shown}"))
        if line.startswith(f"cycle {CYCLES}:") and not self._taken:
            self._taken = True
            self._take()

    def show(self, picture: Picture, story: Story) -> None:
        """Nothing: the lines say it."""

    def _take(self) -> None:
        plan, images = self._plan, self._images
        genesis = load_genesis(plan.replica_home(0) / "genesis.bin")
        urls = [member_url(member.api) for member in genesis.members]
        node = f"http://{load_config(plan.node_home(0) / 'node.yaml').http}"
        pages: list[str | Path] = [f"{urls[0]}/", images / "now.png", f"{node}/"]
        pages += [images / "chain.png", f"{urls[0]}/cycles/{CYCLES - 1}", images / "cycle.png"]
        _run(str(NODE), HERE / "shot.mjs", str(CHROMIUM), *pages)
        here = [sys.executable, "-m"]
        _run(*here, "tests.pictures", "--monitor", images / "monitor.svg", *urls)
        asked = [word for url in urls for word in ("--url", url)]
        _run(*here, "gristmill", "energy", *asked, "--plot", images / "energy.svg")


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, timeout=LOOK_S)


async def _look(urls: list[str], to: Path) -> None:
    """gristmill monitor's screen, as it is after two looks."""
    async with aiohttp.ClientSession() as session:
        app = Monitor(Asker(session, tuple(urls)), every_s=LOOK_S)
        async with app.run_test(size=(128, 38)) as pilot, asyncio.timeout(LOOK_S):
            await app.workers.wait_for_complete()
            await pilot.press("r")
            await app.workers.wait_for_complete()
            await pilot.pause()
            picture = app.export_screenshot(title="gristmill monitor")
            to.write_text(FONT_FACE.sub("", picture), encoding="utf-8")


def main() -> None:
    """All pictures, or the monitor's alone."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES, help="directory (docs/images)")
    parser.add_argument("--monitor", type=Path, help="only the monitor, into this file")
    parser.add_argument("urls", nargs="*", help="replicas, for --monitor")
    arguments = parser.parse_args()
    if arguments.monitor is not None:
        asyncio.run(_look(arguments.urls, arguments.monitor))
        return
    if NODE is None or CHROMIUM is None:
        parser.error("Node and Chromium are needed")
    home = Path(tempfile.mkdtemp(prefix="gristmill-pictures-"))
    plan = Plan(replicas=4, miners=6, nodes=2, cycles=CYCLES, fault=Fault.NONE, home=home)
    recorder = Recorder(plan, arguments.into)
    adopt_orphans()
    try:
        Demonstration(plan, recorder).run()
    finally:
        wait_for_all()
        shutil.rmtree(home, ignore_errors=True)
    text = animated("$ ./run demo --plain", recorder.lines)
    (arguments.into / "demo.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
