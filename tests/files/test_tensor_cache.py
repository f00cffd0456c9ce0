"""An entry of the cache is whole and the right one, or it is not there."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import torch

from no_time_to_train.files.tensor_cache import CacheEntry, EntryMemory, TensorCache, cache_fingerprint


def make_entry(length: int = 5) -> CacheEntry:
    return CacheEntry({"a": torch.arange(length), "b": torch.zeros(0), "c": torch.ones(2, 2)}, {"size": [length, 7]})


def flip_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path, "f00d")
    assert cache.load("key") is None
    cache.store("key", make_entry())
    loaded = cache.load("key")
    assert loaded is not None and loaded.facts == {"size": [5, 7]}
    torch.testing.assert_close(dict(loaded.tensors), dict(make_entry().tensors), rtol=0, atol=0)
    path = cache.path("key")
    assert path.relative_to(tmp_path).parts[:2] == ("f00d", path.name[:2])


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
def test_a_flipped_bit_makes_it_absent(tmp_path: Path, caplog, fraction: float) -> None:
    cache = TensorCache(tmp_path, "f00d")
    cache.store("key", make_entry())
    flip_bit(cache.path("key"), int(fraction * cache.path("key").stat().st_size))
    with caplog.at_level(logging.WARNING):
        assert cache.load("key") is None
    assert [str(cache.path("key")) in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("num_bytes", [0, 7, 200, -1])
def test_a_truncated_file_is_absent(tmp_path: Path, caplog, num_bytes: int) -> None:
    cache = TensorCache(tmp_path, "f00d")
    cache.store("key", make_entry())
    cache.path("key").write_bytes(cache.path("key").read_bytes()[:num_bytes])
    assert cache.load("key") is None
    assert "is not a usable cache entry" in caplog.text


def test_an_entry_of_another_key_or_fingerprint_is_not_used(tmp_path: Path, caplog) -> None:
    cache, other = TensorCache(tmp_path, "f00d"), TensorCache(tmp_path, "beef")
    cache.store("a", make_entry())
    for owner, key, reason in ((cache, "b", "its key is a, not b"), (other, "a", "its fingerprint is f00d, not beef")):
        owner.path(key).parent.mkdir(parents=True, exist_ok=True)
        owner.path(key).write_bytes(cache.path("a").read_bytes())
        assert owner.load(key) is None
        assert reason in caplog.text


def test_a_failed_write_leaves_the_old_entry_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    cache = TensorCache(tmp_path, "f00d")
    cache.store("a", make_entry(3))

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        cache.store("a", make_entry(4))
    loaded = cache.load("a")
    assert loaded is not None and len(loaded.tensors["a"]) == 3
    assert list(cache.path("a").parent.iterdir()) == [cache.path("a")]


def test_several_writers_and_readers_of_one_entry(tmp_path: Path, caplog) -> None:
    seen = []

    def work() -> None:
        cache = TensorCache(tmp_path, "f00d")
        for _ in range(10):
            cache.store("a", make_entry(2000))
            seen.append(len(loaded.tensors["a"]) if (loaded := cache.load("a")) else 0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2000] * 40 and not caplog.records
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_fingerprint_follows_the_content_whatever_its_order() -> None:
    assert cache_fingerprint({"a": 1, "b": [2]}) == cache_fingerprint({"b": [2], "a": 1})
    assert cache_fingerprint({"a": 1}) != cache_fingerprint({"a": 2})


def test_memory_saves_reading_and_serves_without_a_folder(tmp_path: Path) -> None:
    memory = EntryMemory(1000)
    on_disk, in_memory = TensorCache(tmp_path, "f00d", memory), TensorCache(None, "beef", memory)
    for cache in (on_disk, in_memory):
        assert cache.load("key") is None
        cache.store("key", make_entry())
    on_disk.path("key").unlink()
    for cache in (on_disk, in_memory):
        loaded = cache.load("key")
        assert loaded is not None and loaded.facts == {"size": [5, 7]}
        torch.testing.assert_close(dict(loaded.tensors), dict(make_entry().tensors), rtol=0, atol=0)
    assert TensorCache(None, "f00d").load("key") is None


def test_what_was_read_once_stays_in_memory(tmp_path: Path) -> None:
    TensorCache(tmp_path, "f00d").store("key", make_entry())
    cache = TensorCache(tmp_path, "f00d", EntryMemory(1000))
    assert cache.load("key") is not None
    cache.path("key").unlink()
    assert cache.load("key") is not None


def test_full_memory_keeps_what_came_first_and_forgets_other_fingerprints() -> None:
    size = make_entry().num_bytes
    assert size == 5 * 8 + 4 * 4
    memory = EntryMemory(2 * size)
    for fingerprint, key in (("f00d", "a"), ("f00d", "a"), ("f00d", "b"), ("f00d", "c")):
        memory.keep(fingerprint, key, make_entry())
    assert [memory.get("f00d", key) is not None for key in "abc"] == [True, True, False]
    memory.keep("beef", "a", make_entry(500))
    assert memory.get("beef", "a") is None and memory.get("f00d", "a") is None
    memory.keep("beef", "a", make_entry())
    memory.keep("beef", "b", make_entry())
    assert memory.get("beef", "a") is not None and memory.get("beef", "b") is not None


def test_what_is_kept_holds_no_larger_tensor() -> None:
    cache = TensorCache(None, "f00d", EntryMemory(1000))
    cache.store("key", CacheEntry({"a": torch.arange(1000)[3:5]}, {}))
    loaded = cache.load("key")
    assert loaded is not None and loaded.tensors["a"].tolist() == [3, 4]
    assert loaded.tensors["a"].untyped_storage().nbytes() == 16
