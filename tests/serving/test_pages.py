import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from features.lifecycle.stages import STAGES
from serving.keys import KeyFile
from serving.state import ServingState
from tests.serving.local_client import build_client
from tests.serving.score_rows import build_customers, build_frame, build_row

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
    state.store.publish(frame, published_at=PUBLISHED_AT, keep_runs=1)


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
    assert outline.tags.count("rect") == len(STAGES)


def test_text_alternative(state: ServingState) -> None:
    """The chart says in words what it shows."""
    publish(state)
    page = build_client(state).get("/").text
    description = re.search(r"<desc[^>]*>(.*?)</desc>", page, re.DOTALL)
    assert description is not None
    assert description[1] == "First-time buyer: 0; Repeat: 24; Loyal: 0; At risk: 1; Lost: 0; Won back: 0."


def test_hostile_id(state: ServingState) -> None:
    """A customer id that is markup is shown as text."""
    publish(state)
    page = build_client(state).get("/").text
    assert "script" not in Outline(page).tags
    assert "&lt;script&gt;" in page


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
