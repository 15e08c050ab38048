"""Name and value pairs of a failure as one line."""

import pytest

from snakemake_executor_azurebatch.run.said import MOST_CHARACTERS, details_text


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([], ""),
        ([("Message", "manifest unknown")], "Message: manifest unknown"),
        ([("Image", "one:1"), ("Message", "no such image")], "Image: one:1; Message: no such image"),
        ([("Message", " one\r\n  two\n\nthree\t")], "Message: one two three"),
        ([("Message", " \n"), ("", "words alone"), ("Empty", "")], "words alone"),
        (
            [("Url", "https://a.blob.core.windows.net/c/f?sv=1&sig=secret%3D")],
            "Url: https://a.blob.core.windows.net/c/f",
        ),
        (
            [("Message", "GET HTTPS://a/b?sig=x, then s3://c/d?e=f failed")],
            "Message: GET HTTPS://a/b then s3://c/d failed",
        ),
        (
            [("Message", '{"url": "https://a/b?sig=x", "why": "gone?"}')],
            'Message: {"url": "https://a/b", "why": "gone?"}',
        ),
        ([("Message", "https://a/b?one?two\nwhat? that")], "Message: https://a/b what? that"),
    ],
)
def test_pairs_in_words(pairs, text):
    assert details_text(pairs) == text


def test_each_value_is_cut():
    text = details_text([("One", "x" * 10_000), ("Two", "y" * MOST_CHARACTERS)])
    one, two = text.split("; ")
    assert one == f"One: {'x' * (MOST_CHARACTERS - 4)} ..."
    assert two == f"Two: {'y' * MOST_CHARACTERS}"


def test_a_query_is_removed_before_a_value_is_cut():
    room = "x" * (MOST_CHARACTERS - 20)
    assert details_text([("Message", f"{room} https://a/b?sig=secret on")]) == f"Message: {room} https://a/b on"
