"""The main job as a shop does it: an order file in, a served answer out, through the real command line and HTTP."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

import lifestage
from features.intake.cdnow import load_cdnow_sample
from features.lifecycle.stages import PROSPECT_STAGES
from features.lifecycle.vocabularies import load_wording
from features.records import Records
from features.snapshot import to_day
from serving.access.audit import AuditLog
from serving.columns import SCORE_COLUMNS
from serving.reasons import tell_reasons
from serving.schemas import Score
from serving.scoring import score_records
from serving.server import log_path, running_server
from serving.state import open_store
from serving.store.score_store import AtRiskFilters
from training.bundle import Bundle, load_bundle
from training.promotion.champion import bundles_folder, read_champion

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
AS_OF = date(1998, 7, 1)
MARK = "shopper-"  # begins every customer id, so that one can be found wherever it does not belong
STAGES = ("first_time_buyer", "repeat", "loyal", "at_risk", "lost", "won_back")  # no ambassador: no one recommends
UNSEEN = ("unaware", *PROSPECT_STAGES, "ambassador")  # everybody in this log ordered before the first training cutoff
WORDING = load_wording()
SETTINGS = "[training]\nbootstrap_samples = 20\nmax_train_cutoffs = 2\ntest_cutoffs = 2\nseeds = 1\nsearch_trials = 1\n"
# So few customers do not tell ours from BG/NBD; this gate lets a near tie through, and the strict one nothing.
LENIENT_GATE = "[gate]\nchurn_log_loss_margin = 0.02\nnext_stage_log_loss_margin = 0.02\n"
STRICT_GATE = "[gate]\nmin_judged_customers = 1_000_000\n"
TOLERANCE = 1e-9
PROCESSES = ("train", "score", "keys")  # what a shop runs by a clock or only once, each in a process of its own


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder with orders, in which every command has been run once.

    Args:
        folder: Holds orders.csv, events.csv, lifestage.toml, scores.parquet, at_risk.csv and the home.
        orders: Validated orders of the file. One row per order.
        events: The rows of events.csv. One row per event.
        said: Command → what its process left.
        second: A second training, in a home of its own, on the same orders in another sequence.
    """

    folder: Path
    orders: pl.DataFrame
    events: pl.DataFrame
    said: dict[str, subprocess.CompletedProcess[str]]
    second: subprocess.Popen[str]

    @property
    def home(self) -> Path:
        """Where the champion and its scores are."""
        return self.folder / ".lifestage"

    @property
    def scores(self) -> pl.DataFrame:
        """The batch's scores. One row per customer."""
        return pl.read_parquet(self.folder / "scores.parquet")

    @property
    def bundle(self) -> Bundle:
        """The champion."""
        return load_bundle(read_champion(self.home))


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a command in a folder, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "lifestage.py"), *words],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if k != "LIFESTAGE_HOME"}, "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_here(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder through `main`, without the seconds that a process of its own takes to begin."""
    out, err, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.delenv("LIFESTAGE_HOME", raising=False)
        patch.setattr(sys, "argv", ["lifestage", *words])
        with pytest.raises(SystemExit) as ended:
            lifestage.main()
    signal.signal(signal.SIGTERM, handler)
    code = ended.value.code
    return subprocess.CompletedProcess(words, int(code or 0), out.getvalue(), err.getvalue())


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a command and return what it left."""
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def made_up_events(orders: pl.DataFrame) -> pl.DataFrame:
    """Make up a visit a day or two before each order, and a ticket after every tenth. One row per event."""
    visits = orders.select(
        "customer_id",
        occurred_at=pl.col("ordered_at") - pl.duration(days=1 + pl.col("day") % 2),
        event_type=pl.lit("visit"),
    )
    tickets = orders.gather_every(10).select(
        "customer_id", occurred_at=pl.col("ordered_at") + pl.duration(days=3), event_type=pl.lit("ticket")
    )
    return pl.concat([visits, tickets]).with_columns(pl.col("occurred_at").dt.to_string("%Y-%m-%dT%H:%M:%S"))


def write_orders(orders: pl.DataFrame, path: Path) -> None:
    """Write orders as a shop would export them."""
    amount = pl.col("amount_micros") / 1_000_000
    orders.select("customer_id", pl.col("ordered_at").dt.to_string("%Y-%m-%d"), amount=amount).write_csv(path)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Take about 800 customers of the sample through every command, in the order in which a shop runs them."""
    folder = tmp_path_factory.mktemp("shop")
    sample = load_cdnow_sample().with_columns(customer_id=pl.lit(MARK) + pl.col("customer_id"))
    # Each order once: rows of a file that repeat another count once.
    orders = sample.filter(pl.col("customer_id").str.slice(-4).cast(pl.Int64) % 3 == 0).unique(maintain_order=True)
    events = made_up_events(orders)
    write_orders(orders, folder / "orders.csv")
    write_orders(orders.sample(fraction=1.0, shuffle=True, seed=7), folder / "shuffled.csv")
    events.write_csv(folder / "events.csv")
    events.sample(fraction=1.0, shuffle=True, seed=8).write_csv(folder / "shuffled-events.csv")
    (folder / "lifestage.toml").write_text(SETTINGS + LENIENT_GATE, encoding="utf-8")
    (folder / "strict.toml").write_text(SETTINGS + STRICT_GATE, encoding="utf-8")
    given = ("--orders", "orders.csv", "--events", "events.csv")
    shuffled = ("--orders", "shuffled.csv", "--events", "shuffled-events.csv")
    second = start(folder, "train", *shuffled, "--home", "second")
    as_of = AS_OF.isoformat()
    steps = {
        "validate": ("validate", *given, "--html", "report.html"),
        "train": ("train", *given),
        "refused": ("promote", "--config", "strict.toml"),
        "promote": ("promote",),
        "models": ("models",),
        "score": ("score", *given, "--as-of", as_of, "--out", "scores.parquet"),
        "at-risk": ("at-risk", "--limit", "50", "--out", "at_risk.csv"),
        "stages": ("stages",),
        "map": ("stages", "--svg", "map.svg", "--language", "fr"),
        "segments": ("segments", "--json", "segments.json"),
        "metrics": ("metrics", "--out", "metrics.csv"),
        "prospects": ("prospects",),
        "history": ("history", *given, "--as-of", as_of, "--out", "history.parquet"),
        "keys": ("keys", "crm"),
    }
    said = {
        name: finish(start(folder, *words)) if name in PROCESSES else run_here(folder, *words)
        for name, words in steps.items()
    }
    with second:
        yield Shop(folder, orders, events, said, second)


