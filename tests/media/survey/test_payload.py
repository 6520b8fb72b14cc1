"""The same payload from different containers is the same."""

from __future__ import annotations

import pytest

from vidsr.media.survey.payload import bare_payload, shows_nothing, words_of


def test_pcm_is_compared_as_samples_whatever_their_byte_order():
    assert bare_payload("pcm_s16be", b"\x01\x02\x03\x04") == bare_payload("pcm_s16le", b"\x02\x01\x04\x03")
    assert bare_payload("pcm_s24be", b"\x01\x02\x03") == b"\x03\x02\x01"
    assert bare_payload("pcm_s8", b"\x01\x02") == b"\x01\x02"


def test_aac_of_a_transport_stream_loses_its_header():
    short, long = b"\xff\xf1" + bytes(5) + b"payload", b"\xff\xf0" + bytes(7) + b"payload"
    assert bare_payload("aac", short) == bare_payload("aac", long) == b"payload"
    assert bare_payload("aac", b"\x21\x10payload...") == b"\x21\x10payload..."


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("srt", b"<i>Good</i>\nmorning"),
        ("mov_text", b"\x00\x0cGood morning\x00\x00\x00\x10styl"),
        ("ass", rb"0,0,Default,,0,0,0,,{\i1}Good{\i0}\Nmorning"),
        ("webvtt", b"<c.yellow>Good morning</c>"),
    ],
)
def test_subtitles_are_compared_by_their_words(codec, data):
    assert words_of(codec, data) == b"Good morning"


@pytest.mark.parametrize(
    ("codec", "first", "last", "hidden"),
    [
        ("vp8", 0b0001_0000, 0, False),
        ("vp8", 0b0000_0000, 0, True),
        ("vp9", 0b1000_0010, 0, False),  # shown
        ("vp9", 0b1000_0000, 0, True),
        ("vp9", 0b1000_1000, 0, False),  # shows a picture that is there already
        ("vp9", 0b1000_0000, 0b1100_0000, False),  # a superframe ends in a shown one
        ("vp9", 0b1011_0000, 0, True),  # profile 3 has one more bit
        ("vp9", 0b1011_0001, 0, False),
        ("h264", 0, 0, False),
    ],
)
def test_pictures_that_are_only_referred_to(codec, first, last, hidden):
    assert shows_nothing(codec, bytes([first, 0, last])) is hidden
