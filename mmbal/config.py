"""Typed configuration: pydantic models that refuse unknown keys, YAML in and out, dotted overrides."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every configuration: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")
