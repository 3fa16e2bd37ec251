"""The routes of the lifecycle, over HTTP: in every vocabulary and language, as JSON, CSV and pictures."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from starlette.testclient import TestClient

from features.errors import SettingsError
from features.intake.shop import Shop
from features.lifecycle.segments import learn_segments, rfm_codes
from features.lifecycle.vocabularies import SHIPPED, Wording, load_shipped_vocabulary, load_wording
from features.snapshot import Snapshot, to_day
from features.table import build_customer_table
from serving.answers import label_metrics
from serving.batch import Publication, publish_scores, score_base
from serving.environment import CONFIG_VARIABLE, HOME_VARIABLE, INSECURE_LOCAL_VARIABLE
from serving.http.problems import MEDIA_TYPE
from serving.reports import METRIC_SHEET
from serving.state import ServingState, open_state
from serving.store.score_store import ScoreStore
from tests.serving.local_client import build_client
from tests.serving.own_words import write_plays, write_vocabulary
from tests.serving.score_rows import WORDING, build_frame, build_prospect, build_prospects, build_row, publish_rows
from tests.serving.svg import read_description, read_svg
from tests.serving.visited_shop import N_PROSPECTS, visited_settings
from tests.whole_shop import AS_OF, WholeShop
from training.bundle import Bundle
from training.fitters.next_segment import fit_next_segment

MAPS = ("/v1/stages", "/v1/segments", "/v1/metrics-sheet")
FEEDS = ("/v1/prospects", "/v1/changes", "/v1/at-risk")
NEW = ("/v1/stages", "/v1/segments", "/v1/metrics-sheet", "/v1/prospects", "/v1/changes")
every_word = pytest.mark.parametrize(
    ("vocabulary", "language"), [(v, spoken) for v in SHIPPED for spoken in ("en", "fr")]
)


def get(client: TestClient, path: str, **query: str | int) -> dict[str, Any]:
    """Ask for JSON."""
    answer: httpx.Response = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


def assert_problem(answer: httpx.Response) -> dict[str, Any]:
    """Check that a request was refused, and return what it was told."""
    assert (answer.status_code, answer.headers["content-type"]) == (422, MEDIA_TYPE)
    return dict(answer.json())


def assert_said(entry: dict[str, Any], wording: Wording, *, rfm: str | None = None, prefix: str = "") -> None:
    """Check the words of one entry: label, whether it is borrowed, and plays."""
    label = wording.label(entry["stage"], rfm)
    assert (entry[f"{prefix}label"], entry["is_label_borrowed"]) == (label.text, label.is_borrowed)
    assert entry["plays"] == list(wording.plays(entry["stage"], rfm))


@every_word
def test_words_of_the_map(visited: TestClient, vocabulary: str, language: str) -> None:
    """The map names each stage as asked, of customers, prospects and those unseen; its labels total the base."""
    wording = Wording(load_shipped_vocabulary(vocabulary), language)
    told = get(visited, "/v1/stages", vocabulary=vocabulary, language=language)
    assert (told["vocabulary"], told["language"]) == (vocabulary, language)
    for entry in (*told["stages"], *told["prospects"]):
        assert_said(entry, wording)
    for unseen in told["not_observable"]:
        label = wording.label(unseen["stage"])
        assert (unseen["label"], unseen["is_label_borrowed"]) == (label.text, label.is_borrowed)
    labels = {label["label"]: label for label in told["labels"]}
    assert sum(label["customers"] for label in labels.values()) == told["run"]["n_customers"]
    assert sum(label["share"] for label in labels.values()) == pytest.approx(1.0)
    for name in ("historic_value", "clv_12m"):
        whole = sum(entry[name] for entry in told["stages"])
        assert sum(label[name] for label in labels.values()) == pytest.approx(whole)
    listed = get(visited, "/v1/at-risk", vocabulary=vocabulary, language=language, limit=1000)["customers"]
    assert {text: label["customers"] for text, label in labels.items()} == {
        text: sum(row["stage_label"] == text for row in listed) for text in {row["stage_label"] for row in listed}
    }


@every_word
def test_words_of_people(visited: TestClient, whole_rows: WholeShop, vocabulary: str, language: str) -> None:
    """Lists, a stored score and a score on request name the stage as asked, each by the customer's own RFM code."""
    wording = Wording(load_shipped_vocabulary(vocabulary), language)
    asked = {"vocabulary": vocabulary, "language": language}
    customers = get(visited, "/v1/at-risk", **asked)["customers"]
    for row in customers:
        assert_said(row, wording, rfm=row["rfm"], prefix="stage_")
    customer_id = next(row["customer_id"] for row in customers if row["customer_id"].startswith("shopper"))
    stored = get(visited, "/v1/scores", customer_id=customer_id, **asked)
    assert stored in customers
    request = {"as_of": AS_OF.isoformat(), "customers": [whole_rows.customer(customer_id)]}
    told = visited.post("/v1/score", params=asked, json=request).json()["scores"]
    assert told == [{**stored, "run_id": None}]
    for row in get(visited, "/v1/prospects", **asked)["prospects"]:
        assert_said(row, wording, prefix="stage_")
    changes = get(visited, "/v1/changes", **asked)
    assert (changes["vocabulary"], changes["language"]) == (vocabulary, language)
    for row in changes["changes"]:
        for end in ("from", "to"):
            label = wording.label(row[f"{end}_stage"]) if row[f"{end}_stage"] else None
            told = (None, False) if label is None else (label.text, label.is_borrowed)
            assert (row[f"{end}_label"], row[f"is_{end}_label_borrowed"]) == told


