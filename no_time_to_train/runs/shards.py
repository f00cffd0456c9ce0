"""The images of a run, dealt out to its processes.

What each of them found is put together again.

Every process appends to a file of its own, one JSON line per image. A line counts once it ends, so a process killed at
any moment loses one image at most, and a later run of any number of processes does what is left.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.data.coco_results import checked_results
from no_time_to_train.errors import InputError, counted
from no_time_to_train.files.atomic import replacing
from no_time_to_train.files.hashes import is_unchanged, sha256_of_file
from no_time_to_train.files.json_files import is_id
from no_time_to_train.structures import Detections, TargetImage

ImageId = int | str


def split_batches(targets: Sequence[TargetImage], batch_size: int) -> list[tuple[TargetImage, ...]]:
    """Split all images into consecutive batches.

    The last one is smaller where the size does not divide their number.

    They are cut before they are dealt out: what is computed together, and with it every rounding, does not depend on
    the number of processes or on where an earlier run stopped.

    Raises:
        InputError: two images have one id, so that their results could not be told apart.
    """
    repeated = [image_id for image_id, count in Counter(target.id for target in targets).items() if count > 1]
    if repeated:
        raise InputError(f"{len(repeated)} image ids are used more than once (first: {repeated[0]}). They must differ.")
    return [tuple(targets[start : start + batch_size]) for start in range(0, len(targets), batch_size)]


def open_batches(
    batches: Sequence[Sequence[TargetImage]], labeled: Collection[ImageId], rank: int = 0, world_size: int = 1
) -> list[Sequence[TargetImage]]:
    """Select the batches of one process that lack results.

    They are every ``world_size``-th batch, beginning with number ``rank``, that has an image without result.

    No batch goes to two processes and none is repeated to make their shares equal. Which batches are a process's own
    does not depend on what is labeled: processes that look at different moments still agree.
    """
    own = batches[rank::world_size]
    return [batch for batch in own if any(target.id not in labeled for target in batch)]


class ShardWriter:
    """Writer that appends to the shard of one process.

    The torn last line of a killed one is cut off first.

    Args:
        folder: of all shards of the run.
        rank: number of the process.
        min_score: detections that score less are left out.
    """

    def __init__(self, folder: Path, rank: int, min_score: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"rank={rank}.jsonl"
        self._min_score = min_score
        self._file = path.open("ab")
        self._file.truncate(sum(len(line) for _, line in _whole_lines(path)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, target: TargetImage, detections: Detections) -> None:
        """Append the result of one image."""
        kept = detections.scoring_at_least(self._min_score)
        line = {
            "image_id": target.id,
            "bytes": target.path.stat().st_size,
            "sha256": sha256_of_file(target.path),
            "results": kept.to_coco_results(target.id),
        }
        self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        self._file.flush()


@dataclass(frozen=True)
class Dropped:
    """Results that cannot be used, as :func:`drop_unusable` found them.

    Attributes:
        damaged: where they stood and what is wrong, for people.
        num_changed: images that are other ones than when they were labeled.
    """

    damaged: tuple[str, ...]
    num_changed: int

    def messages(self) -> list[str]:
        """Say what is labeled again."""
        said = [f"{damage}. Its image is labeled again." for damage in self.damaged]
        if self.num_changed:
            changed = counted(self.num_changed, "image")
            said.append(f"{changed} changed since labeled: labeled again.")
        return said


def drop_unusable(folder: Path, targets: Sequence[TargetImage]) -> Dropped:
    """Remove results that cannot be used, so that their images are labeled again.

    These are damaged ones, two of one image, those of images that are none of ``targets``, and those of images whose
    files have changed. Only one process may do it, before any other looks at the folder.
    """
    by_id = {target.id: target for target in targets}
    found: dict[ImageId, list[tuple[Path, int, bool]]] = defaultdict(list)
    damaged: list[str] = []
    unusable: dict[Path, set[int]] = defaultdict(set)
    for path in sorted(folder.glob("rank=*.jsonl")):
        for number, (offset, line) in enumerate(_whole_lines(path), start=1):
            try:
                content = _checked_line(line, by_id)
            except (ValueError, RecursionError):
                damaged.append(f"{path} is damaged in line {number}")
                unusable[path].add(offset)
                continue
            image = by_id[content["image_id"]].path
            is_current = is_unchanged(image, content.get("bytes"), content.get("sha256"))
            found[content["image_id"]].append((path, offset, is_current))
    for image_id, places in found.items():
        if len(places) > 1:
            damaged.append(f"{folder} holds {len(places)} results of image {image_id}")
            for path, offset, _ in places:
                unusable[path].add(offset)
    num_changed = 0
    for [(path, offset, is_current), *others] in found.values():
        if not others and not is_current:
            num_changed += 1
            unusable[path].add(offset)
    for path, offsets in unusable.items():
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            file.writelines(line for offset, line in _whole_lines(path) if offset not in offsets)
    return Dropped(tuple(damaged), num_changed)


def _checked_line(line: bytes, targets: Mapping[ImageId, TargetImage]) -> dict[str, Any]:
    """Return the content of a line; raise ValueError where it is no result of an image of the run."""
    content = json.loads(line)
    image_id: Any = content.get("image_id") if isinstance(content, dict) else None
    if not is_id(image_id) or image_id not in targets:
        raise ValueError("it is no result of an image of the run")
    size_hw = targets[image_id].size_hw
    for entry in checked_results(content.get("results"), "the line"):
        if entry["image_id"] != image_id or not entry.get("bbox") or not entry.get("segmentation"):
            raise ValueError("it is no result of its image")
        if size_hw is not None and tuple(entry["segmentation"]["size"]) != tuple(size_hw):
            raise ValueError("a mask has another size than its image")
    return content


def labeled_ids(folder: Path) -> set[ImageId]:
    """Return the ids of images that have a result in a shard.

    Raises:
        InputError: a shard is damaged, or an image has two results.
    """
    return set(_index(folder))


def merged_results(folder: Path, targets: Sequence[TargetImage]) -> Iterator[dict[str, Any]]:
    """Yield the COCO results of all shards in the order of ``targets``.

    They are read image by image, never in memory as a whole.

    Raises:
        InputError: an image has no result, or two, or there is a result of no image.
    """
    index = _index(folder)
    missing = [target.id for target in targets if target.id not in index]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(targets)} images have no result in {folder} (first: image {missing[0]}). The same "
            "command labels them."
        )
    if len(index) > len(targets):
        foreign = next(iter(index.keys() - {target.id for target in targets}))
        raise InputError(f"{folder} holds results of other images (first: image {foreign}). {_REMOVE}")
    for target in targets:
        path, offset = index[target.id]
        with path.open("rb") as file:
            file.seek(offset)
            yield from json.loads(file.readline())["results"]


_REMOVE = "Remove this folder and run the same command again."


def _index(folder: Path) -> dict[ImageId, tuple[Path, int]]:
    """Shard and byte offset of every image's line."""
    index: dict[ImageId, tuple[Path, int]] = {}
    for path in sorted(folder.glob("rank=*.jsonl")):
        for offset, line in _whole_lines(path):
            try:
                image_id = json.loads(line)["image_id"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} is damaged at byte {offset} ({error}). {_REMOVE}") from error
            if image_id in index:
                raise InputError(
                    f"image {image_id} has a result in {index[image_id][0].name} and in {path.name} of {folder}: two "
                    f"runs wrote to it at the same time. {_REMOVE}"
                )
            index[image_id] = (path, offset)
    return index


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Byte offset and content of every line that ends."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield offset, line
            offset += len(line)
