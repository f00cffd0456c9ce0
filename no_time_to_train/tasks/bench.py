"""``nttt bench``: one run of a benchmark, from its settings to ``metrics.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from no_time_to_train import build
from no_time_to_train.benchmarks.registry import load_task
from no_time_to_train.benchmarks.task import BenchmarkTask
from no_time_to_train.config import BenchConfig, to_dict
from no_time_to_train.data.coco import write_coco
from no_time_to_train.errors import InputError
from no_time_to_train.evaluation.evaluators import check_evaluator, evaluate_predictions
from no_time_to_train.files.formats import write_json
from no_time_to_train.outputs.coco_json import write_result_entries
from no_time_to_train.proposals.cache import depend_on_references, proposal_fingerprint
from no_time_to_train.runs.launch import is_first_process, label_images, started_by_cluster
from no_time_to_train.runs.loggers import check_logger, log_metrics
from no_time_to_train.runs.plan import CachePlan, RunPlan
from no_time_to_train.runs.progress import Counter, OnProgress, tell_nobody
from no_time_to_train.runs.prototype_cache import prototype_fingerprint
from no_time_to_train.runs.provenance import weight_hashes
from no_time_to_train.runs.run import Run
from no_time_to_train.runs.run_folder import RunFolder
from no_time_to_train.runs.run_state import read_run
from no_time_to_train.runs.shards import merged_results
from no_time_to_train.runs.shared_models import segmenter_with_shared_models
from no_time_to_train.tasks.episodes import run_episodes
from no_time_to_train.tasks.memory_source import references_fingerprint


@dataclass(frozen=True)
class BenchReport:
    """What ``run_benchmark`` measured.

    Attributes:
        out: the run's folder, with ``config.yaml``, ``references.json``, ``predictions.json``, ``metrics.json`` and
            ``run.json``.
        metrics: the content of ``metrics.json``; its ``box`` and ``mask`` hold ``nAP``, in per cent.
        was_finished: an earlier run had finished it already, so that nothing was computed.

    Example:
        >>> report = ntt.BenchReport("runs/demo", {"box": {"nAP": 49.9}}, was_finished=False)
        >>> report.metrics["box"]["nAP"]
        49.9
    """

    out: Path
    metrics: Mapping[str, Any]
    was_finished: bool


def run_benchmark(
    overrides: Sequence[str] = (), *, on_progress: OnProgress = tell_nobody, command: Sequence[str] = ()
) -> BenchReport:
    """Run a benchmark: draw references, label the target images, and score.

    A run's folder follows from its settings. What a stopped run has done is not done again, and a finished run is
    only read. On several processes the predictions are the same to the byte.

    Args:
        overrides: settings as ``"key=value"``; ``nttt config bench`` prints all of them.
        on_progress: is told how far the run is.
        command: the command line that continues it, for ``run.json``.

    Raises:
        InputError: data or settings that do not fit, or a folder with a run of other data.
        EnvironmentProblemError: devices, packages or processes fail.
        RunInterrupted: Ctrl-C or SIGTERM; the folder is valid and can be continued.

    Example:
        >>> settings = ["preset=demo", "benchmark=demo", "shots=1", "limit=2", "proposals.points_per_side=8"]
        >>> report = ntt.run_benchmark([*settings, "device=cpu"])
        >>> report.metrics["num_images"], report.was_finished
        (2, False)
    """
    return run_composed(build.compose_bench_config(overrides), on_progress=on_progress, command=command)


def run_composed(
    config: BenchConfig,
    *,
    on_progress: OnProgress = tell_nobody,
    command: Sequence[str] = (),
    keeps_for_next: bool = False,
) -> BenchReport:
    """Run a benchmark whose settings are composed already; arguments and errors as of :func:`run_benchmark`.

    With ``keeps_for_next`` candidate masks and prototypes stay in memory, up to ``cache.memory_mb``.

    The process that runs this starts the others, or is one of those that ``torchrun`` or SLURM started; then only the
    first one writes and tells ``on_progress``, and the report of the others has no metrics.
    """
    folder = RunFolder(config)
    if folder.is_finished:
        folder.tidy()
        return BenchReport(folder.path, folder.read_metrics(), was_finished=True)
    check_logger(config.trainer.logger)
    tell = on_progress if is_first_process() else tell_nobody
    if config.evaluator.name == "episodes":
        work: _EpisodesRun | _LabelingRun = _EpisodesRun(config, tell)
    else:
        work = _LabelingRun(config, load_task(config), folder, tell, keeps_for_next)
    metrics = _carry_out(work, config, folder, command, tell) if is_first_process() else work.score()
    return BenchReport(folder.path, metrics, was_finished=False)


def _carry_out(
    work: _EpisodesRun | _LabelingRun,
    config: BenchConfig,
    folder: RunFolder,
    command: Sequence[str],
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Carry out a run with its files, in the first process."""
    settings = folder.settings(work.references_fingerprint, work.images_fingerprint, work.reference_counts)
    advice = "Remove it, or choose another place with runs=DIR."
    metrics: dict[str, Any] = {}
    with Run(folder.path, settings, command=command, advice=advice, on_progress=on_progress) as run:
        run.details |= {"shots": config.shots, "seed": config.seed, "weights": weight_hashes(config)}
        run.say(f"{folder.path}: {work.description}")

        def label_and_score() -> None:
            if not work.is_labeled:  # else the folder stays finished until the new scores are there
                run.begin()
            folder.write_config()
            metrics.update(work.score())
            run.details |= work.details
            write_json(folder.metrics, metrics)
            log_metrics(config.trainer.logger, folder.path, Path(config.runs), to_dict(config), metrics)

        run.carry_out(label_and_score, lambda: None, lambda: "some images labeled")
        folder.clean_up()
    return metrics


