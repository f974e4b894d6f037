//! The clock in sysfs and in `/proc/driver/rtc`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use devapi::CalendarTime;
use drivers::rtc::RtcEvents;

use super::alarm::{Rtc, errno};
use super::{MAJOR, RTC};
use crate::device::registry::{Attribute, Content, DeviceSpec, NodeKind, Subsystem, folder};

/// `max_user_freq` is below this.
const MAX_USER_HZ: u64 = 4096;
/// Where an alarm that is switched off is put: ahead, for clocks that ring for what has passed.
const AHEAD: i64 = 300;

fn text<R>(result: core::result::Result<R, core::fmt::Error>) -> Result<R> {
    result.map_err(|_| Errno::ENOMEM)
}

fn writable(
    name: &'static str,
    show: impl Fn(&mut String) -> Result<()> + Send + Sync + 'static,
    store: impl Fn(&[u8]) -> Result<()> + Send + Sync + 'static,
) -> Attribute {
    Attribute {
        name: name.into(),
        mode: 0o644,
        content: Content::Text(alloc::boxed::Box::new(show)),
        store: Some(alloc::boxed::Box::new(store)),
    }
}

/// A number as Linux's attributes take it: with a sign, in base 8, 10 or 16 by its prefix, and maybe a newline.
fn number(bytes: &[u8]) -> Result<i64> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let (digits, base) = match (lower, digits.strip_prefix('0')) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return Err(Errno::EINVAL);
    }
    let value = i64::from_str_radix(digits, base).map_err(|_| Errno::EINVAL)?;
    Ok(if negative { -value } else { value })
}

fn show_wakealarm(rtc: &Rtc, out: &mut String) -> Result<()> {
    match rtc.alarm() {
        (at, true) => text(writeln!(out, "{at}")),
        (_, false) => Ok(()),
    }
}

/// `SECONDS` since 1970, `+SECONDS` from now, or `+=SECONDS` after the alarm that is on; what has passed switches it off.
fn store_wakealarm(rtc: &Rtc, bytes: &[u8]) -> Result<()> {
    let now = rtc.read()?.to_unix().map_err(errno)?;
    let (bytes, later, push) = match bytes {
        [b'+', b'=', rest @ ..] => (rest, 0, true),
        [b'+', rest @ ..] => (rest, now, false),
        _ => (bytes, 0, false),
    };
    let mut at = number(bytes)?.saturating_add(later);
    if at <= now && !push {
        return rtc.set_alarm(now + AHEAD, false);
    }
    match (rtc.alarm(), push) {
        ((before, true), true) => at = at.saturating_add(before),
        ((_, true), false) => return Err(Errno::EBUSY),
        ((_, false), true) => return Err(Errno::EINVAL),
        ((_, false), false) => {}
    }
    CalendarTime::from_unix(at).map_err(errno)?;
    rtc.set_alarm(at, true)
}

fn store_max_user_freq(rtc: &Rtc, bytes: &[u8]) -> Result<()> {
    let hz = u64::try_from(number(bytes)?).map_err(|_| Errno::EINVAL)?;
    if hz == 0 || hz >= MAX_USER_HZ {
        return Err(Errno::EINVAL);
    }
    rtc.with_state(|state| state.periodic.max_user_hz = hz as u32);
    Ok(())
}

fn show_wakeup(rtc: &Rtc, out: &mut String) -> Result<()> {
    let words = match rtc.may_wake.load(Ordering::Relaxed) {
        true => "enabled",
        false => "disabled",
    };
    text(writeln!(out, "{words}"))
}

fn store_wakeup(rtc: &Rtc, bytes: &[u8]) -> Result<()> {
    let on = match bytes.strip_suffix(b"\n").unwrap_or(bytes) {
        b"enabled" => true,
        b"disabled" => false,
        _ => return Err(Errno::EINVAL),
    };
    rtc.may_wake.store(on, Ordering::Relaxed);
    Ok(())
}

fn date(time: CalendarTime) -> String {
    format!("{:04}-{:02}-{:02}", time.year, time.month, time.day)
}

