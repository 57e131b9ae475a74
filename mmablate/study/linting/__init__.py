"""Warnings about a study before it is trained: rows that cannot mean what they look like."""

from mmablate.study.linting.checks import lint

__all__ = ["lint"]
