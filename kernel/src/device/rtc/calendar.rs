//! `/dev/rtc0`: the calendar clock, for `hwclock`.

use alloc::format;
use core::fmt::Write;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};
use devapi::{CalendarTime, DeviceError, RealTimeClock};
use drivers::hal::Ports;
use drivers::rtc::{CmosClock, PORT_BASE, PORT_COUNT};
use spin::Once;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::acpi::tables;
use super::registry::{DeviceSpec, NodeKind, Subsystem, folder};
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::mount::Path;
use crate::fs::{chrdev, devtmpfs};
use crate::mm::user::UserPtr;
use crate::task::{self, Cap};

/// What Linux gives the first class that asks for a number at run time, which is this one on a PC.
const MAJOR: u32 = 254;
const RTC_RD_TIME: u32 = 0x8024_7009;
const RTC_SET_TIME: u32 = 0x4024_700a;

static CLOCK: Once<CmosClock<Ports>> = Once::new();

/// Linux's `struct rtc_time`, which is `struct tm`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RtcTime {
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

fn errno(error: DeviceError) -> Errno {
    match error {
        DeviceError::Invalid => Errno::EINVAL,
        DeviceError::Timeout => Errno::ETIMEDOUT,
        _ => Errno::EIO,
    }
}

impl RtcTime {
    fn from_calendar(time: CalendarTime) -> Result<Self> {
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

    fn to_calendar(self) -> Result<CalendarTime> {
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
}

struct RtcFile;

impl FileOps for RtcFile {
    fn ioctl(&self, _: &File, request: u32, argument: usize) -> Result<usize> {
        let clock = CLOCK.get().ok_or(Errno::ENODEV)?;
        match request {
            RTC_RD_TIME => {
                let now = clock.read().map_err(errno)?;
                UserPtr::from(argument).write(&RtcTime::from_calendar(now)?)?;
                Ok(0)
            }
            RTC_SET_TIME => {
                if !task::current().cred().capable(Cap::SYS_TIME) {
                    return Err(Errno::EACCES);
                }
                let time: RtcTime = UserPtr::from(argument).read()?;
                clock.set(time.to_calendar()?).map_err(errno)?;
                Ok(0)
            }
            // Alarms and periodic interrupts are not there, as on a clock without an interrupt.
            _ => Err(Errno::ENOTTY),
        }
    }
}

fn open(_: DevNum, _: &Path, _: OpenFlags) -> Result<FileOpsRef> {
    let ops: &'static dyn FileOps = &RtcFile;
    Ok(ops.into())
}

/// Makes the node, if there is such a clock and it holds a date.
pub fn init() {
    let fadt = tables::get().fadt.unwrap_or_default();
    if fadt.no_cmos_rtc {
        return;
    }
    let clock = CLOCK.call_once(|| CmosClock::new(Ports::new(PORT_BASE, PORT_COUNT), fadt.century));
    if let Err(error) = clock.read() {
        log::warn!("rtc_cmos: {error:?}");
        return;
    }
    chrdev::register(MAJOR, 0..1, "rtc", open);
    devtmpfs::create_char("rtc0", MAJOR, 0, 0o600);
    if let Err(error) = show() {
        log::warn!("rtc_cmos: not shown in sysfs: {error:?}");
    }
}

fn show() -> Result<()> {
    let platform = DeviceSpec::new("rtc_cmos")
        .subsystem(Subsystem::Bus("platform"))
        .add(Some(&folder("platform")?))?;
    platform.set_driver(Some("rtc_cmos"));
    let parent = DeviceSpec::new("rtc").add(Some(&platform))?;
    let read = || CLOCK.get().ok_or(Errno::ENODEV)?.read().map_err(errno);
    DeviceSpec::new("rtc0")
        .subsystem(Subsystem::Class("rtc"))
        .node(NodeKind::Char, MAJOR, 0, "rtc0")
        .fixed("name", "rtc_cmos rtc_cmos")
        .text("date", move |out| {
            let now = read()?;
            out.push_str(&format!("{:04}-{:02}-{:02}", now.year, now.month, now.day));
            Ok(())
        })
        .text("time", move |out| {
            let now = read()?;
            out.push_str(&format!(
                "{:02}:{:02}:{:02}",
                now.hour, now.minute, now.second
            ));
            Ok(())
        })
        .text("since_epoch", move |out| {
            let seconds = read()?.to_unix().map_err(errno)?;
            write!(out, "{seconds}").map_err(|_| Errno::ENOMEM)
        })
        .add(Some(&parent))?;
    Ok(())
}
