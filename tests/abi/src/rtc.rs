//! The calendar clock: `/dev/rtc0`, its alarm and its interrupts.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    only_one_may_have_it_open,
    time_is_told_and_set,
    reading_without_interrupts,
    updates_are_counted,
    updates_end_with_the_file,
    a_read_is_interrupted,
    the_alarm_rings_once,
    a_passed_alarm_rings_at_once,
    an_alarm_is_read_as_set,
    an_alarm_of_the_day_is_ahead,
    alarms_that_cannot_be,
    a_disabled_alarm_is_silent,
    the_periodic_interrupt_counts,
    rates_have_limits,
    users_have_slow_rates,
    users_may_not_set_it,
    epoll_waits_for_it,
    o_async_signals,
    requests_of_other_clocks,
    its_features_are_told,
    proc_tells_its_state,
    wakealarm_sets_the_alarm,
    max_user_freq_can_be_changed,
    sysfs_tells_its_device,
];

const AIE_ON: u32 = 0x7001;
const AIE_OFF: u32 = 0x7002;
const UIE_ON: u32 = 0x7003;
const UIE_OFF: u32 = 0x7004;
const PIE_ON: u32 = 0x7005;
const PIE_OFF: u32 = 0x7006;
const ALM_SET: u32 = 0x4024_7007;
const ALM_READ: u32 = 0x8024_7008;
const RD_TIME: u32 = 0x8024_7009;
const SET_TIME: u32 = 0x4024_700a;
const IRQP_READ: u32 = 0x8008_700b;
const IRQP_SET: u32 = 0x4008_700c;
const EPOCH_READ: u32 = 0x8008_700d;
const EPOCH_SET: u32 = 0x4008_700e;
const WKALM_SET: u32 = 0x4028_700f;
const WKALM_RD: u32 = 0x8028_7010;
const PARAM_GET: u32 = 0x4018_7013;
const PARAM_SET: u32 = 0x4018_7014;

const HAPPENED: u64 = 0x80;
const PERIODIC: u64 = 0x40;
const ALARM: u64 = 0x20;
const UPDATE: u64 = 0x10;

/// Linux's `struct rtc_time`: second, minute, hour, day, month, year, and three that are only told.
type Time = [i32; 9];

/// Linux's `struct rtc_wkalrm`.
#[derive(Clone, Copy)]
#[repr(C)]
struct WakeAlarm {
    enabled: u8,
    pending: u8,
    time: Time,
}

fn rtc_with(flags: i32) -> Outcome<i32> {
    match open(c"/dev/rtc0", flags) {
        Err(Errno(libc::ENOENT)) => skip("there is no calendar clock"),
        fd => Ok(fd?),
    }
}

fn rtc() -> Outcome<i32> {
    rtc_with(libc::O_RDONLY)
}

fn request<T: Arg>(fd: i32, request: u32, argument: T) -> Sys {
    sys!(SYS_ioctl, fd, request, argument.arg())
}

fn now(fd: i32) -> Sys<Time> {
    let mut time: Time = [0; 9];
    request(fd, RD_TIME, &mut time)?;
    Ok(std::hint::black_box(time))
}

/// Seconds since 1970 of a time.
fn seconds(time: &Time) -> i64 {
    let mut tm = zeroed::<libc::tm>();
    [
        tm.tm_sec, tm.tm_min, tm.tm_hour, tm.tm_mday, tm.tm_mon, tm.tm_year,
    ] = [time[0], time[1], time[2], time[3], time[4], time[5]];
    // SAFETY: the time is whole.
    unsafe { libc::timegm(&mut tm) }
}

fn time_at(seconds: i64) -> Time {
    let mut tm = zeroed::<libc::tm>();
    // SAFETY: both are whole.
    unsafe { libc::gmtime_r(&seconds, &mut tm) };
    [
        tm.tm_sec, tm.tm_min, tm.tm_hour, tm.tm_mday, tm.tm_mon, tm.tm_year, tm.tm_wday,
        tm.tm_yday, 0,
    ]
}

fn wake_alarm(fd: i32) -> Sys<WakeAlarm> {
    let mut alarm = WakeAlarm {
        enabled: 9,
        pending: 9,
        time: [9; 9],
    };
    request(fd, WKALM_RD, &mut alarm)?;
    Ok(std::hint::black_box(alarm))
}

fn set_wake_alarm(fd: i32, enabled: u8, time: Time) -> Sys {
    let alarm = WakeAlarm {
        enabled,
        pending: 0,
        time,
    };
    request(fd, WKALM_SET, &alarm)
}

