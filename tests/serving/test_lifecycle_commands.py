"""The commands of the lifecycle: what they print, write and refuse, in whose words, and that HTTP says the same."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from features.intake.shop import Shop
from features.lifecycle.history import build_history, stages_at
from features.lifecycle.stages import STAGES
from features.lifecycle.vocabularies import SHIPPED, Wording, load_shipped_vocabulary, load_wording
from features.snapshot import Snapshot, to_day
from serving.batch import Publication
from serving.store.score_store import ScoreStore
from tests.command_line import Outcome, Run, assert_refused
from tests.serving.own_words import write_plays, write_vocabulary
from tests.serving.svg import read_svg
from tests.serving.visited_shop import EARLIER, SETTINGS
from tests.whole_shop import AS_OF
from training.bundle import Bundle

Runs = tuple[Publication, Publication]
CUSTOMER = "shopper-001"
LABELLED = ("customer_id", "stage", "stage_label", "is_label_borrowed")
SHOWS = ("stages", "at-risk", "prospects", "changes", "metrics")
# Each in one language, by turns; the routes are asked in both.
every_word = pytest.mark.parametrize(
    ("vocabulary", "language"), [(name, ("en", "fr")[i % 2]) for i, name in enumerate(SHIPPED)]
)


@pytest.fixture(scope="module")
def home(visited_home: Path, visited_store: ScoreStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the home, in which commands may leave what they leave."""
    assert visited_store.runs()
    return Path(shutil.copytree(visited_home, tmp_path_factory.mktemp("commands") / "home"))


def done(outcome: Outcome) -> str:
    """Return what a command printed, once it is sure that it went well."""
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    return outcome.out


def read(outcome: Outcome) -> Any:
    """Read what a command printed as JSON."""
    return json.loads(done(outcome))


def labels(vocabulary: str, language: str) -> dict[str, str]:
    """Return what a shipped vocabulary calls each stage of customers."""
    wording = Wording(load_shipped_vocabulary(vocabulary), language)
    return {stage: wording.label(stage).text for stage in STAGES}


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("stages",), "/v1/stages"),
        (("stages", "--vocabulary", "omnisend", "--language", "fr"), "/v1/stages?vocabulary=omnisend&language=fr"),
        (("segments",), "/v1/segments"),
        (("segments", "--language", "fr"), "/v1/segments?language=fr"),
        (("metrics",), "/v1/metrics-sheet"),
        (("metrics", "--vocabulary", "hubspot"), "/v1/metrics-sheet?vocabulary=hubspot"),
    ],
)
def test_json_is_http(run: Run, visited: TestClient, words: tuple[str, ...], path: str) -> None:
    """What a command writes as JSON, on stdout or into a file, is what its route answers."""
    served = visited.get(path).json()
    assert read(run(*words, "--json", "-")) == served
    assert done(run(*words, "--json", "it.json")) == "Written to it.json."
    assert json.loads(Path("it.json").read_text(encoding="utf-8")) == served


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("stages", "--vocabulary", "stranger_to_ambassador"), "/v1/stages?vocabulary=stranger_to_ambassador"),
        (("stages", "--language", "fr"), "/v1/stages?language=fr"),
        (("segments",), "/v1/segments?"),
        (("segments", "--language", "fr"), "/v1/segments?language=fr"),
    ],
)
def test_svg_is_http(run: Run, visited: TestClient, words: tuple[str, ...], path: str) -> None:
    """The picture that a command draws is the one that its route serves; any other ending is refused."""
    done(run(*words, "--svg", "it.svg"))
    drawn = Path("it.svg").read_text(encoding="utf-8")
    assert drawn == visited.get(f"{path}&format=svg").text
    assert read_svg(drawn).get("lang") == ("fr" if "fr" in words else "en")
    assert_refused(run(*words, "--svg", "it.png"), 2, ".svg")
    assert_refused(run(*words, "--svg", "nowhere/it.svg"), 2, "no folder nowhere")


