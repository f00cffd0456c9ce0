"""Render synthetic images of textured objects with exact masks, the data of the demo models.

A *category* fixes how an object looks (outline, texture, colors, an optional attached part). An *instance* is one
slightly deformed and recolored copy of it. A *scene* holds several instances in front of a background. Ten categories
are fixed as novel. `sample_category` draws from a large universe that leaves those ten out, so models trained on
sampled categories never see a novel one.
"""

from tools.demo.scenes.arrangement import MIN_VISIBLE_PIXELS
from tools.demo.scenes.categories import NOVEL_CATEGORIES, SceneCategory, sample_category
from tools.demo.scenes.rendering import Scene, render_clip, render_scene

__all__ = [
    "MIN_VISIBLE_PIXELS",
    "NOVEL_CATEGORIES",
    "Scene",
    "SceneCategory",
    "render_clip",
    "render_scene",
    "sample_category",
]