/// What a read gives.
fn events(fd: i32) -> Sys<u64> {
    let mut bytes = [0; 8];
    read(fd, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Waits until nothing is left of an alarm that the clock or a case before still has.
fn quiet(fd: i32) -> Outcome {
    request(fd, AIE_OFF, 0)?;
    Ok(())
}

fn only_one_may_have_it_open() -> Outcome {
    let fd = rtc()?;
    fails(open(c"/dev/rtc0", libc::O_RDONLY), libc::EBUSY)?;
    let copy = sys!(SYS_dup, fd)? as i32;
    close(fd)?;
    fails(open(c"/dev/rtc0", libc::O_RDONLY), libc::EBUSY)?;
    close(copy)?;
    rtc().map(drop)
}

fn time_is_told_and_set() -> Outcome {
    let fd = rtc()?;
    let time = now(fd)?;
    let system = seconds(&time);
    // The others are not used.
    equal(time_at(system)[..6].to_vec(), time[..6].to_vec())?;
    request(fd, SET_TIME, &time_at(system))?;
    let after = seconds(&now(fd)?);
    check((system..system + 5).contains(&after), "it has another time")?;
    let mut wrong = time;
    wrong[4] = 12;
    fails(request(fd, SET_TIME, &wrong), libc::EINVAL)?;
    fails(request(fd, SET_TIME, 8), libc::EFAULT)?;
    fails(request(fd, RD_TIME, 8), libc::EFAULT)
}

fn reading_without_interrupts() -> Outcome {
    let fd = rtc_with(libc::O_RDWR | libc::O_NONBLOCK)?;
    quiet(fd)?;
    fails(events(fd), libc::EAGAIN)?;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    fails(read(fd, &mut [0; 3]), libc::EINVAL)?;
    fails(read(fd, &mut [0; 5]), libc::EINVAL)?;
    fails(read(fd, &mut [0; 4]), libc::EAGAIN)?;
    fails(write(fd, b"12345678"), libc::EINVAL)?;
    fails(sys!(SYS_lseek, fd, 0, libc::SEEK_SET), libc::ESPIPE)
}

fn updates_are_counted() -> Outcome {
    let fd = rtc()?;
    quiet(fd)?;
    request(fd, UIE_ON, 0)?;
    request(fd, UIE_ON, 0)?;
    let first = events(fd)?;
    equal(first & 0xff, HAPPENED | UPDATE)?;
    check(first >> 8 >= 1, "nothing is counted")?;
    let before = seconds(&now(fd)?);
    equal(poll_one(fd, libc::POLLIN, -1)?, libc::POLLIN)?;
    let mut short = [0; 4];
    equal(read(fd, &mut short)?, 4)?;
    equal(
        u64::from(u32::from_ne_bytes(short)) & 0xff,
        HAPPENED | UPDATE,
    )?;
    check(seconds(&now(fd)?) > before, "no second has passed")?;
    request(fd, UIE_OFF, 0)?;
    let _ = ready(fd, libc::POLLIN)?;
    Ok(())
}

fn updates_end_with_the_file() -> Outcome {
    let fd = rtc()?;
    request(fd, UIE_ON, 0)?;
    request(fd, IRQP_SET, 64)?;
    request(fd, PIE_ON, 0)?;
    poll_one(fd, libc::POLLIN, -1)?;
    close(fd)?;
    let fd = rtc_with(libc::O_NONBLOCK)?;
    let text = text_of("/proc/driver/rtc")?;
    check(text.contains("update IRQ enabled\t: no\n"), "updates go on")?;
    check(
        text.contains("periodic IRQ enabled\t: no\n"),
        "the period goes on",
    )?;
    fails(events(fd), libc::EAGAIN)
}

fn a_read_is_interrupted() -> Outcome {
    let fd = rtc()?;
    quiet(fd)?;
    catch(libc::SIGUSR1, 0)?;
    let me = getpid();
    let child = fork(|| {
        let _ = await_state(me, "S");
        i32::from(sys!(SYS_kill, me, libc::SIGUSR1).is_err())
    })?;
    fails(events(fd), libc::EINTR)?;
    equal(wait(child)?, 0)
}

fn the_alarm_rings_once() -> Outcome {
    let fd = rtc()?;
    let at = seconds(&now(fd)?) + 2;
    set_wake_alarm(fd, 1, time_at(at))?;
    equal(wake_alarm(fd)?.enabled, 1)?;
    let told = events(fd)?;
    equal(told, 1 << 8 | HAPPENED | ALARM)?;
    check(seconds(&now(fd)?) >= at, "it rings too early")?;
    let after = wake_alarm(fd)?;
    equal(
        (after.enabled, after.pending, after.time[0]),
        (0, 0, time_at(at)[0]),
    )?;
    equal(ready(fd, libc::POLLIN)?, 0)
}

fn a_passed_alarm_rings_at_once() -> Outcome {
    let fd = rtc()?;
    let past = time_at(seconds(&now(fd)?) - 100);
    set_wake_alarm(fd, 1, past)?;
    equal(events(fd)?, 1 << 8 | HAPPENED | ALARM)?;
    set_wake_alarm(fd, 0, past)?;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    request(fd, AIE_ON, 0)?;
    equal(events(fd)?, 1 << 8 | HAPPENED | ALARM)
}

fn an_alarm_is_read_as_set() -> Outcome {
    let fd = rtc()?;
    let time = time_at(seconds(&now(fd)?) + 5000);
    set_wake_alarm(fd, 1, time)?;
    let told = wake_alarm(fd)?;
    equal((told.enabled, told.pending), (1, 0))?;
    equal(told.time[..6].to_vec(), time[..6].to_vec())?;
    let mut plain: Time = [0; 9];
    request(fd, ALM_READ, &mut plain)?;
    equal(
        std::hint::black_box(plain)[..6].to_vec(),
        time[..6].to_vec(),
    )?;
    request(fd, AIE_OFF, 0)?;
    equal(wake_alarm(fd)?.enabled, 0)?;
    request(fd, AIE_ON, 0)?;
    equal(wake_alarm(fd)?.enabled, 1)?;
    quiet(fd)
}

fn an_alarm_of_the_day_is_ahead() -> Outcome {
    let fd = rtc()?;
    let now_s = seconds(&now(fd)?);
    // The date that is given does not count.
    let mut time = time_at(now_s - 60);
    [time[3], time[4], time[5]] = [77, -5, 3];
    request(fd, ALM_SET, &time)?;
    let told = wake_alarm(fd)?;
    equal(told.enabled, 0)?;
    equal(seconds(&told.time), now_s - 60 + 86_400)?;
    request(fd, ALM_SET, &time_at(now_s + 60))?;
    equal(seconds(&wake_alarm(fd)?.time), now_s + 60)?;
    time[2] = 24;
    fails(request(fd, ALM_SET, &time), libc::EINVAL)?;
    fails(request(fd, ALM_SET, 8), libc::EFAULT)?;
    fails(request(fd, ALM_READ, 8), libc::EFAULT)
}

fn alarms_that_cannot_be() -> Outcome {
    let fd = rtc()?;
    let mut wrong = now(fd)?;
    wrong[3] = 32;
    fails(set_wake_alarm(fd, 1, wrong), libc::EINVAL)?;
    fails(request(fd, WKALM_SET, 8), libc::EFAULT)?;
    fails(request(fd, WKALM_RD, 8), libc::EFAULT)?;
    // The clock knows the time of day alone.
    let far = time_at(seconds(&now(fd)?) + 3 * 86_400);
    fails(set_wake_alarm(fd, 1, far), libc::EINVAL)?;
    equal(wake_alarm(fd)?.enabled, 0)?;
    set_wake_alarm(fd, 0, far)?;
    fails(request(fd, AIE_ON, 0), libc::EINVAL)
}

fn a_disabled_alarm_is_silent() -> Outcome {
    let fd = rtc_with(libc::O_NONBLOCK)?;
    let at = seconds(&now(fd)?) + 1;
    set_wake_alarm(fd, 1, time_at(at))?;
    request(fd, AIE_OFF, 0)?;
    let _ = events(fd);
    request(fd, UIE_ON, 0)?;
    while seconds(&now(fd)?) <= at + 1 {
        nap();
    }
    equal(events(fd)? & 0xff, HAPPENED | UPDATE)
}

fn the_periodic_interrupt_counts() -> Outcome {
    let fd = rtc()?;
    quiet(fd)?;
    request(fd, IRQP_SET, 50)?;
    let mut rate = [0_u64];
    request(fd, IRQP_READ, &mut rate)?;
    equal(std::hint::black_box(rate), [50])?;
    request(fd, PIE_ON, 0)?;
    let mut count = 0;
    while count < 10 {
        let told = events(fd)?;
        equal(told & 0xff, HAPPENED | PERIODIC)?;
        count += told >> 8;
    }
    request(fd, IRQP_SET, 8)?;
    events(fd)?;
    request(fd, PIE_OFF, 0)?;
    while ready(fd, libc::POLLIN)? != 0 {
        events(fd)?;
    }
    request(fd, IRQP_SET, 1024)?;
    Ok(())
}

fn rates_have_limits() -> Outcome {
    let fd = rtc()?;
    fails(request(fd, IRQP_SET, 0), libc::EINVAL)?;
    fails(request(fd, IRQP_SET, 8193), libc::EINVAL)?;
    fails(request(fd, IRQP_SET, -1_i64), libc::EINVAL)?;
    request(fd, IRQP_SET, 8192)?;
    request(fd, IRQP_SET, 1024)?;
    fails(request(fd, IRQP_READ, 8), libc::EFAULT)
}

fn users_have_slow_rates() -> Outcome {
    let fd = rtc()?;
    request(fd, IRQP_SET, 1024)?;
    let user = within(|| {
        become_user()?;
        fails(request(fd, PIE_ON, 0), libc::EACCES)?;
        fails(request(fd, IRQP_SET, 65), libc::EACCES)?;
        fails(request(fd, IRQP_SET, 0), libc::EINVAL)?;
        request(fd, IRQP_SET, 64)?;
        request(fd, PIE_ON, 0)?;
        Ok(())
    });
    request(fd, IRQP_SET, 1024)?;
    user
}

fn users_may_not_set_it() -> Outcome {
    let fd = rtc()?;
    within(|| {
        let time = now(fd)?;
        become_user()?;
        now(fd)?;
        fails(request(fd, SET_TIME, &time), libc::EACCES)?;
        fails(request(fd, SET_TIME, 8), libc::EACCES)?;
        fails(request(fd, EPOCH_SET, 1970), libc::EACCES)?;
        fails(request(fd, PARAM_SET, 8), libc::EACCES)?;
        set_wake_alarm(fd, 1, time_at(seconds(&time) + 1000))?;
        quiet(fd)
    })
}

fn epoll_waits_for_it() -> Outcome {
    let fd = rtc()?;
    quiet(fd)?;
    let epoll = sys!(SYS_epoll_create1, 0)?;
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: 5,
    };
    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, &event)?;
    equal(sys!(SYS_epoll_wait, epoll, &mut event, 1, 0)?, 0)?;
    request(fd, IRQP_SET, 16)?;
    request(fd, PIE_ON, 0)?;
    equal(sys!(SYS_epoll_wait, epoll, &mut event, 1, -1)?, 1)?;
    // Edges: each interrupt is told although none was read.
    equal(sys!(SYS_epoll_wait, epoll, &mut event, 1, -1)?, 1)?;
    request(fd, IRQP_SET, 1024)?;
    Ok(())
}

