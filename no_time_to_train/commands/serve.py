"""Serve another program with labels: ``nttt serve label-studio``."""

from __future__ import annotations

import argparse
from pathlib import Path

from no_time_to_train.commands import console, flags

_PORT = 9090  # as all backends of Label Studio


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their flags."""
    actions = flags.add_actions(parser)
    summary = "answer Label Studio's requests for predictions until Ctrl-C"
    action = flags.add_action(actions, "label-studio", summary, run_label_studio, takes_overrides=True)
    action.add_argument("--memory", type=Path, metavar="FILE", required=True, help="result of nttt fit")
    flags.add_min_score_flag(action, "of an object")
    action.add_argument(
        "--label-studio-url",
        metavar="URL",
        help="fetch images from this server, such as http://localhost:8080 (default: LABEL_STUDIO_URL), as the account "
        "of LABEL_STUDIO_API_KEY",
    )
    action.add_argument(
        "--images", type=Path, metavar="DIR", help="read local files here: LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
    )
    action.add_argument(
        "--image-host",
        action="append",
        default=[],
        metavar="URL",
        help="fetch images from here too, such as https://example.org; may be repeated",
    )
    action.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen at (127.0.0.1)")
    action.add_argument("--port", type=flags.positive, default=_PORT, metavar="P", help=f"to listen to ({_PORT})")
    flags.add_model_flags(action)


def run_label_studio(options: argparse.Namespace) -> None:
    """Load the models, then serve until Ctrl-C."""
    console.say_loading()
    from no_time_to_train.adapters.label_studio_server import serve_label_studio

    serve_label_studio(
        options.memory,
        min_score=options.min_score,
        overrides=flags.settings(options),
        label_studio_url=options.label_studio_url,
        images=options.images,
        image_hosts=options.image_host,
        host=options.host,
        port=options.port,
        on_ready=lambda address: print(f"In Label Studio, Settings > Model > Connect Model: {address}", flush=True),
    )
