//! The CMOS clock of PCs (Motorola MC146818 and its heirs): the date that runs while the machine is off, and the
//! interrupts at an alarm and after each second.
//!
//! The alarm is a time of day, so that it comes once a day until it is disabled. Reading the events clears them, and
//! only then may the clock interrupt again. The periodic interrupt is not used: its rates are powers of two.

use bitflags::bitflags;
use devapi::{CalendarTime, DeviceError, RealTimeClock, Result};
use ksync::IrqSpinLock;

use crate::hal::{PortIo, Waiter};

const SECONDS: u8 = 0;
const ALARM_SECONDS: u8 = 1;
const MINUTES: u8 = 2;
const ALARM_MINUTES: u8 = 3;
const HOURS: u8 = 4;
const ALARM_HOURS: u8 = 5;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 10;
const STATUS_B: u8 = 11;
const STATUS_C: u8 = 12;
const STATUS_D: u8 = 13;
/// Status A: the clock is being advanced.
const UPDATING: u8 = 1 << 7;
/// Status B: the clock stands still while it is set.
const SETTING: u8 = 1 << 7;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
const DAYLIGHT_SAVING: u8 = 1 << 0;
/// Status D: the battery has held.
const VALID: u8 = 1 << 7;
const AFTERNOON: u8 = 1 << 7;
/// An update takes 2 ms and happens once a second.
const LIMIT_NS: u64 = 1_500_000_000;

/// The index and the data port.
pub const PORT_BASE: u16 = 0x70;
pub const PORT_COUNT: u16 = 2;

bitflags! {
    /// What the clock interrupts for: in status B what it may, in status C what it did.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RtcEvents: u8 {
        /// A second has passed.
        const UPDATE = 1 << 4;
        /// The time of day is that of the alarm.
        const ALARM = 1 << 5;
        const PERIODIC = 1 << 6;
    }
}

/// A time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

/// How the clock is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub bcd: bool,
    pub hours_24: bool,
    pub daylight_saving: bool,
    pub battery_held: bool,
    pub enabled: RtcEvents,
}

/// The clock, behind two ports that select and access its registers. Its lock may be taken in interrupts.
pub struct CmosClock<P> {
    ports: IrqSpinLock<P>,
    /// Register of the century, where the firmware says there is one.
    century: Option<u8>,
}

fn from_bcd(value: u8) -> u8 {
    (value >> 4) * 10 + (value & 15)
}

fn to_bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

fn read<P: PortIo>(ports: &P, register: u8) -> u8 {
    ports.write8(0, register);
    ports.read8(1)
}

fn write<P: PortIo>(ports: &P, register: u8, value: u8) {
    ports.write8(0, register);
    ports.write8(1, value);
}

/// How numbers and hours are written, by status B.
#[derive(Clone, Copy)]
struct Format(u8);

impl Format {
    fn decode(self, value: u8) -> u8 {
        if self.0 & BINARY != 0 {
            value
        } else {
            from_bcd(value)
        }
    }

    fn encode(self, value: u8) -> u8 {
        if self.0 & BINARY != 0 {
            value
        } else {
            to_bcd(value)
        }
    }

    fn decode_hour(self, value: u8) -> u8 {
        let hour = self.decode(value & !AFTERNOON);
        if self.0 & HOURS_24 != 0 {
            return hour;
        }
        hour % 12 + if value & AFTERNOON != 0 { 12 } else { 0 }
    }

    fn encode_hour(self, hour: u8) -> u8 {
        if self.0 & HOURS_24 != 0 {
            return self.encode(hour);
        }
        let half = if hour >= 12 { AFTERNOON } else { 0 };
        self.encode((hour + 11) % 12 + 1) | half
    }
}

impl<P: PortIo> CmosClock<P> {
    /// `century` as in the FADT: 0 for none.
    pub fn new(ports: P, century: u8) -> Self {
        let century = (century > STATUS_B && century < 128).then_some(century);
        Self {
            ports: IrqSpinLock::new(ports),
            century,
        }
    }

    /// The registers, twice the same and not during an update.
    fn settled(&self) -> Result<[u8; 7]> {
        let mut waiter = Waiter::new(LIMIT_NS);
        let mut last = None;
        loop {
            waiter.pause()?;
            let ports = self.ports.lock();
            if read(&*ports, STATUS_A) & UPDATING != 0 {
                continue;
            }
            let century = self.century.map_or(0, |register| read(&*ports, register));
            let [second, minute, hour, day, month, year] =
                [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR].map(|register| read(&*ports, register));
            let now = [second, minute, hour, day, month, year, century];
            if last == Some(now) {
                return Ok(now);
            }
            last = Some(now);
        }
    }

    /// What happened since the last look. The clock may interrupt again.
    pub fn take_events(&self) -> RtcEvents {
        RtcEvents::from_bits_truncate(read(&*self.ports.lock(), STATUS_C))
    }

