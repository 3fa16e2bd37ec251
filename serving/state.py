"""What the service answers from: settings, the champion's bundle, the store and the keys."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from features.errors import ModelError, ServingError, UnpublishedError, UntriedError
from features.lifecycle.vocabularies import Wording
from features.settings import LifecycleSettings, ServingSettings, load_settings
from serving.access.keys import KeyFile, keys_path, require_keys
from serving.champion.loader import load_champion
from serving.champion.refusal import Refusal, Reloader, Untried, postpone, refuse
from serving.environment import (
    CONFIG_VARIABLE,
    DEFAULT_HOME,
    HOME_VARIABLE,
    INSECURE_LOCAL_VARIABLE,
    STORE_URL_VARIABLE,
    WORKERS_VARIABLE,
)
from serving.people.desk import PeopleDesk, open_desk
from serving.store.score_store import ScoreStore, sqlite_url
from serving.wording import build_wording
from training.bundle import Bundle
from training.promotion.champion import Promotion, read_promotion

STORE_FILE = "scores.db"

_logger = logging.getLogger("bentoml.lifestage")


@dataclass(frozen=True, slots=True)
class ServingState:
    """All that a request needs.

    Attributes:
        settings: Limits of the service.
        lifecycle: Which RFM groups the grid has.
        wording: In whose words it answers, unless a request asks for others.
        store: The published scores.
        champion: The loaded bundle, or the error that says why there is none.
        keys: The key file, or None in insecure-local mode.
        promotion: How the champion came to serve; None where that is not known.
        refused: The version that was promoted since and does not serve, or None.
        untried: The version that was promoted since and could not be tried yet, or None.
        people: Where people are erased, and object; None in a service without a home folder.
    """

    settings: ServingSettings
    lifecycle: LifecycleSettings
    wording: Wording
    store: ScoreStore
    champion: Bundle | ModelError
    keys: KeyFile | None
    promotion: Promotion | None = None
    refused: Refusal | None = None
    untried: Untried | None = None
    people: PeopleDesk | None = None

    @property
    def bundle(self) -> Bundle:
        """The champion's bundle.

        Raises:
            ModelError: If none is loaded.
        """
        if isinstance(self.champion, ModelError):
            raise self.champion
        return self.champion


class LiveState:
    """Holds the state of a running service: empty at import, filled at start, replaced whole.

    A request takes `current` once and answers from it to its end, whatever is replaced meanwhile.

    Attributes:
        reloader: Lets another champion serve; None where nothing watches for one.
        is_ending: Tells whether the process is about to end.
    """

    def __init__(self, state: ServingState | None = None) -> None:
        self._state = state
        self._changing = Lock()
        self.reloader: Reloader | None = None
        self.is_ending: Callable[[], bool] = lambda: False

    @property
    def current(self) -> ServingState:
        """The state.

        Raises:
            ServingError: If the service has not started yet.
        """
        if self._state is None:
            raise ServingError("The service is still starting.", remedy="Wait until /readyz answers 200.")
        return self._state

    def replace(self, state: ServingState) -> None:
        """Answer from another state from now on."""
        with self._changing:
            self._state = state

    def take(self, champion: Bundle, promotion: Promotion | None) -> None:
        """Answer with another champion from now on; requests under way finish with the one they began with."""
        with self._changing:
            self._state = replace(self.current, champion=champion, promotion=promotion, refused=None, untried=None)

    def refuse(self, refused: Refusal | None, error: ModelError) -> None:
        """Keep what serves, and say which champion does not and why."""
        self._keep(error, refused=refused, untried=None)

    def postpone(self, untried: Untried) -> None:
        """Keep what serves, and say which champion could not be tried yet and why."""
        self._keep(_not_yet(untried), refused=None, untried=untried)

    def _keep(self, error: ModelError, *, refused: Refusal | None, untried: Untried | None) -> None:
        with self._changing:
            champion = self.current.champion
            kept = error if isinstance(champion, ModelError) else champion
            self._state = replace(self.current, champion=kept, refused=refused, untried=untried)

    @property
    def is_ready(self) -> bool:
        """Whether a champion is loaded."""
        return self._state is not None and not isinstance(self._state.champion, ModelError)


def open_state(environment: Mapping[str, str]) -> ServingState:
    """Open the state that environment variables describe.

    A champion that is missing, refused or not tried yet does not keep the service from starting: stored scores can be
    read without it.

    Raises:
        ServingError: If no keys exist and the mode is not insecure-local.
        SettingsError: If the settings file is wrong.
    """
    home = Path(environment.get(HOME_VARIABLE, DEFAULT_HOME))
    config = environment.get(CONFIG_VARIABLE)
    is_insecure = environment.get(INSECURE_LOCAL_VARIABLE) == "1"
    settings = load_settings(Path(config) if config else None)
    if not is_insecure:
        require_keys(home)
    wording = build_wording(settings.lifecycle)
    store = open_store(home, settings.serving.store_url, environment=environment)
    opened = ServingState(
        settings=_as_started(settings.serving, environment),
        lifecycle=settings.lifecycle,
        wording=wording,
        store=store,
        champion=ModelError("No model is loaded yet.", remedy="Wait until /readyz answers 200."),
        keys=None if is_insecure else KeyFile(keys_path(home)),
        people=open_desk(home, store),
    )
    return _with_champion(opened, home)


def _as_started(settings: ServingSettings, environment: Mapping[str, str]) -> ServingSettings:
    """Return the settings with as many workers as there are, whatever the file says."""
    workers = environment.get(WORKERS_VARIABLE)
    return settings.model_copy(update={"workers": int(workers)}) if workers else settings


def open_store(home: Path, url: str = "", *, environment: Mapping[str, str] = os.environ) -> ScoreStore:
    """Open the score store.

    Args:
        home: The home folder, which holds the store where no URL is given.
        url: The setting `serving.store_url`; LIFESTAGE_STORE_URL comes before it, so that a password need not stand in
            a file.
        environment: Environment variables.

    Raises:
        SettingsError: If the URL is none, or names another kind of database.
        ServingError: If the database cannot be used.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return ScoreStore.open(_store_url(url, environment) or sqlite_url(home / STORE_FILE))


