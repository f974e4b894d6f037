//! Linux's `struct rtc_time` and `struct rtc_wkalrm`.

use abi::{Errno, Result};
use devapi::CalendarTime;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::alarm::errno;

/// Linux's `struct rtc_time`, which is `struct tm`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RtcTime {
    second: i32,
    minute: i32,
    hour: i32,
    day: i32,
    /// From 0.
    month: i32,
    /// From 1900.
    year: i32,
    weekday: i32,
    day_of_year: i32,
    daylight_saving: i32,
}

const _: () = assert!(size_of::<RtcTime>() == 36);

impl RtcTime {
    pub fn from_calendar(time: CalendarTime) -> Result<Self> {
        let days = time.to_unix().map_err(errno)? / 86_400;
        let new_year = CalendarTime {
            month: 1,
            day: 1,
            ..time
        };
        let first = new_year.to_unix().map_err(errno)? / 86_400;
        Ok(Self {
            second: time.second.into(),
            minute: time.minute.into(),
            hour: time.hour.into(),
            day: time.day.into(),
            month: i32::from(time.month) - 1,
            year: i32::from(time.year) - 1900,
            // Day 0 was a Thursday.
            weekday: ((days + 4) % 7) as i32,
            day_of_year: (days - first) as i32,
            daylight_saving: 0,
        })
    }

    pub fn to_calendar(self) -> Result<CalendarTime> {
        let small = |value: i32| u8::try_from(value).map_err(|_| Errno::EINVAL);
        let year = self.year.checked_add(1900).ok_or(Errno::EINVAL)?;
        let time = CalendarTime {
            year: u16::try_from(year).map_err(|_| Errno::EINVAL)?,
            month: small(self.month.checked_add(1).ok_or(Errno::EINVAL)?)?,
            day: small(self.day)?,
            hour: small(self.hour)?,
            minute: small(self.minute)?,
            second: small(self.second)?,
        };
        time.check().map_err(errno)?;
        Ok(time)
    }

    pub fn from_seconds(seconds: i64) -> Result<Self> {
        Self::from_calendar(CalendarTime::from_unix(seconds).map_err(errno)?)
    }

    /// Seconds since 1970 of a time.
    pub fn seconds(time: CalendarTime) -> Result<i64> {
        time.to_unix().map_err(errno)
    }

    /// This time of day on another's date.
    pub fn on_date_of(self, date: CalendarTime) -> Result<CalendarTime> {
        Self {
            day: date.day.into(),
            month: i32::from(date.month) - 1,
            year: i32::from(date.year) - 1900,
            ..self
        }
        .to_calendar()
    }
}

/// Linux's `struct rtc_wkalrm`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RtcWakeAlarm {
    enabled: u8,
    pending: u8,
    padding: u16,
    pub time: RtcTime,
}

const _: () = assert!(size_of::<RtcWakeAlarm>() == 40);

impl RtcWakeAlarm {
    pub fn new(at: i64, on: bool) -> Result<Self> {
        Ok(Self {
            enabled: on.into(),
            pending: 0,
            padding: 0,
            time: RtcTime::from_seconds(at)?,
        })
    }

    pub fn is_on(&self) -> bool {
        self.enabled != 0
    }
}
