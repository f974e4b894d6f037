//! The date at boot, from the CMOS clock.

use crate::arch::{cpu, port};
use crate::device::acpi::tables;

/// The clock's fields as they stand in CMOS.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fields {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
}

fn read_fields(century_index: u8) -> Fields {
    let cmos = port::read_cmos;
    Fields {
        second: cmos(0),
        minute: cmos(2),
        hour: cmos(4),
        day: cmos(7),
        month: cmos(8),
        year: cmos(9),
        century: if century_index != 0 {
            cmos(century_index)
        } else {
            0
        },
    }
}

/// Nanoseconds since 1970, to the second; `None` where there is no such clock or it holds no date.
pub(super) fn read_ns() -> Option<u64> {
    let fadt = tables::get().fadt.unwrap_or_default();
    if fadt.no_cmos_rtc {
        return None;
    }
    let century_index = if fadt.century < 128 { fadt.century } else { 0 };
    // Twice the same, and not in the middle of an update.
    let mut last = None;
    for _ in 0..1000 {
        for _ in 0..100_000 {
            if port::read_cmos(10) & 0x80 == 0 {
                break;
            }
            cpu::relax();
        }
        let fields = read_fields(century_index);
        if last == Some(fields) {
            return to_ns(fields, port::read_cmos(11));
        }
        last = Some(fields);
    }
    log::warn!("the CMOS clock does not settle");
    None
}

fn to_ns(fields: Fields, status: u8) -> Option<u64> {
    let binary = status & 4 != 0;
    let number = |value: u8| {
        u64::from(if binary {
            value
        } else {
            (value >> 4) * 10 + (value & 15)
        })
    };
    let mut hour = number(fields.hour & 0x7f);
    if status & 2 == 0 {
        hour = hour % 12 + if fields.hour & 0x80 != 0 { 12 } else { 0 };
    }
    let century = match number(fields.century) {
        c @ 19..=22 => c,
        _ if number(fields.year) >= 70 => 19,
        _ => 20,
    };
    let year = century * 100 + number(fields.year);
    let (month, day) = (number(fields.month), number(fields.day));
    let (minute, second) = (number(fields.minute), number(fields.second));
    let sane = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !sane || year < 1970 {
        log::warn!("the CMOS clock holds no date");
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)
}

/// Days of the proleptic Gregorian calendar, with years that start in March.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    days - 719_468
}
