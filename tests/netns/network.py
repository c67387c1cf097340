"""The hosts' network as whoever made it sees it: orders to the switch, which is a process."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SEED = 1


class Network:
    """The hosts and what lies between them."""

    def __init__(self, hosts: int, seed: int = SEED) -> None:
        self.hosts = range(hosts)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.netns.switch", str(hosts), str(seed)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self.namespaces: list[str] = self._answer()["namespaces"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the switch has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def order(self, do: str, **what: Any) -> dict[str, Any]:
        """Have the switch do something; it is done when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def lines(self, ones: Iterable[int], others: Iterable[int], **what: Any) -> None:
        """Change all directions from one of `ones` to one of `others`."""
        targets = list(others)
        for one in ones:
            for other in targets:
                if one != other:
                    self.order("line", one=one, other=other, **what)

    def spread(self, delay_s: float, jitter_s: float, loss: float) -> None:
        """So far, both ways, is every host from every other."""
        self.lines(self.hosts, self.hosts, delay_s=delay_s, jitter_s=jitter_s, loss=loss)

    def cut(self, ones: Iterable[int], others: Iterable[int]) -> None:
        """Nothing passes between them, either way."""
        left, right = list(ones), list(others)
        self.lines(left, right, open=False)
        self.lines(right, left, open=False)

    def cut_one_way(self, one: int, other: int) -> None:
        """What `one` sends does not reach `other`."""
        self.lines([one], [other], open=False)

    def heal(self) -> None:
        """Nothing is cut any more."""
        self.lines(self.hosts, self.hosts, open=True)

    def close(self) -> None:
        """End the switch; the namespaces go with their last process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
