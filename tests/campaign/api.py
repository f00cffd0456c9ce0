"""Odd arguments of the functions for Python."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

import no_time_to_train as ntt
from tests.campaign.running import Case
from tests.campaign.world import FAST, bench_arguments

API_KIND = "python"

_SETTINGS = ["preset=demo", "device=cpu", *FAST[4:]]
_GOOD = np.full((40, 50, 3), 90, np.uint8)

_NO_PATHS: list[Any] = [3, b"refs", object(), 1.5, np.zeros(3), {"a": 1}, "nowhere", "", "a\0b"]
_NO_IMAGES: list[Any] = [
    *_NO_PATHS[:-3],
    "nowhere.png",
    None,
    [[1, 2], [3, 4]],
    _GOOD.astype(float) / 255,
    _GOOD.astype(np.float32),
    _GOOD.astype(np.uint16),
    _GOOD.astype(bool),
    _GOOD.astype(object),
    _GOOD.transpose(2, 0, 1),
    np.dstack([_GOOD, _GOOD[..., :1]]),
    _GOOD[..., :2],
    _GOOD[None],
    _GOOD[:0],
    _GOOD[:, :0],
    _GOOD[0, 0],
    np.uint8(3),
    torch.from_numpy(_GOOD),
    torch.zeros(3, 40, 50),
    Image.new("RGB", (0, 5)),
]
_NO_MEMORIES: list[Any] = [*_NO_PATHS, None, "refs/annotations.json", "photos", [1], torch.zeros(2, 192)]
_NO_OBJECTS: list[Any] = [3, "x", [1], object()]
_NO_REFERENCES: list[Any] = [*_NO_PATHS, None, "photos", "memory.safetensors", [], ntt.ReferenceSet((), ())]
_NO_OVERRIDES: list[Any] = [
    "merging=hard",
    [3],
    [None],
    3,
    {"merging": "hard"},
    ["merging"],
    ["=1"],
    [b"merging=hard"],
    [["a=b"]],
]
_NO_NAMES: list[Any] = ["boat", ["ship"], [3], 3, [None], [b"boat"], {"boat": 1, "ship": 2}, []]
_NO_COUNTS: list[Any] = [-1, 0.5, "3", float("nan"), [1]]
_NO_SCORES: list[Any] = [-1, 2, float("nan"), "high", [0.5], {"ship": 0.5}, {"boat": "x"}, {3: 0.5}, "boat=", object()]
_NO_POINTS: list[Any] = [
    3,
    "x",
    [],
    [1, 2],
    [[1]],
    [[1, 2, 3]],
    [[np.nan, 1]],
    [[-5, 5]],
    [[1e9, 5]],
    [[[[1, 2]]]],
    [["a", "b"]],
    object(),
]
_NO_BOXES: list[Any] = [
    3,
    "x",
    [],
    [1, 2, 3],
    [[5, 5, 1, 1]],
    [[0, 0, np.inf, 9]],
    [[1, 2, 3]],
    [[0, 0, 900, 900]],
    [[[1, 2, 3, 4]]],
    object(),
]
_NO_MASKS: list[Any] = [3, "x", [], np.zeros((2, 2)), np.zeros((1, 3, 64, 64)), np.full((64, 64), np.nan), object()]


def _segment(**arguments: Any) -> Any:
    return _segmenter().segment(**{"image": _GOOD, "memory": "memory.safetensors"} | arguments)


def _segment_batch(**arguments: Any) -> Any:
    return _segmenter().segment_batch(**{"images": [_GOOD], "memory": "memory.safetensors"} | arguments)


def _build_memory(**arguments: Any) -> Any:
    return _segmenter().build_memory(**{"references": "refs/annotations.json"} | arguments)


def _prompt(**arguments: Any) -> Any:
    return _segmenter().segment_prompts(**{"image": _GOOD} | arguments)


def _segment_video(**arguments: Any) -> Any:
    usual = {"frames": [_GOOD], "memory": "memory.safetensors"}
    return list(ntt.segment_video(**{"segmenter": arguments.get("segmenter") or _segmenter()} | usual | arguments))


def _draw(**arguments: Any) -> Any:
    return ntt.draw_detections(**{"image": _GOOD, "detections": ntt.Detections.empty((40, 50))} | arguments)


def _with(function: Callable[..., Any], **usual: Any) -> Callable[..., Any]:
    return lambda **arguments: function(**usual | arguments)


_LABEL = _with(ntt.label_folder, images="photos", references="refs/annotations.json", out="out", overrides=_SETTINGS)
_TRACK = _with(ntt.track_video, video="frames", memory="memory.safetensors", out="out", overrides=_SETTINGS)
_EVALUATE = _with(ntt.evaluate, predictions="predictions.json", ground_truth="gt.json")
_EXPORT = _with(ntt.export_dataset, source="labeled", to="yolo", out="out")
_FIT = _with(ntt.fit, references="refs/annotations.json", overrides=_SETTINGS)
_PROPOSE = _with(
    ntt.propose_folder,
    images="photos",
    out="out",
    overrides=["preset=demo", "device=cpu", "proposals.points_per_side=3"],
)
_CHECK = _with(ntt.check_references, references="refs/annotations.json", overrides=_SETTINGS[:3])
_COMPARE = _with(
    ntt.compare_proposals,
    sources="point_grid",
    annotations="gt.json",
    images="photos",
    out="out",
    overrides=_SETTINGS[:3],
)

_CALLS: dict[str, tuple[Callable[..., Any], dict[str, list[Any]]]] = {
    "segment": (_segment, {"image": _NO_IMAGES, "memory": _NO_MEMORIES}),
    "segment_batch": (
        _segment_batch,
        {"images": ["photos/a.png", _GOOD, None, 3, [None], [_GOOD, [1]]], "memory": _NO_MEMORIES},
    ),
    "build_memory": (_build_memory, {"references": _NO_REFERENCES}),
    "segment_prompts": (
        _prompt,
        {"boxes_xyxy": _NO_BOXES, "mask": _NO_MASKS, "points_xy": _NO_POINTS, "point_labels": [1, [1]]},
    ),
    "points": (_with(_prompt, point_labels=[1]), {"points_xy": _NO_POINTS, "image": _NO_IMAGES}),
    "labels": (
        _with(_prompt, points_xy=[[5, 5]]),
        {"point_labels": [None, [2], [np.nan], [[1, 0]], "x", [], object(), [1, 1]]},
    ),
    "draw_detections": (
        _draw,
        {"image": [i for i in _NO_IMAGES if not isinstance(i, str)], "detections": [None, [], 3]},
    ),
    "read_image": (ntt.read_image, {"path": [*_NO_PATHS, None, "photos", "gt.json"]}),
    "load_references": (
        _with(ntt.load_references, annotations="refs/annotations.json"),
        {"annotations": _NO_REFERENCES[:-2], "images": _NO_PATHS, "categories": _NO_NAMES},
    ),
    "MemoryBank.load": (ntt.MemoryBank.load, {"path": [*_NO_PATHS, None, "gt.json", "photos"]}),
    "label_folder": (
        _LABEL,
        {
            "images": [*_NO_PATHS, None, []],
            "references": _NO_REFERENCES,
            "reference_images": _NO_PATHS,
            "categories": _NO_NAMES,
            "min_score": _NO_SCORES,
            "overrides": _NO_OVERRIDES,
            "limit": _NO_COUNTS,
            "on_progress": _NO_OBJECTS,
            "out": [3, b"x", object(), "gt.json", "a\0b"],
        },
    ),
    "label_folder with a memory": (_with(_LABEL, references=None), {"memory": _NO_MEMORIES}),
    "propose_folder": (_PROPOSE, {"images": [*_NO_PATHS, None], "limit": _NO_COUNTS, "overrides": _NO_OVERRIDES}),
    "track_video": (
        _TRACK,
        {
            "video": [*_NO_PATHS, None, "gt.json"],
            "memory": _NO_MEMORIES,
            "max_frames": _NO_COUNTS,
            "min_score": _NO_SCORES,
        },
    ),
    "segment_video": (_segment_video, {"segmenter": _NO_OBJECTS, "memory": _NO_MEMORIES, "options": _NO_OBJECTS}),
    "build_segmenter": (ntt.build_segmenter, {"config": [*_NO_OBJECTS, None]}),
    "evaluate": (
        _EVALUATE,
        {
            "predictions": [*_NO_PATHS, None, "gt.json"],
            "ground_truth": [*_NO_PATHS, None, "predictions.json"],
            "categories": _NO_NAMES,
            "engine": ["x", 3],
            "out": [3, b"x"],
        },
    ),
    "evaluate_instances": (
        _with(ntt.evaluate_instances, gt="gt.json", predictions="predictions.json"),
        {
            "gt": [*_NO_PATHS, None],
            "predictions": [*_NO_PATHS[:-2], None, [3], [{}]],
            "iou_types": ["segm", ["x"], 3, []],
            "category_ids": [["x"], 3, [-1]],
        },
    ),
    "export_dataset": (
        _EXPORT,
        {
            "source": [*_NO_PATHS, None],
            "to": ["x", 3, None],
            "val_share": [-1, 2, "x", float("nan")],
            "shape": ["x", 3],
            "image_files": ["x"],
            "min_score": _NO_SCORES,
        },
    ),
    "fit": (
        _FIT,
        {
            "references": _NO_REFERENCES,
            "categories": _NO_NAMES,
            "overrides": _NO_OVERRIDES,
            "out": [3, b"x", "photos"],
            "segmenter": _NO_OBJECTS,
            "on_progress": _NO_OBJECTS,
        },
    ),
    "check_references": (
        _CHECK,
        {
            "references": _NO_REFERENCES,
            "overrides": _NO_OVERRIDES[:3],
            "out": [3, b"x", "gt.json"],
            "segmenter": _NO_OBJECTS,
            "on_progress": _NO_OBJECTS,
        },
    ),
    "compare_proposals": (
        _COMPARE,
        {"sources": ["x", 3, None, "", ["point_grid"]], "annotations": _NO_PATHS, "limit": _NO_COUNTS},
    ),
    "report": (ntt.report, {"runs": [*_NO_PATHS, None, "photos"]}),
    "verify_data": (ntt.verify_data, {"name": [None, 3, "x", ""]}),
    "run_benchmark": (
        _with(ntt.run_benchmark),
        {"overrides": [*_NO_OVERRIDES, [*bench_arguments(), "benchmark.images=3"]]},
    ),
    "compose_config": (ntt.compose_config, {"overrides": _NO_OVERRIDES}),
    "load_segmenter": (
        _with(ntt.load_segmenter, preset="demo", device="cpu"),
        {
            "encoder": ["x", 3, [], ""],
            "mask_model": ["x", 3],
            "device": ["x", 3, "cuda:99"],
            "precision": ["x", 3],
            "preset": ["x", 3],
        },
    ),
    "Detections": (
        _with(ntt.Detections.from_rles, rles=(), scores=(), category_ids=(), predicted_ious=(), image_size_hw=(4, 5)),
        {"scores": [[1]], "category_ids": [[1]]},
    ),
}


def _cases() -> list[tuple[str, str, Any]]:
    return [
        (name, argument, value)
        for name, (_, arguments) in _CALLS.items()
        for argument, values in arguments.items()
        for value in values
    ]


NUM_API_CASES = len(_cases())


def make_api_case(seed: int) -> Case:
    """Return the call with the seed's number."""
    name, argument, value = _cases()[seed]
    shown = repr(value).replace("\n", " ")[:60]
    if isinstance(value, np.ndarray):
        shown = f"array {value.shape} {value.dtype}"
    return Case(API_KIND, seed, f"{name}({argument}={shown})", lambda: _call(name, argument, value), must_be_told=True)


def _call(name: str, argument: str, value: Any) -> int:
    """Call a function and print its error as a program of somebody's own would meet it."""
    try:
        result = _CALLS[name][0](**{argument: value})
    except ntt.NoTimeToTrainError as error:
        print(error)
        return error.exit_code
    except OSError as error:
        print(error)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    print("returned", repr(result)[:300])
    return 0


@cache
def _segmenter() -> ntt.Segmenter:
    return ntt.load_segmenter("proposals.points_per_side=3", preset="demo", device="cpu")
