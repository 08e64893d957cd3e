"""From anyone's media, features or predictions to arrays: manifests, decoding, stores, batches.

The names below are imported when they are first used, so that reading a predictions file needs no media library.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Batch": "store.loader",
    "Loader": "store.loader",
    "ModalitySpec": "store.store",
    "Preparation": "prepare",
    "Store": "store.store",
    "embedded_store": "prepare",
    "latest_store": "store.store",
    "prepare": "prepare",
    "write_view": "store.store",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