fn o_async_signals() -> Outcome {
    const F_SETSIG: i32 = 10;
    let fd = rtc()?;
    quiet(fd)?;
    block(&[libc::SIGUSR1])?;
    sys!(SYS_fcntl, fd, libc::F_SETOWN, getpid())?;
    sys!(SYS_fcntl, fd, F_SETSIG, libc::SIGUSR1)?;
    sys!(SYS_fcntl, fd, libc::F_SETFL, libc::O_ASYNC)?;
    equal(pending()?, 0)?;
    request(fd, IRQP_SET, 16)?;
    request(fd, PIE_ON, 0)?;
    let info = take(&[libc::SIGUSR1])?;
    const POLL_IN: i32 = 1;
    equal(info.si_code, POLL_IN)?;
    request(fd, IRQP_SET, 1024)?;
    Ok(())
}

fn requests_of_other_clocks() -> Outcome {
    let fd = rtc()?;
    let mut word = [0_u64];
    fails(request(fd, EPOCH_READ, &mut word), libc::ENOTTY)?;
    fails(request(fd, EPOCH_SET, 1970), libc::ENOTTY)?;
    const WIE_ON: u32 = 0x700f;
    const VL_READ: u32 = 0x8004_7013;
    fails(request(fd, WIE_ON, 0), libc::ENOTTY)?;
    fails(request(fd, VL_READ, &mut word), libc::ENOTTY)?;
    fails(request(fd, libc::TCGETS as u32, &mut word), libc::ENOTTY)
}

