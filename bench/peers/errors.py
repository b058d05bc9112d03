"""The one error of this folder: what keeps a rival from being measured."""

from __future__ import annotations


class RivalError(Exception):
    """A rival that can't be installed, run or asked; the others are measured all the same."""
