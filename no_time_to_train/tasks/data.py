"""List, get and check the benchmarks' data: ``nttt data``.

They are checked to the last image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from no_time_to_train.benchmarks.benchmark import AnnotatedImages, Benchmark, RequiredData
from no_time_to_train.benchmarks.registry import BENCHMARKS, load_task, reference_source
from no_time_to_train.build import compose_bench_config
from no_time_to_train.config import BenchConfig
from no_time_to_train.data.coco import CocoImage
from no_time_to_train.data.downloads import Download, fetch, file_fault, unpack
from no_time_to_train.data.image_checks import image_fault
from no_time_to_train.data.voc import VocAnnotationsError
from no_time_to_train.errors import InputError, InputFileNotFoundError
from no_time_to_train.files.arguments import as_function
from no_time_to_train.runs.prefetch import read_ahead
from no_time_to_train.runs.progress import Counter, OnProgress, RunProgress, tell_nobody

_DOWNLOADS = "downloads"
_NUM_THREADS = 4
_MB = 1_000_000


@dataclass(frozen=True)
class DataRow:
    """One thing that a benchmark needs on disk.

    Attributes:
        benchmark: its name.
        what: it is; of a benchmark that needs nothing: its description.
        size, license: for people; "-" where there is nothing to get.
        state: ``here``, ``missing`` or ``nothing to get``.

    Example:
        >>> ntt.list_data()[0].state in ("here", "missing", "nothing to get")
        True
    """

    benchmark: str
    what: str
    size: str
    license: str
    state: str


def list_data(overrides: Sequence[str] = ()) -> list[DataRow]:
    """List what every benchmark needs, and whether it is here.

    Args:
        overrides: settings as ``"key=value"``; ``"root=FOLDER"`` is where the data are.

    Example:
        >>> [row.state for row in ntt.list_data() if row.benchmark == "demo"]
        ['nothing to get']
    """
    config = compose_bench_config(shared=overrides)  # some are of one benchmark only
    root = data_root(overrides)
    rows = []
    for benchmark in BENCHMARKS.values():
        required = _required_in_any_case(benchmark, config)
        if not required:
            rows.append(DataRow(benchmark.name, benchmark.description, "-", "-", "nothing to get"))
        for item in required:
            state = "here" if _is_present(item, root) else "missing"
            rows.append(DataRow(benchmark.name, item.what, _size(item), item.license, state))
    return rows


def data_root(overrides: Sequence[str] = ()) -> Path:
    """Return the folder that the data of all benchmarks are in."""
    return Path(compose_bench_config(shared=overrides).benchmark.root)


def prepare_data(name: str, overrides: Sequence[str] = (), on_progress: OnProgress = tell_nobody) -> None:
    """Download and unpack what a benchmark lacks.

    Archives stay in ``downloads`` below the root, also those that somebody put there.

    Args:
        name: of the benchmark.
        overrides: settings as ``"key=value"``, e.g. a part of it: ``"split=1"``.
        on_progress: is told what is downloaded, and how far it is.

    Raises:
        EnvironmentProblemError: a download failed; the same call continues it.
        InputFileNotFoundError: something cannot be downloaded; the message says what to put where.

    Example:
        >>> ntt.prepare_data("demo")
    """
    as_function(on_progress, "on_progress")
    config = _config(name, overrides)
    root = Path(config.benchmark.root)
    by_hand = []
    for item in BENCHMARKS[name].requires(config):
        if _is_present(item, root):
            on_progress(RunProgress("MB", 0, 0, f"{item.what}: here"))
        elif item.download is None:
            by_hand.append(item)
        else:
            _get(item, item.download, root, on_progress)
    if by_hand:
        steps = [f"{item.what}: {item.instructions} so that there is {_places(item, root)}." for item in by_hand]
        raise InputFileNotFoundError("Cannot be downloaded from here:\n" + "\n".join(steps))


def verify_data(name: str, overrides: Sequence[str] = (), on_progress: OnProgress = tell_nobody) -> list[str]:
    """Read everything a benchmark uses and return every problem.

    Args:
        name: of the benchmark.
        overrides: settings as ``"key=value"``.
        on_progress: is told every problem as it is found, and how far it is.

    Example:
        >>> ntt.verify_data("demo")
        []
    """
    as_function(on_progress, "on_progress")
    config = _config(name, overrides)
    problems: list[str] = []
    for problem in chain(_problems(config, on_progress), _unless(problems, _faults_of_references(config))):
        problems.append(problem)
        on_progress(RunProgress("images", 0, 0, problem))
    return problems


def _config(name: str, overrides: Sequence[str]) -> BenchConfig:
    if name not in BENCHMARKS:
        raise InputError(f"{name}: no such benchmark. Known: {', '.join(BENCHMARKS)}.")
    return compose_bench_config([f"benchmark={name}", *overrides])


def _required_in_any_case(benchmark: Benchmark, config: BenchConfig) -> list[RequiredData]:
    """By all parts, with all samplers and evaluators."""
    key, values = benchmark.part or ("name", (benchmark.name,))
    cases = [_with_setting(config, f"benchmark.{key}", value) for value in values]
    cases += [_with_setting(config, key, value) for key, value in benchmark.variants]
    return list(dict.fromkeys(item for case in cases for item in benchmark.requires(case)))


def _with_setting(config: BenchConfig, dotted_name: str, value: str | int) -> BenchConfig:
    section, key = dotted_name.split(".")
    return replace(config, **{section: replace(getattr(config, section), **{key: value})})


def _is_present(item: RequiredData, root: Path) -> bool:
    return not _unfinished_mark(item, root).exists() and all((root / path).exists() for path in item.provides)


def _unfinished_mark(item: RequiredData, root: Path) -> Path:
    """Return a file that is there while an archive is being unpacked."""
    name = item.what if item.download is None else item.download.file_name
    return root / _DOWNLOADS / f"{name}.unpacking"


def _get(item: RequiredData, download: Download, root: Path, on_progress: OnProgress) -> None:
    on_progress(RunProgress("MB", 0, 0, f"{item.what}: {_size(item)} from {download.urls[0]}"))
    counters: list[Counter] = []

    def show(done: int, total: int | None) -> None:
        if not counters:
            counters.append(Counter("MB", (total or done) // _MB, on_progress))
        counters[0].advance(done // _MB - counters[0].done)

    archive = fetch(download, root / _DOWNLOADS / download.file_name, show)
    if item.unpack_into is not None:
        on_progress(RunProgress("MB", 0, 0, f"Unpacking {archive}"))
        mark = _unfinished_mark(item, root)
        mark.touch()
        unpack(archive, root / item.unpack_into)
        mark.unlink()
    missing = [path for path in item.provides if not (root / path).exists()]
    if missing:
        raise InputError(f"{archive} has been unpacked but has no {', '.join(missing)}: its layout has changed.")


def _problems(config: BenchConfig, on_progress: OnProgress) -> Iterator[str]:
    root = Path(config.benchmark.root)
    benchmark = BENCHMARKS[config.benchmark.name]
    missing: set[Path] = set()
    for item in benchmark.requires(config):
        absent = [root / path for path in item.provides if not (root / path).exists()]
        missing.update(absent)
        yield from (f"{path}: missing ({item.what})" for path in absent)
        yield from _faults_of_archive(item, root)
    if config.evaluator.name == "episodes":  # these have neither training nor test images
        return
    for images in (reference_source(config), benchmark.test(config)):
        if images.annotations.exists():
            yield from _faults_of_images(images, on_progress)
        elif images.annotations not in missing:
            yield f"{images.annotations}: missing ({images.what})"


def _unless(problems: Sequence[str], further: Iterator[str]) -> Iterator[str]:
    """Yield further problems where none was found before."""
    if not problems:
        yield from further


def _faults_of_references(config: BenchConfig) -> Iterator[str]:
    """Yield why the references of a run with these settings cannot be drawn, if so."""
    if config.evaluator.name == "episodes":
        return
    try:
        load_task(config)
    except (InputError, InputFileNotFoundError) as error:
        yield str(error)


def _faults_of_archive(item: RequiredData, root: Path) -> Iterator[str]:
    if item.download is None:
        return
    archive = root / _DOWNLOADS / item.download.file_name
    fault = file_fault(archive, item.download) if archive.is_file() else None
    if fault is not None:
        yield f"{archive}: {fault}"
    if _unfinished_mark(item, root).exists():
        yield f"{archive}: was not unpacked to the end ({item.what})"


def _faults_of_images(images: AnnotatedImages, on_progress: OnProgress) -> Iterator[str]:
    """Of the annotations and of every image that they name."""
    try:
        dataset = images.dataset
        folder = images.images or images.images_folder([image.file_name for image in dataset.images])
    except VocAnnotationsError as error:
        yield from error.faults
        return
    except (InputError, InputFileNotFoundError) as error:
        yield str(error)
        return

    def check(image: CocoImage) -> str | None:
        return image_fault(folder / image.file_name, image.size_hw)

    counter = Counter("images", len(dataset.images), on_progress)
    for fault in read_ahead(check, dataset.images, num_threads=_NUM_THREADS, num_ahead=4 * _NUM_THREADS):
        if fault is not None:
            yield fault
        counter.advance()


def _places(item: RequiredData, root: Path) -> str:
    return " and ".join(str((root / path).resolve()) for path in item.provides)


def _size(item: RequiredData) -> str:
    num_bytes = None if item.download is None else item.download.num_bytes
    if num_bytes is None:
        return item.size or "?"
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
