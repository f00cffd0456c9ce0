"""The commands ``propose``, ``compare-proposals`` and ``track``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands.flags import (
    Verbs,
    add_memory_flags,
    add_model_flags,
    add_verb,
    check_memory_flags,
    positive,
    references,
    settings,
)

_METHODS = {"semantic": "semantic_clusters", "grid": "point_grid", "automatic": "automatic_masks"}
"""What ``--method`` may be, and the source of proposals that it stands for."""


def add_verbs(verbs: Verbs) -> None:
    _add_propose(verbs)
    _add_compare_proposals(verbs)
    _add_track(verbs)


def _add_propose(verbs: Verbs) -> None:
    parser = add_verb(
        verbs, "propose", "class-free masks of a folder of images, without references", _propose, takes_overrides=True
    )
    parser.add_argument("images", type=Path, help="folder of images, sub-folders included")
    parser.add_argument(
        "--method",
        choices=tuple(_METHODS),
        help="semantic: clusters of the encoder's features (default); grid: a regular grid of points; "
        "automatic: SAM's automatic masks. Other sources by proposals=NAME",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the images folder's name with _proposals")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    add_model_flags(parser)


def _add_compare_proposals(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "compare-proposals",
        "recall, speed and nAP of sources of masks on annotated images (default: the demo benchmark)",
        _compare_proposals,
        takes_overrides=True,
    )
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO file with masks")
    parser.add_argument("--images", type=Path, metavar="DIR", help="its images (found beside it)")
    parser.add_argument("--refs", type=Path, metavar="FILE", help="COCO file of references for --annotations: adds nAP")
    parser.add_argument("--ref-images", type=Path, metavar="DIR", help="images of the references (found beside them)")
    parser.add_argument(
        "--sources",
        default="point_grid,automatic_masks,semantic_clusters,point_grid+semantic_clusters",
        metavar="A,B",
        help="names separated by commas; A+B is a union; own settings in brackets: automatic_masks[crop_n_layers=1]",
    )
    parser.add_argument("--shots", type=positive, metavar="K", help="references per category of a benchmark (10)")
    parser.add_argument("--seed", type=int, metavar="N", help="of their drawing (33)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    parser.add_argument(
        "--out", type=Path, default=Path("proposal_comparison"), metavar="DIR", help="default: proposal_comparison"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    add_model_flags(parser)


def _add_track(verbs: Verbs) -> None:
    parser = add_verb(
        verbs, "track", "masks with identities through a video, from references", _track, takes_overrides=True
    )
    parser.add_argument("video", type=Path, help="video file, or folder of frames")
    add_memory_flags(parser)
    parser.add_argument("--min-score", type=float, metavar="S", help="lowest score of a detection (0.4)")
    parser.add_argument(
        "--every", type=positive, default=10, metavar="N", help="look for the references every N frames (10)"
    )
    parser.add_argument("--max-frames", type=positive, metavar="N", help="only the first N frames")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the video's name with _tracked")
    parser.add_argument("--overwrite", action="store_true", help="begin anew where --out holds other results")
    add_model_flags(parser)


def _propose(options: argparse.Namespace) -> None:
    overrides = settings(options)
    if not any(override.startswith("proposals=") for override in overrides):
        overrides.append(f"proposals={_METHODS[options.method or 'semantic']}")
    elif options.method is not None:
        options.subparser.error("--method and proposals=... both choose the source of the masks; give one of them")
    from no_time_to_train.tasks.propose import ProposeOptions, propose

    propose(
        ProposeOptions(
            images=options.images,
            out=options.out,
            overrides=overrides,
            limit=options.limit,
            overwrite=options.overwrite,
            command=options.command,
        )
    )


def _compare_proposals(options: argparse.Namespace) -> None:
    if options.annotations is None and (options.images or options.refs or options.ref_images):
        options.subparser.error("--images, --refs and --ref-images belong to --annotations, which is not given")
    if options.annotations is not None and (options.shots is not None or options.seed is not None):
        options.subparser.error("--shots and --seed draw references of a benchmark; with --annotations give --refs")
    drawing = {"shots": options.shots, "seed": options.seed}
    from no_time_to_train.tasks.compare_proposals import CompareOptions, compare_proposals

    compare_proposals(
        CompareOptions(
            annotations=options.annotations,
            images=options.images,
            references=options.refs,
            reference_images=options.ref_images,
            sources=options.sources,
            limit=options.limit,
            out=options.out,
            overrides=[f"{key}={value}" for key, value in drawing.items() if value is not None] + settings(options),
            markdown=options.markdown,
            command=options.command,
        )
    )


def _track(options: argparse.Namespace) -> None:
    check_memory_flags(options)
    from no_time_to_train.tasks.track import TrackOptions, track

    track(
        TrackOptions(
            video=options.video,
            references=references(options),
            memory=options.memory,
            out=options.out,
            overrides=settings(options),
            key_frame_interval=options.every,
            max_frames=options.max_frames,
            overwrite=options.overwrite,
            command=options.command,
        )
    )
