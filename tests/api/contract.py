"""Schemathesis against a server and its own OpenAPI document: does it keep what it says?

The document is the one that the server serves, with examples that exist put into it, so that routes
answer with more than 404.  The stream of events has no end and is left to tests of its own.
"""

import asyncio
import copy
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp

from chain.federation import api, openapi

GRACE_S = 120.0  # beyond its budget schemathesis may take so long to shrink and to say what it saw
REQUEST_S = 30  # one request's answer; longer than a request for consensus may wait
EXAMPLES_MAX = 10_000  # of one operation: the budget ends it before

# Signed and canonical bodies cannot be described in JSON Schema: random bytes fit the schema and
# are refused all the same.  What may be said to them is in each operation's responses.
REFUSED = ["400", "403", "404", "409", "413", "415", "416", "422", "429", "503"]
SETTINGS = f"""
[checks.positive_data_acceptance]
expected-statuses = {["2xx", "304", *REFUSED]}

[checks.negative_data_rejection]
expected-statuses = {["405", "411", *REFUSED]}
"""


def with_examples(document: Mapping[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    """`document`, in which parameters have these examples, by the names in its components."""
    told = copy.deepcopy(dict(document))
    for name, value in examples.items():
        told["components"]["parameters"][name]["example"] = value
    return told


async def described(url: str) -> dict[str, Any]:
    """The document that the server at `url` serves."""
    async with aiohttp.ClientSession() as session, session.get(url + openapi.JSON_PATH) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def check(
    url: str,
    examples: Mapping[str, Any],
    root: Path,
    seed: int,
    budget_s: float,
    excluded: Sequence[str] = (api.EVENTS,),
    included: Sequence[str] = (),
    fixed: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Whether the server at `url` kept its contract; what schemathesis saw goes to stdout.

    Args:
        root: a directory for its files.
        excluded: paths; a stream of events has no end.
        included: paths, if not all others.
        fixed: parameters that are never anything else, as "header.NAME" or "path.NAME".
    """
    document, settings = root / "openapi.json", root / "schemathesis.toml"
    document.write_text(json.dumps(with_examples(await described(url), examples)))
    lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in fixed.items()]
    settings.write_text("\n".join(["[parameters]", *lines, SETTINGS]))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings)),
        *("run", str(document), "--url", url, "--seed", str(seed), "--no-color"),
        *("--max-time", str(max(1, int(budget_s))), "--max-examples", str(EXAMPLES_MAX)),
        *("--phases", "examples,coverage,fuzzing", "--checks", "all"),
        *("--request-timeout", str(REQUEST_S), "--continue-on-failure", "--warnings", "off"),
        *("--generation-database", "none", "--workers", "1"),
        *(part for path in excluded for part in ("--exclude-path", path)),
        *(part for path in included for part in ("--include-path", path)),
    ]
    process = await asyncio.create_subprocess_exec(*command, cwd=root)
    try:
        async with asyncio.timeout(budget_s + GRACE_S):
            return await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
