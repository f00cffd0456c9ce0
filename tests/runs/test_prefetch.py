from __future__ import annotations

import signal
import threading
import time

import pytest

from no_time_to_train.runs.prefetch import BackgroundWork, read_ahead


def test_results_come_in_order() -> None:
    def slow_for_small(number: int) -> int:
        time.sleep(0.01 * (3 - number % 4))
        return number * 10

    assert list(read_ahead(slow_for_small, range(9))) == [number * 10 for number in range(9)]
    assert list(read_ahead(str, [])) == []


def test_never_more_ahead_than_allowed() -> None:
    begun: list[int] = []
    results = read_ahead(lambda number: begun.append(number), range(100), num_ahead=3)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 4
    results.close()


def test_failures_come_in_their_turn() -> None:
    results = read_ahead(lambda number: 1 // number, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_background_work_is_done_at_the_end() -> None:
    done: list[int] = []
    with BackgroundWork() as background:
        for number in range(20):
            background.submit(done.append, number)
    assert sorted(done) == list(range(20))


def test_background_failures_reach_the_caller() -> None:
    with pytest.raises(ZeroDivisionError), BackgroundWork() as background:
        background.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError), BackgroundWork(max_pending=1) as background:
        for _ in range(3):
            background.submit(lambda: 1 // 0)


def test_finished_work_is_kept_when_the_caller_fails() -> None:
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt), BackgroundWork(num_threads=1) as background:
        for number in range(5):
            background.submit(lambda n: (time.sleep(0.01), done.append(n)), number)
        raise KeyboardInterrupt
    assert done == list(range(5))


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends a signal to one thread")
def test_a_second_ctrl_c_waits_for_nothing() -> None:
    gate, done = threading.Event(), []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    again = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt), BackgroundWork(num_threads=1) as background:
            background.submit(lambda: done.append(gate.wait(20)))
            again.start()
            raise KeyboardInterrupt
        assert done == []
    finally:
        gate.set()
        again.join()
        signal.signal(signal.SIGINT, before)


def test_submitting_waits_when_too_much_is_pending() -> None:
    gate = threading.Event()
    threading.Timer(0.1, gate.set).start()
    started = time.monotonic()
    with BackgroundWork(num_threads=1, max_pending=2) as background:
        for _ in range(3):
            background.submit(gate.wait)
        assert time.monotonic() - started >= 0.09
