"""Settings of the whole test run."""

from __future__ import annotations

import os

from no_time_to_train.models.threads import prepare_threads

# Before any test imports torch: tests run beside other work too. Where tests run side by side, each has one thread.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
prepare_threads()
