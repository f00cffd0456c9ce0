"""The folder listing is the pipeline: lower layers never import higher ones, wherever the import stands."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "no_time_to_train"
MAX_LINES = 350
MAX_LOOSE_MODULES = 8

# Lowest first. A module may import its own layer and those before it.
LAYERS = [
    "errors",
    "web",
    "files",
    "settings",
    "sections",
    "config",
    "ops",
    "structures",
    "data",
    "models",
    "references",
    "proposals",
    "matching",
    "scoring",
    "merging",
    "segmenter",
    "tracking",
    "outputs",
    "evaluation",
    "benchmarks",
    "reports",
    "build",
    "runs",
    "tasks",
    "review",
    "adapters",
    "commands",
    "__main__",
]
RANK = {name: rank for rank, name in enumerate(LAYERS)}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def layer(parts: list[str]) -> str:
    """A folder's ``settings`` module is a layer of its own, far below the folder: a section knows no component."""
    return "sections" if len(parts) == 2 and parts[1] == "settings" else parts[0]


def imported_layers(path: Path) -> set[str]:
    """Layer of every import in a file, those inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("no_time_to_train"):
            parts = node.module.split(".")
            names |= {layer(parts[1:])} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {layer(a.name.split(".")[1:]) for a in node.names if a.name.startswith("no_time_to_train.")}
    return names - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lower_layers_never_import_higher_ones(path: Path) -> None:
    own = layer(list(path.relative_to(PACKAGE).with_suffix("").parts))
    assert own in RANK, f"{own} has no layer yet: add it to LAYERS"
    for name in imported_layers(path):
        assert name in RANK, f"{own} imports {name}, which has no layer"
        assert RANK[name] <= RANK[own], f"{own} (layer {RANK[own]}) imports {name} (layer {RANK[name]})"


@pytest.mark.parametrize("name", ["matching", "merging"])
def test_math_knows_neither_models_nor_files(name: str) -> None:
    assert imported_layers(PACKAGE / f"{name}.py") <= {"structures", "config", "ops", "errors"}


def test_only_models_loads_weights() -> None:
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] != "models":
            assert "torch.load(" not in path.read_text(), path
            assert "from_pretrained(" not in path.read_text(), path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_readable(path: Path) -> None:
    assert path.stem not in {"utils", "misc", "helpers", "common"}
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_few_modules_lie_loose() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= MAX_LOOSE_MODULES, sorted(loose)


def test_modules_import_each_other_in_no_circle() -> None:
    """Imports inside functions and for type checkers count too."""
    names = {".".join(("no_time_to_train", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES}
    imports = {name: imported_modules(path) & set(names) for name, path in names.items()}
    while free := {name for name, wanted in imports.items() if not wanted & set(imports)}:
        imports = {name: wanted for name, wanted in imports.items() if name not in free}
    circles = {name: sorted(wanted & set(imports)) for name, wanted in imports.items()}
    assert circles == {}


def imported_modules(path: Path) -> set[str]:
    """Full names that a file imports, of modules and of what is in them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("statement", ["import no_time_to_train", "import no_time_to_train.commands"])
def test_importing_is_cheap(statement: str) -> None:
    heavy = "{'torch', 'pytorch_lightning', 'transformers', 'sam2', 'faiss', 'matplotlib', 'hydra', 'PIL', 'numpy'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    import no_time_to_train

    for name in no_time_to_train.__all__:
        assert getattr(no_time_to_train, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        no_time_to_train.nonsense  # noqa: B018


def our_flags() -> set[str]:
    from no_time_to_train.commands import build_parser

    flags, parsers = set(), [build_parser()]
    while parsers:
        parser = parsers.pop()
        flags |= set(parser._option_string_actions)
        for action in parser._actions:
            parsers += action.choices.values() if isinstance(action, argparse._SubParsersAction) else []
    return {flag for flag in flags if flag.startswith("--")}


NAMED_BY_OTHERS = {("settings/composing.py", "--multirun")}  # a flag of Hydra's


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name != "commands"], ids=str)
def test_only_commands_name_flags(path: Path) -> None:
    """A Python caller gives no flags: a lower layer names the parameter, see errors.Parameter."""
    name = path.relative_to(PACKAGE).as_posix()
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    words = {word for text in texts if isinstance(text, str) for word in re.findall(r"--[a-z][a-z-]*", text)}
    assert {(name, word) for word in words & our_flags()} <= NAMED_BY_OTHERS
