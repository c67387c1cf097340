"""What a segment holds: docs/PROTOCOL.md, section 12."""

from math import prod
from typing import Any

LOCAL_HEADS, JOINT, SHARD, DATA_PARALLEL = range(4)
Shapes = dict[str, tuple[int, ...]]


def sizes(job: dict[str, Any]) -> dict[str, int]:
    """By name."""
    return {size["name"].decode(): size["value"] for size in job["sizes"]}


def stem(job: dict[str, Any]) -> Shapes:
    """Before the first layer."""
    size = sizes(job)
    if job["family"] != b"gpt":
        return {}
    width = size["width"]
    return {
        "embedding.tokens": (256, width),
        "embedding.positions": (size["context"], width),
    }


def layer(job: dict[str, Any], n: int) -> Shapes:
    """Layer n's tensors."""
    size, family = sizes(job), job["family"]
    width = size["width"]
    if family == b"mlp":
        before = width if n else size["inputs"]
        return {f"block.{n}.weight": (width, before), f"block.{n}.bias": (width,)}
    if family == b"cnn":
        before = width if n else size["channels"]
        return {f"block.{n}.weight": (width, before, 3, 3), f"block.{n}.bias": (width,)}
    parts = {
        "norm1": (width,),
        "attention": (3 * width, width),
        "projection": (width, width),
        "norm2": (width,),
        "up": (4 * width, width),
        "down": (width, 4 * width),
    }
    found: Shapes = {}
    for name, shape in parts.items():
        found[f"block.{n}.{name}.weight"] = shape
        found[f"block.{n}.{name}.bias"] = shape[:1]
    return found


def head(job: dict[str, Any], name: str) -> Shapes:
    """A head's tensors."""
    size, family = sizes(job), job["family"]
    width = size["width"]
    if family == b"mlp":
        return {f"{name}.weight": (size["classes"], width), f"{name}.bias": (size["classes"],)}
    if family == b"cnn":
        classes = size["classes"]
        return {f"{name}.weight": (classes, 16 * width), f"{name}.bias": (classes,)}
    found: Shapes = {f"{name}.norm.weight": (width,), f"{name}.norm.bias": (width,)}
    return found if size["tied"] else found | {f"{name}.weight": (256, width)}


def segment(job: dict[str, Any], s: int) -> Shapes:
    """The tensors of segment s."""
    depth, segments, mode = sizes(job)["depth"], job["segments"], job["mode"]
    if mode in (SHARD, DATA_PARALLEL):
        whole = stem(job) | head(job, "head")
        for n in range(depth):
            whole |= layer(job, n)
        return _shards(whole, segments)[s]
    found = stem(job) if s == 0 else {}
    for n in range(s * depth // segments, (s + 1) * depth // segments):
        found |= layer(job, n)
    if s == segments - 1:
        found |= head(job, "head")
    elif mode == LOCAL_HEADS:
        found |= head(job, f"auxiliary.{s}")
    return found


def _shards(whole: Shapes, count: int) -> list[Shapes]:
    dealt: list[Shapes] = [{} for _ in range(count)]
    for name in sorted(whole, key=lambda name: (-prod(whole[name]), name)):
        lightest = min(range(count), key=lambda s: (weights(dealt[s]), s))
        dealt[lightest][name] = whole[name]
    return dealt


def weights(shapes: Shapes) -> int:
    """Their number."""
    return sum(prod(shape) for shape in shapes.values())
