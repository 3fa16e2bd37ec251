import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.errors import ServingError, SettingsError
from serving.access.keys import (
    DEFAULT_SCOPES,
    KeyFile,
    create_key,
    fingerprint,
    load_keys,
    remove_key,
    retire_key,
    rotate_key,
)

CREATED_AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a key file in a folder that does not exist yet."""
    return tmp_path / "home" / "keys.json"


def test_key_opens(path: Path) -> None:
    """A created key is accepted, and anything else is not."""
    key = create_key(path, name="crm", created_at=CREATED_AT)
    keys = KeyFile(path)
    assert keys.recognise(key) == load_keys(path)[0]
    assert not any(keys.recognise(other) for other in ("", key[:-1], f"{key}x", "é", load_keys(path)[0].sha256))


def test_key_is_not_stored(path: Path) -> None:
    """The file holds a name, a date and a hash, but not the key, and only its owner can read it."""
    key = create_key(path, name="crm", created_at=CREATED_AT)
    text = path.read_text(encoding="utf-8")
    assert key not in text
    assert set(json.loads(text)["keys"][0]) == {"name", "sha256", "created_at", "scopes"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".keys.json.lock", "keys.json"]


def test_keys_add_up(path: Path) -> None:
    """A second key does not replace the first, and each is a new one."""
    first, second = (create_key(path, name=name, created_at=CREATED_AT) for name in ("a", "b"))
    assert first != second
    assert [found and found.name for found in map(KeyFile(path).recognise, (first, second))] == ["a", "b"]


def test_running_service_notices(path: Path) -> None:
    """A key works, and a removed key stops working, without a restart."""
    keys = KeyFile(path)
    assert keys.recognise("anything") is None
    key = create_key(path, name="crm", created_at=CREATED_AT)
    assert keys.recognise(key)
    remove_key(path, name="crm")
    assert keys.recognise(key) is None
    path.write_text("damaged", encoding="utf-8")
    with pytest.raises(ServingError, match="damaged"):
        keys.recognise(key)


def test_notices_within_a_tick(path: Path) -> None:
    """A change is noticed even where the file's time stays the same."""
    first = create_key(path, name="crm", created_at=CREATED_AT)
    keys = KeyFile(path)
    assert keys.recognise(first)
    status = path.stat()
    second = create_key(path, name="shop", created_at=CREATED_AT)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert keys.recognise(second)
    path.write_bytes(path.read_bytes().replace(b"crm", b"longer"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (found := keys.recognise(first)) is not None
    assert found.name == "longer"


def test_rotation(path: Path) -> None:
    """A second key opens the same as the first, beside it, until the first is retired; there is never a third."""
    first = create_key(path, name="crm", scopes=["score"], created_at=CREATED_AT)
    other = create_key(path, name="shop", created_at=CREATED_AT)
    keys = KeyFile(path)
    second = rotate_key(path, name="crm", created_at=CREATED_AT)
    assert {found and found.scopes for found in map(keys.recognise, (first, second))} == {("score",)}
    with pytest.raises(SettingsError, match="2 active keys"):
        rotate_key(path, name="crm", created_at=CREATED_AT)
    assert retire_key(path, name="crm").fingerprint == fingerprint(first)
    assert [keys.recognise(key) is not None for key in (first, second, other)] == [False, True, True]
    with pytest.raises(SettingsError, match="one key only"):
        retire_key(path, name="crm")


def test_remove_both(path: Path) -> None:
    """Removing a name removes both of its keys, and no others."""
    keys = [create_key(path, name="crm", created_at=CREATED_AT), rotate_key(path, name="crm", created_at=CREATED_AT)]
    kept = create_key(path, name="shop", created_at=CREATED_AT)
    assert [key.fingerprint for key in remove_key(path, name="crm")] == [fingerprint(key) for key in keys]
    assert [key.fingerprint for key in load_keys(path)] == [fingerprint(kept)]


def test_scopes(path: Path) -> None:
    """A key opens what its scopes name; admin opens everything, and has to be asked for."""
    for name, scopes in (("crm", ["read", "score"]), ("boss", ["admin"])):
        create_key(path, name=name, scopes=scopes, created_at=CREATED_AT)
    create_key(path, name="plain", created_at=CREATED_AT)
    crm, boss, plain = load_keys(path)
    assert crm.scopes == ("score", "read")
    assert [crm.opens(scope) for scope in ("score", "read", "lists", "admin")] == [True, True, False, False]
    assert all(boss.opens(scope) for scope in ("score", "read", "lists", "admin"))
    assert [plain.opens(scope) for scope in ("score", "read", "lists", "admin")] == [True, True, True, False]
    for wrong in (["all"], []):
        with pytest.raises(SettingsError, match="scope"):
            create_key(path, name="x", scopes=wrong, created_at=CREATED_AT)


def test_file_before_scopes(path: Path) -> None:
    """A key stored before there were scopes opens what a new key opens: everything but admin."""
    key = create_key(path, name="crm", created_at=CREATED_AT)
    entry = json.loads(path.read_text(encoding="utf-8"))["keys"][0]
    del entry["scopes"]
    path.write_text(json.dumps({"keys": [entry]}), encoding="utf-8")
    assert (found := KeyFile(path).recognise(key)) is not None
    assert found.scopes == DEFAULT_SCOPES
    rotate_key(path, name="crm", created_at=CREATED_AT)
    assert [stored.scopes for stored in load_keys(path)] == [DEFAULT_SCOPES] * 2


def test_commands_at_once(path: Path) -> None:
    """Keys that are created at the same time are all kept."""
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda n: create_key(path, name=f"k{n}", created_at=CREATED_AT), range(12)))
    assert all(KeyFile(path).recognise(key) for key in keys)


def test_bad_names(path: Path) -> None:
    """A name must be there, be free to take, and exist to be removed."""
    create_key(path, name="crm", created_at=CREATED_AT)
    with pytest.raises(SettingsError, match="exists already"):
        create_key(path, name="crm", created_at=CREATED_AT)
    with pytest.raises(SettingsError, match="needs a name"):
        create_key(path, name=" ", created_at=CREATED_AT)
    for act in (remove_key, retire_key):
        with pytest.raises(SettingsError, match="No key"):
            act(path, name="shop")


@pytest.mark.parametrize("name", ["local", "command line", "a\nb", "a" * 65])
def test_unfit_names(path: Path, name: str) -> None:
    """A name that could pass for another caller, or garble a table, is refused, and not repeated."""
    with pytest.raises(SettingsError, match="no name for a key") as refused:
        create_key(path, name=name, created_at=CREATED_AT)
    assert name not in refused.value.problem


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": [{"name": "a"}]}',
        '{"keys": 1}',
        '{"keys": [{"name": "a", "sha256": "é", "created_at": ""}]}',
        '{"keys": [{"name": "a", "sha256": 1, "created_at": ""}]}',
        '{"keys": [{"name": "a", "sha256": "", "created_at": "", "scopes": ["all"]}]}',
        '{"keys": [{"name": "a", "sha256": "", "created_at": "", "scopes": 1}]}',
    ],
)
def test_damaged_file(path: Path, text: str) -> None:
    """A damaged key file is refused, not read as one without keys."""
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ServingError, match="damaged"):
        load_keys(path)
