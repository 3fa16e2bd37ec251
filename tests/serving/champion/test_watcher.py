"""Another champion, while the service runs: it comes whole or not at all, and every worker takes it."""

import gc
import json
import os
import shutil
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest

from features.errors import BundleError, ModelError, UntriedError
from serving.access.audit import AuditLog
from serving.champion.loader import load_champion
from serving.champion.refusal import Untried
from serving.champion.watcher import ChampionWatcher, look_at, raise_marker, watch_champion
from serving.environment import HOME_VARIABLE, INSECURE_LOCAL_VARIABLE
from serving.garbage import spare_what_is_loaded
from serving.state import LiveState, ServingState
from tests.serving.champion.conftest import Watch, load_here, promote
from tests.training.mutants import HOSTILE_PATHS
from training.bundle import Bundle
from training.promotion.champion import bundles_folder, champion_path


@contextmanager
def _spoilt(home: Path, version: str) -> Iterator[None]:
    """Put a byte too many into a bundle for the length of a block."""
    path = bundles_folder(home) / version / "model.json"
    raw = path.read_bytes()
    path.write_bytes(raw + b" ")
    yield
    path.write_bytes(raw)


def _version(live: LiveState) -> str:
    return live.current.bundle.manifest.version


def test_promotion(home: Path, live: LiveState, watch: Watch, other_folder: Path) -> None:
    """A promoted champion is taken at the next look, with how it came to serve, and once."""
    watcher = watch(live, home)
    assert not watcher.look()
    before = live.current
    promote(home, other_folder.name)
    assert watcher.look()
    assert not watcher.look()
    assert _version(live) == other_folder.name
    assert live.current.promotion is not None
    assert live.current.promotion.version == other_folder.name
    assert before.bundle.manifest.version != other_folder.name  # whoever holds the old state answers from it


def test_refused(home: Path, live: LiveState, watch: Watch, bundle_folder: Path, other_folder: Path) -> None:
    """A spoilt champion is refused with a reason, and not tried again until it is mended; then it serves."""
    watcher = watch(live, home)
    with _spoilt(home, other_folder.name):
        promote(home, other_folder.name)
        assert watcher.look()
        refused = live.current.refused
        assert not watcher.look()
    assert refused is not None
    assert refused.version == other_folder.name
    assert "model.json is not the file that was sealed" in refused.reason
    assert str(home) not in refused.reason
    assert _version(live) == bundle_folder.name
    assert watcher.look()
    assert _version(live) == other_folder.name
    assert live.current.refused is None