def open_published(home: Path, url: str = "", *, environment: Mapping[str, str] = os.environ) -> ScoreStore:
    """Open the score store to read what was published; arguments as of `open_store`.

    Raises:
        SettingsError: If the URL is none, or names another kind of database.
        ServingError: If the database cannot be used.
        UnpublishedError: If nothing was published yet.
    """
    if not is_store_there(home, url, environment=environment):
        raise UnpublishedError(
            "No scores have been published yet.", remedy="Run lifestage score --orders PATH --as-of DATE."
        )
    return open_store(home, url, environment=environment)


def is_store_there(home: Path, url: str = "", *, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether there is a store to open, or a database that may hold one; arguments as of `open_store`."""
    return bool(_store_url(url, environment)) or (home / STORE_FILE).is_file()


def _store_url(setting: str, environment: Mapping[str, str]) -> str:
    return environment.get(STORE_URL_VARIABLE) or setting


def _with_champion(state: ServingState, home: Path) -> ServingState:
    try:
        champion = load_champion(home)
        return replace(state, champion=champion, promotion=read_promotion(home, champion.manifest.version))
    except ModelError as error:
        _logger.warning("No champion is loaded: %s", error)
        return replace(state, champion=error, refused=refuse(home, error, at=datetime.now(UTC)))
    except (UntriedError, OSError, MemoryError) as error:
        untried = postpone(home, error, at=datetime.now(UTC))
        _logger.warning("No champion is loaded yet: %s", untried.reason)
        return replace(state, champion=_not_yet(untried), untried=untried)


def _not_yet(untried: Untried) -> ModelError:
    return ModelError(untried.reason, remedy=untried.remedy)
