import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from features.lifecycle.stages import SCALE, STAGES
from features.lifecycle.vocabularies import SHIPPED, load_wording
from serving.access.keys import KeyFile
from serving.state import ServingState
from tests.serving.local_client import build_client
from tests.serving.own_words import write_plays
from tests.serving.score_rows import build_customers, build_frame, build_row, publish_rows
from tests.serving.svg import read_description, read_tags

PUBLISHED_AT = datetime(2026, 1, 2, tzinfo=UTC)
VOID = {"meta", "rect", "link", "br", "img"}


class Outline(HTMLParser):
    """Reads a page: its tags, its texts and what it refers to; fails when tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its references."""
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the innermost open tag is the one that closes."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)


def publish(state: ServingState) -> None:
    """Publish 25 customers, one of them with an id that is markup."""
    hostile = build_row("<script>alert(1)</script>", value_at_risk=1e6, stage="at_risk")
    frame = build_frame(hostile).vstack(build_customers(24))
    publish_rows(state.store, frame, published_at=PUBLISHED_AT, keep_runs=1)


def test_home(state: ServingState) -> None:
    """The page shows the run, each stage and the ten customers most worth saving, as the JSON routes have them."""
    publish(state)
    client = build_client(state)
    page = client.get("/").text
    outline = Outline(page)
    text = " ".join(outline.texts)
    assert "1998-01-01" in text
    assert "v1" in text
    listed = client.get("/v1/at-risk?limit=10").json()
    assert all(score["customer_id"] in text for score in listed["customers"])
    assert f"{listed['totals']['value_at_risk']:,.2f}" in text
    assert "c23" not in text
    stages = client.get("/v1/stages").json()
    assert [entry["stage"] for entry in stages["stages"]] == list(STAGES)
    rows = [cells(row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    counted = [[entry["label"], str(entry["customers"]), f"{entry['share']:.1%}"] for entry in stages["stages"]]
    assert [row[:3] for row in rows if row[0] in {label for label, *_ in counted}] == counted
    assert all(entry["stage"] in text and entry["needs"] in text for entry in stages["not_observable"])


def cells(row: str) -> list[str]:
    """Return the texts of the cells of a row."""
    return [" ".join(Outline(cell).texts) for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row)]


def test_pictures(state: ServingState) -> None:
    """The page's pictures are there, are pictures, and say in words what they show, each stage with its customers."""
    publish(state)
    client = build_client(state)
    pictures = re.findall(r'<img [^>]*src="([^"]*)" alt="([^"]+)"', client.get("/").text)
    assert [source.partition("?")[0] for source, _ in pictures] == ["/v1/stages", "/v1/segments"]
    described = []
    for source, _ in pictures:
        answer = client.get(unescape(source))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
        described.append(read_description(answer.text))
    assert all("customers: 25" in description for description in described)
    for entry in client.get("/v1/stages").json()["stages"]:
        assert f"{entry['label']}: {entry['customers']} → {entry['expected_customers']:.0f} " in described[0]


def test_hostile_id(state: ServingState) -> None:
    """A customer id that is markup is shown as text."""
    publish(state)
    page = build_client(state).get("/").text
    assert "script" not in Outline(page).tags
    assert "&lt;script&gt;" in page


OWN = """
kind = "stages"
title.fr = "Les nôtres"
[stages]
{stages}
[labels.all]
fr = "{label}"
plays.fr = ["{label}"]
"""
HOSTILE = "<script>alert(1)</script> [/] {{ 7 * 7 }}"
ODD_NAME = 'a&b=c "><i> #?+%41'


def write_own(folder: Path) -> Path:
    """Write a vocabulary whose name and words are markup; it has words in French alone."""
    path = folder / f"{ODD_NAME}.toml"
    stages = "\n".join(f'{stage} = "all"' for stage in SCALE)
    path.write_text(OWN.format(stages=stages, label=HOSTILE), encoding="utf-8")
    return path


def links(page: str) -> list[str]:
    """Return where the page leads to in other words or in another language."""
    return [reference for reference in Outline(page).references if reference.startswith("/?")]


@pytest.mark.parametrize("language", ["en", "fr"])
def test_words(state: ServingState, language: str) -> None:
    """In each vocabulary and language the page names stages and plays as the routes do, and leads to the others."""
    publish(state)
    client = build_client(state)
    for vocabulary in SHIPPED:
        asked = {"vocabulary": vocabulary, "language": language}
        answer = client.get("/", params=asked)
        assert answer.status_code == 200
        outline = Outline(answer.text)
        text = " ".join(outline.texts)
        stages, listed = (client.get(path, params=asked).json() for path in ("/v1/stages", "/v1/at-risk"))
        assert all(entry["label"] in text for entry in stages["stages"])
        assert all(row["stage_label"] in text for row in listed["customers"])
        assert all(row["plays"][0] in text for row in listed["customers"][:10])
        others = [f"/?vocabulary={name}&language={language}" for name in SHIPPED if name != vocabulary]
        other = {"en": "fr", "fr": "en"}[language]
        assert links(answer.text) == [*others, f"/?vocabulary={vocabulary}&language={other}"]
        sources = [reference for reference in outline.references if "format=svg" in reference]
        assert len(sources) == 2
        assert all(f"language={language}" in source for source in sources)


def test_unknown_words(state: ServingState) -> None:
    """Words that are not there are a problem with those that are."""
    publish(state)
    for asked, told in (("vocabulary=nonsense", "hubspot"), ("language=de", "en, fr")):
        answer = build_client(state).get(f"/?{asked}")
        assert answer.status_code == 422
        assert told in answer.json()["remedy"]


def test_hostile_words(state: ServingState, tmp_path: Path) -> None:
    """An own vocabulary whose name and words are markup is shown as text, and every link and picture works."""
    publish(state)
    own = load_wording(vocabulary=str(write_own(tmp_path)), language="fr")
    client = build_client(replace(state, wording=own))
    page = client.get("/").text
    shown = Outline(page)
    assert not {"script", "i"} & set(shown.tags)
    assert HOSTILE in " ".join(shown.texts)
    assert ODD_NAME in " ".join(shown.texts)
    for link in links(page):
        answer = client.get(link)
        assert answer.status_code == 200
        back = [other for other in links(answer.text) if quote(ODD_NAME) in other]
        assert len(back) == 1
        assert client.get(back[0]).text == page
    pictures = [client.get(reference) for reference in shown.references if "format=svg" in reference]
    assert [picture.status_code for picture in pictures] == [200, 200]
    assert all("text" in tags and "script" not in tags for tags in (read_tags(p.text) for p in pictures))
    assert "&lt;script&gt;" in pictures[0].text
    lists = [reference for reference in shown.references if reference.startswith("/v1/at-risk")]
    assert len(lists) == 2
    assert all(HOSTILE in client.get(reference).text.replace('""', '"') for reference in lists)


def test_words_of_one_language(state: ServingState, tmp_path: Path) -> None:
    """Where the own vocabulary lacks the language of the page, the page leads to it in one that it has."""
    publish(state)
    own = load_wording(vocabulary=str(write_own(tmp_path)), language="fr")
    client = build_client(replace(state, wording=own))
    page = client.get("/", params={"vocabulary": "hubspot", "language": "en"}).text
    assert f"/?vocabulary={quote(ODD_NAME)}&language=fr" in links(page)
    assert all(client.get(link).status_code == 200 for link in links(page))


def test_plays_of_one_language(state: ServingState, tmp_path: Path) -> None:
    """Where own plays lack a language, the page does not lead to it."""
    publish(state)
    own = load_wording(plays=str(write_plays(tmp_path / "plays.toml", languages=("en",))))
    client = build_client(replace(state, wording=own))
    page = client.get("/").text
    assert len(links(page)) == len(SHIPPED) - 1
    assert all(client.get(link).status_code == 200 for link in links(page))


def test_self_contained(state: ServingState) -> None:
    """The page loads nothing, and its policy allows nothing but its own style sheet."""
    publish(state)
    answer = build_client(state).get("/")
    assert all(reference.startswith("/") for reference in Outline(answer.text).references)
    policy = answer.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_empty(state: ServingState) -> None:
    """Before the first publication the page says what to run."""
    text = " ".join(Outline(build_client(state).get("/").text).texts)
    assert "No scores yet" in text
    assert "lifestage train" in text
    assert "lifestage score" in text


def test_with_keys(state: ServingState, tmp_path: Path) -> None:
    """When keys are required the page explains them, and shows no customer and no figure."""
    publish(state)
    keyed = replace(state, keys=KeyFile(tmp_path / "keys.json"))
    answer = build_client(keyed, host="shop", caller="10.1.2.3").get("/")
    assert answer.status_code == 200
    text = " ".join(Outline(answer.text).texts)
    assert "Authorization: Bearer" in text
    assert "1998" not in text
    assert "c0" not in text