@every_word
def test_words(run: Run, vocabulary: str, language: str) -> None:
    """Every command that shows a stage shows it in the words that were asked for."""
    words = ("--vocabulary", vocabulary, "--language", language)
    wording = Wording(load_shipped_vocabulary(vocabulary), language)
    told = read(run("stages", "--json", "-", *words))
    assert {entry["stage"]: entry["label"] for entry in told["stages"]} == labels(vocabulary, language)
    printed = done(run("stages", *words))
    assert all(label in printed for label in labels(vocabulary, language).values())
    for command, key in (("at-risk", "stage"), ("prospects", "stage"), ("changes", "to_stage")):
        done(run(command, "--limit", "20", "--out", "it.parquet", *words))
        rows = pl.read_parquet("it.parquet")
        label = "to_label" if key == "to_stage" else "stage_label"
        for row in rows.iter_rows(named=True):
            assert row[label] == wording.label(row[key], row.get("rfm")).text
        printed = done(run(command, "--limit", "20", *words))
        assert all(text in printed for text in rows[label])
    by_stage = read(run("metrics", "--json", "-", *words))["rows"]
    assert {row["slice_label"] for row in by_stage if row["slice_kind"] == "stage"} <= set(
        labels(vocabulary, language).values()
    )


@pytest.mark.parametrize("command", [*SHOWS, "segments", "history", "score"])
def test_unknown_words(run: Run, command: str, files: tuple[str, ...], home: Path) -> None:
    """An unknown vocabulary or language is a wrong flag, told with those that are known, before any work is done."""
    of_shop = (*files, "--as-of", "2024-04-01") if command in {"history", "score"} else ()
    given = (command, *of_shop, *(("--customer-id", CUSTOMER) if command == "history" else ()))
    if command != "segments":
        unknown = run(*given, "--vocabulary", "omnisent")
        assert_refused(unknown, 2, "omnisent")
        assert "Did you mean omnisend?" in unknown.err
        assert all(name in unknown.err for name in SHIPPED)
        assert_refused(run(*given, "--vocabulary", "nowhere.toml"), 2, "nowhere.toml")
    unspoken = run(*given, "--language", "de")
    assert_refused(unspoken, 2, "de")
    assert "en, fr" in unspoken.err
    assert unspoken.out == ""


def test_own_vocabulary(run: Run, tmp_path: Path) -> None:
    """An own vocabulary is taken by its path, as a flag or from the settings; there, relative to where one works."""
    write_vocabulary(tmp_path / "ours.toml")
    flagged = done(run("stages", "--vocabulary", "ours.toml"))
    assert all(f"ours: {stage}" in flagged for stage in STAGES)
    for language, words in (("en", "ours: {}"), ("fr", "à nous : {}")):
        text = f'{SETTINGS}[lifecycle]\nvocabulary = "ours.toml"\nlanguage = "{language}"\n'
        (tmp_path / "lifestage.toml").write_text(text, encoding="utf-8")
        told = read(run("stages", "--json", "-"))
        assert (told["vocabulary"], told["language"]) == ("ours", language)
        assert [entry["label"] for entry in told["stages"]] == [words.format(stage) for stage in STAGES]
        plays = {entry["stage"]: entry["plays"] for entry in told["stages"]}
        assert plays["at_risk"] == [f"Our way, {language}"]
        assert plays["lost"] == list(load_wording(language=language).plays("lost"))
        assert read(run("stages", "--json", "-", "--vocabulary", "lifestage"))["vocabulary"] == "lifestage"


