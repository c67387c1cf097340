"""An audit's result as files for machines and people.

Edge: writes files.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bft.errors import ConfigError
from chain.audit.blocks import Chain
from chain.audit.findings import plain_cycle
from chain.audit.html import pages
from chain.audit.noted import Noted
from chain.audit.run import Result
from chain.audit.split import Copy
from chain.rules.founding import open_genesis


def json_parts(result: Result) -> Iterator[str]:
    """{"ok": ..., "data": the whole report}, in parts: cycles are read one by one."""
    report = result.report
    data = report.to_json()
    del data["cycles"]
    data["copies"] = [_plain_copy(copy) for copy in result.others]
    data["checkpoints"] = [_plain_note(noted) for noted in result.notes]
    data["chains"] = [_plain_chain(chain) for chain in result.chains]
    whole = json.dumps({"ok": report.passed, "data": data})
    yield whole.removesuffix("}}") + ', "cycles": ['
    for number, cycle in enumerate(result.cycles()):
        yield (", " if number else "") + json.dumps(plain_cycle(cycle))
    yield "]}}"


def check_place(path: Path) -> None:
    """Returns if a file can be made there.  Raises ConfigError."""
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a directory" if path.is_dir() else f"there is no directory {path.parent}"
        raise ConfigError(f"--html {path}: {why}")


def write_html(path: Path, result: Result, *, pinned: bool) -> None:
    """One self-contained page.

    Args:
        pinned: the reader said which chain this has to be.

    Raises:
        ConfigError: it cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    members = open_genesis(result.genesis).members
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(
                pages(
                    result.report,
                    result.cycles(),
                    result.others,
                    result.notes,
                    _date,
                    result.chains,
                    [member.operator.decode("utf-8", "replace") for member in members],
                    pinned=pinned,
                )
            )
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"--html {path}: {error.strerror}") from None


def _date(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain_copy(copy: Copy) -> dict[str, Any]:
    return {
        "url": copy.name,
        "state": copy.state,
        "text": copy.text,
        "common_entries": copy.common.size,
        "common_root": copy.common.root().hex(),
    }


def _plain_chain(chain: Chain) -> dict[str, Any]:
    told = {"url": chain.name, "state": chain.state, "text": chain.text}
    return {**told, "first_block": chain.first, "last_block": chain.last}


def _plain_note(noted: Noted) -> dict[str, Any]:
    return {
        "source": noted.source,
        "size": noted.size,
        "root": noted.root.hex(),
        "publisher": noted.publisher.hex(),
        "epoch": noted.epoch,
        "cosigners": list(noted.cosigners),
        "members": noted.members,
        "newest_s": noted.newest_s,
        "federation": noted.federation,
    }
