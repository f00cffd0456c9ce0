"""Images named in any way: folders, single files, and patterns that the shell did not expand."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from no_time_to_train.data.image_search import (
    FoundImages,
    describe_files,
    is_like_an_image,
    look_through,
    printable,
    reason_left_out,
    search_images,
)
from no_time_to_train.errors import InputError, InputFileNotFoundError, counted
from no_time_to_train.files.arguments import as_path

ImageNames = str | Path | Sequence[str | Path]
"""A folder (sub-folders included), an image file, a pattern such as ``"photos/**/*.jpg"``, or several of these."""


@dataclass(frozen=True)
class ImageSelection:
    """What was named, and the one folder that all of it lies in.

    Names of images are relative to that folder, so that images of one name in two folders stay apart. It depends on
    what was named, not on what a pattern finds, so that more images under the same pattern keep their names.

    Attributes:
        names: folders, files and patterns.
        root: the folder that holds all of them; absolute, except for a single folder, which stays as it was given.
        is_folder: one folder was named and nothing else.
    """

    names: tuple[Path, ...]
    root: Path
    is_folder: bool

    @classmethod
    def of(cls, images: ImageNames) -> ImageSelection:
        """Read what was named.

        Raises:
            InputError: nothing was, or it lies on several drives.
        """
        given = [images] if isinstance(images, str | Path) else images
        if not isinstance(given, Sequence):
            raise InputError(f"images must be a path or a list of paths, got {type(given).__name__}.")
        names = tuple(as_path(name, "images").expanduser() for name in given)
        if not names:
            raise InputError("name the images: folders, files, or patterns such as 'photos/*.jpg'.")
        if len(names) == 1 and names[0].is_dir():
            return cls(names, names[0], is_folder=True)
        try:
            return cls(names, Path(os.path.commonpath([os.path.abspath(_base(name)) for name in names])), False)
        except ValueError as error:
            raise InputError(f"the images lie on several drives ({error}). Label those of each drive alone.") from error

    def find(self, own: Path | None = None) -> FoundImages:
        """Look for the images; a warning counts what is not read.

        Args:
            own: a folder whose contents are left out without a word: the results of this run.

        Raises:
            InputFileNotFoundError: something that was named is not there.
            InputError: something that was named holds or matches no image that can be read.
        """
        if self.is_folder:
            found = search_images(self.root, own)
        else:
            search = _Search(self.root, own)
            for name in self.names:
                search.add(name)
            found = search.found(len(self.names))
        found.say_what_is_left_out(self.root)
        return found


@dataclass
class _Search:
    """Goes through names one by one, and remembers those that give nothing."""

    root: Path
    own: Path | None
    paths: dict[Path, None] = field(default_factory=dict)
    left_out: dict[tuple[str, str], None] = field(default_factory=dict)
    result_folders: dict[str, None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    is_any_missing: bool = False

    def add(self, name: Path) -> None:
        if name.is_dir():
            self._add_folder(name)
        elif name.is_file():
            self._add_file(name)
        elif not _is_pattern(name):
            self._fault(name, "is neither a file nor a folder", is_missing=True)
        else:
            self._add_matches(name)

    def found(self, num_names: int) -> FoundImages:
        if self.faults:
            shown = "; ".join(self.faults[:5]) + (f"; and {len(self.faults) - 5} more" if len(self.faults) > 5 else "")
            total = f"{len(self.faults)} of {num_names} names of images give none: " if num_names > 1 else ""
            advice = "Name folders, files, or patterns such as 'photos/*.jpg' ('**' stands for all sub-folders)."
            raise (InputFileNotFoundError if self.is_any_missing else InputError)(f"{total}{shown}. {advice}")
        paths, folders = tuple(sorted(self.paths)), tuple(sorted(self.result_folders))
        images = FoundImages(paths, tuple(sorted(self.left_out)), folders)
        if not paths:
            raise InputError(f"none of {counted(num_names, 'name')} is that of an image. {images.remark()}")
        return images

    def _fault(self, name: Path, what: str, *, is_missing: bool = False) -> None:
        self.faults.append(f"{printable(str(name))} {what}")
        self.is_any_missing |= is_missing

    def _add_folder(self, folder: Path, *, may_be_empty: bool = False) -> None:
        if (folder / "run.json").is_file():
            if self.own is None or folder.resolve() != self.own.resolve():
                self.result_folders[self._shown(folder)] = None
            return
        found, files = look_through(Path(os.path.abspath(folder)), self.own)
        if not found.paths and not may_be_empty:
            self._fault(folder, f"has no readable images ({describe_files(files)})")
        self.paths |= dict.fromkeys(found.paths)
        inner = self._shown(folder)
        self.left_out |= dict.fromkeys((f"{inner}/{name}", reason) for name, reason in found.left_out)
        self.result_folders |= dict.fromkeys(f"{inner}/{name}" for name in found.result_folders)

    def _add_file(self, file: Path) -> None:
        path = Path(os.path.abspath(file))
        no_image = f"{path.suffix or 'without suffix'} (no image)"
        reason = reason_left_out(path, self.root) if is_like_an_image(path) else no_image
        if reason is None:
            self.paths[path] = None
        else:
            self.left_out[self._shown(path), reason] = None

    def _add_matches(self, pattern: Path) -> None:
        matches = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
        before, num_left_out = len(self.paths), len(self.left_out)
        known = set(self.paths)
        for match in self._outside_results(matches, Path(os.path.abspath(_base(pattern)))):
            if match.is_dir():
                self._add_folder(match, may_be_empty=True)
            elif is_like_an_image(match):
                self._add_file(match)
        is_repeated = any(Path(os.path.abspath(match)) in known for match in matches)
        if len(self.paths) == before and len(self.left_out) == num_left_out and not is_repeated:
            files = [match for match in matches if match.is_file()]
            what = f"matches no image ({describe_files(files)})" if files else "matches nothing"
            self._fault(pattern, what, is_missing=not files)

    def _outside_results(self, matches: Sequence[Path], base: Path) -> Iterator[Path]:
        """Yield what does not lie in results: those of this run, or of others below the pattern's fixed part."""
        verdicts: dict[Path, bool] = {}
        for match in matches:
            folder = Path(os.path.abspath(match)).parent
            if folder not in verdicts:
                verdicts[folder] = self._is_in_results(folder, base)
            if not verdicts[folder]:
                yield match

    def _is_in_results(self, folder: Path, base: Path) -> bool:
        if self.own is not None and folder.resolve().is_relative_to(self.own.resolve()):
            return True
        for parent in (folder, *folder.parents):
            if parent == base or not parent.is_relative_to(base):
                return False
            if (parent / "run.json").is_file():
                self.result_folders[self._shown(parent)] = None
                return True
        return False

    def _shown(self, path: Path) -> str:
        return printable(Path(os.path.abspath(path)).relative_to(self.root).as_posix())


def _is_pattern(name: Path) -> bool:
    """Return whether a name has wildcards; a file of that very name is checked for first."""
    return glob.escape(str(name)) != str(name)


def _base(name: Path) -> Path:
    """Return the folder itself, that of a file, or the part of a pattern before its first wildcard."""
    if name.is_dir():
        return name
    if name.exists() or not _is_pattern(name):
        return name.parent
    return Path(*takewhile(lambda part: not _is_pattern(Path(part)), name.parts))
