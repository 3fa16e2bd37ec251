"""What the service answers from: settings, the champion's bundle, the store and the keys."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import ModelError, ServingError
from features.lifecycle.vocabularies import Wording
from features.settings import LifecycleSettings, ServingSettings, load_settings
from serving.keys import KeyFile, load_keys
from serving.store import ScoreStore, sqlite_url
from serving.wording import build_wording
from training.bundle import Bundle, load_bundle
from training.promotion.champion import Promotion, read_champion, read_promotion

HOME_VARIABLE = "LIFESTAGE_HOME"
CONFIG_VARIABLE = "LIFESTAGE_CONFIG"
INSECURE_LOCAL_VARIABLE = "LIFESTAGE_INSECURE_LOCAL"
DEFAULT_HOME = ".lifestage"

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
    """

    settings: ServingSettings
    lifecycle: LifecycleSettings
    wording: Wording
    store: ScoreStore
    champion: Bundle | ModelError
    keys: KeyFile | None
    promotion: Promotion | None = None

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
    """Holds the state of a running service: empty at import, filled at start, replaced whole."""

    def __init__(self, state: ServingState | None = None) -> None:
        self._state = state

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
        self._state = state

    @property
    def is_ready(self) -> bool:
        """Whether a champion is loaded."""
        return self._state is not None and not isinstance(self._state.champion, ModelError)


def open_state(environment: Mapping[str, str]) -> ServingState:
    """Open the state that environment variables describe.

    A missing or refused champion does not keep the service from starting: stored scores can be read without it.

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
    champion = _load_champion(home)
    return ServingState(
        settings=settings.serving,
        lifecycle=settings.lifecycle,
        wording=build_wording(settings.lifecycle),
        store=open_store(home),
        champion=champion,
        keys=None if is_insecure else KeyFile(keys_path(home)),
        promotion=None if isinstance(champion, ModelError) else read_promotion(home, champion.manifest.version),
    )


def open_store(home: Path) -> ScoreStore:
    """Open the score store of a home folder."""
    home.mkdir(parents=True, exist_ok=True)
    return ScoreStore.open(sqlite_url(home / "scores.db"))


def open_published(home: Path) -> ScoreStore:
    """Open the score store of a home folder to read what was published.

    Raises:
        ServingError: If nothing was published yet.
    """
    if not (home / "scores.db").is_file():
        raise ServingError(
            "No scores have been published yet.", remedy="Run lifestage score --orders PATH --as-of DATE."
        )
    return open_store(home)


def keys_path(home: Path) -> Path:
    """Return where the keys of a home folder are."""
    return home / "keys.json"


def require_keys(home: Path) -> None:
    """Refuse to go on without a key.

    Raises:
        ServingError: If no key was created yet.
    """
    if not load_keys(keys_path(home)):
        raise ServingError(
            "The service has no API key, so nobody could use it.",
            remedy="Create one with lifestage keys NAME, or use --insecure-local on your own machine.",
        )


def _load_champion(home: Path) -> Bundle | ModelError:
    try:
        return load_bundle(read_champion(home))
    except ModelError as error:
        _logger.warning("No champion is loaded: %s", error)
        return error
