"""Times in ISO 8601 become `datetime64[ns]` exactly, or are refused."""

from __future__ import annotations

import numpy as np
import pytest

from models_registry.artifacts.datetimes import format_datetime, parse_datetime

TAKEN = {
    "2024-05-01": "2024-05-01T00:00:00",
    "20240501": "2024-05-01T00:00:00",
    "2024-W18-3": "2024-05-01T00:00:00",
    "2024-05-01T12:30": "2024-05-01T12:30:00",
    "2024-05-01 12:30:15": "2024-05-01T12:30:15",
    "2024-05-01t12:30:15z": "2024-05-01T12:30:15",
    "20240501T123015Z": "2024-05-01T12:30:15",
    "2024-05-01T12:30:15+02:00": "2024-05-01T10:30:15",
    "2024-05-01T23:30:15-0130": "2024-05-02T01:00:15",
    "2024-05-01T12:30:15.5": "2024-05-01T12:30:15.500000000",
    "2024-05-01T12:30:15,123456789Z": "2024-05-01T12:30:15.123456789",
    "2024-05-01T12:30:15.1000000000000": "2024-05-01T12:30:15.100000000",
    "1969-12-31T23:59:59.9": "1969-12-31T23:59:59.900000000",
    "1677-09-22": "1677-09-22T00:00:00",
    "2262-04-11T23:47:16.854775807": "2262-04-11T23:47:16.854775807",
}
REFUSED = [
    "", "now", "2024", "2024-05", "2024-13-01", "2024-02-30", "05/01/2024", "2024-05-01T25:00", "2024-05-01x12:30",
    "2024-05-01T12:30:15.1234567891", "2024-05-01T12:30.5", "2024-05-01+02:00", "2024-05-01T12:30:15 UTC",
    "1677-09-20", "2262-04-12", "9999-12-31", "0001-01-01T00:00+02:00", "1714566600", "٢٠٢٤-٠٥-٠١", "NaT",
    "2024-05-01\n",
]  # fmt: skip


@pytest.mark.parametrize(("text", "moment"), TAKEN.items())
def test_iso_8601_becomes_its_nanosecond_in_utc(text, moment):
    parsed = parse_datetime(text)
    assert parsed is not None
    assert (parsed.dtype, format_datetime(parsed)) == (np.dtype("datetime64[ns]"), moment)


@pytest.mark.parametrize("text", REFUSED)
def test_other_texts_and_times_out_of_range_are_refused(text):
    assert parse_datetime(text) is None
