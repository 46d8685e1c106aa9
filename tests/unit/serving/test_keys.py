"""Keys: shown once, kept as hashes, and good for as long as is said."""

import hashlib
import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from thaw import cli
from thaw.errors import ConfigError, StorageError
from thaw.serving import keys
from thaw.storage import Root, open_root

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path) -> Root:
    return open_root(str(tmp_path))


def test_a_key_is_found_by_its_text_alone_and_the_store_holds_only_its_hash(store):
    token = keys.add(store, "shop", "predict")
    other = keys.add(store, "line-2", "admin", "100/min")
    known = keys.read(store)
    assert (known.find(token, NOW), known.find(other, NOW)) == ("shop", "line-2")
    assert (known.keys["shop"].scope, known.keys["line-2"].scope) == ("predict", "admin")
    assert known.keys["line-2"].rate == "100/min"
    stored = store.read_bytes(keys.FILE).decode()
    assert token not in stored
    assert hashlib.sha256(token.encode()).hexdigest() in stored


@pytest.mark.parametrize("text", ["", "thaw_", "shop", "x" * 10_000, "näh", "\udcff"])
def test_what_is_no_key_is_nobodys(store, text):
    token = keys.add(store, "shop", "predict")
    known = keys.read(store)
    assert known.find(text, NOW) is None
    assert known.find(token[:-1], NOW) is None
    assert known.find(known.keys["shop"].sha256, NOW) is None
    assert keys.Keys().find(text, NOW) is None


def test_keys_are_long_and_never_the_same():
    found = {keys._token() for _ in range(100)}
    assert len(found) == 100
    assert all(one.startswith("thaw_") and len(one) == 48 for one in found)


def test_a_rotated_key_stays_good_for_its_grace_and_no_longer(store):
    before = keys.add(store, "shop", "predict", "5/s")
    after, until = keys.rotate(store, "shop", timedelta(hours=2))
    known = keys.read(store)
    assert before != after
    assert known.find(after, NOW) == known.find(before, NOW) == "shop"
    assert known.find(before, until) is None
    assert known.find(after, until + timedelta(days=999)) == "shop"
    assert known.keys["shop"].rate == "5/s"


def test_a_key_that_is_rotated_without_grace_is_refused_at_once(store):
    before = keys.add(store, "shop", "predict")
    keys.rotate(store, "shop", timedelta(0))
    assert keys.read(store).find(before, datetime.now(UTC)) is None


def test_a_revoked_key_is_refused_with_the_one_before_it(store):
    before = keys.add(store, "shop", "predict")
    after, _ = keys.rotate(store, "shop", timedelta(hours=2))
    keys.revoke(store, "shop")
    assert [keys.read(store).find(one, NOW) for one in (before, after)] == [None, None]


def test_what_cannot_be_done_names_what_can(store):
    keys.add(store, "shop", "predict")
    with pytest.raises(ConfigError, match="exists; take another name"):
        keys.add(store, "shop", "admin")
    with pytest.raises(ConfigError, match="the keys are shop; did you mean 'shop'"):
        keys.revoke(store, "shpo")
    with pytest.raises(ConfigError, match="no key 'line'"):
        keys.rotate(store, "line", timedelta(0))
    for name, limit in (("A b", None), ("line", "many")):
        with pytest.raises(ConfigError, match="should match pattern"):
            keys.add(store, name, "predict", limit)
    assert list(keys.read(store).keys) == ["shop"]


def test_a_file_that_was_broken_is_not_taken_for_one_without_keys(store):
    store.write_bytes(keys.FILE, b'{"keys": {"shop": {"scope": "all"}}}')
    with pytest.raises(StorageError, match="put back an earlier copy"):
        keys.read(store)


def test_keys_that_are_added_at_the_same_time_are_all_there(store):
    made = [threading.Thread(target=keys.add, args=(store, f"key{place}", "predict")) for place in range(4)]
    for one in made:
        one.start()
    for one in made:
        one.join()
    assert sorted(keys.read(store).keys) == ["key0", "key1", "key2", "key3"]


def ran(capsys, *arguments):
    """Return the exit code, what stands on stdout and what stands on stderr."""
    code = cli.run(["keys", *arguments])
    told = capsys.readouterr()
    return code, told.out.strip(), told.err


def test_the_verb_prints_a_key_once_and_then_only_what_is_known_of_it(store, capsys, caplog):
    caplog.set_level(logging.INFO, "thaw.audit")
    code, token, said = ran(capsys, "add", "shop", "--rate", "100/min", "--storage", str(store))
    assert code == 0
    assert token.startswith("thaw_")
    assert token not in said
    assert keys.read(store).find(token, NOW) == "shop"
    _, listed, _ = ran(capsys, "list", "--json", "--storage", str(store))
    [told] = json.loads(listed)["keys"]
    assert (told["name"], told["scope"], told["rate"]) == ("shop", "predict", "100/min")
    assert set(told) == {"name", "scope", "rate", "created"}
    _, rotated, _ = ran(capsys, "rotate", "shop", "--grace", "0", "--storage", str(store))
    assert keys.read(store).find(rotated, NOW) == "shop"
    assert keys.read(store).find(token, datetime.now(UTC)) is None
    assert ran(capsys, "revoke", "shop", "--storage", str(store))[0] == 0
    assert ran(capsys, "list", "--storage", str(store))[1].startswith("no keys")
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "thaw.audit"]
    assert [line["action"] for line in lines] == ["keys.add", "keys.rotate", "keys.revoke"]
    assert all(line["key"] == "shop" and "@" in line["by"] for line in lines)
    assert not any(secret in json.dumps(lines) for secret in (token, rotated))


def test_the_verb_without_a_name_says_what_to_give(store, capsys):
    code, out, said = ran(capsys, "revoke", "--storage", str(store))
    assert (code, out) == (2, "")
    assert "name a key" in said