fn its_features_are_told() -> Outcome {
    let fd = rtc()?;
    let mut param = [0_u64; 3];
    request(fd, PARAM_GET, &mut param)?;
    let told = std::hint::black_box(param);
    equal((told[0], told[1] & 1, told[2]), (0, 1, 0))?;
    let mut indexed = [0, 0, 1_u64];
    fails(request(fd, PARAM_GET, &mut indexed), libc::EINVAL)?;
    let mut correction = [1, 0, 0_u64];
    fails(request(fd, PARAM_GET, &mut correction), libc::EINVAL)?;
    fails(request(fd, PARAM_SET, &param), libc::EINVAL)?;
    fails(request(fd, PARAM_SET, 8), libc::EFAULT)?;
    fails(request(fd, PARAM_GET, 8), libc::EFAULT)
}

/// What `/proc/driver/rtc` says of `name`.
fn proc_value(name: &str) -> Outcome<String> {
    let text = text_of("/proc/driver/rtc")?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        (key.trim_end() == name).then(|| value.to_owned())
    });
    some(value, name)
}

fn proc_tells_its_state() -> Outcome {
    let fd = rtc()?;
    quiet(fd)?;
    request(fd, IRQP_SET, 32)?;
    equal(proc_value("periodic IRQ enabled")?, "no")?;
    request(fd, PIE_ON, 0)?;
    equal(proc_value("periodic IRQ enabled")?, "yes")?;
    equal(proc_value("periodic IRQ frequency")?, "32")?;
    request(fd, UIE_ON, 0)?;
    equal(proc_value("update IRQ enabled")?, "yes")?;
    let at = time_at(seconds(&now(fd)?) + 3000);
    set_wake_alarm(fd, 1, at)?;
    equal(proc_value("alarm_IRQ")?, "yes")?;
    let [second, minute, hour, day, month, year, ..] = at;
    equal(
        proc_value("alrm_time")?,
        format!("{hour:02}:{minute:02}:{second:02}"),
    )?;
    equal(
        proc_value("alrm_date")?,
        format!("{:04}-{:02}-{day:02}", year + 1900, month + 1),
    )?;
    quiet(fd)?;
    equal(proc_value("alarm_IRQ")?, "no")?;
    equal(proc_value("24hr")?, "yes")?;
    equal(proc_value("batt_status")?, "okay")?;
    request(fd, IRQP_SET, 1024)?;
    Ok(())
}

