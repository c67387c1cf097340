"""The house stands as docs/ARCHITECTURE.md draws it: who imports whom, and who touches the world.

Reads the import statements only; nothing is imported or run.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A package may import itself and what stands to its right of the colon.
MAY_IMPORT: dict[str, set[str]] = {
    "bft": set(),
    "chain": {"bft"},
    "deploy": {"bft", "chain"},
    "miner": {"bft", "chain"},
    "coordinator": {"bft", "chain", "miner", "deploy"},
    "gristmill": {"bft", "chain", "miner", "coordinator", "deploy"},
}
# Pure rooms: same input, same output, on every replica and in every audit.
PURE = (
    "bft/",
    "chain/params.py",
    "chain/epochs.py",
    "chain/network.py",
    "chain/signet/",
    "chain/bitcoin/",
    "chain/records/",
    "chain/rules/",
    "chain/validation.py",
    "chain/tree.py",
    "chain/core_door.py",
    "chain/gossip.py",
    "chain/gossip_events.py",
    "chain/intake.py",
    "chain/peer.py",
    "chain/peers/",
    "chain/snapshot/coin_bytes.py",
    "chain/snapshot/muhash.py",
    "chain/light/follow.py",
    "chain/light/state.py",
    "chain/wallet/words.py",
    "chain/wallet/hdkey.py",
    "chain/wallet/descriptor.py",
    "chain/wallet/psbt.py",
    "chain/wallet/sign.py",
    "chain/wallet/book.py",
    "chain/wallet/build.py",
    "chain/wallet/account.py",
    "chain/audit/",
    "chain/tlog/",
    "miner/session.py",
    "coordinator/cycle/",
    "coordinator/guard/claims.py",
    "coordinator/guard/rules.py",
    "coordinator/guard/text.py",
    "coordinator/blocks.py",
    "coordinator/drafts.py",
    "coordinator/replica.py",
    "coordinator/signing.py",
    "coordinator/log_keys.py",
    "coordinator/catchup.py",
)
# Doors inside a pure room: they read files or sockets and hand bytes in.
EDGES = (
    "chain/audit/artifacts.py",
    "chain/audit/bookmark_file.py",
    "chain/audit/cli.py",
    "chain/audit/evidence_files.py",
    "chain/audit/fetch.py",
    "chain/audit/home.py",
    "chain/audit/report_files.py",
    "chain/audit/run.py",
    "chain/audit/sources.py",
    "chain/audit/spool.py",
)
IMPURE = {
    "aiohttp",
    "asyncio",
    "click",
    "concurrent",
    "datetime",
    "etcd3",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "platform",
    "random",
    "rich",
    "secrets",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "torch",
    "uuid",
    "yaml",
}
# The auditor must not lean on what it audits; torch stays where training is.
NEVER = [
    ("chain/audit/", "coordinator"),
    ("chain/audit/", "bft.pbft"),
    ("chain/audit/", "chain.federation.client"),
    ("chain/rules/", "bft.pbft"),
    ("coordinator/cycle/", "coordinator.service"),
    ("coordinator/cycle/", "coordinator.evaluation"),
    ("bft/crypto/", "bft.pbft"),
    ("bft/crypto/", "bft.dkg"),
    ("bft/ordering/", "bft.pbft"),
]
TORCH_ONLY = ("miner/training/", "coordinator/evaluation/")
ETCD_ONLY = ("deploy/etcd.py",)
# What replicas sign, order and compare is whole numbers.
NO_FLOATS = ("bft/", "chain/records/", "chain/rules/", "coordinator/cycle/")
LINES_MAX = 420


def modules() -> list[str]:
    return sorted(
        p.relative_to(ROOT).as_posix()
        for package in MAY_IMPORT
        for p in (ROOT / package).rglob("*.py")
    )


def is_pure(path: str) -> bool:
    return path.startswith(PURE) and path not in EDGES


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports(path: str) -> Iterator[str]:
    """Dotted names that `path` imports; `from a.b import c` yields a.b and a.b.c."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports whole, not relative"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def graph() -> dict[str, list[str]]:
    """Path of each module -> paths of the modules of ours that it imports."""
    paths = {
        p.removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in modules()
    }
    return {
        path: sorted({paths[n] for n in imports(path) if n in paths} - {path})
        for path in paths.values()
    }


def roads(path: str) -> dict[str, str]:
    """Each module that `path` leans on, at any distance -> how one gets there."""
    found, todo = {path: path}, [path]
    while todo:
        here = todo.pop()
        for there in graph()[here]:
            if there not in found:
                found[there] = f"{found[here]} -> {there}"
                todo.append(there)
    return found


@pytest.mark.parametrize("path", modules())
def test_room_keeps_to_its_floor(path: str) -> None:
    package = path.split("/")[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top in MAY_IMPORT and top != package:
            assert top in MAY_IMPORT[package], (
                f"{path} imports {name}: {package} stands below {top}"
            )
        if is_pure(path):
            assert top not in IMPURE, f"{path} imports {name}: this room is pure"
        if top == "torch":
            assert path.startswith(TORCH_ONLY), f"{path} imports torch"
        if top == "etcd3":
            assert path.startswith(ETCD_ONLY), f"{path} imports etcd3"
        for room, forbidden in NEVER:
            if path.startswith(room):
                assert not (name + ".").startswith(forbidden + "."), f"{path} imports {name}"


@pytest.mark.parametrize("path", [p for p in modules() if is_pure(p)])
def test_a_pure_room_leans_on_nothing_impure_at_any_distance(path: str) -> None:
    for there, road in roads(path).items():
        impure = sorted({name.split(".")[0] for name in imports(there)} & IMPURE)
        assert not impure, f"{road}, which imports {impure}"


def test_no_circles() -> None:
    TopologicalSorter(graph()).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [p for p in modules() if p.startswith(NO_FLOATS)])
def test_no_floats_where_replicas_must_agree(path: str) -> None:
    for node in ast.walk(tree(path)):
        spot = f"{path}:{getattr(node, 'lineno', 0)}"
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), (
            f"{spot}: a float"
        )
        assert not (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)), (
            f"{spot}: write //"
        )
        assert not (isinstance(node, ast.Name) and node.id == "float"), f"{spot}: float()"


@pytest.mark.parametrize("path", modules())
def test_a_file_is_one_idea(path: str) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= LINES_MAX, f"{path} has {lines} lines; what is its second idea?"