def test_words_beside_the_settings(run: Run, tmp_path: Path) -> None:
    """The settings name own words by where they lie beside them, wherever one works."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    write_vocabulary(folder / "ours.toml")
    write_plays(folder / "plays.toml")
    text = f'{SETTINGS}[lifecycle]\nvocabulary = "ours.toml"\nplays = "plays.toml"\n'
    (folder / "our-settings.toml").write_text(text, encoding="utf-8")
    told = read(run("stages", "--json", "-", "--config", "elsewhere/our-settings.toml"))
    assert {entry["stage"]: entry["label"] for entry in told["stages"]}["lost"] == "ours: lost"
    assert {tuple(entry["plays"]) for entry in told["stages"] if entry["stage"] == "lost"} == {
        ("Call lost", "Write to lost")
    }


def test_own_vocabulary_of_one_language(run: Run, tmp_path: Path) -> None:
    """An own vocabulary without the language that is asked for is refused with the one that it has."""
    write_vocabulary(tmp_path / "ours.toml", languages=("fr",))
    assert_refused(run("stages", "--vocabulary", "ours.toml"), 2, "'en'")
    assert "à nous : lost" in done(run("stages", "--vocabulary", "ours.toml", "--language", "fr"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('vocabulary = "nonsense"', "nonsense"),
        ('vocabulary = "lifestage.toml"', "lifestage.toml: orders"),
        ('language = "de"', "'de'"),
        ('plays = "nowhere.toml"', "nowhere.toml"),
        ('word = "x"', "lifecycle.word"),
    ],
)
def test_bad_settings(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    """A mistake in [lifecycle] is told by what is wrong with it."""
    (tmp_path / "lifestage.toml").write_text(f"{SETTINGS}[lifecycle]\n{text}\n", encoding="utf-8")
    assert_refused(run("stages"), 2, problem)


def test_hostile_words(run: Run, tmp_path: Path) -> None:
    """Words that a terminal would take for marks are shown as they are."""
    path = write_vocabulary(tmp_path / "ours.toml")
    path.write_text(path.read_text(encoding="utf-8").replace("ours: ", "[/red] "), encoding="utf-8")
    for command in ("stages", "at-risk", "prospects", "changes"):
        assert "[/red] " in done(run(command, "--vocabulary", "ours.toml"))
    assert "[/red] lost" in done(run("metrics", "--by", "stage", "--vocabulary", "ours.toml"))
    assert "[/red] at_risk" in done(run("stages", "--plays", "--vocabulary", "ours.toml"))


def test_plays(run: Run, tmp_path: Path) -> None:
    """Plays stand with the stages, with each listed customer and in the list as a file; a shop's own replace them."""
    assert "Recommended plays" not in done(run("stages"))
    shipped = load_wording()
    printed = done(run("stages", "--plays"))
    assert all(play in printed for stage in STAGES for play in shipped.plays(stage))
    plays = write_plays(tmp_path / "plays.toml")
    text = f'{SETTINGS}[lifecycle]\nplays = "{plays.name}"\n'
    (tmp_path / "lifestage.toml").write_text(text, encoding="utf-8")
    for vocabulary in ("lifestage", "shopify_rfm"):
        words = ("--vocabulary", vocabulary)
        told = {entry["stage"]: entry["plays"] for entry in read(run("stages", "--json", "-", *words))["stages"]}
        assert told["lost"] == ["Call lost", "Write to lost"]
        assert told["repeat"] != told["lost"]
        done(run("at-risk", "--stage", "at_risk", "--out", "it.csv", *words))
        rows = pl.read_csv("it.csv")
        assert set(rows["stage"]) == {"at_risk"}
        assert set(rows["plays"]) == {"Call at_risk · Write to at_risk"}
        assert "Call at_risk" in done(run("at-risk", "--stage", "at_risk", *words))
        assert "Call lost" in done(run("stages", "--plays", *words))


def test_stages(run: Run, publications: Runs) -> None:
    """The map is printed with each count, the prospects, both kinds of flow, and what cannot be seen."""
    printed = done(run("stages"))
    scores = publications[1].scores
    assert "Lifecycle map as of 2024-04-01" in printed
    for stage, label in labels("lifestage", "en").items():
        count = scores.filter(stage=stage).height
        assert f"{label} {count} {count / scores.height:.1%}" in printed
    assert "Observed from 2024-01-02 to 2024-04-01" in printed
    assert "Expected from 2024-04-01 over 90 days" in printed
    assert "Cold prospect 10" in printed
    assert "Unaware" in printed


def test_segments(run: Run, publications: Runs) -> None:
    """The grid is printed with its groups in words, its sizes, its counts and its thresholds."""
    printed = done(run("segments"))
    assert "RFM group × size as of 2024-04-01" in printed
    assert all(size in printed for size in ("large", "medium", "small"))
    assert "Champions" in printed
    assert "days since the last order" in printed
    french = done(run("segments", "--language", "fr"))
    assert "À risque" in french


def test_metrics(run: Run, visited: TestClient) -> None:
    """Metrics are printed by slice, and written whole; the file is the CSV that is served."""
    assert "Average order value" in done(run("metrics"))
    assert "Panier moyen" in done(run("metrics", "--language", "fr"))
    assert "Loyal customer" in done(run("metrics", "--by", "stage"))
    assert "2024-Q1" in done(run("metrics", "--by", "cohort"))
    assert "phone" in done(run("metrics", "--by", "channel"))
    written = done(run("metrics", "--out", "it.csv", "--vocabulary", "hubspot", "--language", "fr"))
    served = visited.get("/v1/metrics-sheet?format=csv&vocabulary=hubspot&language=fr").text
    assert list(csv.reader(io.StringIO(served))) == list(
        csv.reader(io.StringIO(Path("it.csv").read_text(encoding="utf-8")))
    )
    n_rows = len(visited.get("/v1/metrics-sheet").json()["rows"])
    assert written == f"{n_rows} rows written to it.csv."
    assert_refused(run("metrics", "--out", "it.xlsx"), 2, "neither .parquet nor .csv")


