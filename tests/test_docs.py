"""The documents: examples run, tables are the code's own, and what is named exists.

`python -m tests.test_docs` writes the generated tables anew.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main

import lifestage
from features import errors
from features.catalogue import GROUPS
from features.errors import LifestageError, QuarantineShareError
from features.intake.quarantine import REASONS, Reason
from features.intake.rules.event_checks import EVENT_REASONS
from features.intake.rules.event_types import load_event_types
from features.lifecycle.stages import SCALE, STAGES
from features.settings import load_settings
from features.table import FEATURES
from serving.columns import COLUMNS
from serving.scoring import FLAGS
from serving.state import ServingState
from serving.store.score_store import ScoreStore, sqlite_url
from serving.wording import build_wording
from training.bundle import Bundle
from training.evaluation.ladder import OURS, RUNGS

ROOT = Path(__file__).resolve().parent.parent
README, CONTRIBUTING, GLOSSARY, EVALUATION = "README.md", "CONTRIBUTING.md", "GLOSSARY.md", "docs/evaluation.md"
PAPERS = (
    *(README, CONTRIBUTING, GLOSSARY, "CHANGELOG.md", "experiments/README.md", EVALUATION),
    *("docs/api.md", "docs/data.md", "docs/features.md", "docs/vocabularies.md", "docs/segments.md", "docs/metrics.md"),
    *("docs/history.md", "docs/value.md", "docs/churn.md", "docs/reasons.md"),
    *("docs/store.md", "docs/people.md", "docs/security.md", "docs/deployment.md"),
)

_GENERATED = re.compile(r"(?<=<!-- generated )(\w+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SETTING = re.compile(r"`(\w+)\.(\w+) = ([^`]+)`")
_MAKE = re.compile(r"`make ([a-z-]+)|^make ([a-z-]+)", re.MULTILINE)
_MACHINE_PATH = re.compile(r"(?<![\w.:/}<-])/(?:tmp|work|root|home|Users|mnt|opt|srv|var)/|[A-Z]:\\")


def _read(paper: str) -> str:
    return (ROOT / paper).read_text(encoding="utf-8")


def _blocks(paper: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", _read(paper), re.DOTALL | re.MULTILINE)


def _section(paper: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    return re.split(r"^#+ ", _read(paper).split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def _rows(markdown: str) -> list[list[str]]:
    """Return the cells of a table's rows, without its head."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def _commands() -> Iterator[str]:
    """Yield every lifestage command of the documents, from examples and from sentences."""
    for paper in PAPERS:
        examples = "".join(_blocks(paper, "sh")).splitlines()
        prose = re.sub(r"^ *```.*?^ *```$", "", _read(paper), flags=re.DOTALL | re.MULTILINE)
        for text in (*examples, *_quoted(prose)):
            words = shlex.split(text, comments=True) if text.startswith("lifestage ") else []
            if words:
                yield shlex.join(words[1:])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def _write_tables() -> dict[str, str]:
    """Return the generated tables by their names in the documents."""
    return {
        "columns": _table(
            ("column", "holds", "meaning"),
            [(f"`{c.name}`", f"{c.kind}{', or nothing' if c.nullable else ''}", c.meaning) for c in COLUMNS],
        ),
        "event_reasons": _reasons(EVENT_REASONS),
        "event_types": _table(
            ("event type", "meaning", "value"),
            [(f"`{t.name}`", t.meaning, t.value) for t in load_event_types().values()],
        ),
        "features": "".join(f"\n### {group}\n\n{_features(group)}" for group in GROUPS),
        "flags": _table(("flag", "meaning"), [(f"`{code}`", meaning) for code, meaning in FLAGS.items()]),
        "reasons": _reasons(REASONS),
        "rungs": _table(("rung", "says"), [(f"`{name}`", says) for name, says in RUNGS.items()]),
    }


def _reasons(reasons: Sequence[Reason]) -> str:
    return _table(("reason", "meaning", "what to do"), [(f"`{r.code}`", r.meaning, r.remedy) for r in reasons])


