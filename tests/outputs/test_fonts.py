from PIL import ImageFont

from no_time_to_train.outputs import fonts
from no_time_to_train.outputs.fonts import drawable


def test_ascii_is_drawn_in_pillows_own_font():
    font, text = drawable("boat 0.87", 20)
    assert text == "boat 0.87" and font.getname() == ImageFont.load_default(size=20).getname()


def test_a_font_with_the_letters_is_chosen(monkeypatch):
    """One that has none of the letters is passed over."""
    has = {("plain", "ж"): False, ("full", "ж"): True}
    monkeypatch.setattr(fonts, "_fonts", lambda size_px: iter(["plain", "full"]))
    monkeypatch.setattr(fonts, "_has", lambda font, letter: has[font, letter])
    assert drawable("жж", 20) == ("full", "жж")


def test_without_a_font_the_name_is_escaped_and_that_is_said_once(monkeypatch, caplog):
    fonts._say_missing.cache_clear()
    monkeypatch.setattr(fonts, "_SYSTEM_FONTS", ())
    for _ in range(2):
        assert drawable("船 0.87", 20)[1] == "\\u8239 0.87"
    assert len(caplog.records) == 1 and "fonts-noto" in caplog.text


def test_a_letter_that_a_font_lacks_is_known():
    font = ImageFont.load_default(size=20)
    assert fonts._has(font, "A") and fonts._has(font, " ") and not fonts._has(font, "船")
