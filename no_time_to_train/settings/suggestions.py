"""What somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def close_names(word: str, names: Iterable[str]) -> list[str]:
    """Return the names that a misspelled word may stand for, best first; at most three.

    Names that begin with the word go first (``dino`` is a short ``dinov2_large``), in their own order.

    Example:
        >>> close_names("propsals", ["proposals", "proposals.seed"])
        ['proposals']
        >>> close_names("dino", ["dinov2_large", "dinov2_base"])
        ['dinov2_large', 'dinov2_base']
    """
    names = list(names)
    begins = [name for name in names if len(word) >= 3 and name.startswith(word)]
    if begins:
        return begins[:3]
    levels = word.count(".")
    alike = difflib.get_close_matches(word, [name for name in names if name.count(".") == levels], n=1, cutoff=0.7)
    last = [name for name in names if word == name.rsplit(".", 1)[-1]] if word else []
    return alike or last[:3] or difflib.get_close_matches(word, names, n=1)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return a sentence that names what was probably meant, with a space before it; or nothing."""
    found = close_names(word, names)
    if not found:
        return ""
    quoted = [f"'{name}'" for name in found]
    return f" Did you mean {' or '.join([', '.join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)}?"