    /// Lets the clock interrupt for `events`, or not. What happened before is to be taken first, or it interrupts at
    /// once.
    pub fn enable(&self, events: RtcEvents, on: bool) {
        let ports = self.ports.lock();
        let status = read(&*ports, STATUS_B);
        let status = match on {
            true => status | events.bits(),
            false => status & !events.bits(),
        };
        write(&*ports, STATUS_B, status);
    }

    /// Sets the time of day of the alarm.
    pub fn set_alarm(&self, at: TimeOfDay) {
        let ports = self.ports.lock();
        let format = Format(read(&*ports, STATUS_B));
        write(&*ports, ALARM_HOURS, format.encode_hour(at.hour));
        write(&*ports, ALARM_MINUTES, format.encode(at.minute));
        write(&*ports, ALARM_SECONDS, format.encode(at.second));
    }

    /// The time of day of the alarm; `None` for what is none, as where the firmware left wildcards.
    pub fn alarm(&self) -> Option<TimeOfDay> {
        let ports = self.ports.lock();
        let format = Format(read(&*ports, STATUS_B));
        let at = TimeOfDay {
            hour: format.decode_hour(read(&*ports, ALARM_HOURS)),
            minute: format.decode(read(&*ports, ALARM_MINUTES)),
            second: format.decode(read(&*ports, ALARM_SECONDS)),
        };
        (at.hour < 24 && at.minute < 60 && at.second < 60).then_some(at)
    }

    /// How the clock is set up now.
    pub fn setup(&self) -> Setup {
        let ports = self.ports.lock();
        let status = read(&*ports, STATUS_B);
        Setup {
            bcd: status & BINARY == 0,
            hours_24: status & HOURS_24 != 0,
            daylight_saving: status & DAYLIGHT_SAVING != 0,
            battery_held: read(&*ports, STATUS_D) & VALID != 0,
            enabled: RtcEvents::from_bits_truncate(status),
        }
    }
}

impl<P: PortIo> RealTimeClock for CmosClock<P> {
    fn read(&self) -> Result<CalendarTime> {
        let [second, minute, hour, day, month, year, century] = self.settled()?;
        let format = Format(read(&*self.ports.lock(), STATUS_B));
        let number = |value| format.decode(value);
        let year = u16::from(number(year));
        let century = match number(century) {
            century @ 19..=99 => u16::from(century),
            _ if year >= 70 => 19,
            _ => 20,
        };
        let time = CalendarTime {
            year: century * 100 + year,
            month: number(month),
            day: number(day),
            hour: format.decode_hour(hour),
            minute: number(minute),
            second: number(second),
        };
        // What is no date comes of a flat battery.
        time.check().map_err(|_| DeviceError::Io)?;
        Ok(time)
    }