@pytest.mark.slow
def test_killed_check(
    home: Path, live: LiveState, other_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A champion whose check is killed is not refused: it is tried again after a pause, and serves."""
    (tmp_path / "sitecustomize.py").write_text("import os; os.kill(os.getpid(), 9)", encoding="utf-8")
    clock = iter(float(second) for second in range(0, 1000, 4))
    watcher = ChampionWatcher(
        live, home, seconds=60, seen=look_at(home), load=load_champion, elapsed=lambda: next(clock)
    )
    promote(home, other_folder.name)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        assert watcher.look()
    untried = live.current.untried
    assert untried is not None
    assert (untried.version, live.current.refused) == (other_folder.name, None)
    assert "SIGKILL" in untried.reason
    assert [watcher.look(), watcher.look(), watcher.look()] == [False, True, False]
    assert _version(live) == other_folder.name
    assert live.current.untried is None


@pytest.mark.parametrize("error", [OSError("/secret"), MemoryError(), UntriedError("It hangs.", remedy="Wait.")])
def test_pauses(home: Path, live: LiveState, other_folder: Path, error: Exception) -> None:
    """What fails for want of memory, disk or time is tried again after pauses that grow."""
    moment, tries, told = [0.0], [], SimpleQueue[str]()

    def load(_: Path) -> Bundle:
        tries.append(moment[0])
        raise error

    watcher = ChampionWatcher(
        live, home, seconds=60, seen=look_at(home), load=load, tell=told.put, elapsed=lambda: moment[0]
    )
    promote(home, other_folder.name)
    for second in range(700):
        moment[0] = float(second)
        watcher.look()
    assert tries == [0.0, 5.0, 20.0, 80.0, 380.0, 680.0]
    assert {told.get() for _ in tries} == {"untried"}
    assert live.current.untried is not None
    assert "secret" not in live.current.untried.reason
    assert len(list(AuditLog(home / "audit.jsonl").entries())) == 1
    with pytest.raises(UntriedError):
        watcher.reload(actor="ops")
    assert len(list(AuditLog(home / "audit.jsonl").entries())) == 2


def test_untried_at_start(home: Path, state: ServingState, bundle: Bundle, other_folder: Path) -> None:
    """A service whose champion could not be tried at its start takes it later, though nothing changed."""
    moment, live = [0.0], LiveState(state)
    live.postpone(Untried(bundle.manifest.version, "It hung.", "Wait.", "1998-07-01T00:00:00+00:00"))
    watcher = ChampionWatcher(live, home, seconds=60, seen=look_at(home), load=load_here, elapsed=lambda: moment[0])
    assert not live.is_ready
    assert not watcher.look()
    moment[0] = 5.0
    assert watcher.look()
    assert _version(live) == bundle.manifest.version


def test_rollback_of_a_refusal(
    home: Path, live: LiveState, watch: Watch, bundle_folder: Path, other_folder: Path
) -> None:
    """Once the champion file names what serves again, nothing is refused any more."""
    watcher = watch(live, home)
    with _spoilt(home, other_folder.name):
        promote(home, other_folder.name)
        watcher.look()
        promote(home, bundle_folder.name)
        watcher.look()
    assert live.current.refused is None
    assert _version(live) == bundle_folder.name


def test_first_champion(home: Path, state: ServingState, watch: Watch, bundle_folder: Path) -> None:
    """A service that started without a champion takes the first that is promoted."""
    champion_path(home).unlink()
    live = LiveState(state)
    watcher = watch(live, home)
    assert not watcher.look()
    promote(home, bundle_folder.name)
    watcher.look()
    assert _version(live) == bundle_folder.name


def test_bundle_goes(home: Path, live: LiveState, watch: Watch, bundle_folder: Path) -> None:
    """A champion whose files go while it serves, serves on until somebody asks for a reload."""
    watcher = watch(live, home)
    shutil.rmtree(bundles_folder(home) / bundle_folder.name)
    assert not watcher.look()
    with pytest.raises(ModelError, match="is gone"):
        watcher.reload(actor="ops")
    assert _version(live) == bundle_folder.name
    assert live.current.refused is not None


def test_freed(home: Path, state: ServingState, other_folder: Path) -> None:
    """Once another champion serves, nothing is left of the one before, nor of what was used to load it."""
    left: list[weakref.ref[object]] = []

    def load(home: Path) -> Bundle:
        def used() -> object:
            return used  # a cycle, which only the garbage collector frees

        left.append(weakref.ref(used))
        return load_here(home)

    live, thresholds = LiveState(replace(state, champion=load(home))), gc.get_threshold()
    watcher = ChampionWatcher(live, home, seconds=60, seen=look_at(home), load=load)
    left.append(weakref.ref(live.current.bundle.model.value))
    spare_what_is_loaded()
    gc.disable()
    try:
        promote(home, other_folder.name)
        assert watcher.look()
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
    assert _version(live) == other_folder.name
    assert [each() for each in left] == [None] * 3


@pytest.mark.parametrize("version", HOSTILE_PATHS)
def test_path_tricks(home: Path, live: LiveState, watch: Watch, bundle_folder: Path, version: str) -> None:
    """A champion file that names a path instead of a version is refused, and leads nowhere."""
    watcher = watch(live, home)
    promote(home, version)
    assert watcher.look()
    assert live.current.refused is not None
    assert _version(live) == bundle_folder.name


def test_damaged_pointer(home: Path, live: LiveState, watch: Watch, bundle_folder: Path) -> None:
    """A champion file that is cut off, nested without end, a folder, or a pipe is refused, and nobody waits for it."""
    watcher = watch(live, home)
    path = champion_path(home)
    for text in ('[{"version": "', "[" * 100_000, "[]x"):
        path.write_text(text, encoding="utf-8")
        assert watcher.look()
        assert live.current.refused is not None
    path.unlink()
    os.mkfifo(path)
    assert watcher.look()
    path.unlink()
    path.mkdir()
    assert watcher.look()
    assert live.current.refused is not None
    assert "damaged" in live.current.refused.reason
    assert _version(live) == bundle_folder.name


def test_linked_bundle(home: Path, live: LiveState, watch: Watch, other_folder: Path) -> None:
    """A folder of a bundle that is a link is refused, even to a sound one."""
    folder = bundles_folder(home) / other_folder.name
    shutil.rmtree(folder)
    folder.symlink_to(other_folder)
    watcher = watch(live, home)
    promote(home, other_folder.name)
    watcher.look()
    assert live.current.refused is not None
    assert _version(live) != other_folder.name


def test_workers_agree(
    home: Path, live: LiveState, state: ServingState, bundle: Bundle, watch: Watch, other_folder: Path
) -> None:
    """A reload in one worker is followed by the other, which sees the same refusal, and by none twice."""
    elsewhere = LiveState(replace(state, champion=bundle))
    here, there = watch(live, home), watch(elsewhere, home)
    promote(home, other_folder.name)
    told = here.reload(actor="ops")
    assert (told.model_version, told.previous_version) == (other_folder.name, bundle.manifest.version)
    assert told.was_changed
    assert there.look()
    assert _version(elsewhere) == _version(live) == other_folder.name
    with _spoilt(home, other_folder.name):
        with pytest.raises(BundleError):
            here.reload(actor="ops")
        assert there.look()
    for each in (live, elsewhere):
        assert each.current.refused is not None
    assert here.look()  # mended
    assert there.look()
    assert not here.look()
    assert not there.look()


def test_reloads_at_once(home: Path, live: LiveState, watch: Watch) -> None:
    """Reloads at once are done one after the other; each is counted, and each is in the audit log."""
    watcher = watch(live, home)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: watcher.reload(actor="ops"), range(4)))
    assert not any(each.was_changed for each in told)
    assert json.loads((home / "reload.json").read_text(encoding="utf-8")) == {"generation": 4}
    assert not watcher.look()
    log = AuditLog(home / "audit.jsonl")
    assert [(entry.act, entry.actor) for entry in log.entries()] == [("reload", "ops")] * 4
    assert log.verify().problem == ""


def test_refusal_is_audited(home: Path, live: LiveState, watch: Watch, bundle_folder: Path) -> None:
    """A refusal is in the audit log: which version, why, and what serves on."""
    watcher = watch(live, home)
    promote(home, "20990101-0123456789")
    watcher.look()
    (entry,) = AuditLog(home / "audit.jsonl").entries()
    assert entry.detail["refused"] == "20990101-0123456789"
    assert "gone" in entry.detail["reason"]
    assert entry.detail["model_version"] == bundle_folder.name


def test_unwritable_home(home: Path, live: LiveState, watch: Watch, other_folder: Path) -> None:
    """Where neither the marker nor the audit log can be written, a good champion serves all the same."""
    (home / ".reload.lock").mkdir()
    (home / "audit.jsonl").mkdir()
    watcher = watch(live, home)
    promote(home, other_folder.name)
    assert watcher.reload(actor="ops").was_changed
    assert _version(live) == other_folder.name


def test_marker(tmp_path: Path) -> None:
    """The marker counts reloads, and a damaged one counts from the beginning."""
    seen = [look_at(tmp_path).marker]
    for text in (None, "x", '{"generation": "x"}', "[]"):
        if text is not None:
            (tmp_path / "reload.json").write_text(text, encoding="utf-8")
        raise_marker(tmp_path)
        seen.append(look_at(tmp_path).marker)
        assert json.loads((tmp_path / "reload.json").read_text(encoding="utf-8")) == {"generation": 1}
    assert len(set(seen)) == len(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["reload.json"]


@pytest.mark.slow
def test_in_a_thread(home: Path, other_folder: Path) -> None:
    """A running service takes a champion by itself, tried in a process apart, and ends when told to."""
    config = home / "lifestage.toml"
    config.write_text("[serving]\nreload_check_seconds = 0.05\n", encoding="utf-8")
    live, told = LiveState(), SimpleQueue[str]()
    environment = {HOME_VARIABLE: str(home), INSECURE_LOCAL_VARIABLE: "1", "LIFESTAGE_CONFIG": str(config)}
    watcher = watch_champion(live, environment, tell=told.put)
    promote(home, other_folder.name)
    assert told.get(timeout=60) == "loaded"
    watcher.stop()
    live.current.store.close()
    assert _version(live) == other_folder.name
