"""Integer tensors <-> the one safetensors file that holds them.

Digests of models and updates must not depend on a library's version, so the file is written here:
header keys sorted and without spaces, padded to 8 bytes, data little-endian and contiguous in the
order of the names.  A layout therefore has exactly one header, and reading is one comparison; a
header that differs is parsed only to say how.
Source: safetensors format (8-byte little-endian header length, JSON header, data).
Pure.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bft.errors import DecodeError

TensorSpec = tuple[str, tuple[int, ...]]
"""Data type ("I8", "U8" or "I32") and shape."""
Tensor = NDArray[np.integer[Any]]
"""int8, uint8 or int32."""

HEADER_BYTES_MAX = 64 * 1024
_LENGTH_BYTES = 8
_ALIGNMENT = 8
_NAMED_MAX = 3  # names that an error text shows
_HEADERS_CACHED_MAX = 128
_SHOWN_MAX = 60  # characters of one value that an error text shows
_DTYPES: dict[str, np.dtype[np.integer[Any]]] = {
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "I32": np.dtype(np.int32).newbyteorder("<"),
}


def file_bytes(layout: Mapping[str, TensorSpec]) -> int:
    """Size of the one file that has this layout."""
    return _LENGTH_BYTES + len(_header(layout)) + sum(map(_data_bytes, layout.values()))


def file_head(layout: Mapping[str, TensorSpec]) -> bytes:
    """What every file of this layout begins with: the header's length and the header."""
    header = _header(layout)
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header


def encode_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """The file's bytes.  Raises ValueError: a tensor is not int8, uint8 or int32."""
    layout: dict[str, TensorSpec] = {}
    for name in sorted(tensors):
        dtype = tensors[name].dtype.newbyteorder("<")
        found = [key for key in sorted(_DTYPES) if _DTYPES[key] == dtype]
        if not found:
            kinds = "int8, uint8 or int32"
            raise ValueError(f"tensor {name!r} is {tensors[name].dtype}; it must be {kinds}")
        layout[name] = (found[0], tensors[name].shape)
    data = (tensors[name].astype(_DTYPES[layout[name][0]]).tobytes() for name in sorted(layout))
    return file_head(layout) + b"".join(data)


def decode_tensors(data: bytes, expected: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
    """The tensors of a file that has exactly the expected names, types and shapes.

    Returns:
        Read-only arrays over `data`, by name.

    Raises:
        DecodeError: truncated, too long, or any other header than the layout's own.
    """
    header = _header(expected)
    start = header_bytes(data)
    if data[_LENGTH_BYTES:start] != header:
        raise DecodeError(_difference(data[_LENGTH_BYTES:start], expected))
    size = start + sum(map(_data_bytes, expected.values()))
    if len(data) != size:
        raise DecodeError(f"{len(data)} bytes came; this layout has {size}")
    tensors: dict[str, Tensor] = {}
    for name in sorted(expected):
        kind, shape = expected[name]
        flat = np.frombuffer(data, dtype=_DTYPES[kind], count=prod(shape), offset=start)
        tensors[name] = flat.reshape(shape)
        start += _data_bytes(expected[name])
    return tensors


def header_bytes(data: bytes) -> int:
    """Where the data begins, by the file's own announcement.

    Raises:
        DecodeError: truncated, or a longer header than HEADER_BYTES_MAX.
    """
    if len(data) < _LENGTH_BYTES:
        raise DecodeError(f"{len(data)} bytes came; a tensor file starts with {_LENGTH_BYTES}")
    announced = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if announced > HEADER_BYTES_MAX:
        raise DecodeError(f"header of {announced} bytes; at most {HEADER_BYTES_MAX} allowed")
    start = _LENGTH_BYTES + announced
    if len(data) < start:
        raise DecodeError(f"{len(data)} bytes came; the header alone ends at {start}")
    return start


def _data_bytes(spec: TensorSpec) -> int:
    return prod(spec[1]) * _DTYPES[spec[0]].itemsize


def _header(layout: Mapping[str, TensorSpec]) -> bytes:
    """The layout's own header, padded with spaces."""
    return _spelled(tuple(sorted(layout.items())))


@lru_cache(maxsize=_HEADERS_CACHED_MAX)
def _spelled(layout: tuple[tuple[str, TensorSpec], ...]) -> bytes:
    fields, offset = {}, 0
    for name, (kind, shape) in layout:
        end = offset + _data_bytes((kind, shape))
        fields[name] = {"data_offsets": [offset, end], "dtype": kind, "shape": list(shape)}
        offset = end
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
    padded = text + b" " * (-len(text) % _ALIGNMENT)
    if len(padded) > HEADER_BYTES_MAX:
        raise ValueError(
            f"layout needs a header of {len(padded)} bytes; {HEADER_BYTES_MAX} allowed"
        )
    return padded


def _difference(header: bytes, expected: Mapping[str, TensorSpec]) -> str:
    """What is wrong with a header that is not the expected one."""
    try:
        found = json.loads(header.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        return f"tensor header is no JSON object: {_shown(error)}"
    if not isinstance(found, dict):
        return f"tensor header is a {type(found).__name__}; it must be a JSON object"
    missing = [name for name in sorted(expected) if name not in found]
    extra = [name for name in sorted(found) if name not in expected]
    if missing or extra:
        return f"tensors missing: {_listed(missing)}; not expected: {_listed(extra)}"
    for name in sorted(expected):
        kind, shape = expected[name]
        came = found[name] if isinstance(found[name], dict) else {}
        if came.get("dtype") != kind:
            return f"tensor {name!r} is {_shown(came.get('dtype'))}; it must be {kind}"
        if came.get("shape") != list(shape):
            return f"tensor {name!r} has shape {_shown(came.get('shape'))}; it must be {shape}"
    return "tensor header has other offsets, order or spelling than the canonical one"


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key appears twice")
    return fields


def _listed(names: list[str]) -> str:
    shown = ", ".join(_shown(repr(name)) for name in names[:_NAMED_MAX]) or "none"
    return shown if len(names) <= _NAMED_MAX else f"{shown} and {len(names) - _NAMED_MAX} more"


def _shown(value: object) -> str:
    return str(value)[:_SHOWN_MAX]
