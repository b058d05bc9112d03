"""`python -m rkyc`, `rkyc`, and the one-file binary: all start here.

A binary starts itself again as the child that runs CPU-bound work (`_child`); everything else is the
command line. `rkyc --help` must be quick, so nothing heavy is imported before a command is chosen.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.argv[1:2] == ["_child"]:
        from rkyc.engine.children import serve_parent

        serve_parent()
        return 0
    from rkyc.cli.program import run_program

    return run_program(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
