//! Time, as an argument: whole seconds, RFC 3339 text, and the clock as a one-method trait.
//!
//! Nothing below the daemons reads a clock. Whoever calls the core says what time it is, so that a message can be
//! verified as of today, as of its own timestamp, or as of any moment that an audit names.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: i64 = 86_400;
/// 9999-12-31T23:59:59Z, the last second that RFC 3339 and RFC 5280 can both write.
const LAST: i64 = 253_402_300_799;
/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;

/// Seconds since 1970-01-01T00:00:00Z, between the years 0 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A time that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The number of seconds lies outside the years 0 to 9999.
    #[error("{0} seconds since 1970 is not between the years 0 and 9999")]
    OutOfRange(i64),
    /// The text is not RFC 3339 with a zone (`2026-11-24T12:00:00Z`).
    #[error("`{0}` is not an RFC 3339 time such as 2026-11-24T12:00:00Z")]
    Syntax(String),
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59Z.
    pub const MAX: Self = Self(LAST);
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self(FIRST);

    /// Makes a time from seconds since 1970.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] outside the years 0 to 9999.
    pub fn from_unix(seconds: i64) -> Result<Self, TimeError> {
        if (FIRST..=LAST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(TimeError::OutOfRange(seconds))
        }
    }

    /// Seconds since 1970; negative before it.
    pub fn as_unix(self) -> i64 {
        self.0
    }

    /// This time moved by `seconds` (negative: earlier), held within the years 0 to 9999.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds).clamp(FIRST, LAST))
    }

    /// This time moved later by `duration`, cut to whole seconds.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        self.plus_seconds(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
    }

    /// Seconds from `earlier` to this time; negative if it is the later one.
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Whether two thirds of a life from `from` until `until` have passed at this time: when a certificate or a list is due
    /// to be made anew.
    pub fn is_past_two_thirds(self, from: Self, until: Self) -> bool {
        self.seconds_since(from).saturating_mul(3) >= until.seconds_since(from).saturating_mul(2)
    }

    /// The first moment at which [`Timestamp::is_past_two_thirds`] of a life.
    pub fn two_thirds_of(from: Self, until: Self) -> Self {
        let life = until.seconds_since(from);
        // Rounded up; the life of anything that is dated is far from the ends of an i64.
        from.plus_seconds(life.saturating_mul(2).saturating_add(2).div_euclid(3))
    }

    /// The calendar year, which a `msg_id` begins with.
    pub fn year(self) -> i64 {
        civil_from_days(self.0.div_euclid(SECONDS_A_DAY)).0
    }
}

/// What tells the time. The library takes one where it has to wait or to stamp; tests hand in their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        };
        Timestamp::EPOCH.plus_seconds(seconds)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(SECONDS_A_DAY));
        let second = self.0.rem_euclid(SECONDS_A_DAY);
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    /// Reads RFC 3339 (section 5.6). A zone is required; a fraction of a second is cut off; second 60 is refused.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse_rfc3339(text).ok_or_else(|| TimeError::Syntax(text.to_owned()))
    }
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let b = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = b.get(from..to)?;
        digits.iter().try_fold(0_i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
    };
    let is = |at: usize, any_of: &[u8]| b.get(at).is_some_and(|c| any_of.contains(c));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut zone = 19;
    if is(19, b".") {
        let digits = b[20..].iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        zone = 20 + digits;
    }
    let offset = match b.get(zone)? {
        b'Z' | b'z' if b.len() == zone + 1 => 0,
        sign @ (b'+' | b'-') if b.len() == zone + 6 && is(zone + 3, b":") => {
            let (h, m) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
            if h > 23 || m > 59 {
                return None;
            }
            let magnitude = h * 3600 + m * 60;
            if *sign == b'-' { -magnitude } else { magnitude }
        }
        _ => return None,
    };
    let days = days_from_civil(year, month, day)?;
    Timestamp::from_unix(days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second - offset).ok()
}

/// The day number of a proleptic Gregorian date, counted from 1970-01-01; `None` for a date that does not exist.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_times_read_and_write() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2017-09-05T20:24:35Z", 1_504_643_075),
            ("9999-12-31T23:59:59Z", LAST),
            ("0000-01-01T00:00:00Z", FIRST),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!((time.as_unix(), time.to_string().as_str()), (seconds, text));
        }
        let shifted: Timestamp = "2017-09-05T22:24:35.999+02:00".parse().unwrap();
        assert_eq!(shifted.as_unix(), 1_504_643_075);
        assert_eq!(shifted.year(), 2017);
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00Zz",
            "２026-01-01T00:00:00Z",
            "2026-01-01T00:00:00é",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimeError::Syntax(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn every_second_agrees_with_the_time_crate(seconds in FIRST..=LAST) {
            let ours = Timestamp::from_unix(seconds).unwrap();
            let theirs = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            prop_assert_eq!(ours.to_string(), format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", theirs.year(),
                u8::from(theirs.month()), theirs.day(), theirs.hour(), theirs.minute(), theirs.second()));
            prop_assert_eq!(ours.to_string().parse::<Timestamp>().unwrap(), ours);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
