"""Settings of the whole test run."""

from __future__ import annotations

from no_time_to_train.models.threads import prepare_threads

prepare_threads()  # before any test imports torch: tests run beside other work too
