"""Bundles gone wrong, promoted one after the other into a running service: each is refused, and what serves serves on.

The structure of a bundle is checked before LightGBM reads it, so most are loaded in this very process: one that
crashed it would fail the whole file.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from features.records import Records
from serving.champion.watcher import ChampionWatcher, look_at
from serving.http.api import build_app
from serving.state import LiveState
from tests.serving.champion.conftest import Watch, promote
from tests.training.mutant_verdicts import few_orders, find_bad_answer, find_bad_reason
from tests.training.mutants import Mutant, make_mutant
from training.bundle import Bundle
from training.promotion.champion import bundles_folder, is_version

N_MUTANTS = 210
REQUEST = {
    "as_of": "1998-07-01",
    "customers": [{"customer_id": "a", "orders": [{"ordered_at": "1998-01-04", "amount": 9}]}],
}


@pytest.fixture(scope="module")
def orders() -> tuple[Records, int]:
    """Orders to answer for, and the day after the last."""
    return few_orders()


def _place(mutant: Mutant, home: Path) -> str:
    """Put a mutant among the bundles of a home, under the version it claims to be, and let it be the champion."""
    placed = bundles_folder(home) / mutant.folder.name
    if placed.exists():
        shutil.rmtree(placed)
    mutant.folder.rename(placed)
    promote(home, mutant.folder.name)
    return mutant.folder.name


def _fault(live: LiveState, version: str, serving: Bundle, mutant: Mutant, orders: tuple[Records, int]) -> str:
    """Say what is wrong with what a mutant led to, if anything."""
    refused = live.current.refused
    if refused is None:
        return "it serves" if mutant.is_broken else find_bad_answer(live.current.bundle, orders)
    if live.current.bundle is not serving:
        return "what served serves no longer"
    named = version if is_version(version) else None
    return find_bad_reason(refused.reason) or ("" if refused.version == named else "another version is named")


@pytest.mark.slow
def test_mutants(
    home: Path,
    live: LiveState,
    watch: Watch,
    bundle: Bundle,
    bundle_folder: Path,
    other_folder: Path,
    orders: tuple[Records, int],
    tmp_path: Path,
) -> None:
    """None of them takes the place of a sound champion, unless it answers as well; each refusal has its reason."""
    watcher = watch(live, home)
    client = TestClient(build_app(live), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000))
    before = client.post("/v1/score", json=REQUEST).json()
    faults, refusals = {}, Counter[str]()
    for seed in range(N_MUTANTS):
        nursery = tmp_path / "nursery"
        nursery.mkdir()
        mutant = make_mutant(seed, source=bundle_folder, other=other_folder, into=nursery)
        version = _place(mutant, home)
        assert watcher.look()
        if fault := _fault(live, version, bundle, mutant, orders):
            faults[mutant.name] = fault
        refusals[mutant.name.rpartition(" ")[0]] += live.current.refused is not None
        live.take(bundle, None)
        _remove(bundles_folder(home) / version)
        shutil.rmtree(nursery)
    assert faults == {}
    assert all(refusals.values())  # each family has its refusals
    assert client.post("/v1/score", json=REQUEST).json() == before


def _remove(placed: Path) -> None:
    if placed.is_symlink():
        placed.unlink()
    else:
        shutil.rmtree(placed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [19, 21])
def test_in_a_process_apart(
    home: Path, live: LiveState, bundle: Bundle, bundle_folder: Path, other_folder: Path, tmp_path: Path, seed: int
) -> None:
    """Forged bundles whose seals fit are tried in a process apart, and refused in its words."""
    watcher = ChampionWatcher(live, home, seconds=60, seen=look_at(home))
    mutant = make_mutant(seed, source=bundle_folder, other=other_folder, into=tmp_path)
    version = _place(mutant, home)
    watcher.look()
    assert live.current.refused is not None, mutant.name
    assert live.current.refused.version == version
    assert find_bad_reason(live.current.refused.reason) == ""
    assert live.current.bundle is bundle