def _features(group: str) -> str:
    """Return the table of one group; the column of needs stands only where something is needed."""
    features = [f for f in FEATURES if f.group == group]
    rows = [
        (f"`{f.name}`", f.unit, f.meaning, f.null_rule or "never", ", ".join(f.needs) or "orders") for f in features
    ]
    return _table(("feature", "unit", "meaning", "null when", "needs"), rows)


def _shape(value: Any) -> Any:
    """Reduce JSON to its keys and types; a list is the shape of its first element and its length."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(value[0]), len(value)] if value else []
    return type(value)


def _request() -> dict[str, Any]:
    [curl] = [block for block in _blocks(README, "sh") if block.startswith("curl")]
    words = shlex.split(curl)
    body: dict[str, Any] = json.loads(words[words.index("-d") + 1])
    return body


def _answer() -> dict[str, Any]:
    [block] = _blocks(README, "json")
    answer: dict[str, Any] = json.loads(block)
    return answer


def test_request(bundle: Bundle, tmp_path: Path) -> None:
    """The README's request is answered over HTTP with the keys, the order of keys and the types that it shows."""
    from tests.serving.local_client import build_client

    with ScoreStore.open(sqlite_url(tmp_path / "scores.db")) as store:
        settings = load_settings()
        state = ServingState(
            settings=settings.serving,
            lifecycle=settings.lifecycle,
            wording=build_wording(settings.lifecycle),
            store=store,
            champion=bundle,
            keys=None,
        )
        response = build_client(state).post("/v1/score", json=_request())
    assert response.status_code == 200
    answer, shown = response.json(), _answer()
    answer["scores"][0]["flags"] = shown["scores"][0]["flags"]  # which flags apply depends on the model
    assert _shape(answer) == _shape(shown)
    assert [*answer["scores"][0]] == [*shown["scores"][0]]
    assert answer["not_scored"] == shown["not_scored"]


def test_answer() -> None:
    """The README's answer agrees with its request and with itself, up to rounding."""
    [score], customers = _answer()["scores"], _request()["customers"]
    assert score["historic_value"] == pytest.approx(sum(order["amount"] for order in customers[0]["orders"]))
    assert sum(score["p_next_stage"].values()) == pytest.approx(1.0, abs=5e-4)
    assert sum(score["clv_by_month"]) == pytest.approx(score["clv_12m"], abs=0.1)
    assert score["value_at_risk"] == pytest.approx(score["p_churn"] * score["clv_12m"], abs=0.02)
    assert score["p_next_stage"]["at_risk"] >= score["p_churn"] >= 1.0 - score["p_alive"]


@pytest.mark.parametrize("command", sorted(set(_commands())))
def test_command(command: str) -> None:
    """Every command in the documents is one that the command line understands."""
    group: Any = typer.main.get_command(lifestage.app)
    name, *arguments = shlex.split(command)
    assert name in group.commands
    assert group.commands[name].make_context(name, arguments or _least(name)).params


def _least(name: str) -> list[str]:
    """Return what a command takes at least, for sentences that only name it."""
    orders = ["--orders", "orders.csv"] if name in {"validate", "train", "backtest", "score", "history"} else []
    as_of = ["--as-of", "2026-07-01"] if name in {"score", "history"} else []
    person = ["--customer-id", "c-17"] if name in {"erase", "object"} else []
    return [*orders, *as_of, *person, *(["crm"] if name == "keys" else [])]


def test_every_command() -> None:
    """Every command that there is stands in the documents."""
    group: Any = typer.main.get_command(lifestage.app)
    assert {shlex.split(command)[0] for command in _commands()} == set(group.commands)


def test_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's small order file is judged as the README says."""
    [orders] = _blocks(README, "csv")
    [said] = [block for block in _blocks(README, "text") if "quarantined" in block]
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text(orders, encoding="utf-8")
    with pytest.raises(QuarantineShareError):
        lifestage.app(["validate", "--orders", "orders.csv"], standalone_mode=False)
    assert " ".join(capsys.readouterr().out.split()).startswith(" ".join(said.split()))