    fn set(&self, time: CalendarTime) -> Result<()> {
        time.check()?;
        if self.century.is_none() && !(1970..2070).contains(&time.year) {
            return Err(DeviceError::Invalid);
        }
        let ports = self.ports.lock();
        let status = read(&*ports, STATUS_B);
        let format = Format(status);
        let number = |value| format.encode(value);
        write(&*ports, STATUS_B, status | SETTING);
        write(&*ports, SECONDS, number(time.second));
        write(&*ports, MINUTES, number(time.minute));
        write(&*ports, HOURS, format.encode_hour(time.hour));
        write(&*ports, DAY, number(time.day));
        write(&*ports, MONTH, number(time.month));
        write(&*ports, YEAR, number((time.year % 100) as u8));
        if let Some(register) = self.century {
            write(&*ports, register, number((time.year / 100) as u8));
        }
        write(&*ports, STATUS_B, status & !SETTING);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    use super::*;
    use crate::hal::testing::use_host;

    /// A clock that is updating for the first few looks.
    struct Fake {
        index: AtomicU8,
        registers: [AtomicU8; 128],
        updating: AtomicUsize,
    }

    impl Fake {
        fn new(status: u8, values: &[(u8, u8)], updating: usize) -> Self {
            use_host();
            let fake = Self {
                index: AtomicU8::new(0),
                registers: [const { AtomicU8::new(0) }; 128],
                updating: AtomicUsize::new(updating),
            };
            fake.registers[usize::from(STATUS_B)].store(status, Ordering::Relaxed);
            for &(register, value) in values {
                fake.registers[usize::from(register)].store(value, Ordering::Relaxed);
            }
            fake
        }
    }

    impl PortIo for Fake {
        fn read8(&self, offset: u16) -> u8 {
            assert_eq!(offset, 1);
            let index = self.index.load(Ordering::Relaxed);
            if index == STATUS_C {
                return self.registers[usize::from(index)].swap(0, Ordering::Relaxed);
            }
            if index == STATUS_A {
                let left = self.updating.load(Ordering::Relaxed);
                self.updating
                    .store(left.saturating_sub(1), Ordering::Relaxed);
                return if left > 0 { UPDATING } else { 0x26 };
            }
            self.registers[usize::from(index)].load(Ordering::Relaxed)
        }
        fn write8(&self, offset: u16, value: u8) {
            if offset == 0 {
                return self.index.store(value, Ordering::Relaxed);
            }
            let index = usize::from(self.index.load(Ordering::Relaxed));
            self.registers[index].store(value, Ordering::Relaxed);
        }
        fn read16(&self, _: u16) -> u16 {
            unreachable!("the clock has byte registers")
        }
        fn write16(&self, _: u16, _: u16) {
            unreachable!("the clock has byte registers")
        }
        fn read32(&self, _: u16) -> u32 {
            unreachable!("the clock has byte registers")
        }
        fn write32(&self, _: u16, _: u32) {
            unreachable!("the clock has byte registers")
        }
    }

    fn time(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> CalendarTime {
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
    fn bcd_and_twelve_hours_are_understood() {
        let values = [
            (SECONDS, 0x59),
            (MINUTES, 0x58),
            (HOURS, 0x92),
            (DAY, 0x31),
            (MONTH, 0x12),
            (YEAR, 0x99),
            (50, 0x20),
        ];
        let clock = CmosClock::new(Fake::new(0, &values, 5), 50);
        assert_eq!(clock.read(), Ok(time(2099, 12, 31, 12, 58, 59)));
        let clock = CmosClock::new(Fake::new(0, &values, 0), 0);
        assert_eq!(clock.read(), Ok(time(1999, 12, 31, 12, 58, 59)));
    }

    #[test]
    fn what_is_set_is_read_in_every_format() {
        for status in [0, BINARY, HOURS_24, BINARY | HOURS_24] {
            for hour in 0..24 {
                let clock = CmosClock::new(Fake::new(status, &[], 0), 50);
                let then = time(2024, 2, 29, hour, 7, 8);
                clock.set(then).unwrap();
                assert_eq!(clock.read(), Ok(then), "{status} {hour}");
                assert_eq!(read(&*clock.ports.lock(), STATUS_B), status, "runs again");
            }
        }
    }

    #[test]
    fn clocks_without_a_date_and_dates_without_a_clock_are_errors() {
        let flat = CmosClock::new(Fake::new(HOURS_24, &[(MONTH, 0xff)], 0), 0);
        assert_eq!(flat.read(), Err(DeviceError::Io));
        let stuck = CmosClock::new(Fake::new(0, &[], usize::MAX), 0);
        assert_eq!(stuck.read(), Err(DeviceError::Timeout));
        let clock = CmosClock::new(Fake::new(HOURS_24, &[], 0), 0);
        assert_eq!(
            clock.set(time(2024, 2, 30, 0, 0, 0)),
            Err(DeviceError::Invalid)
        );
        assert_eq!(
            clock.set(time(2101, 1, 1, 0, 0, 0)),
            Err(DeviceError::Invalid)
        );
    }
    #[test]
    fn the_alarm_is_a_time_of_day_in_every_format() {
        for status in [0, BINARY, HOURS_24, BINARY | HOURS_24] {
            for hour in 0..24 {
                let clock = CmosClock::new(Fake::new(status, &[], 0), 50);
                let at = TimeOfDay {
                    hour,
                    minute: 59,
                    second: 8,
                };
                clock.set_alarm(at);
                assert_eq!(clock.alarm(), Some(at), "{status} {hour}");
            }
        }
        let wildcard = CmosClock::new(Fake::new(HOURS_24, &[(ALARM_HOURS, 0xff)], 0), 0);
        assert_eq!(wildcard.alarm(), None);
    }

    #[test]
    fn events_are_enabled_apart_and_taken_once() {
        let happened = (STATUS_C, 0xb0);
        let clock = CmosClock::new(Fake::new(HOURS_24, &[happened, (STATUS_D, VALID)], 0), 0);
        assert_eq!(clock.take_events(), RtcEvents::ALARM | RtcEvents::UPDATE);
        assert_eq!(clock.take_events(), RtcEvents::empty());
        clock.enable(RtcEvents::ALARM, true);
        clock.enable(RtcEvents::UPDATE, true);
        clock.enable(RtcEvents::ALARM, false);
        let setup = clock.setup();
        assert_eq!(setup.enabled, RtcEvents::UPDATE);
        assert!(setup.bcd && setup.hours_24 && setup.battery_held && !setup.daylight_saving);
        clock.set(time(2024, 2, 29, 1, 2, 3)).unwrap();
        assert_eq!(clock.setup().enabled, RtcEvents::UPDATE, "setting keeps it");
    }
}