def test_prospects(run: Run, visited: TestClient) -> None:
    """Prospects are printed and written as they are served, by stage where one is asked for."""
    served = visited.get("/v1/prospects?stage=prospect_hot").json()["prospects"]
    assert done(run("prospects", "--stage", "prospect_hot", "--out", "it.csv")) == "8 prospects written to it.csv."
    assert pl.read_csv("it.csv")["person_id"].to_list() == [row["person_id"] for row in served]
    printed = done(run("prospects", "--stage", "prospect_hot"))
    assert all(row["person_id"] in printed for row in served)
    assert "visitor" in done(run("prospects", "--stage", "new_visitor", "--limit", "2"))


def test_total_of_a_list(run: Run, visited: TestClient) -> None:
    """The list ends with what its customers are worth together, with the interval that is served."""
    totals = visited.get("/v1/at-risk?limit=20").json()["totals"]
    interval = f"{totals['clv_12m']:,.0f} ({totals['clv_12m_low']:,.0f}–{totals['clv_12m_high']:,.0f})"
    assert f"Together: {interval} expected in 12 months" in done(run("at-risk", "--limit", "20"))


def test_changes(run: Run, visited: TestClient) -> None:
    """Changes are printed with how many entered and left, and written as they are served."""
    served = visited.get("/v1/changes?limit=1000").json()
    printed = done(run("changes", "--limit", "5"))
    assert f"5 of {served['n_changes']} changes" in printed
    assert "newcomer-00 (new) First-time buyer 2024-03-29" in printed
    for stage, label in labels("lifestage", "en").items():
        if served["entered"][stage] or served["left"][stage]:
            assert f"{label} {served['entered'][stage]} {served['left'][stage]}" in printed
    done(run("changes", "--limit", "1000", "--out", "it.csv"))
    assert pl.read_csv("it.csv").rows() == [tuple(row.values()) for row in in_file_order(served["changes"])]
    assert done(run("changes", "--since-run", "1", "--limit", "5")) == printed
    refused = run("changes", "--since-run", "99")
    assert_refused(refused, 3, "no longer stored")
    assert "2, 1" in refused.err


