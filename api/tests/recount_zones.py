"""Recounts by the local clocks of Python's zoneinfo: which periods there are in two years, and the count of each.

Shares no code and no rule with the product: it looks at a clock every quarter of an hour, and groups by what it shows.
Arguments: names of zones. Output: one JSON object, zone -> period -> [[start, count], ...].
"""

import datetime
import json
import sys
import zoneinfo

QUARTER_S = 15 * 60
# A day more on both sides: local years begin earlier or later than those of UTC.
FROM_S = 1_703_894_400  # 2023-12-30
TO_S = 1_767_657_600  # 2026-01-06: the week that begins in the last days of 2025 is whole
# Of these years are the starts. Periods that begin before them are left out: the events of the first day or two of the
# recount are a part of such a period. 2024 begins with a Monday, so that every week of both years is there.
LOCAL_YEARS = (2024, 2025)

GROUPS = {
    "quarter": lambda local: (local.date(), local.hour, local.minute // 15, local.utcoffset()),
    # An hour that the clocks show twice is two hours.
    "hour": lambda local: (local.date(), local.hour, local.utcoffset()),
    "day": lambda local: local.date(),
    "week": lambda local: local.isocalendar()[:2],
    "month": lambda local: (local.year, local.month),
    "year": lambda local: local.year,
}


def count_of(number):
    """The events of one quarter of an hour, as the test has them."""
    return number * 7919 % 13


def recount(name):
    zone = zoneinfo.ZoneInfo(name)
    points = {period: {} for period in GROUPS}
    for number in range((TO_S - FROM_S) // QUARTER_S):
        local = datetime.datetime.fromtimestamp(FROM_S + number * QUARTER_S, zone)
        for period, group in GROUPS.items():
            # The first clock time of a group is where it starts.
            point = points[period].setdefault(group(local), [local, 0])
            point[1] += count_of(number)
    return {
        period: [
            [start.isoformat().replace("+00:00", "Z"), count]
            for start, count in starts.values()
            if start.year in LOCAL_YEARS
        ]
        for period, starts in points.items()
    }


print(json.dumps({name: recount(name) for name in sys.argv[1:]}))