class _EpisodesRun:
    """Episodes of COCO-20i: no predictions of images, only IoUs."""

    references_fingerprint = "episodes"
    reference_counts: Mapping[str, int] = MappingProxyType({})
    is_labeled = False

    def __init__(self, config: BenchConfig, on_progress: OnProgress) -> None:
        self._config = config
        self._on_progress = on_progress
        self.details: dict[str, Any] = {}
        self.images_fingerprint = f"{config.evaluator.num_episodes} episodes of fold {config.benchmark.fold}"
        self.description = self.images_fingerprint

    def score(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``.

        Raises:
            InputError: more than one process: episodes run on one.
        """
        if self._config.trainer.devices * self._config.trainer.num_nodes > 1 or started_by_cluster():
            raise InputError("evaluator.name=episodes runs in one process. Use trainer.devices=1, without torchrun.")
        counter = Counter("episodes", self._config.evaluator.num_episodes, self._on_progress)
        return run_episodes(
            self._config,
            segmenter=segmenter_with_shared_models(self._config),
            on_progress=lambda done, _: counter.advance(done - counter.done),
        )


class _LabelingRun:
    """Target images labeled, merged and scored."""

    def __init__(
        self,
        config: BenchConfig,
        task: BenchmarkTask,
        folder: RunFolder,
        on_progress: OnProgress,
        keeps_for_next: bool = False,
    ) -> None:
        self._config = config
        self._on_progress = on_progress
        self._task = task
        self._folder = folder
        self._memory_bytes = config.cache.memory_mb * 1_000_000 if keeps_for_next else 0
        self._evaluator = task.evaluator if config.evaluator.name == "default" else config.evaluator.name
        check_evaluator(self._evaluator, config.evaluator)
        self.is_labeled = folder.is_labeled
        self.details: dict[str, Any] = {}
        self.references_fingerprint = references_fingerprint(task.references)
        self.reference_counts = task.references.counts()
        names = json.dumps([[target.id, target.file_name] for target in task.targets])
        self.images_fingerprint = f"{len(task.targets)} images {hashlib.sha256(names.encode()).hexdigest()[:12]}"
        num_categories = len(task.references.categories)
        self.description = (
            f"{len(task.references)} references of {num_categories} categories, {len(task.targets)} images"
        )

    def score(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``; nothing in all processes but the first."""
        if not self.is_labeled:
            self._label()
        if not is_first_process():
            return {}
        timings = (read_run(self._folder.path) or {}).get("timings", {}) | self.details.get("timings", {})
        return self._evaluate() | {"seconds_per_image": timings.get("seconds_per_image")}

    def _label(self) -> None:
        """Write the predictions, in the first process."""
        plan = RunPlan(
            config=self._config,
            references=self._task.references,
            targets=self._task.targets,
            folder=self._folder.unfinished,
            cache=self._cache(),
            on_progress=self._on_progress,
        )
        label_images(plan)
        if not is_first_process():
            return
        report = json.loads(plan.report_file.read_text(encoding="utf-8"))
        self.details |= report
        write_coco(self._task.reference_dataset, self._folder.references)
        write_result_entries(self._folder.predictions, merged_results(plan.shards, self._task.targets))

    def _cache(self) -> CachePlan | None:
        """Refuse (InputError) candidate masks on disk that depend on the references: no use to other runs."""
        settings = self._config.cache
        in_memory = self._memory_bytes > 0 and not depend_on_references(self._config)
        if not settings.enabled and not in_memory:
            return None
        weights = weight_hashes(self._config)
        return CachePlan(
            folder=Path(settings.folder) if settings.enabled else None,
            prototypes=prototype_fingerprint(self._config, weights),
            proposals=proposal_fingerprint(self._config, weights),
            memory_bytes=self._memory_bytes,
        )

    def _evaluate(self) -> dict[str, Any]:
        return evaluate_predictions(
            self._evaluator,
            self._config.evaluator,
            self._task.ground_truth,
            self._folder.predictions,
            ground_truth_file=self._task.ground_truth_file,
        )