@pytest.fixture(scope="session")
def client(shop: Shop) -> Iterator[httpx.Client]:
    """Call the real server over the shop's home, with the key that the command line made."""
    assert shop.said["promote"].returncode == 0, shop.said["promote"].stderr
    key = shop.said["keys"].stdout.strip()
    with (
        running_server(shop.home) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as opened,
    ):
        yield opened


def test_every_command(shop: Shop) -> None:
    """Every command does its work and says so; none but the refused promotion fails."""
    codes = {name: (said.returncode, said.stderr) for name, said in shop.said.items() if said.returncode}
    assert list(codes) == ["refused"], codes
    said = {name: " ".join(process.stdout.split()) for name, process in shop.said.items()}
    version = shop.bundle.manifest.version
    assert f"{shop.orders.height:,} rows read: {shop.orders.height:,} accepted, 0 quarantined" in said["validate"]
    assert f"{shop.events.height:,} rows of events read" in said["validate"]
    assert MARK not in (shop.folder / "report.html").read_text(encoding="utf-8")
    assert f"Challenger: {version}" in said["train"]
    assert f"Promoted: {version}" in said["promote"]
    acts = [(entry.actor, entry.act) for entry in AuditLog(shop.home / "audit.jsonl").entries()]
    assert acts[:2] == [("command line", "promote"), ("command line", "key_created")]
    assert "champion" in said["models"]
    assert f"{shop.scores.height:,} customers scored as of 1998-07-01" in said["score"]
    assert said["at-risk"] == "50 customers written to at_risk.csv."
    assert all(WORDING.label(stage).text in said["stages"] for stage in (*STAGES, *UNSEEN))
    assert "not observable" in said["stages"]
    assert said["metrics"].endswith("rows written to metrics.csv.")
    assert "rows written to history.parquet." in said["history"]