def in_file_order(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return served changes with the columns of the file, in their order."""
    ends = [name for end in ("from", "to") for name in (f"{end}_stage", f"{end}_label", f"is_{end}_label_borrowed")]
    names = ["customer_id", *ends, "since"]
    return [{name: row[name] for name in names} for row in changes]


@pytest.fixture(scope="module")
def history(visited_shop: Shop, visited_bundle: Bundle) -> pl.DataFrame:
    """The history of every customer. One row per customer and spell."""
    return build_history(visited_shop.records, Snapshot(to_day(AS_OF)), rule=visited_bundle.model.stage_rule)


def test_history_of_one(run: Run, files: tuple[str, ...], history: pl.DataFrame) -> None:
    """One customer's stages are printed, in the order of time, with what began each."""
    asked = ("history", *files, "--as-of", "2024-04-01", "--customer-id", CUSTOMER)
    printed = done(run(*asked))
    spells = history.filter(customer_id=CUSTOMER)
    named = labels("lifestage", "en")
    at = 0
    for stage, cause in spells.select("stage", "cause").iter_rows():
        at = printed.index(f"{stage} {named[stage]} ", at)
        assert cause in printed[at : at + 200]
        at += 1
    assert "shopper-002" not in printed
    assert labels("hubspot", "fr")[spells["stage"][-1]] in done(
        run(*asked, "--vocabulary", "hubspot", "--language", "fr")
    )


@pytest.mark.parametrize("name", ["it.csv", "it.parquet"])
def test_history_of_all(run: Run, files: tuple[str, ...], history: pl.DataFrame, name: str) -> None:
    """Every customer's stages are written, with their dates; the last is the one of the score."""
    told = done(run("history", *files, "--as-of", "2024-04-01", "--out", name))
    assert f"{history.height:,} rows written to {name}." in told
    written = pl.read_csv(name) if name.endswith(".csv") else pl.read_parquet(name)
    assert written.columns == [*LABELLED, "entered_on", "left_on", "days", "cause"]
    assert written.select("customer_id", "stage", "days", "cause").rows() == (
        history.select("customer_id", "stage", "days", "cause").rows()
    )


def test_history_is_the_score(history: pl.DataFrame, publications: Runs) -> None:
    """The history's last stage is that of the newer run, and its stage on the older run's date that of the older."""
    for day, publication in zip((EARLIER, AS_OF), publications, strict=True):
        then = stages_at(history, at_day=to_day(day)).select("customer_id", "stage")
        assert then.equals(publication.scores.select("customer_id", "stage"))


def test_history_at(run: Run, files: tuple[str, ...], publications: Runs) -> None:
    """With --at, one row per customer known then: the stage at the start of that day, as it was scored."""
    asked = ("history", *files, "--as-of", "2024-04-01", "--at", EARLIER.isoformat())
    done(run(*asked, "--out", "it.parquet"))
    scores = publications[0].scores
    written = pl.read_parquet("it.parquet")
    assert written.columns == [*LABELLED, "stage_since_on"]
    assert written.select("customer_id", "stage", stage_since=pl.col("stage_since_on").cast(pl.String)).equals(
        scores.select("customer_id", "stage", "stage_since")
    )
    stage = dict(scores.select("customer_id", "stage").iter_rows())[CUSTOMER]
    assert f"{CUSTOMER} {stage} {labels('lifestage', 'en')[stage]}" in done(run(*asked, "--customer-id", CUSTOMER))


def test_history_since(run: Run, files: tuple[str, ...], publications: Runs, visited_store: ScoreStore) -> None:
    """With --since, who moved between two days is counted by stage and written by customer, as two runs have it."""
    asked = ("history", *files, "--as-of", "2024-04-01", "--since", EARLIER.isoformat())
    printed = done(run(*asked))
    assert "Stages from 2024-02-01 to 2024-04-01" in printed
    older, newer = visited_store.run(1), visited_store.run(2)
    assert older
    assert newer
    for flow in visited_store.count_changes(older, newer):
        assert f"{flow['from_stage'] or '–'} {flow['to_stage']} {flow['customers']}" in printed
    assert CUSTOMER not in printed
    done(run(*asked, "--out", "it.parquet"))
    moved = pl.read_parquet("it.parquet").filter(pl.col("from_stage").ne_missing(pl.col("stage")))
    listed = visited_store.list_changes(older, newer, limit=1000)
    assert moved.select("customer_id", "from_stage", "stage").rows() == [
        (row["customer_id"], row["from_stage"], row["to_stage"]) for row in listed
    ]
    assert set(LABELLED) <= set(moved.columns)
    assert_refused(run(*asked, "--customer-id", CUSTOMER), 2, "--since tells of all customers")
    assert_refused(run(*asked, "--at", "2024-03-01"), 2, "--since tells of all customers")
    assert_refused(run(*asked[:-1], "2024-05-01"), 2, "2024-05-01")


def test_no_history(run: Run, files: tuple[str, ...]) -> None:
    """A customer who is unknown, a day that is too late, or no word of what is wanted, is refused."""
    asked = ("history", *files, "--as-of", "2024-04-01")
    unknown = run(*asked, "--customer-id", "s3cret")
    assert_refused(unknown, 3, "no order before 2024-04-01: stage not observable")
    assert_refused(run(*asked, "--customer-id", CUSTOMER, "--at", "2024-05-01"), 4, "2024-05-01 lies after")
    assert_refused(run(*asked), 2, "either printed, of one customer, or written, of all")
    assert_refused(run(*asked, "--customer-id", CUSTOMER, "--out", "it.csv"), 2, "either printed")
    assert_refused(run(*asked, "--out", "it.xlsx"), 2, "neither .parquet nor .csv")
    before = run(*asked, "--customer-id", "newcomer-00", "--at", "2024-01-01")
    assert_refused(before, 3, "no order before 2024-01-01: stage not observable")


def test_score_in_words(run: Run, files: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    """Scoring prints the map in the words that were asked for, and writes them beside each stage."""
    own = Path(shutil.copytree(home, tmp_path / "own"))
    words = ("--vocabulary", "omnisend", "--language", "fr", "--home", str(own))
    scored = run("score", *files, "--as-of", "2024-04-01", "--out", "it.parquet", *words)
    assert scored.code == 0, scored.err
    assert "Fidèles" in scored.out
    wording = Wording(load_shipped_vocabulary("omnisend"), "fr")
    for stage, label, rfm in pl.read_parquet("it.parquet").select("stage", "stage_label", "rfm").iter_rows():
        assert label == wording.label(stage, rfm).text
    assert done(run("changes", "--home", str(own))).replace("(run 3)", "") == done(run("changes")).replace(
        "(run 2)", ""
    )
