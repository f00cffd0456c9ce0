from __future__ import annotations

from no_time_to_train.evaluation.instance_ap import AveragePrecision, InstanceMetrics
from no_time_to_train.reports.metrics_table import format_table

METRICS = InstanceMetrics(
    overall={"box": AveragePrecision(nAP=36.61, nAP50=50.0, nAP75=None)},
    per_category={"sailing boat": {"box": AveragePrecision(nAP=36.61, nAP50=50.0)}, "bird": {}},
    num_images=3,
    num_objects=4,
)


def test_plain_table_is_aligned() -> None:
    assert format_table(METRICS).splitlines() == [
        "category      box nAP  box nAP50  box nAP75",
        "-------------------------------------------",
        "all              36.6       50.0          -",
        "sailing boat     36.6       50.0          -",
        "bird                -          -          -",
    ]


def test_markdown_table() -> None:
    lines = format_table(METRICS, markdown=True).splitlines()
    assert lines[:3] == [
        "| category | box nAP | box nAP50 | box nAP75 |",
        "| --- | ---: | ---: | ---: |",
        "| all | 36.6 | 50.0 | - |",
    ]
