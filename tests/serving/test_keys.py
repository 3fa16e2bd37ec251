import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.errors import ServingError, SettingsError
from serving.keys import KeyFile, create_key, load_keys, remove_key

CREATED_AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a key file in a folder that does not exist yet."""
    return tmp_path / "home" / "keys.json"


def test_key_opens(path: Path) -> None:
    """A created key is accepted, and anything else is not."""
    key = create_key(path, name="crm", created_at=CREATED_AT)
    keys = KeyFile(path)
    assert keys.accepts(key)
    assert not any(keys.accepts(other) for other in ("", key[:-1], f"{key}x", "é", load_keys(path)[0].sha256))


def test_key_is_not_stored(path: Path) -> None:
    """The file holds a name, a date and a hash, but not the key, and only its owner can read it."""
    key = create_key(path, name="crm", created_at=CREATED_AT)
    text = path.read_text(encoding="utf-8")
    assert key not in text
    assert set(json.loads(text)["keys"][0]) == {"name", "sha256", "created_at"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["keys.json"]


def test_keys_add_up(path: Path) -> None:
    """A second key does not replace the first, and each is a new one."""
    first, second = (create_key(path, name=name, created_at=CREATED_AT) for name in ("a", "b"))
    assert first != second
    assert all(KeyFile(path).accepts(key) for key in (first, second))


def test_running_service_notices(path: Path) -> None:
    """A key works, and a removed key stops working, without a restart."""
    keys = KeyFile(path)
    assert not keys.accepts("anything")
    key = create_key(path, name="crm", created_at=CREATED_AT)
    assert keys.accepts(key)
    remove_key(path, name="crm")
    assert not keys.accepts(key)


def test_bad_names(path: Path) -> None:
    """A name must be there, be free to take, and exist to be removed."""
    create_key(path, name="crm", created_at=CREATED_AT)
    with pytest.raises(SettingsError, match="exists already"):
        create_key(path, name="crm", created_at=CREATED_AT)
    with pytest.raises(SettingsError, match="needs a name"):
        create_key(path, name=" ", created_at=CREATED_AT)
    with pytest.raises(SettingsError, match="No key"):
        remove_key(path, name="shop")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": [{"name": "a"}]}', '{"keys": 1}'])
def test_damaged_file(path: Path, text: str) -> None:
    """A damaged key file is refused, not read as one without keys."""
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ServingError, match="damaged"):
        load_keys(path)
