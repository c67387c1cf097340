"""Which decoders there are, read off the source: whoever adds one must add it to the table.

A decoder is a public function whose name begins with decode, open or load and that takes bytes, a
path or a file; and every Record with a TAG, because a TAG means that it travels alone.
"""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from bft.codec.canonical import Record

ROOT = Path(__file__).parents[2]
ROOMS = ("bft", "chain", "miner", "coordinator", "deploy", "gristmill")
VERBS = ("decode", "open", "load")
SOURCES = {"bytes", "Path", "BinaryIO"}

EXEMPT = {
    "bft.dkg.transcript:open_resharing": "makes a transcript from records that are decoded",
    "bft.dkg.transcript:open_session": "makes a transcript from the genesis record",
    "chain.audit.sources:open_directory": "hands files to decode_note and decode_bundle",
    "chain.audit.sources:open_file": "reads by open_archive",
    "coordinator.cycle.phases.membership:open_change": "finds a proposal by its digest",
    "gristmill.config:load": "hands a file to the loader of its kind, each of which is fuzzed",
    "miner.training.jobdir:open_job": "reads records by decode, the model by decode_snapshot",
    "miner.main:open_workshop": "opens what load_home has read",
    "miner.training.model:load_model": "reads by decode_snapshot; needs torch",
}
"""What looks like a decoder and is none, and why."""


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def _takes_outside_bytes(function: ast.FunctionDef) -> bool:
    given = [*function.args.args, *function.args.kwonlyargs]
    return any(
        argument.annotation is not None and ast.unparse(argument.annotation) in SOURCES
        for argument in given
    )


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


def decoders() -> set[str]:
    """ "module:function" of every decoder in the source, without the exempt ones."""
    found = set()
    for module, tree in _modules():
        for name, function in _functions(tree.body, ""):
            verb = name.rpartition(".")[2].split("_")[0]
            if verb in VERBS and _takes_outside_bytes(function):
                found.add(f"{module}:{name}")
    return found - EXEMPT.keys()


def _has_tag(node: ast.ClassDef) -> bool:
    return any(
        isinstance(target, ast.Name) and target.id == "TAG"
        for statement in node.body
        for target in (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
    )


def tagged_records() -> dict[str, type[Record]]:
    """Every Record with a TAG, by "module:class"."""
    found: dict[str, type[Record]] = {}
    for module, tree in _modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and _has_tag(node):
                kind = getattr(importlib.import_module(module), node.name)
                if isinstance(kind, type) and issubclass(kind, Record) and kind.TAG:
                    found[f"{module}:{node.name}"] = kind
    return found
