"""Fonts that have the letters of a text: Pillow's own has ASCII only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache, lru_cache

from PIL import ImageFont

logger = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-zenhei.ttc", "wqy-microhei.ttc"),
    *(
        "DroidSansFallbackFull.ttf",
        "PingFang.ttc",
        "Hiragino Sans GB.ttc",
        "AppleSDGothicNeo.ttc",
        "STHeiti Medium.ttc",
    ),
    *("msyh.ttc", "simsun.ttc", "meiryo.ttc", "YuGothM.ttc", "malgun.ttf", "segoeui.ttf", "Nirmala.ttf", "Nirmala.ttc"),
    *("NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf"),
    *("NotoSansThai-Regular.ttf", "GeezaPro.ttc", "tahoma.ttf", "Leelawad.ttf"),
)
"""Looked for in the folders of Linux, macOS and Windows; the first that has all letters of a text is used."""

_NOWHERE = "\U0010ffff"
"""A character that no font has: it is drawn as the box that stands for what is missing."""


def drawable(text: str, size_px: int) -> tuple[Font, str]:
    r"""Return a font that has every letter of a text, and the text.

    Where no font on this machine has them, the text comes back with escapes, ``\u8239``, and a warning says so once.
    """
    for font in _fonts(size_px):
        if all(_has(font, letter) for letter in dict.fromkeys(text)):
            return font, text
    _say_missing()
    return _default_font(size_px), text.encode("ascii", "backslashreplace").decode("ascii")


def _fonts(size_px: int) -> Iterator[Font]:
    yield _default_font(size_px)
    for name in _SYSTEM_FONTS:
        font = _system_font(name, size_px)
        if font is not None:
            yield font


@cache
def _default_font(size_px: int) -> Font:
    return ImageFont.load_default(size=size_px)


@cache
def _system_font(name: str, size_px: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size_px)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has(font: Font, letter: str) -> bool:
    """Return whether a font of this machine, which are loaded once, has a letter."""
    if letter.isspace():
        return True
    if isinstance(font, ImageFont.ImageFont):  # Pillow without FreeType: a bitmap font
        return letter.isascii()
    return _drawn(font, letter) != _drawn(font, _NOWHERE)


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@cache
def _say_missing() -> None:
    logger.warning(
        "No font on this machine has the letters of some names: they are drawn as escapes. Install one, such as "
        "Noto Sans (fonts-noto, fonts-noto-cjk)."
    )
