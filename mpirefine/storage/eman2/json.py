"""EMAN2's JSON files: plain dicts, in which a Transform and a CTF are dicts with a `__class__`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mpirefine.storage.places import shortened


def from_json(text: str) -> Any:
    """JSON with EMAN2's objects: a Transform becomes a (3, 4) float32 array; a CTF stays the dict of its fields.
    ValueError when it cannot be parsed.
    """
    try:
        return json.loads(text, object_hook=_decode_object)
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None


def _decode_object(found: dict[str, Any]) -> Any:
    if found.get("__class__") != "Transform":
        return found
    matrix = found.get("matrix", "")
    try:
        return np.array(json.loads(matrix) if isinstance(matrix, str) else matrix, np.float32).reshape(3, 4)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a Transform needs a matrix of 3 x 4 numbers, not {shortened(matrix)}") from None


def to_json(value: Any) -> Any:
    """A value that json.dumps takes: (3, 4) arrays become EMAN2's Transforms, other arrays lists."""
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray) and value.shape == (3, 4):
        return {"__class__": "Transform", "matrix": "[" + ",".join(f"{x:.9g}" for x in value.ravel().tolist()) + "]"}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
