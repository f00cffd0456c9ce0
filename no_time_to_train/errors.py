"""Errors meant to be read by people. The command line prints them without a traceback and exits with ``exit_code``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Parameter:
    """Name a parameter in a message, so that each caller reads it as he gives it.

    A Python caller reads ``overwrite=True``; the command line puts its own flag in place of that. A dotted name is a
    setting, ``benchmark.images=FOLDER``, and is the same for both.

    Attributes:
        name: as in Python.
        value: what to give, or what came.

    Example:
        >>> from no_time_to_train.errors import Parameter
        >>> print(Parameter("overwrite", True), Parameter("benchmark.images", "FOLDER"))
        overwrite=True benchmark.images=FOLDER
    """

    name: str
    value: object

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, Path) else self.value
        return f"{self.name}={value if self.is_setting else repr(value)}"

    @property
    def is_setting(self) -> bool:
        """Return whether it is a ``section.key`` of the configuration."""
        return "." in self.name


class NoTimeToTrainError(Exception):
    """Base of all errors meant to be read by people.

    Args:
        message: what must be what, what came, and how to mend it.
        parameters: those that the message names, as ``str`` gives them.

    Attributes:
        exit_code: of the command line: 1 bad input, 3 something is wrong with the machine.

    Example:
        >>> try:
        ...     ntt.load_references("nowhere.json")
        ... except ntt.NoTimeToTrainError as error:
        ...     print(error)
        nowhere.json: no such ...
    """

    exit_code = 1

    def __init__(self, message: str = "", *, parameters: Sequence[Parameter] = ()) -> None:
        super().__init__(message)
        self.parameters = tuple(parameters)


class InputError(NoTimeToTrainError, ValueError):
    """Something the user gave is wrong.

    The message says what must be what, what came, and how to mend it.

    Example:
        >>> try:
        ...     ntt.compose_config(["merging=hrad"])
        ... except ntt.InputError as error:
        ...     print(error)
        merging=hrad: no such option. ... Did you mean 'hard'?
    """


class InputFileNotFoundError(NoTimeToTrainError, FileNotFoundError):
    """A file or folder the user named is not there."""


class WeightsNotFoundError(NoTimeToTrainError, FileNotFoundError):
    """Model weights are neither on disk nor to be had."""

    exit_code = 3


class UnsafeWeightsError(NoTimeToTrainError, ValueError):
    """A checkpoint holds Python objects and could run code on loading."""

    exit_code = 3


class EnvironmentProblemError(NoTimeToTrainError, RuntimeError):
    """The machine lacks something: a GPU, memory, a consistent pair of packages."""

    exit_code = 3


def install_command(extra: str) -> str:
    """Return what installs an extra of this package, such as ``video``, from the repository's folder.

    Example:
        >>> from no_time_to_train.errors import install_command
        >>> install_command("video")
        "pip install '.[video]' in the repository's folder"
    """
    return f"pip install '.[{extra}]' in the repository's folder"


# Import name -> extra, and what needs it.
_OPTIONAL = {
    "autodistill": ("autodistill", "The adapter for autodistill needs it"),
    "av": ("video", "Videos need PyAV"),
    "cvat_sdk": ("cvat", "The adapter for CVAT needs its SDK"),
    "faiss": ("faiss", "K-means, nearest instances and semantic proposals need FAISS"),
    "faster_coco_eval": ("bench", "The engine faster-coco-eval is a package of its own"),
    "fiftyone": ("fiftyone", "The adapter for FiftyOne needs it"),
    "hydra_plugins": ("bench", "Hydra's launchers are packages of their own"),
    "lvis": ("lvis", "The evaluator lvis needs lvis-api"),
    "matplotlib": ("bench", "Plots need matplotlib"),
    "pytorch_lightning": ("bench", "Benchmarks need PyTorch Lightning"),
    "roboflow": ("autodistill", "autodistill needs the package roboflow"),
    "scipy": ("video", "Tracking needs SciPy"),
    "starlette": ("app", "The review page and the backend for Label Studio need Starlette"),
    "supervision": ("supervision", "Detections.to_supervision needs supervision"),
    "timm": ("timm", "encoder=timm/... needs timm"),
    "uvicorn": ("app", "The review page and the backend for Label Studio need uvicorn"),
}


def missing_package(error: ImportError) -> EnvironmentProblemError:
    """Return the error for people that says how to install what an import did not find.

    Example:
        >>> from no_time_to_train.errors import missing_package
        >>> print(missing_package(ModuleNotFoundError("No module named 'faiss'", name="faiss")))
        K-means, nearest instances and semantic proposals need FAISS: pip install '.[faiss]' in the repository's folder.
    """
    extra, needed_for = _OPTIONAL.get((error.name or "").partition(".")[0], (None, ""))
    if extra is None:
        return EnvironmentProblemError(f"{error}. `nttt doctor` shows what is missing.")
    return EnvironmentProblemError(f"{needed_for}: {install_command(extra)}.")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the singular where it is 1.

    Example:
        >>> from no_time_to_train.errors import counted
        >>> counted(1, "image"), counted(0, "image"), counted(2, "category")
        ('1 image', '0 images', '2 categories')
    """
    if number == 1:
        return f"1 {noun}"
    ending_y = noun.endswith("y") and noun[-2] not in "aeiou"
    return f"{number} {plural or (noun[:-1] + 'ies' if ending_y else noun + 's')}"


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), which is answered like Ctrl-C."""

    exit_code = 143


class RunInterrupted(KeyboardInterrupt):
    """A run was stopped; its folder is valid and can be continued. The message says how far it came.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, stop: KeyboardInterrupt) -> None:
        super().__init__(message)
        self.exit_code: int = Terminated.exit_code if isinstance(stop, Terminated) else 130


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a GPU ran out of memory: torch's own error, or of Apple's GPUs its words; without torch.

    Example:
        >>> is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB)"))
        True
    """
    return type(error).__name__ == "OutOfMemoryError" or str(error).startswith("MPS backend out of memory")
