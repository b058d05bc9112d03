#!/bin/sh
# Make .venv with everything that `make demo` and `make test` need, from wheels alone.
#
#   sh scripts/setup.sh [GROUP]     GROUP: a dependency group of pyproject.toml (default: dev)
#
# Uses uv when it works here, else Python's own venv and pip. Takes the newest Python >= 3.11 of those on
# PATH; PYTHON=/path/to/python chooses another. Needs no rights and nothing from the system but Python.
set -eu
cd "$(dirname "$0")/.."
group=${1:-dev}

# Nothing of another environment may leak in; bytecode and caches go where they usually go.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV CONDA_PREFIX || true
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

# Shims of version managers are on PATH even where they lead nowhere: only running one tells.
have_uv() { uv --version >/dev/null 2>&1; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
    lacking=
    for candidate in ${PYTHON:+"$PYTHON"} python3.14 python3.13 python3.12 python3.11 python3 python; do
        is_new_enough "$candidate" || continue
        if have_uv || can_make_venv "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
        lacking=$candidate
    done
    if [ -n "$lacking" ]; then
        say "$lacking can't make virtual environments: install its venv module (Debian: python3-venv) or uv"
        exit 1
    fi
    # uv brings a Python of its own where it may.
    if have_uv; then
        printf '>=3.11'
        return
    fi
    say "no Python >= 3.11 found on PATH (looked for python3.14 to python3.11, python3, python):"
    say "install one, or say where it is: make PYTHON=/path/to/python3.11 demo"
    exit 1
}

if ! { [ "$group" != dev ] && [ -x .venv/bin/python ]; }; then
    python=$(find_python)
    say "setting up .venv with $python$(have_uv && printf ' and uv' || true): a minute or two, once"
    rm -rf .venv
    if have_uv; then
        uv venv --quiet --python "$python" .venv
    else
        "$python" -m venv .venv
    fi
fi

# The group's requirements as a file: pip before 25.1 knows no groups.
.venv/bin/python - "$group" >".venv/$group.txt" <<'PYTHON'
import sys, tomllib

with open("pyproject.toml", "rb") as file:
    print("\n".join(tomllib.load(file)["dependency-groups"][sys.argv[1]]))
PYTHON

# Wheels only: what builds from source may need a compiler, or run anyone's code. Our own build
# backend is a wheel too.
if have_uv; then
    # A HOME that can't be written is no reason to fail.
    uv cache dir >/dev/null 2>&1 && [ -w "${HOME:-/}" ] || export UV_NO_CACHE=1
    uv pip install --quiet --python .venv/bin/python --only-binary :all: --no-binary rkyc \
        -e '.[all]' -r ".venv/$group.txt"
else
    .venv/bin/python -m pip install --quiet --only-binary :all: -e '.[all]' -r ".venv/$group.txt"
fi
pwd -P >".venv/.$group-ready"