const WAKEALARM: &str = "/sys/class/rtc/rtc0/wakealarm";

/// Writes to an attribute; the error number of that.
fn store(path: &str, text: &str) -> Sys {
    let fd = open(&c_string(path), libc::O_WRONLY)?;
    let result = write(fd, text.as_bytes());
    close(fd)?;
    result
}

fn wakealarm_sets_the_alarm() -> Outcome {
    let fd = rtc()?;
    quiet(fd)?;
    equal(text_of(WAKEALARM)?, "")?;
    let at = seconds(&now(fd)?) + 4000;
    store(WAKEALARM, &format!("{at}\n"))?;
    equal(text_of(WAKEALARM)?, format!("{at}\n"))?;
    fails(store(WAKEALARM, "+100"), libc::EBUSY)?;
    store(WAKEALARM, "+=0x10")?;
    equal(text_of(WAKEALARM)?, format!("{}\n", at + 16))?;
    store(WAKEALARM, "0")?;
    equal(text_of(WAKEALARM)?, "")?;
    fails(store(WAKEALARM, "+=5"), libc::EINVAL)?;
    fails(store(WAKEALARM, "soon"), libc::EINVAL)?;
    store(WAKEALARM, "+500")?;
    equal(wake_alarm(fd)?.enabled, 1)?;
    quiet(fd)
}

fn max_user_freq_can_be_changed() -> Outcome {
    const PATH: &str = "/sys/class/rtc/rtc0/max_user_freq";
    let fd = rtc()?;
    equal(text_of(PATH)?, "64\n")?;
    fails(store(PATH, "0"), libc::EINVAL)?;
    fails(store(PATH, "4096"), libc::EINVAL)?;
    store(PATH, "100\n")?;
    let user = within(|| {
        become_user()?;
        fails(request(fd, IRQP_SET, 101), libc::EACCES)?;
        request(fd, IRQP_SET, 100)?;
        Ok(())
    });
    store(PATH, "64")?;
    request(fd, IRQP_SET, 1024)?;
    user
}

fn sysfs_tells_its_device() -> Outcome {
    rtc()?;
    equal(text_of("/sys/class/rtc/rtc0/hctosys")?, "1\n")?;
    check(
        text_of("/sys/class/rtc/rtc0/name")?.starts_with("rtc_cmos "),
        "another name",
    )?;
    let wakeup = "/sys/class/rtc/rtc0/device/power/wakeup";
    equal(text_of(wakeup)?, "enabled\n")?;
    store(wakeup, "disabled\n")?;
    equal(text_of(wakeup)?, "disabled\n")?;
    store(wakeup, "enabled")?;
    equal(text_of(wakeup)?, "enabled\n")?;
    fails(store(wakeup, "maybe"), libc::EINVAL)
}
