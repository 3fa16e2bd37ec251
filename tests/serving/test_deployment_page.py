import configparser
import json
import logging
import re
import shlex
from pathlib import Path
from typing import Any

import typer.main
import yaml  # type: ignore[import-untyped]  # its types are a package of their own
from prometheus_client import CollectorRegistry

import lifestage
from serving.http.scrape import write_metrics
from serving.server import STOP_SECONDS
from serving.service import REQUEST_TIMEOUT_SECONDS
from serving.state import LiveState, ServingState
from serving.telemetry.logs import JsonFormatter
from serving.telemetry.metrics import Metrics

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    """Return a block of the page."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return blocks[number]


def test_unit() -> None:
    """The unit's command is one that the command line understands, and it may take as long to end as it can."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(block("ini"))
    program, name, *arguments = shlex.split(unit["Service"]["ExecStart"])
    group: Any = typer.main.get_command(lifestage.app)
    assert program.endswith("/lifestage")
    assert group.commands[name].make_context(name, arguments).params["workers"] == 2
    assert int(unit["Service"]["TimeoutStopSec"]) > STOP_SECONDS > REQUEST_TIMEOUT_SECONDS


def test_metrics(visited_state: ServingState) -> None:
    """The page lists every metric that there is, and its rules ask for no other."""
    scraped = write_metrics(LiveState(visited_state), {}).decode() + _counted()
    there = {name for line in scraped.splitlines() if line.startswith("# TYPE") for name in [line.split()[2]]}
    listed = set(re.findall(r"^\| `(lifestage_\w+)`", PAGE, re.MULTILINE))
    assert listed == {name for name in there if name.startswith("lifestage_") and not name.endswith("_created")}
    rules = [rule["expr"] for group in yaml.safe_load(block("yaml", 1))["groups"] for rule in group["rules"]]
    asked = {name.removesuffix("_bucket") for rule in rules for name in re.findall(r"\blifestage_\w+", rule)}
    assert asked <= listed


def _counted() -> str:
    registry = CollectorRegistry()
    Metrics(registry)
    return "".join(f"# TYPE {family.name}{'_total' * (family.type == 'counter')} -\n" for family in registry.collect())


def test_log_line() -> None:
    """The line of the log that the page shows has the fields of one that is written."""
    record = logging.LogRecord("bentoml.lifestage.access", logging.INFO, "", 0, "request", None, None)
    shown = json.loads(block("json"))
    fields = {name: value for name, value in shown.items() if name not in {"ts", "level", "logger", "event", "pid"}}
    record.lifestage = fields
    assert [*json.loads(JsonFormatter().format(record))] == [*shown]


def test_proxy() -> None:
    """The proxy logs no query string, and takes the bodies that the service takes."""
    config = block("nginx")
    assert "$request " not in config
    assert "$args" not in config
    assert "client_max_body_size 4m" in config
