import pytest

from no_time_to_train.data.categories import category_name_of, merge_background, select_categories
from no_time_to_train.errors import InputError
from no_time_to_train.structures import Category

CATEGORIES = (Category(3, "boat"), Category(7, "bird"), Category(9, "!water"), Category(11, "_background"))


def test_selection_keeps_the_order_of_the_data_set():
    assert [category.name for category in select_categories(CATEGORIES, ["bird", "boat"])] == ["boat", "bird"]


def test_unknown_names_are_listed_with_the_likeliest():
    with pytest.raises(InputError, match=r"categories=.'Boats'.: no such class\. Known: boat.*Did you mean 'boat'\?"):
        select_categories(CATEGORIES, ["Boats"])
    with pytest.raises(InputError) as caught:
        select_categories(CATEGORIES, ["zzz"])
    assert "Did you mean" not in str(caught.value)


def test_all_backgrounds_are_one_category():
    assert category_name_of("!sky") == category_name_of("_background") == "_background"
    by_id = merge_background(CATEGORIES)
    assert by_id[9] == by_id[11] == Category(9, "_background") and by_id[9].is_background
    assert by_id[3] == Category(3, "boat")


@pytest.mark.parametrize(
    ("names", "message"), [("boat", "must be a list of text"), ([3], "list of text"), ([], "at least one")]
)
def test_names_are_a_list_of_text(names, message):
    with pytest.raises(InputError, match=message):
        select_categories([Category(1, "boat")], names)
