"""Measure speed and quality."""

from no_time_to_train.models.threads import prepare_threads

prepare_threads()  # before any of them imports torch
