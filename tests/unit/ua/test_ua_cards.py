"""Which sound card a name means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.errors import ConfigError
from sipcli.ua.media.cards import DeviceInfo, choose_card, lasting_name, split_names


def _card(index: int, name: str, inputs: int, outputs: int) -> DeviceInfo:
    return DeviceInfo(index, name, inputs, outputs, 48000, False, False)


CARDS = (
    _card(0, "HDA Intel PCH: ALC257 Analog (hw:0,0)", 2, 2),
    _card(1, "C920 webcam: USB Audio (hw:1,0)", 2, 0),
    _card(2, "Jabra Link: USB Audio (hw:2,0)", 1, 2),
    _card(3, "sysdefault", 128, 128),
    _card(4, "default", 128, 128),
    _card(5, "HDMI 0", 0, 8),
    _card(6, "HDMI 1", 0, 8),
)


@pytest.mark.parametrize(
    ("name", "number"), [("jabra", 2), ("0", 0), ("default", 4), ("C920 WEBCAM: usb audio (hw:1,0)", 1), ("pch", 0)]
)
def test_a_part_a_number_or_the_whole_name(name: str, number: int) -> None:
    assert choose_card(CARDS, name, "input").index == number


def test_only_what_can_serve_is_meant() -> None:
    """“USB” is a webcam and a headset; only one of them has a loudspeaker."""
    assert choose_card(CARDS, "usb", "output").index == 2


@pytest.mark.parametrize(
    ("name", "direction", "sentence"),
    [
        ("usb", "input", r"may be any of these for the microphone: C920 .* \(1\), Jabra .* \(2\)"),
        ("hdmi", "output", r"HDMI 0 \(5\), HDMI 1 \(6\)"),
        ("c920", "output", "C920 webcam.* has no loudspeaker"),
        ("5", "input", "HDMI 0.* has no microphone"),
        ("9", "input", "no sound card “9” is here for the microphone; there is HDA.* and 1 more"),
        ("nothing", "output", "no sound card “nothing” is here for the loudspeaker"),
    ],
)
def test_none_or_several_is_one_sentence_with_a_next_step(name: str, direction: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        choose_card(CARDS, name, direction)  # type: ignore[arg-type]  # a parameter of this test
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_without_any_card_nothing_is_listed() -> None:
    with pytest.raises(ConfigError, match=r"no sound card “x” is here for the microphone$"):
        choose_card((), "x", "input")


def test_a_card_that_is_listed_by_several_interfaces_is_the_first() -> None:
    twice = (_card(3, "Headset", 1, 2), _card(9, "Headset", 1, 2))
    assert choose_card(twice, "head", "input").index == 3


def test_two_names_and_the_commas_of_alsa() -> None:
    assert split_names("Jabra (hw:2,0)") == ("Jabra (hw:2,0)", None)
    assert split_names("C920 (hw:1,0), Jabra (hw:2,0)") == ("C920 (hw:1,0)", "Jabra (hw:2,0)")
    assert split_names("3,5") == ("3", "5")


@pytest.mark.parametrize("text", [",", "a,", ",b", "a,b,c", " , "])
def test_what_is_not_one_or_two_names_is_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="not one sound card, and not two") as caught:
        split_names(text)
    assert caught.value.hint is not None and "MICROPHONE,LOUDSPEAKER" in caught.value.hint


@given(st.text(alphabet="ab (,)", max_size=20))
def test_any_text_is_names_or_a_sentence(text: str) -> None:
    try:
        name, output = split_names(text)
    except ConfigError:
        return
    assert name and (output is None or output)
    assert name in text and (output or "") in text


def test_what_is_unplugged_is_looked_for_without_the_number_that_alsa_dealt_it() -> None:
    assert lasting_name(CARDS[2]) == "Jabra Link: USB Audio"
    assert lasting_name(CARDS[4]) == "default"
