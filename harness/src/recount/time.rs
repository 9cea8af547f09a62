//! Instants and buckets, computed without a library: proleptic Gregorian calendar, UTC.

const SECOND_MS: i64 = 1000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The instant of a JSON value, in milliseconds since 1970; none if it is invalid or not in the years 1 to 9999.
pub(super) fn instant_ms(raw: &str) -> Option<i64> {
    let ms = match raw.strip_prefix('"') {
        Some(_) => rfc3339_ms(&serde_json::from_str::<String>(raw).ok()?)?,
        None => raw.parse().ok()?,
    };
    let first = days_before(1, 1, 1) * DAY_MS;
    let end = days_before(10_000, 1, 1) * DAY_MS;
    (first..end).contains(&ms).then_some(ms)
}

fn rfc3339_ms(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.split_at_checked(9)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction_end = match rest.strip_prefix('.') {
        Some(digits) => {
            1 + digits
                .find(|c: char| !c.is_ascii_digit())
                .filter(|&n| n > 0)?
        }
        None => 0,
    };
    let (fraction, offset) = rest.split_at_checked(fraction_end)?;
    let millis: String = fraction
        .chars()
        .skip(1)
        .chain("000".chars())
        .take(3)
        .collect();
    // A leap second belongs to the second before it.
    let (second, millis) = if second == 60 {
        (59, 999)
    } else {
        (second, millis.parse().ok()?)
    };
    let local = days_before(year, month, day) * DAY_MS
        + hour * HOUR_MS
        + minute * 60 * SECOND_MS
        + second * SECOND_MS
        + millis;
    Some(local - offset_ms(offset)?)
}

fn offset_ms(text: &str) -> Option<i64> {
    if text == "Z" || text == "z" {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let [hours, minutes] = numbers(digits, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * HOUR_MS + minutes * 60 * SECOND_MS))
}

/// Parses numbers of exactly these lengths.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(between);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this day.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    // From 1 January of the year 1 to 1 January of `year`.
    let years = |year: i64| {
        let past = year - 1;
        past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400)
    };
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years(year) - years(1970) + months + day - 1
}

/// The start of the bucket of an instant.
pub(super) fn bucket_ms(granularity: &str, at_ms: i64) -> Option<i64> {
    let day = at_ms.div_euclid(DAY_MS);
    Some(match granularity {
        "all" => 0,
        // Later minutes are not counted, and so neither is the event.
        "minute" if year_of(day) > 7000 => return None,
        "minute" => at_ms.div_euclid(60 * SECOND_MS) * 60 * SECOND_MS,
        "quarter" => at_ms.div_euclid(15 * 60 * SECOND_MS) * 15 * 60 * SECOND_MS,
        "hour" => at_ms.div_euclid(HOUR_MS) * HOUR_MS,
        "day" => day * DAY_MS,
        "month" => {
            let year = year_of(day);
            let starts = (1..=12).rev().map(|month| days_before(year, month, 1));
            starts.into_iter().find(|&start| start <= day)? * DAY_MS
        }
        "year" => days_before(year_of(day), 1, 1) * DAY_MS,
        _ => return None,
    })
}

fn year_of(day: i64) -> i64 {
    // Too early by at most one year.
    let mut year = 1970 + day.div_euclid(366).min(day.div_euclid(365));
    while days_before(year + 1, 1, 1) <= day {
        year += 1;
    }
    year
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Datelike, NaiveDate};

    fn ms(text: &str) -> Option<i64> {
        instant_ms(&format!("\"{text}\""))
    }

    #[test]
    fn instants_agree_with_chrono() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T23:59:59.123456789+05:30",
            "1900-03-01T00:00:00-11:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            let other = DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_millis();
            assert_eq!(ms(text), Some(other), "{text}");
        }
    }

    #[test]
    fn invalid_instants_are_refused() {
        for text in [
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "0001-01-01T00:00:00+01:00",
            "0000-12-31T23:59:59Z",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_leap_second_belongs_to_the_second_before() {
        assert_eq!(ms("2016-12-31T23:59:60Z"), Some(1_483_228_799_999));
    }

    #[test]
    fn buckets_agree_with_chrono_on_every_day_of_a_thousand_years() {
        let first = NaiveDate::from_ymd_opt(1500, 1, 1).unwrap();
        for date in first.iter_days().take(366_000) {
            let start = |date: NaiveDate| {
                date.and_time(chrono::NaiveTime::MIN)
                    .and_utc()
                    .timestamp_millis()
            };
            let noon = start(date) + 12 * HOUR_MS + 1;
            assert_eq!(bucket_ms("day", noon), Some(start(date)));
            let month = date.with_day(1).unwrap();
            assert_eq!(bucket_ms("month", noon), Some(start(month)), "{date}");
            let year = month.with_month(1).unwrap();
            assert_eq!(bucket_ms("year", noon), Some(start(year)), "{date}");
        }
    }
}
