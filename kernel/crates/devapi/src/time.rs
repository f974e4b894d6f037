//! Clocks, and the calendar clock that runs while the machine is off.

use crate::{DeviceError, Result};

/// Counts nanoseconds from an unknown start, never backwards.
pub trait Clock: Send + Sync {
    fn now_ns(&self) -> u64;
}

/// A date and time of the Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarTime {
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

/// The battery-backed clock.
pub trait RealTimeClock: Send + Sync {
    fn read(&self) -> Result<CalendarTime>;
    fn set(&self, time: CalendarTime) -> Result<()>;
}

const SECONDS_A_DAY: i64 = 86_400;

impl CalendarTime {
    fn is_leap(year: u16) -> bool {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    }

    fn days_in_month(year: u16, month: u8) -> u8 {
        match month {
            2 => 28 + u8::from(Self::is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// `Invalid` unless this is a date and time that exists (leap seconds aside).
    pub fn check(&self) -> Result<()> {
        let valid = (1970..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && self.day >= 1
            && self.day <= Self::days_in_month(self.year, self.month)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if valid {
            Ok(())
        } else {
            Err(DeviceError::Invalid)
        }
    }

    /// Seconds since 1970 of a valid time.
    pub fn to_unix(self) -> Result<i64> {
        self.check()?;
        // Days from civil date, counting years from March so that the leap day comes last (H. Hinnant).
        let month = i64::from(self.month);
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year / 400;
        let year_of_era = year % 400;
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let clock =
            i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Ok(days * SECONDS_A_DAY + clock)
    }

    /// The time `seconds` after 1970; `Invalid` outside the years 1970 to 9999.
    pub fn from_unix(seconds: i64) -> Result<Self> {
        if !(0..=253_402_300_799).contains(&seconds) {
            return Err(DeviceError::Invalid);
        }
        let days = seconds / SECONDS_A_DAY + 719_468;
        let clock = seconds % SECONDS_A_DAY;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Ok(Self {
            year: year as u16,
            month: month as u8,
            day: (day_of_year - (153 * shifted + 2) / 5 + 1) as u8,
            hour: (clock / 3600) as u8,
            minute: (clock / 60 % 60) as u8,
            second: (clock % 60) as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> CalendarTime {
        CalendarTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        }
    }

    #[test]
    fn known_dates_convert_both_ways() {
        for (time, seconds) in [
            (at(1970, 1, 1, 0, 0, 0), 0),
            (at(2000, 2, 29, 12, 0, 0), 951_825_600),
            (at(2001, 9, 9, 1, 46, 40), 1_000_000_000),
            (at(2038, 1, 19, 3, 14, 8), 2_147_483_648),
            (at(2100, 3, 1, 0, 0, 0), 4_107_542_400),
            (at(9999, 12, 31, 23, 59, 59), 253_402_300_799),
        ] {
            assert_eq!(time.to_unix(), Ok(seconds), "{time:?}");
            assert_eq!(CalendarTime::from_unix(seconds), Ok(time));
        }
    }

    #[test]
    fn every_day_of_two_centuries_round_trips_in_order() {
        let mut last = None;
        for day in 0..(230 * 366) {
            let time = CalendarTime::from_unix(day * SECONDS_A_DAY + 3661).unwrap();
            assert_eq!(time.to_unix(), Ok(day * SECONDS_A_DAY + 3661));
            let key = (time.year, time.month, time.day);
            assert!(last < Some(key));
            last = Some(key);
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for time in [
            at(2023, 2, 29, 0, 0, 0),
            at(2100, 2, 29, 0, 0, 0),
            at(2024, 4, 31, 0, 0, 0),
            at(2024, 0, 1, 0, 0, 0),
            at(2024, 13, 1, 0, 0, 0),
            at(2024, 1, 0, 0, 0, 0),
            at(2024, 1, 1, 24, 0, 0),
            at(2024, 1, 1, 0, 60, 0),
            at(1969, 12, 31, 23, 59, 59),
        ] {
            assert_eq!(time.to_unix(), Err(DeviceError::Invalid), "{time:?}");
        }
        assert_eq!(CalendarTime::from_unix(-1), Err(DeviceError::Invalid));
        assert_eq!(
            CalendarTime::from_unix(253_402_300_800),
            Err(DeviceError::Invalid)
        );
    }
}
