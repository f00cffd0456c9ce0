from __future__ import annotations

import io

from no_time_to_train.runs.progress import Counter, Progress, RunProgress, readable_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_at_the_first_now_and_then_and_the_last() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(20, stream=stream, clock=clock)
    for _ in range(20):
        clock.now += 2
        progress.advance()
    assert stream.getvalue().splitlines() == [
        "1/20 images  2.0 s each  38 s left",
        "6/20 images  2.0 s each  28 s left",
        "11/20 images  2.0 s each  18 s left",
        "16/20 images  2.0 s each  8.0 s left",
        "20/20 images  2.0 s each  40 s in all",
    ]


def test_one_moving_line_in_a_terminal() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(3, stream=stream, clock=clock)
    for _ in range(3):
        clock.now += 0.25
        progress.advance()
    progress.end()
    lines = stream.getvalue().split("\r")
    assert [line.strip() for line in lines[1:]] == [
        "1/3 images  4.0 images/s  0.5 s left",
        "2/3 images  4.0 images/s  0.2 s left",
        "3/3 images  4.0 images/s  0.8 s in all",
    ]
    assert "\n" not in "".join(lines[:-1]) and stream.getvalue().endswith("\n")


def test_a_message_gets_its_own_line() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(3, stream=stream, clock=clock)
    clock.now = 1
    progress.advance()
    progress.message("broken.jpg")
    assert stream.getvalue().endswith("left\nbroken.jpg\n")


def test_durations() -> None:
    shown = [readable_duration(seconds) for seconds in (0.04, 9.96, 59.4, 125, 3600 * 3 + 60 * 20 + 5)]
    assert shown == ["0.0 s", "10 s", "59 s", "2 min 5 s", "3 h 20 min"]


def test_a_counter_tells_and_takes_the_time() -> None:
    told: list[RunProgress] = []
    times = iter([0.0, 4.0, 4.0])
    counter = Counter("images", 5, told.append, clock=lambda: next(times))
    counter.advance(2)
    assert told == [RunProgress("images", 0, 5), RunProgress("images", 2, 5)]
    assert counter.timings() == {"images": 2, "seconds": 4.0, "seconds_per_image": 2.0}


def test_an_unknown_total_is_left_out_and_lines_come_now_and_then() -> None:
    """As of a video whose header has no frame count."""
    stream, seconds = io.StringIO(), iter(range(100))
    progress = Progress(0, "frames", stream=stream, clock=lambda: float(next(seconds)))
    for _ in range(12):
        progress.advance()
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 6 and all("/0" not in line and "left" not in line for line in lines)
    assert lines[0].startswith("1 frames  ")
