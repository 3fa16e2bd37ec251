import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("features", "training", "serving")


def bentofile() -> dict[str, Any]:
    """Read the build file."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    return read


def find_file(name: str) -> Path | None:
    """Return the file of a module of ours."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def imported(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reach() -> tuple[set[Path], set[str]]:
    """Return all files that serving reaches, itself included, and the names of other packages."""
    waiting = [*(ROOT / "serving").rglob("*.py")]
    files, others = set(waiting), set[str]()
    while waiting:
        for name in imported(waiting.pop()):
            package, *_ = name.split(".")
            if package not in ROOMS:
                others.add(package)
                continue
            parts = name.split(".")
            found = {find_file(".".join(parts[: n + 1])) for n in range(len(parts))} - {None} - files
            files |= {path for path in found if path is not None}
            waiting += [path for path in found if path is not None]
    return files, others


def test_files() -> None:
    """The Bento holds every file of ours that serving reaches, and what these read beside them."""
    files, _ = reach()
    data = [*(ROOT / "features").rglob("*.toml"), *(ROOT / "serving" / "templates").iterdir()]
    names = [str(path.relative_to(ROOT)) for path in (*files, *data)]
    patterns = [pattern.replace("**/*", "*") for pattern in bentofile()["include"]]
    assert [name for name in names if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_packages() -> None:
    """The Bento asks for the packages that serving imports, none older than the project allows."""
    _, others = reach()
    listed = {re.split(r"[\[<>=]", line)[0]: line for line in bentofile()["python"]["packages"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    for name, line in listed.items():
        assert line in allowed, name
    known = {"alembic", "bentoml", "duckdb", "fastapi", "lightgbm", "narwhals", "numpy", "polars", "psycopg", "pyarrow"}
    assert {name for name in known | {"jinja2", "pydantic", "scipy", "sqlalchemy"} if name in others} <= set(listed)


def test_image() -> None:
    """The image's health check asks for readiness, and its log is JSON."""
    build = bentofile()
    template = (ROOT / build["docker"]["dockerfile_template"]).read_text(encoding="utf-8")
    assert "HEALTHCHECK" in template
    assert "/readyz" in template
    assert {"name": "LIFESTAGE_LOG_FORMAT", "value": "json"} in build["envs"]