def test_progress(shop: Shop) -> None:
    """A training tells its steps on stderr and its ladder on stdout, and names no customer on either."""
    train = shop.said["train"]
    assert "logging to MLflow" in train.stderr
    assert "features" not in train.stdout
    for rung in ("base_rate", "recency_rule", "bg_nbd", "lifestage"):
        assert rung in train.stdout
    for said in shop.said.values():
        assert MARK not in said.stdout + said.stderr


def test_refusal(shop: Shop) -> None:
    """A gate that is not passed ends in 6 with the reasons, and leaves the challenger for another try."""
    refused = shop.said["refused"]
    assert refused.returncode == 6
    assert "✗" in refused.stdout
    assert "What to do: " in refused.stderr


def test_second_training(shop: Shop) -> None:
    """Training again on the same orders, in another sequence, gives the same bytes under the same version."""
    said = finish(shop.second)
    assert said.returncode == 0, said.stderr
    [again] = bundles_folder(shop.folder / "second").iterdir()
    first = bundles_folder(shop.home) / again.name
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {
        file.name: file.read_bytes() for file in first.iterdir()
    }


def test_stored_scores(shop: Shop) -> None:
    """The store holds what the file holds: one row per customer of the orders, in every column."""
    with open_store(shop.home) as store:
        run = store.current_run()
        assert run is not None
        rows = store.list_at_risk(run, filters=AtRiskFilters(), limit=10_000)
    scores = shop.scores
    labelled = scores.select("stage", "stage_label", "is_label_borrowed").unique().rows()
    assert sorted(labelled) == sorted((name, WORDING.label(name).text, False) for name in scores["stage"].unique())
    scores = scores.drop("stage_label", "is_label_borrowed")
    assert tuple(scores.columns) == SCORE_COLUMNS
    assert set(scores["customer_id"]) == set(shop.orders["customer_id"])
    assert run.n_customers == scores.height == len(rows)
    by_id = {row["customer_id"]: row for row in scores.iter_rows(named=True)}
    assert all(_told(row) == by_id[row["customer_id"]] for row in rows)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the store with its reasons in words, as a file has them."""
    reasons = tell_reasons(row["reasons"], language=WORDING.language)
    assert reasons is not None
    return {**row, "reasons": " · ".join(reason.text for reason in reasons)}


def test_coherence(shop: Shop) -> None:
    """On every row, the three answers are one: stages, orders and value all agree with the churn probability."""
    for row in shop.scores.iter_rows(named=True):
        p_next = {stage: row[f"p_next_{stage}"] for stage in STAGES}
        assert row["p_next_ambassador"] is None
        is_asked = {"p_second_purchase": ("first_time_buyer", "won_back"), "p_reactivation": ("lost",)}
        for name, stages in is_asked.items():
            assert row[name] == (1.0 - row["p_churn"] if row["stage"] in stages else None)
        assert all(0.0 <= p <= 1.0 for p in (row["p_churn"], row["p_alive"], *p_next.values()))
        assert sum(p_next.values()) == pytest.approx(1.0, abs=TOLERANCE)
        assert row["p_alive"] >= 1.0 - row["p_churn"] - TOLERANCE
        assert row["expected_orders"] >= 1.0 - row["p_churn"] - TOLERANCE
        assert len(row["clv_by_month"]) == 12
        assert min(row["clv_by_month"]) >= 0.0
        assert sum(row["clv_by_month"]) == pytest.approx(row["clv_12m"], rel=TOLERANCE, abs=TOLERANCE)
        assert 0.0 <= row["clv_12m_low"] <= row["clv_12m_high"]
        assert row["value_at_risk"] == pytest.approx(row["p_churn"] * row["clv_12m"], rel=TOLERANCE)
        assert row["stage_since"] <= row["as_of"]
        assert row["next_order_on"] is None or row["next_order_on"] >= row["as_of"]


def test_stage_if_silent(shop: Shop) -> None:
    """Who orders nothing will be in the stage that the rule gives a horizon later: at least p_churn lies there."""
    bundle = shop.bundle
    later = score_records(bundle, Records.wrap(shop.orders), cutoff_day=to_day(AS_OF) + bundle.manifest.horizon_days)
    silent = shop.scores.join(later.select("customer_id", silent_stage="stage"), on="customer_id", validate="1:1")
    for row in silent.iter_rows(named=True):
        assert row[f"p_next_{row['silent_stage']}"] >= row["p_churn"] - TOLERANCE


def test_totals(shop: Shop, client: httpx.Client) -> None:
    """Stage counts sum to the customers, and values to those of the rows and of the orders."""
    told = client.get("/v1/stages").json()
    assert [unseen["stage"] for unseen in told["not_observable"]] == list(UNSEEN)
    stages = told["stages"]
    scores = shop.scores
    assert [entry["stage"] for entry in stages] == list(STAGES)
    assert sum(entry["customers"] for entry in stages) == scores.height
    paid = int(shop.orders["amount_micros"].sum()) / 1_000_000
    for total in (sum(entry["historic_value"] for entry in stages), float(scores["historic_value"].sum())):
        assert total == pytest.approx(paid)
    assert sum(entry["clv_12m"] for entry in stages) == pytest.approx(float(scores["clv_12m"].sum()))


def test_files_are_http(shop: Shop, client: httpx.Client) -> None:
    """What the commands wrote is what the routes answer: the map as a picture, the grid, and the metric sheet."""
    drawn = client.get("/v1/stages", params={"format": "svg", "language": "fr"})
    assert drawn.headers["content-type"] == "image/svg+xml"
    assert drawn.text == (shop.folder / "map.svg").read_text(encoding="utf-8")
    grid = client.get("/v1/segments").json()
    assert grid == json.loads((shop.folder / "segments.json").read_text(encoding="utf-8"))
    assert sum(cell["customers"] for cell in grid["cells"]) == shop.scores.height
    sheet = client.get("/v1/metrics-sheet", params={"format": "csv"}).text
    assert sheet.splitlines() == (shop.folder / "metrics.csv").read_text(encoding="utf-8").splitlines()


def test_history(shop: Shop) -> None:
    """The last stage of each customer's history is that of the score, and was entered on the day that it tells."""
    history = pl.read_parquet(shop.folder / "history.parquet")
    present = history.filter(pl.col("left_on").is_null()).select(
        "customer_id", "stage", stage_since=pl.col("entered_on").cast(pl.String)
    )
    assert present.sort("customer_id").equals(shop.scores.select("customer_id", "stage", "stage_since"))


