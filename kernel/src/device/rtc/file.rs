//! The device file: requests, and reading what happened.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::fs::{DevNum, OpenFlags};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::RTC;
use super::alarm::Rtc;
use super::calendar::{RtcTime, RtcWakeAlarm};
use crate::fs::fasync::FasyncList;
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::mount::Path;
use crate::mm::user::{IoSink, UserPtr};
use crate::sync::PollTable;
use crate::task::{self, Cap};

const RTC_AIE_ON: u32 = 0x7001;
const RTC_AIE_OFF: u32 = 0x7002;
const RTC_UIE_ON: u32 = 0x7003;
const RTC_UIE_OFF: u32 = 0x7004;
const RTC_PIE_ON: u32 = 0x7005;
const RTC_PIE_OFF: u32 = 0x7006;
const RTC_ALM_SET: u32 = 0x4024_7007;
const RTC_ALM_READ: u32 = 0x8024_7008;
const RTC_RD_TIME: u32 = 0x8024_7009;
const RTC_SET_TIME: u32 = 0x4024_700a;
const RTC_IRQP_READ: u32 = 0x8008_700b;
const RTC_IRQP_SET: u32 = 0x4008_700c;
const RTC_EPOCH_SET: u32 = 0x4008_700e;
const RTC_WKALM_SET: u32 = 0x4028_700f;
const RTC_WKALM_RD: u32 = 0x8028_7010;
const RTC_PARAM_GET: u32 = 0x4018_7013;
const RTC_PARAM_SET: u32 = 0x4018_7014;

const RTC_PARAM_FEATURES: u64 = 0;
/// It has alarms (bit 0), and tells updates (bit 4).
const FEATURES: u64 = 1 << 0 | 1 << 4;
const DAY: i64 = 86_400;

/// Linux's `struct rtc_param`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RtcParam {
    param: u64,
    value: u64,
    index: u32,
    padding: u32,
}

/// The one open file.
struct RtcFile(Arc<Rtc>);

pub(super) fn open(_: DevNum, _: &Path, _: OpenFlags) -> Result<FileOpsRef> {
    let rtc = RTC.get().ok_or(Errno::ENODEV)?;
    if rtc.busy.swap(true, Ordering::AcqRel) {
        return Err(Errno::EBUSY);
    }
    rtc.take();
    Ok(Arc::new(RtcFile(rtc.clone())).into())
}

impl Drop for RtcFile {
    /// What repeats ends, for nobody listens. The alarm stays: it may be there to wake the machine.
    fn drop(&mut self) {
        self.0.switch_updates(false);
        // Off needs no right.
        let _ = self.0.switch_periodic(false);
        self.0.busy.store(false, Ordering::Release);
    }
}

impl RtcFile {
    /// The next time of that time of day, with today's date.
    fn set_time_of_day_alarm(&self, time: &RtcTime) -> Result<()> {
        let today = self.0.read()?;
        let now = RtcTime::seconds(today)?;
        let at = RtcTime::seconds(time.on_date_of(today)?)?;
        let at = if at < now { at + DAY } else { at };
        self.0.set_alarm(at, false)
    }

    fn get_param(&self, argument: usize) -> Result<()> {
        let mut param: RtcParam = UserPtr::from(argument).read()?;
        if param.index != 0 || param.param != RTC_PARAM_FEATURES {
            return Err(Errno::EINVAL);
        }
        param.value = FEATURES;
        UserPtr::from(argument).write(&param)
    }

    fn request(&self, request: u32, argument: usize) -> Result<()> {
        let rtc = &*self.0;
        match request {
            RTC_RD_TIME => UserPtr::from(argument).write(&RtcTime::from_calendar(rtc.read()?)?),
            RTC_SET_TIME => {
                let time: RtcTime = UserPtr::from(argument).read()?;
                rtc.set(time.to_calendar()?)
            }
            RTC_ALM_READ => {
                let (at, _) = rtc.alarm();
                UserPtr::from(argument).write(&RtcTime::from_seconds(at)?)
            }
            RTC_ALM_SET => {
                let time: RtcTime = UserPtr::from(argument).read()?;
                self.set_time_of_day_alarm(&time)
            }
            RTC_WKALM_RD => {
                let (at, on) = rtc.alarm();
                UserPtr::from(argument).write(&RtcWakeAlarm::new(at, on)?)
            }
            RTC_WKALM_SET => {
                let alarm: RtcWakeAlarm = UserPtr::from(argument).read()?;
                rtc.set_alarm(RtcTime::seconds(alarm.time.to_calendar()?)?, alarm.is_on())
            }
            RTC_AIE_ON => rtc.switch_alarm(true),
            RTC_AIE_OFF => rtc.switch_alarm(false),
            RTC_UIE_ON | RTC_UIE_OFF => {
                rtc.switch_updates(request == RTC_UIE_ON);
                Ok(())
            }
            RTC_PIE_ON => rtc.switch_periodic(true),
            RTC_PIE_OFF => rtc.switch_periodic(false),
            RTC_IRQP_READ => {
                let hz = rtc.with_state(|state| u64::from(state.periodic.hz));
                UserPtr::from(argument).write(&hz)
            }
            RTC_IRQP_SET => rtc.set_rate(argument),
            RTC_PARAM_GET => self.get_param(argument),
            RTC_PARAM_SET => {
                let _: RtcParam = UserPtr::from(argument).read()?;
                // None of what the clock has can be set.
                Err(Errno::EINVAL)
            }
            // `RTC_EPOCH_READ` and others of clocks that are not this one.
            _ => Err(Errno::ENOTTY),
        }
    }
}

impl FileOps for RtcFile {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        let size = match sink.remaining() {
            4 => 4,
            8.. => 8,
            _ => return Err(Errno::EINVAL),
        };
        let events = match self.0.take() {
            0 if file.nonblocking() => return Err(Errno::EAGAIN),
            0 => self.0.readers.wait_until(|| match self.0.take() {
                0 => None,
                events => Some(events),
            })?,
            events => events,
        };
        let bytes = events.to_ne_bytes();
        sink.put(bytes.get(..size).unwrap_or(&bytes))?;
        Ok(size)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.0.readers);
        }
        match self.0.has_events() {
            true => PollEvents::READABLE,
            false => PollEvents::empty(),
        }
    }

    fn ioctl(&self, _file: &File, request: u32, argument: usize) -> Result<usize> {
        let sets_the_clock = matches!(request, RTC_SET_TIME | RTC_EPOCH_SET | RTC_PARAM_SET);
        if sets_the_clock && !task::current().cred().capable(Cap::SYS_TIME) {
            return Err(Errno::EACCES);
        }
        self.request(request, argument).map(|()| 0)
    }

    fn fasync(&self, _file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some([Some(&self.0.fasync), None])
    }
}
