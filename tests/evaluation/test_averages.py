from no_time_to_train.evaluation.averages import mean_of_existing


def test_missing_values_do_not_count() -> None:
    assert mean_of_existing([1.0, None, 4.0]) == 2.5
    assert mean_of_existing([0.0]) == 0
    assert mean_of_existing([None]) is None
    assert mean_of_existing([]) is None
