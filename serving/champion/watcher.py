"""Take another champion while requests run: on a promotion, on a rollback, on command, in every worker.

Workers do not speak to one another. Each looks at two small files of the home folder: `champion.json`, which a
promotion replaces, and `reload.json`, which a reload on command replaces. Whoever sees one change loads what the
champion file names, and answers from it only once it is verified and whole.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, NoReturn

from features.errors import LifestageError, ModelError, ServingError, UntriedError
from features.files import held_alone, read_plain_file, write_whole
from serving.access.audit import AuditLog, audit_path
from serving.champion.loader import load_champion
from serving.champion.refusal import Reloaded, postpone, refuse
from serving.environment import DEFAULT_HOME, HOME_VARIABLE
from serving.garbage import free_what_was_replaced
from serving.state import LiveState, open_state
from serving.telemetry.unexpected import log_unexpected
from training.bundle import Bundle
from training.promotion.champion import champion_path, read_champion, read_promotion

WATCHER = "service"
WAIT_SECONDS = 50.0  # for a reload that is under way
PAUSES_SECONDS = (5.0, 15.0, 60.0, 300.0)  # before a champion is tried again that could not be; the last for ever

_MARKER, _LOCK = "reload.json", ".reload.lock"
_MANY_FILES = 100
_logger = logging.getLogger("bentoml.lifestage")

Mark = tuple[int, int, int] | None


class Seen(NamedTuple):
    """What told of a champion when it was last loaded.

    Attributes:
        pointer: Of the champion file: inode, time of change, size; None where it is not there.
        marker: Likewise, of the marker of reloads.
        folder: Likewise, of each of the champion's files by name.
    """

    pointer: Mark
    marker: Mark
    folder: tuple[tuple[str, Mark], ...]


class ChampionWatcher:
    """Looks for another champion from time to time, and lets it serve.

    A champion that is refused is not tried again until something of it changes. One that could not be tried is tried
    again after a pause, which grows.

    Args:
        live: Whose champion is replaced.
        home: The home folder.
        seconds: Between two looks.
        seen: What told of the champion that serves, from before it was loaded.
        load: Loads the champion of a home folder.
        tell: Called with `loaded`, `refused` or `untried` after each attempt.
        now: The clock.
        elapsed: A clock of seconds that nobody sets.
    """

    def __init__(
        self,
        live: LiveState,
        home: Path,
        *,
        seconds: float,
        seen: Seen,
        load: Callable[[Path], Bundle] = load_champion,
        tell: Callable[[str], object] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._home = home
        self._seconds = seconds
        self._seen = seen
        self._load_from = load
        self._tell = tell
        self._now = now
        self._elapsed = elapsed
        self._n_untried = 0
        self._again_at = elapsed() + PAUSES_SECONDS[0]
        self._audit = AuditLog(audit_path(home))
        self._loading = Lock()
        self._end = Event()
        self._thread = Thread(target=self._watch, name="champion-watcher", daemon=True)

    def start(self) -> None:
        """Look from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a load that is under way is not waited for."""
        self._end.set()

    def look(self) -> bool:
        """Load the champion if something told of another, and tell whether something did."""
        with self._loading:
            seen = look_at(self._home)
            if not self._is_news(seen):
                return False
            with suppress(ModelError, UntriedError):  # it is told where it is refused or postponed
                self._load(seen, actor=WATCHER)
            return True

    def reload(self, *, actor: str) -> Reloaded:
        """Load the champion anew, let it serve, and let the other workers do likewise.

        Raises:
            ModelError: If it is refused; what served before serves on, and the other workers look for themselves.
            UntriedError: If it could not be tried; likewise, and it is tried again.
            ServingError: If another reload is under way for too long.
        """
        if not self._loading.acquire(timeout=WAIT_SECONDS):
            raise ServingError("Another reload is under way.", remedy="Repeat the request in a minute.")
        try:
            return self._load(look_at(self._home), actor=actor)
        finally:
            self._tell_others()
            self._loading.release()

    def _is_news(self, seen: Seen) -> bool:
        state = self._live.current
        if state.untried is not None and self._elapsed() >= self._again_at:
            return True
        if state.refused is not None or state.untried is not None:
            return seen != self._seen
        return seen[:2] != self._seen[:2]  # what serves was read whole: its files may go

    def _load(self, seen: Seen, *, actor: str) -> Reloaded:
        before = _version(self._live)
        try:
            champion = self._load_from(self._home)
            promotion = read_promotion(self._home, champion.manifest.version)
        except ModelError as error:
            self._note_try(seen)
            self._refuse(error, actor=actor)
            raise
        except Exception as error:  # noqa: BLE001  # of memory, disk or processes: it says nothing of the champion
            self._note_try(seen, is_untried=True)
            self._postpone(error, actor=actor)
        self._note_try(seen)
        self._live.take(champion, promotion)
        told = _describe(champion, before)
        _logger.info("Champion %s serves, before it %s", told.model_version, before)
        self._note(actor, asdict(told))
        self._tell("loaded")
        free_what_was_replaced()
        return told

    def _note_try(self, seen: Seen, *, is_untried: bool = False) -> None:
        before = self._n_untried if seen == self._seen else 0
        self._n_untried = before + 1 if is_untried else 0
        self._again_at = self._elapsed() + PAUSES_SECONDS[min(before, len(PAUSES_SECONDS) - 1)]
        self._seen = seen

    def _postpone(self, error: Exception, *, actor: str) -> NoReturn:
        if not isinstance(error, LifestageError):
            log_unexpected(error)
        untried = postpone(self._home, error, at=self._now())
        self._live.postpone(untried)
        serves = _version(self._live)
        _logger.warning("Champion not tried yet, %s serves on: %s", serves or "none", untried.reason)
        if self._n_untried == 1 or actor != WATCHER:  # the same, again and again, would fill the log
            self._note(actor, {"untried": untried.version, "reason": untried.reason, "model_version": serves})
        self._tell("untried")
        raise UntriedError(untried.reason, remedy=untried.remedy) from error

    def _refuse(self, error: ModelError, *, actor: str) -> None:
        refused = refuse(self._home, error, at=self._now())
        self._live.refuse(refused, error)
        serves = _version(self._live)
        _logger.warning("Champion refused, %s serves on: %s", serves or "none", error.problem)
        version = None if refused is None else refused.version
        self._note(actor, {"refused": version, "reason": error.problem, "model_version": serves})
        self._tell("refused")

    def _note(self, actor: str, detail: dict[str, Any]) -> None:
        """Write into the audit log; a log that cannot be written must not keep a good champion from serving."""
        try:
            self._audit.append(actor=actor, act="reload", detail=detail, at=self._now())
        except (LifestageError, OSError) as error:
            _logger.warning("The audit log could not be written: %s", type(error).__name__)

    def _tell_others(self) -> None:
        """Raise the marker, and do not heed it ourselves unless another worker raised it meanwhile."""
        marker = self._home / _MARKER
        try:
            with held_alone(self._home / _LOCK):
                is_known = _mark(marker) == self._seen.marker
                raise_marker(self._home)
                self._seen = self._seen._replace(marker=_mark(marker) if is_known else self._seen.marker)
        except OSError as error:
            _logger.warning("The other workers were not told of the reload: %s", error.strerror)

    def _watch(self) -> None:
        while not self._end.wait(self._seconds):
            try:
                self.look()
            except ServingError as error:
                _logger.info("%s", error.problem)
            except Exception as error:  # noqa: BLE001  # a watcher that died would leave the worker behind the others
                log_unexpected(error)


def watch_champion(
    live: LiveState, environment: Mapping[str, str], *, tell: Callable[[str], object] = lambda _: None
) -> ChampionWatcher:
    """Open the state that environment variables describe, and let another champion serve when there is one.

    Raises:
        ServingError: As `open_state`.
        SettingsError: As `open_state`.
    """
    home = Path(environment.get(HOME_VARIABLE, DEFAULT_HOME))
    seen = look_at(home)  # before the champion is loaded: what changes while it is, is seen afterwards
    live.replace(open_state(environment))
    watcher = ChampionWatcher(live, home, seconds=live.current.settings.reload_check_seconds, seen=seen, tell=tell)
    live.reloader = watcher
    watcher.start()
    return watcher


def look_at(home: Path) -> Seen:
    """Look at what tells of a champion."""
    return Seen(_mark(champion_path(home)), _mark(home / _MARKER), _folder_marks(home))


def raise_marker(home: Path) -> None:
    """Replace the marker of reloads by one that counts one more; readers see the old one or the new."""
    write_whole(home / _MARKER, json.dumps({"generation": _generation(home) + 1}) + "\n")


def _generation(home: Path) -> int:
    try:
        return int(json.loads(read_plain_file(home / _MARKER, most_bytes=1000))["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _folder_marks(home: Path) -> tuple[tuple[str, Mark], ...]:
    try:
        folder = read_champion(home)
        names = sorted(path.name for path, _ in zip(folder.iterdir(), range(_MANY_FILES), strict=False))
    except (LifestageError, OSError):
        return ()
    return tuple((name, _mark(folder / name, follow_links=False)) for name in names)


def _mark(path: Path, *, follow_links: bool = True) -> Mark:
    try:
        found = path.stat(follow_symlinks=follow_links)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _version(live: LiveState) -> str | None:
    champion = live.current.champion
    return None if isinstance(champion, ModelError) else champion.manifest.version


def _describe(champion: Bundle, before: str | None) -> Reloaded:
    manifest = champion.manifest
    return Reloaded(manifest.version, before, manifest.catalogue_hash, was_changed=manifest.version != before)
