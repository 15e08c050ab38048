"""The pure parts of the node agent: patterns and layout."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snakemake_executor_azurebatch.emulator.agent.layout import duration_s, inside
from snakemake_executor_azurebatch.emulator.agent.patterns import blob_name, expand, parse


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("abc*", ["abc", "abcdef"], ["ab", "abc/d", "xabc"]),
        ("?.txt", ["a.txt"], [".txt", "ab.txt", "..txt"]),
        ("**/*.txt", ["a.txt", "b/a.txt", "c/b/a.txt"], ["a.csv", ".a.txt", ".b/a.txt", "b/.a.txt"]),
        ("**", ["a", "b/a"], [".a", "b/.a", ".b/a"]),
        ("*/x/**/y", ["a/x/y", "a/x/b/c/y"], ["x/y", "a/b/x/y"]),
        ("[abc]1", ["a1", "c1"], ["d1", "abc1"]),
        ("[a-c]", ["b"], ["d", "-"]),
        ("[!abc]", ["d", "^", "!"], ["a", "/", "."]),
        ("*[+-a]", ["x0"], ["x/"]),
        ("*[b-a]", ["x[b-a]"], ["xa", "xb"]),
        ("*[&&[||~~]", ["x&", "x["], ["xa"]),
        ("x[*]", ["x*"], ["xa", "x"]),
        ("x[?]*", ["x?", "x?y"], ["xa"]),
        ("*[]]", ["a]"], ["a"]),
        ("*[!]]", ["ab"], ["a]"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("*[\\]", ["a\\"], ["ab"]),
        ("*.gif", ["a.gif"], [".a.gif"]),
        (".*.gif", [".a.gif"], ["a.gif"]),
        ("*+(a).$", ["x+(a).$"], ["xa", "x+(a)a"]),
        ("*[", ["a["], ["a"]),
    ],
)
def test_patterns_match_as_documented(pattern, yes, no):
    parsed = parse(pattern, {})
    assert [name for name in yes if not parsed.matches(name)] == []
    assert [name for name in no if parsed.matches(name)] == []


@pytest.mark.parametrize(
    ("pattern", "base"),
    [("a/b/*.txt", "a/b"), ("*.txt", ""), ("../std*.txt", ".."), ("/*", "/"), ("/a/**/b", "/a"), ("a/b", "a/b")],
)
def test_the_base_is_what_comes_before_the_first_wildcard(pattern, base):
    assert parse(pattern, {}).base == base


def test_a_pattern_without_wildcards_is_the_file_itself():
    assert parse("a/b.txt", {}).rest is None


def test_variables_are_expanded_first():
    parsed = parse("$DIR/${NAME}.$UNSET", {"DIR": "/a/*", "NAME": "n"})
    assert parsed.base == "/a"
    assert parsed.matches("x/n.$UNSET")
    assert expand("$A$B", {"A": "1"}) == "1$B"


@pytest.mark.parametrize(
    ("path", "relative", "wildcard", "name"),
    [
        (None, "a/b", True, "a/b"),
        ("", "b", False, "b"),
        ("dir", "a/b", True, "dir/a/b"),
        ("dir/", "b", True, "dir/b"),
        ("new/name.txt", "b", False, "new/name.txt"),
    ],
)
def test_blob_names(path, relative, wildcard, name):
    assert blob_name(path, relative, wildcard=wildcard) == name


@example("[?--]", "-")
@example("[---]", "-")
@example("[a-c--z]", "-")
@given(st.text(alphabet="ab./*?[]!^-\\$(+", max_size=12), st.text(alphabet="ab./*]^-\\", max_size=8))
def test_any_pattern_can_be_parsed_and_asked(pattern, name):
    parsed = parse(pattern, {})
    assert parsed.matches(name) in (True, False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT30S", 30),
        ("PT06M00S", 360),
        ("P1DT2H3M4.5S", 93784.5),
        ("P2W", 1209600),
        ("P10675199DT2H48M5.4775807S", None),
        (None, None),
        ("PT0S", 0),
    ],
)
def test_durations(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "30", "PT30", "P1Y", "PT-3S", "-PT3S"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not an ISO 8601 duration"):
        duration_s(text)


def test_a_link_that_leaves_the_directory_is_no_way_out(tmp_path):
    (tmp_path / "wd").mkdir()
    (tmp_path / "wd" / "out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="not a path below"):
        inside(tmp_path / "wd", "out/x")
    assert inside(tmp_path / "wd", "in/x") == (tmp_path / "wd/in/x").resolve()
