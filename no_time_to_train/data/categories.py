"""Choosing categories by name, and the background category."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from no_time_to_train.errors import InputError, Parameter
from no_time_to_train.files.arguments import as_texts
from no_time_to_train.structures import BACKGROUND_CATEGORY_NAME, Category


def select_categories(categories: Sequence[Category], names: Sequence[str]) -> tuple[Category, ...]:
    """Select categories by name, in the order of ``categories``.

    Raises:
        InputError: a name is unknown; the message lists the known ones and the likeliest meant.
    """
    names = as_texts(names, "categories", "boat")
    if not names:
        raise InputError("categories must name at least one, got an empty list. Leave them out for all.")
    known = [category.name for category in categories]
    unknown = [name for name in names if name not in known]
    if unknown:
        came = Parameter("categories", unknown)
        raise InputError(
            f"{came}: no such class. Known: {', '.join(known)}.{_did_you_mean(unknown, known)}", parameters=[came]
        )
    return tuple(category for category in categories if category.name in names)


def category_name_of(label: str) -> str:
    """Return the category name that a label stands for.

    ``!anything`` is the background, "none of these".
    """
    return BACKGROUND_CATEGORY_NAME if label.startswith("!") else label


def merge_background(categories: Sequence[Category]) -> dict[int, Category]:
    """Map category ids so that all background labels are one category.

    Background labels are ``!water``, ``_background`` and the like.

    The background takes the id of the first of them; every other category stays as it is.
    """
    merged: dict[str, Category] = {}
    by_id = {}
    for category in categories:
        name = category_name_of(category.name)
        by_id[category.id] = merged.setdefault(name, Category(category.id, name))
    return by_id


def _did_you_mean(unknown: Sequence[str], known: Sequence[str]) -> str:
    by_folded_name = {name.casefold(): name for name in known}
    matches = [difflib.get_close_matches(name.casefold(), by_folded_name, n=1) for name in unknown]
    suggestions = [repr(by_folded_name[match[0]]) for match in matches if match]
    return f" Did you mean {', '.join(suggestions)}?" if suggestions else ""