def test_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    """The notebook's example runs, and prints a frame per question."""
    [example] = _blocks("docs/value.md", "python")
    exec(compile(example, "docs/value.md", "exec"), {})  # noqa: S102 - our own document
    assert capsys.readouterr().out.count("shape: (3, ") == 4


def test_settings(tmp_path: Path) -> None:
    """The README's lifestage.toml loads and changes what it names."""
    [text] = _blocks(README, "toml")
    path = tmp_path / "lifestage.toml"
    path.write_text(text, encoding="utf-8")
    loaded, defaults = load_settings(path).model_dump(), load_settings().model_dump()
    for section, values in tomllib.loads(text).items():
        assert {key: loaded[section][key] for key in values} == values
        assert all(defaults[section][key] != value for key, value in values.items())


@pytest.mark.parametrize("paper", PAPERS)
def test_defaults(paper: str) -> None:
    """Every default that the documents quote is the one in force."""
    defaults = load_settings().model_dump()
    for section, key, value in _SETTING.findall(_read(paper)):
        assert defaults[section][key] == json.loads(value), f"{section}.{key}"


@pytest.mark.parametrize("paper", PAPERS)
def test_generated(paper: str) -> None:
    """The tables of features, columns, flags, reasons and rungs are the code's own."""
    for name, _, table in _GENERATED.findall(_read(paper)):
        assert table == _write_tables()[name], "python -m tests.test_docs writes it anew"


def test_all_generated() -> None:
    """Each generated table stands in the documents once."""
    names = [name for paper in PAPERS for name, _, _ in _GENERATED.findall(_read(paper))]
    assert sorted(names) == sorted(_write_tables())


def test_where() -> None:
    """Every place in "Where does X live?" exists."""
    named = [path for _, cells in _rows(_section(README, "Where does X live?")) for path in _quoted(cells)]
    folder = ROOT / "features" / "intake"
    assert len(named) > 30
    assert [path for path in named if not ((ROOT / path).exists() or (folder / path).is_file())] == []


@pytest.mark.parametrize("paper", PAPERS)
def test_links(paper: str) -> None:
    """Every link to a file leads to one, and every link to a heading to a heading."""
    for link in _LINK.findall(_read(paper)):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / paper).parent / target if target else ROOT / paper
        assert path.exists(), link
        assert not anchor or anchor in _anchors(path), link


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_make() -> None:
    """The README lists every make target, and the documents name no other."""
    [phony] = re.findall(r"^\.PHONY: (help.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    listed = {a or b for row in _rows(_section(README, "Make targets")) for a, b in _MAKE.findall(row[0])}
    named = {a or b for paper in PAPERS for a, b in _MAKE.findall(_read(paper))}
    assert listed == set(phony.split()) >= named


def test_exit_codes() -> None:
    """The README's exit codes and errors are those of the error tree."""
    listed = {int(code): set(_quoted(names)) for code, _, names in _rows(_section(README, "Exit codes"))}
    tree: dict[int, set[str]] = {0: set()}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, LifestageError) and kind is not LifestageError:
            tree.setdefault(kind.exit_code, set()).add(name)
    assert listed == tree


def test_stages() -> None:
    """The glossary has a rule for each stage of customers, and names the rest of the scale."""
    section = _section(GLOSSARY, "Stage")
    rules = [_quoted(row[0])[0] for row in _rows(section)]
    assert sorted(rules) == sorted(STAGES)
    assert set(SCALE) <= set(_quoted(section))


def test_ladder() -> None:
    """The README shows figures of every rung, and of no other."""
    assert [_quoted(row[0])[0] for row in _rows(_section(README, "Honest numbers"))] == [*RUNGS, OURS]


@pytest.mark.parametrize("paper", PAPERS)
def test_no_machine(paper: str) -> None:
    """No document names a path of one machine."""
    assert _MACHINE_PATH.findall(_read(paper)) == []


def _renew() -> None:
    tables = _write_tables()
    for paper in PAPERS:
        renewed = _GENERATED.sub(lambda found: f"{found[1]}{found[2]}{tables[found[1]]}", _read(paper))
        (ROOT / paper).write_text(renewed, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    _renew()
