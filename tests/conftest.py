"""Fixtures for every room."""

from __future__ import annotations

from materials_project_server import server

__all__ = ["server"]