def test_request_equals_batch(shop: Shop, client: httpx.Client) -> None:
    """A customer sent over HTTP with orders and events gets the batch's score, to 1e-12 in every number."""
    sample = shop.scores.sample(60, seed=3)
    dates = pl.col("ordered_at").dt.to_string("%Y-%m-%d")
    rows = shop.orders.select("customer_id", ordered_at=dates, amount=pl.col("amount_micros") / 1_000_000)
    customers = [
        {
            "customer_id": name,
            "orders": rows.filter(customer_id=name).drop("customer_id").to_dicts(),
            "events": shop.events.filter(customer_id=name).drop("customer_id").to_dicts(),
        }
        for name in sample["customer_id"]
    ]
    answer = client.post("/v1/score", json={"as_of": AS_OF.isoformat(), "customers": customers})
    assert answer.status_code == 200, answer.text
    assert answer.json()["not_scored"] == []
    stored = stored_rows(shop)
    for got, name in zip(answer.json()["scores"], sample["customer_id"], strict=True):
        assert_close(got, Score.from_row(stored[name], WORDING).model_dump(mode="json"))


def stored_rows(shop: Shop) -> dict[str, dict[str, Any]]:
    """Return the rows of the store, by customer."""
    with open_store(shop.home) as store:
        run = store.current_run()
        assert run is not None
        return {row["customer_id"]: row for row in store.list_at_risk(run, filters=AtRiskFilters(), limit=10_000)}