@every_word
def test_words_of_figures(
    visited: TestClient, publications: tuple[Publication, Publication], vocabulary: str, language: str
) -> None:
    """The metric sheet is one in JSON, CSV and the store; titles and stages are in the words that were asked for."""
    wording = Wording(load_shipped_vocabulary(vocabulary), language)
    asked = {"vocabulary": vocabulary, "language": language}
    told = get(visited, "/v1/metrics-sheet", **asked)
    labelled = label_metrics(pl.DataFrame(publications[1].reports[METRIC_SHEET], infer_schema_length=None), wording)
    assert told["rows"] == labelled.to_dicts()
    for row in told["rows"]:
        is_stage = row["slice_kind"] == "stage"
        assert row["slice_label"] == (wording.label(row["slice"]).text if is_stage else row["slice"])
    answer = visited.get("/v1/metrics-sheet", params={**asked, "format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [read_row(row) for row in rows] == told["rows"]


def read_row(row: dict[str, str]) -> dict[str, str | float | None]:
    """Read a row of the sheet's CSV as JSON has it."""
    numbers = ("numerator", "denominator", "value")
    return {name: (float(cell) if cell else None) if name in numbers else cell for name, cell in row.items()}


def test_titles(visited: TestClient) -> None:
    """Metrics have a title in each language."""
    titles = [
        {row["metric"]: row["title"] for row in get(visited, "/v1/metrics-sheet", language=spoken)["rows"]}
        for spoken in ("en", "fr")
    ]
    assert titles[0]["average_order_value"] == "Average order value"
    assert titles[1]["average_order_value"] == "Panier moyen"
    assert titles[0].keys() == titles[1].keys()


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
def test_csv(visited: TestClient, how: dict[str, Any]) -> None:
    """The metric sheet comes as CSV by parameter and by header, as a file."""
    answer = visited.get("/v1/metrics-sheet", **how)
    assert answer.headers["content-disposition"] == 'attachment; filename="metrics.csv"'
    assert answer.text.startswith("metric,title,slice_kind,slice,slice_label,")


def test_segments(visited: TestClient, publications: tuple[Publication, Publication]) -> None:
    """Each customer stands in one cell of the grid, whose groups are told in both languages."""
    scores = publications[1].scores
    for language, words in (("en", "Needs attention"), ("fr", "À surveiller")):
        told = get(visited, "/v1/segments", language=language)
        assert told["language"] == language
        assert sum(cell["customers"] for cell in told["cells"]) == scores.height
        labels = {cell["group"]: cell["group_label"] for cell in told["cells"]}
        assert labels["needs_attention"] == words
        assert set(labels) == set(told["rfm_of_group"])
        assert set(told["thresholds"]) == {"recency", "frequency", "value", "size"}


@every_word
@pytest.mark.parametrize("path", ["/v1/stages", "/v1/segments"])
def test_pictures(visited: TestClient, path: str, vocabulary: str, language: str) -> None:
    """Both maps come as a picture by parameter and by header: valid XML of the right type, the same either way."""
    words = {"language": language} if path == "/v1/segments" else {"vocabulary": vocabulary, "language": language}
    asked = visited.get(path, params={**words, "format": "svg"})
    accepted = visited.get(path, params=words, headers={"Accept": "image/svg+xml"})
    assert asked.content == accepted.content
    assert asked.headers["content-type"] == accepted.headers["content-type"] == "image/svg+xml"
    assert asked.headers["x-content-type-options"] == "nosniff"
    assert read_svg(asked.text).get("lang") == language
    assert AS_OF.isoformat() in read_description(asked.text)
    forced = visited.get(path, params={**words, "format": "json"}, headers={"Accept": "image/svg+xml"})
    assert forced.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", [*MAPS, *FEEDS, "/v1/scores?customer_id=newcomer-00", "/"])
def test_unknown_words(visited: TestClient, path: str) -> None:
    """An unknown vocabulary or language is refused by every route with those that are known, without an echo."""
    client, joint = visited, "&" if "?" in path else "?"
    if path != "/v1/segments":  # whose groups are those that training froze
        unknown = assert_problem(client.get(f"{path}{joint}vocabulary=n0nsense"))
        assert all(name in unknown["remedy"] for name in SHIPPED)
        assert [error["field"] for error in unknown["errors"]] == ["vocabulary"]
        assert "n0nsense" not in str(unknown)
        assert_problem(client.get(f"{path}{joint}vocabulary=hubspot&language=de"))
    for language in ("de", "EN", "en-GB"):
        unspoken = assert_problem(client.get(f"{path}{joint}language={language}"))
        assert unspoken["remedy"] == "Take one of en, fr."
        assert [error["field"] for error in unspoken["errors"]] == ["language"]


def test_unknown_words_to_score(visited: TestClient, whole_rows: WholeShop) -> None:
    """So they are where customers are scored."""
    body = {"as_of": AS_OF.isoformat(), "customers": [whole_rows.customer("shopper-001")]}
    for query in ("vocabulary=nonsense", "language=de", "vocabulary=/etc/x.toml"):
        assert "Take one of" in assert_problem(visited.post(f"/v1/score?{query}", json=body))["remedy"]


@pytest.fixture(scope="module")
def own_state(
    visited_home: Path, visited_store: ScoreStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServingState]:
    """A service with a vocabulary and plays of its own, as it starts from its settings file."""
    folder = tmp_path_factory.mktemp("own")
    vocabulary, plays = write_vocabulary(folder / "ours.toml"), write_plays(folder / "plays.toml")
    config = folder / "lifestage.toml"
    config.write_text(
        f'[lifecycle]\nvocabulary = "{vocabulary}"\nplays = "{plays}"\nlanguage = "fr"\n', encoding="utf-8"
    )
    environment = {HOME_VARIABLE: str(visited_home), CONFIG_VARIABLE: str(config), INSECURE_LOCAL_VARIABLE: "1"}
    state = open_state(environment)
    yield state
    state.store.close()


def test_own_words(own_state: ServingState) -> None:
    """A service tells in its own words without being asked, offers them by name, and its plays are its own."""
    client = build_client(own_state)
    told = get(client, "/v1/stages")
    assert (told["vocabulary"], told["language"]) == ("ours", "fr")
    assert [entry["label"] for entry in told["stages"]] == [f"à nous : {entry['stage']}" for entry in told["stages"]]
    assert get(client, "/v1/stages", vocabulary="ours") == told
    plays = {entry["stage"]: entry["plays"] for entry in told["stages"]}
    assert plays["lost"] == ["Call lost", "Write to lost"]
    assert plays["repeat"] == list(load_wording(language="fr").plays("repeat"))
    english = get(client, "/v1/stages", vocabulary="ours", language="en")
    assert {entry["label"] for entry in english["stages"]} == {f"ours: {entry['stage']}" for entry in told["stages"]}
    shipped = get(client, "/v1/stages", vocabulary="hubspot", language="en")
    assert {entry["stage"]: entry["plays"] for entry in shipped["stages"]}["lost"] == plays["lost"]
    assert "à nous : lost" in client.get("/v1/stages?format=svg").text
    assert "à nous : at_risk" in client.get("/").text
    unknown = assert_problem(client.get("/v1/stages?vocabulary=theirs"))
    assert unknown["remedy"].startswith("Take one of ours, lifestage, ")


def test_no_path(own_state: ServingState, visited: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request opens a file: a path, even that of a vocabulary, is unknown, and nothing tells if it is there."""
    path = write_vocabulary(tmp_path / "mine.toml")
    monkeypatch.chdir(tmp_path)
    assert load_wording(vocabulary="mine.toml").vocabulary.name == "mine"
    for client in (visited, build_client(own_state)):
        absent = client.get("/v1/stages", params={"vocabulary": "/etc/x.toml"})
        for asked in ("mine.toml", "./mine.toml", "mine", "../mine", f"{path}"[:100], "/etc/passwd", "ours.toml"):
            answer = client.get("/v1/stages", params={"vocabulary": asked})
            assert assert_problem(answer) == assert_problem(absent)


def test_bad_settings(visited_home: Path, tmp_path: Path) -> None:
    """A service whose own words are wrong does not start."""
    config = tmp_path / "lifestage.toml"
    environment = {HOME_VARIABLE: str(visited_home), CONFIG_VARIABLE: str(config), INSECURE_LOCAL_VARIABLE: "1"}
    for text in ('vocabulary = "nonsense"', 'vocabulary = "nowhere.toml"', 'language = "de"', 'plays = "nowhere.toml"'):
        config.write_text(f"[lifecycle]\n{text}\n", encoding="utf-8")
        with pytest.raises(SettingsError):
            open_state(environment)


@pytest.fixture(scope="module")
def three_bins(visited_bundle: Bundle, visited_shop: Shop) -> Bundle:
    """The same champion with RFM codes of three bins, as a shop could set them."""
    model = visited_bundle.model
    table = build_customer_table(
        visited_shop.records, Snapshot(to_day(AS_OF), model.horizon_days), rule=model.stage_rule
    )
    settings = visited_settings().segments.model_copy(update={"rfm_bins": 3})
    segments, vocabulary = learn_segments(table, settings), load_shipped_vocabulary("shopify_rfm")
    groups = {code: vocabulary.group_of(code, rfm_bins=3) for code in rfm_codes(3)}
    fitted = fit_next_segment([], segments=segments, groups=groups, horizon_days=model.horizon_days)
    return replace(visited_bundle, model=replace(model, segments=segments, next_segment=fitted))


def test_other_bins(state: ServingState, three_bins: Bundle, visited_shop: Shop, visited_rows: WholeShop) -> None:
    """Labels follow RFM codes of three bins too: in lists, totals, grid, file and answers to requests."""
    made = score_base(visited_shop, three_bins, as_of=AS_OF, settings=visited_settings())
    assert set("".join(made.scores["rfm"])) == set("123")
    publish_scores(made, state.store, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=1, wording=WORDING)
    client = build_client(replace(state, champion=three_bins))
    grid = {code: group for group, codes in get(client, "/v1/segments")["rfm_of_group"].items() for code in codes}
    texts = {cell["group"]: cell["group_label"] for cell in get(client, "/v1/segments")["cells"]}
    for name in ("shopify_rfm", "omnisend"):
        wording = Wording(load_shipped_vocabulary(name), "en", rfm_bins=3)
        listed = get(client, "/v1/at-risk", vocabulary=name, limit=1000)["customers"]
        assert len({row["stage_label"] for row in listed}) > 2
        for row in listed:
            assert row["stage_label"] == wording.label(row["stage"], row["rfm"]).text
            assert row["rfm_group"] == grid[row["rfm"]]
            assert name != "shopify_rfm" or row["stage_label"] == texts[row["rfm_group"]]
        told = get(client, "/v1/stages", vocabulary=name)
        assert sum(label["customers"] for label in told["labels"]) == made.scores.height
        stored = next(row for row in listed if row["customer_id"] == "shopper-001")
        body = {"as_of": AS_OF.isoformat(), "customers": [visited_rows.customer("shopper-001")]}
        scored = client.post("/v1/score", params={"vocabulary": name}, json=body).json()["scores"]
        assert [row["stage_label"] for row in scored] == [stored["stage_label"]]


def test_chances(state: ServingState) -> None:
    """A stage that is not observable has no chance in the answer, rather than one of 0, and the rest sum to 1."""
    rows = (build_row("blind", p_next_ambassador=None), build_row("seen"))
    told = []
    for row in rows:
        publish_rows(state.store, build_frame(row), published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=1)
        told.append(get(build_client(state), "/v1/scores", customer_id=row["customer_id"])["p_next_stage"])
    assert "ambassador" not in told[0]
    assert told[1] == {**told[0], "ambassador": 0.0}
    assert sum(told[0].values()) == 1.0


def test_stage_questions(visited: TestClient) -> None:
    """P(second purchase) and P(reactivation) are told of whom they concern, as 1 − p_churn, and are null elsewhere."""
    customers = get(visited, "/v1/at-risk", limit=1000)["customers"]
    told = {"p_second_purchase": {"first_time_buyer", "won_back"}, "p_reactivation": {"lost"}}
    for name, stages in told.items():
        assert {row["stage"] for row in customers if row[name] is not None} == stages
        for row in customers:
            assert row[name] == (1.0 - row["p_churn"] if row["stage"] in stages else None)


def test_followed_cursors(visited: TestClient) -> None:
    """Over HTTP, both feeds give everybody once, whatever the page; other, torn and foreign cursors are refused."""
    for path, rows, key, total in (
        ("/v1/prospects", "prospects", "person_id", N_PROSPECTS),
        ("/v1/changes", "changes", "customer_id", get(visited, "/v1/changes")["n_changes"]),
    ):
        page = get(visited, path, limit=9)
        seen = page[rows]
        cursor = page["next_cursor"]
        while page["next_cursor"]:
            page = get(visited, path, limit=9, cursor=page["next_cursor"])
            seen += page[rows]
        assert seen == get(visited, path, limit=1000)[rows]
        assert len({(row[key], row.get("is_visitor")) for row in seen}) == len(seen) == total
        other = get(visited, "/v1/at-risk", limit=1)["next_cursor"]
        for bad in (other, cursor[:-3], cursor[2:], "x", "", "W10", f"{cursor}%00"):
            assert_problem(visited.get(path, params={"cursor": bad}))


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
@pytest.mark.parametrize("path", ["/v1/prospects", "/v1/changes"])
def test_feeds_as_csv(visited: TestClient, path: str, how: dict[str, Any]) -> None:
    """Both feeds come as CSV too, page by page along their links, with everybody and every word of the JSON."""
    name = path.rpartition("/")[2]
    words = {"vocabulary": "reach_to_loyalty", "language": "fr"}
    expected = get(visited, path, limit=1000, **words)[name]
    answer = visited.get(path, **{**how, "params": {**how.get("params", {}), **words, "limit": 9}})
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    while "next" in answer.links:
        answer = visited.get(f"{path}{answer.links['next']['url']}", headers=how.get("headers"))
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows += list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len(expected)
    as_file = [{column: in_csv(value) for column, value in told.items()} for told in expected]
    assert [row | {"is_visitor": {"1": "true", "0": "false"}.get(row.get("is_visitor", ""), "")} for row in rows] == [
        {"is_visitor": "", **told} for told in as_file
    ]


def in_csv(value: Any) -> str:
    """Write a JSON value as a file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " · ".join(value)
    return "" if value is None else str(value)


def test_score_of_a_prospect(visited: TestClient) -> None:
    """Who has not ordered has no score, and is told apart from who is unknown; neither answer has the id in it."""
    details = []
    for customer_id in ("cold-00", "nobody", "browser-00"):
        answer = visited.get("/v1/scores", params={"customer_id": customer_id})
        assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)
        assert customer_id not in answer.text
        details.append(answer.json()["detail"])
    assert "/v1/prospects" in details[0]
    assert details[1] == details[2] == "The published run has no score of this customer."


def test_people_by_stage(visited: TestClient) -> None:
    """Prospects are listed by stage, as many as the map counts; a visitor alone may register."""
    for entry in get(visited, "/v1/stages")["prospects"]:
        listed = get(visited, "/v1/prospects", stage=entry["stage"])["prospects"]
        assert len(listed) == entry["people"]
        for row in listed:
            assert (
                row["is_visitor"] == (row["p_registration"] is not None) == (not entry["stage"].startswith("prospect"))
            )


def test_a_run_that_is_gone(visited: TestClient) -> None:
    """A run to compare with that is not kept is refused with those that are."""
    answer = visited.get("/v1/changes", params={"since_run": 99})
    assert assert_problem(answer)["remedy"] == "Runs that are kept: 2, 1."


def test_one_run(state: ServingState) -> None:
    """With one run alone there is nothing to compare it with, whatever the caller repeats."""
    publish_rows(state.store, build_frame(build_row("a")), published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=1)
    answer = build_client(state).get("/v1/changes")
    assert (answer.status_code, answer.headers["content-type"]) == (404, MEDIA_TYPE)
    assert answer.json()["type"] == "urn:lifestage:problem:nothing-to-compare"
    assert "lifestage score" in answer.json()["remedy"]


def test_hostile_ids(state: ServingState) -> None:
    """Ids that are formulas, markup or of other scripts come through as they are."""
    ids = ('=1+1"', "<script>", "ü 17", "顧客", "'; DROP TABLE scores; --")
    people = build_prospects(*(build_prospect(name) for name in ids))
    publish_rows(
        state.store, build_frame(build_row("a")), people, published_at=datetime(2026, 1, 2, tzinfo=UTC), keep_runs=1
    )
    listed = get(build_client(state), "/v1/prospects")["prospects"]
    assert {row["person_id"] for row in listed} == set(ids)


def test_openapi(visited: TestClient) -> None:
    """The document describes each new route with its words, its problems, its key, and what it answers beside JSON."""
    paths = get(visited, "/v1/openapi.json")["paths"]
    pictures = dict.fromkeys(("/v1/stages", "/v1/segments"), "image/svg+xml")
    others = {**dict.fromkeys(NEW, "text/csv"), **pictures}
    for path in NEW:
        operation = paths[path]["get"]
        assert set(operation["responses"]) > {"200", "401", "404", "422", "503"}
        assert operation["security"]
        assert operation["summary"]
        names = {parameter["name"] for parameter in operation["parameters"]}
        assert "language" in names
        assert ("vocabulary" in names) == (path != "/v1/segments")
        media = set(operation["responses"]["200"]["content"])
        assert media == {"application/json", others[path]}
        assert "format" in names
        assert ({"limit", "cursor"} <= names) == (path in FEEDS)
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema["$ref"].startswith("#/components/schemas/")
    for path in ("/v1/score", "/v1/scores", "/v1/at-risk"):
        [operation] = paths[path].values()
        assert {"vocabulary", "language"} <= {parameter["name"] for parameter in operation["parameters"]}