fn clock(time: CalendarTime) -> String {
    format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second)
}

/// Shows the clock in sysfs.
pub(super) fn init(rtc: &Arc<Rtc>) -> Result<()> {
    let of = |f: fn(&Rtc, &mut String) -> Result<()>| {
        let rtc = rtc.clone();
        move |out: &mut String| f(&rtc, out)
    };
    let set = |f: fn(&Rtc, &[u8]) -> Result<()>| {
        let rtc = rtc.clone();
        move |bytes: &[u8]| f(&rtc, bytes)
    };
    let platform = DeviceSpec::new("rtc_cmos")
        .subsystem(Subsystem::Bus("platform"))
        .attribute(writable("power/wakeup", of(show_wakeup), set(store_wakeup)))
        .add(Some(&folder("platform")?))?;
    platform.set_driver(Some("rtc_cmos"));
    let parent = DeviceSpec::new("rtc").add(Some(&platform))?;
    let show_max: fn(&Rtc, &mut String) -> Result<()> = |rtc, out| {
        let hz = rtc.with_state(|state| state.periodic.max_user_hz);
        text(writeln!(out, "{hz}"))
    };
    DeviceSpec::new("rtc0")
        .subsystem(Subsystem::Class("rtc"))
        .node(NodeKind::Char, MAJOR, 0, "rtc0")
        .fixed("name", "rtc_cmos rtc_cmos")
        // The wall clock starts from this clock, or the clock would not be here.
        .fixed("hctosys", "1")
        .text(
            "date",
            of(|rtc, out| text(out.write_str(&date(rtc.read()?)))),
        )
        .text(
            "time",
            of(|rtc, out| text(out.write_str(&clock(rtc.read()?)))),
        )
        .text(
            "since_epoch",
            of(|rtc, out| text(write!(out, "{}", rtc.read()?.to_unix().map_err(errno)?))),
        )
        .attribute(writable(
            "max_user_freq",
            of(show_max),
            set(store_max_user_freq),
        ))
        .attribute(writable(
            "wakealarm",
            of(show_wakealarm),
            set(store_wakealarm),
        ))
        .add(Some(&parent))?;
    Ok(())
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// What `/proc/driver/rtc` says. ENODEV without a clock.
pub fn proc_text() -> Result<String> {
    let rtc = RTC.get().ok_or(Errno::ENODEV)?;
    let now = rtc.read()?;
    let (at, alarm_on) = rtc.alarm();
    let at = CalendarTime::from_unix(at).map_err(errno)?;
    let (updates, runs, hz, max_hz) = rtc.with_state(|state| {
        let periodic = &state.periodic;
        (
            state.updates,
            periodic.runs(),
            periodic.hz,
            periodic.max_user_hz,
        )
    });
    let setup = rtc.setup();
    let mut out = String::new();
    text(write!(
        out,
        "rtc_time\t: {}\nrtc_date\t: {}\nalrm_time\t: {}\nalrm_date\t: {}\n\
         alarm_IRQ\t: {}\nalrm_pending\t: no\nupdate IRQ enabled\t: {}\n\
         periodic IRQ enabled\t: {}\nperiodic IRQ frequency\t: {hz}\n\
         max user IRQ frequency\t: {max_hz}\n24hr\t\t: {}\n\
         periodic_IRQ\t: {}\nupdate_IRQ\t: {}\nHPET_emulated\t: no\n\
         BCD\t\t: {}\nDST_enable\t: {}\nperiodic_freq\t: {hz}\nbatt_status\t: {}\n",
        clock(now),
        date(now),
        clock(at),
        date(at),
        yes(alarm_on),
        yes(updates),
        yes(runs),
        yes(setup.hours_24),
        yes(setup.enabled.contains(RtcEvents::PERIODIC)),
        yes(setup.enabled.contains(RtcEvents::UPDATE)),
        yes(setup.bcd),
        yes(setup.daylight_saving),
        if setup.battery_held { "okay" } else { "dead" },
    ))?;
    Ok(out)
}