def assert_close(got: Any, expected: Any) -> None:
    """Assert that two JSON values are equal, numbers to 1e-12."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(got[name], value)
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-12)
    else:
        assert got == expected


def test_stored_score(shop: Shop, client: httpx.Client) -> None:
    """A stored score is served as the store has it; an unknown customer is 404, without an echo of the id."""
    stored = stored_rows(shop)
    for name in shop.scores["customer_id"].sample(10, seed=4):
        found = client.get("/v1/scores", params={"customer_id": name})
        assert found.json() == Score.from_row(stored[name], WORDING, run_id=1).model_dump(mode="json")
    absent = client.get("/v1/scores", params={"customer_id": f"{MARK}nobody"})
    assert absent.status_code == 404
    assert_problem(absent)
    assert MARK not in absent.text


def test_at_risk(shop: Shop, client: httpx.Client) -> None:
    """The list, followed by its cursor, names everybody once, highest first; CSV, file and JSON agree."""
    pages: list[dict[str, Any]] = []
    cursor: str | None = None
    while cursor is not None or not pages:
        query: dict[str, str | int] = {"limit": 300} if cursor is None else {"limit": 300, "cursor": cursor}
        pages.append(client.get("/v1/at-risk", params=query).json())
        cursor = pages[-1]["next_cursor"]
    listed = [customer for page in pages for customer in page["customers"]]
    assert len(pages) == -(-shop.scores.height // 300)
    assert {row["customer_id"] for row in listed} == set(shop.scores["customer_id"])
    assert len(listed) == pages[0]["matching_customers"] == shop.scores.height
    at_risk = [row["value_at_risk"] for row in listed]
    assert at_risk == sorted(at_risk, reverse=True)
    for page in pages:
        for name in ("historic_value", "clv_12m", "value_at_risk"):
            assert page["totals"][name] == pytest.approx(sum(row[name] for row in page["customers"]))
    answer = client.get("/v1/at-risk", params={"limit": 50}, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    served = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["customer_id"] for row in served] == [row["customer_id"] for row in listed[:50]]
    assert answer.text.splitlines() == (shop.folder / "at_risk.csv").read_text(encoding="utf-8").splitlines()


def test_filters(shop: Shop, client: httpx.Client) -> None:
    """A filtered list holds exactly the customers that the filters describe."""
    page = client.get("/v1/at-risk", params={"stage": "at_risk", "min_p_churn": 0.5, "limit": 1000}).json()
    expected = shop.scores.filter((pl.col("stage") == "at_risk") & (pl.col("p_churn") >= 0.5))
    assert {row["customer_id"] for row in page["customers"]} == set(expected["customer_id"])


def test_model_card(shop: Shop, client: httpx.Client) -> None:
    """The model card tells the ladder as it was measured: every rung and task, and what the gate said of it."""
    card = client.get("/v1/model").json()
    ladder = card["evaluation"]["ladder"]
    assert {"base_rate", "recency_rule", "last_period", "bg_nbd", "lifestage"} <= {row["model"] for row in ladder}
    assert {row["task"] for row in ladder} == {"churn", "next_stage", "value", "coherence"}
    assert len(card["evaluation"]["cutoffs"]) == 2
    assert card["evaluation"]["gate"]
    assert card["version"] == shop.bundle.manifest.version
    assert (card["trained_as_of"], card["horizon_days"], card["timezone"]) == ("1998-06-30", 90, "UTC")
    assert (card["data"]["n_customers"], card["data"]["n_orders"]) == (shop.scores.height, shop.orders.height)
    assert sum(card["drivers"].values()) == pytest.approx(1.0, abs=1e-4)
    assert {"visits_within_30", "tickets_within_90", "frequency"} <= {feature["name"] for feature in card["features"]}
    assert not shop.scores["flags"].str.contains("missing_inputs").any()
    assert MARK not in str(card)


def test_key_is_asked_for(client: httpx.Client) -> None:
    """Without the key, or with another one, no route gives anything; the probes answer."""
    url = str(client.base_url)
    named = ("scores?customer_id=a", "at-risk", "stages", "model", "segments", "metrics-sheet", "prospects", "changes")
    routes = [f"/v1/{name}" for name in (*named, "openapi.json")]
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for route in routes:
            refused = httpx.get(f"{url}{route}", headers=headers)
            assert refused.status_code == 401
            assert_problem(refused)
        assert httpx.post(f"{url}/v1/score", json={}, headers=headers).status_code == 401
    assert httpx.get(f"{url}/livez").status_code == httpx.get(f"{url}/readyz").status_code == 200


def test_problems(client: httpx.Client) -> None:
    """Whatever goes wrong is a problem that says what to do, and repeats nothing of the request."""
    bad = {"as_of": "1998-07-01", "customers": [{"customer_id": f"{MARK}x", "orders": [{"amount": f"{MARK}y"}]}]}
    for answer, status in (
        (client.get(f"/v1/{MARK}x"), 404),
        (client.get("/nowhere"), 404),
        (client.get("/v1/score"), 405),
        (client.get("/v1/at-risk", params={"cursor": f"{MARK}x"}), 422),
        (client.get("/v1/changes", params={"cursor": f"{MARK}x"}), 422),
        (client.get("/v1/prospects", params={"stage": f"{MARK}x"}), 422),
        (client.get("/v1/stages", params={"vocabulary": f"{MARK}x"}), 422),
        (client.get("/v1/segments", params={"language": "de"}), 422),
        (client.post("/v1/score", json=bad), 422),
        (client.post("/v1/score", content=f"{MARK}x", headers={"Content-Type": "application/json"}), 422),
    ):
        assert answer.status_code == status
        assert_problem(answer)
        assert MARK not in answer.text


def assert_problem(answer: httpx.Response) -> None:
    """Assert that an answer is a problem with a remedy."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    assert problem["remedy"]


