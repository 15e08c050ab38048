"""Times, durations, ETags on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_azurebatch.emulator import wire

_FIRST = datetime(1970, 1, 1)  # noqa: DTZ001 (hypothesis adds the time zone)
_LAST = datetime(2100, 1, 1)  # noqa: DTZ001 (hypothesis adds the time zone)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("PT06M00S", "PT6M"),
        ("PT15M", "PT15M"),
        ("PT900S", "PT15M"),
        ("P7D", "P7D"),
        ("P1W", "P7D"),
        ("PT48H", "P2D"),
        ("P1DT0H0M1.5S", "P1DT1.5S"),
        ("PT0S", "PT0S"),
        ("PT0.25S", "PT0.25S"),
        ("PT7M9.497S", "PT7M9.497S"),
        (wire.UNLIMITED, wire.UNLIMITED),
        ("P99999999D", wire.UNLIMITED),
        ("-PT1M", "-PT1M"),
    ],
)
def test_durations_come_back_in_normal_form(text, normal):
    assert wire.duration_text(wire.parse_duration(text)) == normal


@pytest.mark.parametrize("text", ["", "P", "PT", "15M", "P1Y", "PT1", "1:00", "PT1.5M"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        wire.parse_duration(text)


@given(st.integers(-(2**62), 2**63 - 2))
def test_every_duration_survives(ticks):
    assert wire.parse_duration(wire.duration_text(ticks)) == ticks


def test_unlimited_has_no_seconds():
    assert wire.duration_s(wire.UNLIMITED) is None
    assert wire.duration_s("PT1M0.5S") == 60.5


def test_trailing_zeros_of_times_are_dropped():
    moment = datetime(2023, 10, 17, 8, 48, 43, 423600, tzinfo=UTC)
    assert wire.time_text(moment) == "2023-10-17T08:48:43.4236Z"
    assert wire.time_text(moment.replace(microsecond=0)) == "2023-10-17T08:48:43Z"


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-04T20:53:31Z",
        "2025-09-04T20:53:31.0000000Z",
        "2025-09-04T22:53:31+02:00",
        "2025-09-04T20:53:31",
        "Thu, 04 Sep 2025 20:53:31 GMT",
    ],
)
def test_times_are_read_in_every_form(text):
    assert wire.parse_time(text) == datetime(2025, 9, 4, 20, 53, 31, tzinfo=UTC)


@given(st.datetimes(min_value=_FIRST, max_value=_LAST, timezones=st.just(UTC)))
def test_every_time_survives_and_sorts(moment):
    text = wire.time_text(moment)
    assert wire.parse_time(text) == moment
    later = wire.time_text(moment + timedelta(microseconds=1))
    assert text.removesuffix("Z") < later.removesuffix("Z")


def test_etags_look_like_recorded_ones():
    moment = datetime(2025, 9, 4, 20, 53, 31, 699593, tzinfo=UTC)
    assert wire.etag_text(wire.ticks(moment))[:12] == "0x8DDEBF51B7"
