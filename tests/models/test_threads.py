from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from no_time_to_train.models import threads
from no_time_to_train.models.threads import cgroup_quota, describe_threads, prepare_threads, thread_settings


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "cgroup", tmp_path / "own"


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("x y", None), ("1 0", None)]
)
def test_version_2(roots: tuple[Path, Path], text: str, expected: float | None) -> None:
    write(roots[0], "cpu.max", text)
    assert cgroup_quota(*roots) == expected


def test_the_tightest_of_all_parents_counts(roots: tuple[Path, Path]) -> None:
    cgroups, own = roots
    own.write_text("0::/kubepods/pod7/container\n")
    write(cgroups / "kubepods", "cpu.max", "800000 100000")
    write(cgroups / "kubepods/pod7", "cpu.max", "200000 100000")
    write(cgroups / "kubepods/pod7/container", "cpu.max", "max 100000")
    assert cgroup_quota(cgroups, own) == 2.0


@pytest.mark.parametrize(("quota", "expected"), [("50000", 0.5), ("-1", None), ("", None)])
def test_version_1(roots: tuple[Path, Path], quota: str, expected: float | None) -> None:
    cgroups, own = roots
    own.write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    folder = cgroups / "cpu,cpuacct/docker/abc"
    write(folder, "cpu.cfs_quota_us", quota)
    write(folder, "cpu.cfs_period_us", "100000")
    assert cgroup_quota(cgroups, own) == expected


def test_no_control_groups(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "no", tmp_path / "neither") is None


def test_a_quota_bounds_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 64)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: 1.5)
    environment: dict[str, str] = {}
    assert prepare_threads(environment).num_threads == 2
    assert environment == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}


def test_without_a_quota_only_the_waiting_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cgroup_quota", lambda: None)
    environment: dict[str, str] = {}
    prepare_threads(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(
    "given",
    [
        {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "5"},
        {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": "5"},
        {"KMP_BLOCKTIME": "0", "OMP_NUM_THREADS": "5"},
    ],
)
def test_what_the_user_set_stays(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cgroup_quota", lambda: 1.0)
    environment = dict(given)
    settings = prepare_threads(environment)
    assert environment == given and settings.num_threads == 5 and settings.waiting == "active"


def test_odd_numbers_of_threads_are_left_to_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: None)
    assert thread_settings({"OMP_NUM_THREADS": "3,2"}).num_threads == 3
    assert thread_settings({"OMP_NUM_THREADS": "many"}).num_threads == 4


def test_where_each_number_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: 1.5)
    monkeypatch.setattr(threads, "_set_here", set())
    monkeypatch.setattr(os, "environ", {"GOMP_SPINCOUNT": "0", "OMP_NUM_THREADS": "4"})
    given = describe_threads()
    assert "4 threads (OMP_NUM_THREADS=4, set by you)" in given
    assert "waiting is active (GOMP_SPINCOUNT=0, set by you)" in given
    assert "8 of " in given and "a quota of 1.5 (control groups)" in given

    monkeypatch.setattr(os, "environ", {})
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    prepare_threads()
    ours = describe_threads(2)
    assert "2 threads (OMP_NUM_THREADS=2, set by no_time_to_train)" in ours
    assert "waiting is passive (OMP_WAIT_POLICY=PASSIVE, set by no_time_to_train)" in ours

    monkeypatch.setattr(threads, "cgroup_quota", lambda: None)
    monkeypatch.setattr(os, "environ", {})
    neither = describe_threads(8)
    assert "8 threads (torch's own choice)" in neither and "(not set)" in neither and "no quota" in neither


def test_processes_of_a_run_inherit_it() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = """
import multiprocessing, os
from no_time_to_train.models.threads import prepare_threads
if __name__ == "__main__":
    prepare_threads()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(os.getenv, ["OMP_WAIT_POLICY"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "PASSIVE"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("from no_time_to_train.commands import main; main(['doctor'])", marks=pytest.mark.slow),
        "import no_time_to_train as ntt; ntt.Segmenter",
        pytest.param("import tools.benchmarks.tables, torch", marks=pytest.mark.slow),
    ],
)
def test_it_is_set_before_torch_is_loaded(statement: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = f"""
import os, sys
class Spy:
    def find_spec(self, name, *rest):
        if name == "torch":
            print("waiting:", os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)  # torch itself takes seconds to load
sys.meta_path.insert(0, Spy())
{statement}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.endswith("waiting: PASSIVE\n")