def test_future_orders(shop: Shop) -> None:
    """Orders, refunds and events on or after the as-of date, of old customers and new ones, change no score of it."""
    latest = shop.orders["customer_id"].head(200).to_list()
    days = [AS_OF.isoformat(), "1998-07-02", "1999-01-01", "2005-06-30"]
    lines = [
        f"{name},{days[i % 4]},{(-1) ** i * (100 + i)}"
        for i, name in enumerate([*latest, f"{MARK}new", f"{MARK}newer"])
    ]
    text = (shop.folder / "orders.csv").read_text(encoding="utf-8") + "\n".join(lines) + "\n"
    (shop.folder / "longer.csv").write_text(text, encoding="utf-8")
    visits = [f"{name},{days[i % 4]},visit" for i, name in enumerate([*latest, f"{MARK}new"])]
    text = (shop.folder / "events.csv").read_text(encoding="utf-8") + "\n".join(visits) + "\n"
    (shop.folder / "longer-events.csv").write_text(text, encoding="utf-8")
    files = ("--orders", "longer.csv", "--events", "longer-events.csv")
    words = (*files, "--as-of", AS_OF.isoformat(), "--out", "again.parquet")
    with open_store(shop.home) as store:
        before = store.current_run()
        assert before is not None
        stored = store.list_at_risk(before, filters=AtRiskFilters(), limit=10_000)
    said = finish(start(shop.folder, "score", *words))
    assert said.returncode == 0, said.stderr
    with open_store(shop.home) as store:
        after = store.current_run()
        assert after is not None
        assert after.run_id > before.run_id
        assert store.list_at_risk(after, filters=AtRiskFilters(), limit=10_000) == stored
    assert pl.read_parquet(shop.folder / "again.parquet").equals(shop.scores)


def test_no_customer_outside_the_store(shop: Shop, client: httpx.Client) -> None:
    """Customer ids stand in the score store alone: in no log, metric, training record, artifact or bundle."""
    client.get("/v1/scores", params={"customer_id": f"{MARK}0003"})
    client.get(f"/v1/scores/{MARK}0003")
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert 'route="/v1/scores"' in metrics.text
    assert MARK not in metrics.text
    assert log_path(shop.home).is_file()
    files = [file for file in shop.home.rglob("*") if file.is_file() and not file.name.startswith("scores.db")]
    assert {"mlflow.db", "serve.log", "champion.json", "keys.json", "manifest.json"} <= {file.name for file in files}
    key = shop.said["keys"].stdout.strip().encode()
    assert [file for file in files if MARK.encode() in file.read_bytes()] == []
    assert [file for file in files if key in file.read_bytes()] == []
