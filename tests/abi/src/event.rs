//! Waiting for events: poll, select, epoll, eventfd, timerfd, signalfd, inotify and memfd.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    poll_of_bad_and_negative_descriptors,
    poll_of_regular_files_is_always_ready,
    ppoll_swaps_the_mask,
    select_sets_what_is_ready,
    select_of_a_bad_descriptor_is_ebadf,
    epoll_add_modify_delete,
    epoll_level_and_edge,
    epoll_oneshot,
    epoll_forgets_closed_files,
    epoll_refuses_files_and_itself,
    epoll_nests,
    epoll_tells_data_and_hup,
    epoll_exclusive_rules,
    eventfd_adds_and_resets,
    eventfd_semaphore,
    eventfd_limits,
    timerfd_expires_and_counts,
    timerfd_setting_is_told,
    timerfd_refuses_bad_arguments,
    signalfd_reads_signals,
    signalfd_changes_its_set,
    inotify_tells_changes,
    inotify_watch_numbers_and_removal,
    inotify_tells_moves_with_cookies,
    memfd_seals,
    memfd_name_and_flags,
];

fn poll_of_bad_and_negative_descriptors() -> Outcome {
    equal(ready(99, libc::POLLIN)?, libc::POLLNVAL)?;
    equal(ready(-1, libc::POLLIN)?, 0)?;
    fails(sys!(SYS_poll, 8, 1, 0), libc::EFAULT)?;
    fails(sys!(SYS_poll, 0, u32::MAX, 0), libc::EINVAL)
}

fn poll_of_regular_files_is_always_ready() -> Outcome {
    let fd = file_with(c"f", b"")?;
    let both = libc::POLLIN | libc::POLLOUT;
    equal(ready(fd, both)?, both)
}

fn ppoll_swaps_the_mask() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let mask = 0_u64;
    fails(sys!(SYS_ppoll, 0, 0, 0, &mask, 8), libc::EINTR)?;
    equal(
        (hits(libc::SIGUSR1), block(&[])?),
        (1, set_of(&[libc::SIGUSR1])),
    )
}

fn select_sets_what_is_ready() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let (mut reads, mut writes) = (1_u64 << read_end, 1_u64 << write_end);
    let zero = [0_i64; 2];
    equal(sys!(SYS_select, 64, &mut reads, &mut writes, 0, &zero)?, 1)?;
    equal(std::hint::black_box((reads, writes)), (0, 1 << write_end))?;
    write(write_end, b"x")?;
    let (mut reads, mut writes) = (1_u64 << read_end, 1_u64 << write_end);
    equal(sys!(SYS_select, 64, &mut reads, &mut writes, 0, 0)?, 2)?;
    equal(
        std::hint::black_box((reads, writes)),
        (1 << read_end, 1 << write_end),
    )
}

fn select_of_a_bad_descriptor_is_ebadf() -> Outcome {
    let mut reads = 1_u64 << 60;
    let zero = [0_i64; 2];
    fails(sys!(SYS_select, 64, &mut reads, 0, 0, &zero), libc::EBADF)?;
    fails(sys!(SYS_select, -1, 0, 0, 0, &zero), libc::EINVAL)?;
    let negative = [-1_i64, 0];
    fails(sys!(SYS_select, 0, 0, 0, 0, &negative), libc::EINVAL)
}

fn epoll() -> Sys<i32> {
    sys!(SYS_epoll_create1, 0).map(|fd| fd as i32)
}

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const ET: u32 = libc::EPOLLET as u32;

fn control(epoll: i32, op: i32, fd: i32, events: u32) -> Sys {
    let event = libc::epoll_event {
        events,
        u64: fd as u64 | 0xabc0_0000_0000,
    };
    sys!(SYS_epoll_ctl, epoll, op, fd, &event)
}

fn add(epoll: i32, fd: i32, events: u32) -> Sys {
    control(epoll, libc::EPOLL_CTL_ADD, fd, events)
}

/// The events that are there now.
fn events(epoll: i32) -> Sys<Vec<(u32, u64)>> {
    let mut out = [libc::epoll_event { events: 0, u64: 0 }; 8];
    let count = sys!(SYS_epoll_wait, epoll, &mut out, 8, 0)?;
    let out = std::hint::black_box(out);
    Ok(out
        .iter()
        .take(count)
        .map(|event| (event.events, event.u64))
        .collect())
}

fn epoll_add_modify_delete() -> Outcome {
    let (epoll, (read_end, write_end)) = (epoll()?, pipe()?);
    add(epoll, read_end, IN)?;
    fails(add(epoll, read_end, IN), libc::EEXIST)?;
    equal(events(epoll)?, vec![])?;
    write(write_end, b"x")?;
    equal(
        events(epoll)?,
        vec![(IN, read_end as u64 | 0xabc0_0000_0000)],
    )?;
    control(epoll, libc::EPOLL_CTL_MOD, read_end, OUT)?;
    equal(events(epoll)?, vec![])?;
    control(epoll, libc::EPOLL_CTL_DEL, read_end, 0)?;
    fails(
        control(epoll, libc::EPOLL_CTL_DEL, read_end, 0),
        libc::ENOENT,
    )?;
    fails(
        control(epoll, libc::EPOLL_CTL_MOD, read_end, 0),
        libc::ENOENT,
    )?;
    fails(control(epoll, 9, read_end, 0), libc::EINVAL)?;
    fails(add(epoll, 99, IN), libc::EBADF)?;
    fails(add(read_end, write_end, IN), libc::EINVAL)
}

fn epoll_level_and_edge() -> Outcome {
    let (epoll, (read_end, write_end)) = (epoll()?, pipe()?);
    add(epoll, read_end, IN)?;
    write(write_end, b"x")?;
    equal((events(epoll)?.len(), events(epoll)?.len()), (1, 1))?;
    control(epoll, libc::EPOLL_CTL_MOD, read_end, IN | ET)?;
    equal((events(epoll)?.len(), events(epoll)?.len()), (1, 0))?;
    write(write_end, b"y")?;
    equal((events(epoll)?.len(), events(epoll)?.len()), (1, 0))
}

fn epoll_oneshot() -> Outcome {
    let (epoll, (read_end, write_end)) = (epoll()?, pipe()?);
    add(epoll, read_end, IN | libc::EPOLLONESHOT as u32)?;
    write(write_end, b"x")?;
    equal((events(epoll)?.len(), events(epoll)?.len()), (1, 0))?;
    control(epoll, libc::EPOLL_CTL_MOD, read_end, IN)?;
    equal(events(epoll)?.len(), 1)
}

fn epoll_forgets_closed_files() -> Outcome {
    let (epoll, (read_end, write_end)) = (epoll()?, pipe()?);
    let copy = sys!(SYS_dup, read_end)? as i32;
    add(epoll, read_end, IN)?;
    write(write_end, b"x")?;
    close(read_end)?;
    // The open file lives on by its other descriptor.
    equal(events(epoll)?.len(), 1)?;
    close(copy)?;
    equal(events(epoll)?.len(), 0)
}

fn epoll_refuses_files_and_itself() -> Outcome {
    let (epoll, fd) = (epoll()?, file_with(c"f", b"")?);
    fails(add(epoll, fd, IN), libc::EPERM)?;
    fails(add(epoll, epoll, IN), libc::EINVAL)?;
    let mut out = [0_u8; 16];
    fails(sys!(SYS_epoll_wait, epoll, &mut out, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_epoll_wait, fd, &mut out, 1, 0), libc::EINVAL)?;
    fails(sys!(SYS_epoll_create1, 1), libc::EINVAL)?;
    fails(sys!(SYS_epoll_create, 0), libc::EINVAL)
}

fn epoll_nests() -> Outcome {
    let (outer, inner, (read_end, write_end)) = (epoll()?, epoll()?, pipe()?);
    add(inner, read_end, IN)?;
    add(outer, inner, IN)?;
    fails(add(inner, outer, IN), libc::ELOOP)?;
    equal(events(outer)?.len(), 0)?;
    write(write_end, b"x")?;
    equal(events(outer)?, vec![(IN, inner as u64 | 0xabc0_0000_0000)])?;
    equal(ready(outer, libc::POLLIN)?, libc::POLLIN)
}

fn epoll_tells_data_and_hup() -> Outcome {
    let (epoll, (read_end, write_end)) = (epoll()?, pipe()?);
    add(epoll, read_end, IN)?;
    close(write_end)?;
    equal(
        events(epoll)?,
        vec![(HUP, read_end as u64 | 0xabc0_0000_0000)],
    )
}

fn epoll_exclusive_rules() -> Outcome {
    let (epoll, (read_end, _write_end)) = (epoll()?, pipe()?);
    let exclusive = 1_u32 << 28;
    add(epoll, read_end, IN | exclusive)?;
    fails(
        control(epoll, libc::EPOLL_CTL_MOD, read_end, IN),
        libc::EINVAL,
    )?;
    control(epoll, libc::EPOLL_CTL_DEL, read_end, 0)?;
    let oneshot = exclusive | IN | libc::EPOLLONESHOT as u32;
    fails(add(epoll, read_end, oneshot), libc::EINVAL)
}

fn eventfd(value: u32, flags: i32) -> Sys<i32> {
    sys!(SYS_eventfd2, value, flags | libc::EFD_NONBLOCK).map(|fd| fd as i32)
}

fn number(fd: i32) -> Sys<u64> {
    let bytes = read_some(fd)?;
    Ok(bytes.try_into().map_or(u64::MAX, u64::from_le_bytes))
}

fn eventfd_adds_and_resets() -> Outcome {
    let fd = eventfd(3, 0)?;
    write(fd, &4_u64.to_le_bytes())?;
    equal(number(fd)?, 7)?;
    fails(number(fd), libc::EAGAIN)?;
    equal(ready(fd, libc::POLLIN | libc::POLLOUT)?, libc::POLLOUT)
}

fn eventfd_semaphore() -> Outcome {
    let fd = eventfd(2, libc::EFD_SEMAPHORE)?;
    equal((number(fd)?, number(fd)?), (1, 1))?;
    fails(number(fd), libc::EAGAIN)
}

fn eventfd_limits() -> Outcome {
    let fd = eventfd(0, 0)?;
    fails(write(fd, &u64::MAX.to_le_bytes()), libc::EINVAL)?;
    write(fd, &(u64::MAX - 1).to_le_bytes())?;
    fails(write(fd, &1_u64.to_le_bytes()), libc::EAGAIN)?;
    equal(ready(fd, libc::POLLIN | libc::POLLOUT)?, libc::POLLIN)?;
    fails(write(fd, b"short"), libc::EINVAL)?;
    fails(read(fd, &mut [0; 7]), libc::EINVAL)?;
    fails(sys!(SYS_eventfd2, 0, 2), libc::EINVAL)
}

fn set_timer(fd: i32, first: i64, interval: i64) -> Sys {
    let setting = [0, interval, 0, first];
    sys!(SYS_timerfd_settime, fd, 0, &setting, 0)
}

fn timerfd_expires_and_counts() -> Outcome {
    let fd = sys!(
        SYS_timerfd_create,
        libc::CLOCK_MONOTONIC,
        libc::TFD_NONBLOCK
    )? as i32;
    fails(number(fd), libc::EAGAIN)?;
    set_timer(fd, 1_000_000, 1_000_000)?;
    equal(poll_one(fd, libc::POLLIN, -1)?, libc::POLLIN)?;
    nap();
    nap();
    check(number(fd)? >= 2, "expirations are lost")?;
    set_timer(fd, 0, 0)?;
    fails(number(fd), libc::EAGAIN)
}

fn timerfd_setting_is_told() -> Outcome {
    let fd = sys!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0)? as i32;
    let setting = [7_i64, 5, 1000, 0];
    sys!(SYS_timerfd_settime, fd, 0, &setting, 0)?;
    let mut got = [0_i64; 4];
    sys!(SYS_timerfd_gettime, fd, &mut got)?;
    let got = std::hint::black_box(got);
    equal((got[0], got[1]), (7, 5))?;
    check((900..=1000).contains(&got[2]), "the time left is wrong")
}

fn timerfd_refuses_bad_arguments() -> Outcome {
    fails(sys!(SYS_timerfd_create, 77, 0), libc::EINVAL)?;
    fails(sys!(SYS_timerfd_create, 1, 1), libc::EINVAL)?;
    let fd = sys!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0)? as i32;
    fails(set_timer(fd, 1_000_000_000, 0), libc::EINVAL)?;
    let null = open(c"/dev/null", 0)?;
    fails(set_timer(null, 1, 0), libc::EINVAL)?;
    fails(read(fd, &mut [0; 4]), libc::EINVAL)
}

fn signalfd(fd: i32, signals: &[i32]) -> Sys<i32> {
    let set = set_of(signals);
    sys!(SYS_signalfd4, fd, &set, 8, libc::SFD_NONBLOCK).map(|fd| fd as i32)
}

fn signalfd_reads_signals() -> Outcome {
    block(&[libc::SIGUSR1])?;
    let fd = signalfd(-1, &[libc::SIGUSR1])?;
    fails(read_some(fd), libc::EAGAIN)?;
    raise(libc::SIGUSR1)?;
    equal(ready(fd, libc::POLLIN)?, libc::POLLIN)?;
    let bytes = read_some(fd)?;
    equal(bytes.len(), 128)?;
    let word = |at: usize| {
        bytes.get(at..at + 4).map_or(0, |four| {
            u32::from_le_bytes(four.try_into().unwrap_or_default())
        })
    };
    equal(
        (word(0), word(8), word(12)),
        (libc::SIGUSR1 as u32, 0, getpid() as u32),
    )?;
    equal(pending()?, 0)?;
    fails(read(fd, &mut [0; 127]), libc::EINVAL)
}

fn signalfd_changes_its_set() -> Outcome {
    block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    let fd = signalfd(-1, &[libc::SIGUSR1])?;
    raise(libc::SIGUSR2)?;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    equal(signalfd(fd, &[libc::SIGUSR2])?, fd)?;
    equal(ready(fd, libc::POLLIN)?, libc::POLLIN)?;
    let null = open(c"/dev/null", 0)?;
    fails(signalfd(null, &[libc::SIGUSR1]), libc::EINVAL)
}

/// The events that are there: watch, mask, cookie, name.
fn changes(fd: i32) -> Outcome<Vec<(i32, u32, u32, String)>> {
    let bytes = read_some(fd)?;
    let mut rest = bytes.as_slice();
    let mut out = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let word = |at: usize| {
            head.get(at..at + 4).map_or(0, |four| {
                u32::from_le_bytes(four.try_into().unwrap_or_default())
            })
        };
        let (name, after) = some(tail.split_at_checked(word(12) as usize), "an event is cut")?;
        let name = String::from_utf8_lossy(name)
            .trim_end_matches('\0')
            .to_owned();
        out.push((word(0) as i32, word(4), word(8), name));
        rest = after;
    }
    Ok(out)
}

fn inotify_tells_changes() -> Outcome {
    let fd = sys!(SYS_inotify_init1, libc::IN_NONBLOCK)? as i32;
    let watch = sys!(SYS_inotify_add_watch, fd, c".", libc::IN_ALL_EVENTS)? as i32;
    fails(read_some(fd), libc::EAGAIN)?;
    let file = open(c"f", libc::O_CREAT | libc::O_WRONLY)?;
    write(file, b"x")?;
    close(file)?;
    sys!(SYS_unlink, c"f")?;
    let masks: Vec<u32> = changes(fd)?
        .into_iter()
        .filter(|(from, _, _, name)| *from == watch && name == "f")
        .map(|change| change.1)
        .collect();
    equal(
        masks,
        vec![
            libc::IN_CREATE,
            libc::IN_OPEN,
            libc::IN_MODIFY,
            libc::IN_CLOSE_WRITE,
            libc::IN_DELETE,
        ],
    )
}

fn inotify_watch_numbers_and_removal() -> Outcome {
    let fd = sys!(SYS_inotify_init1, libc::IN_NONBLOCK)? as i32;
    file_with(c"f", b"")?;
    let one = sys!(SYS_inotify_add_watch, fd, c".", libc::IN_CREATE)?;
    let two = sys!(SYS_inotify_add_watch, fd, c"f", libc::IN_MODIFY)?;
    equal((one, two), (1, 2))?;
    equal(sys!(SYS_inotify_add_watch, fd, c".", libc::IN_DELETE)?, 1)?;
    sys!(SYS_inotify_rm_watch, fd, 2)?;
    equal(changes(fd)?, vec![(2, libc::IN_IGNORED, 0, String::new())])?;
    fails(sys!(SYS_inotify_rm_watch, fd, 2), libc::EINVAL)?;
    fails(
        sys!(SYS_inotify_add_watch, fd, c"none", libc::IN_CREATE),
        libc::ENOENT,
    )?;
    fails(sys!(SYS_inotify_add_watch, fd, c".", 0), libc::EINVAL)
}

fn inotify_tells_moves_with_cookies() -> Outcome {
    let fd = sys!(SYS_inotify_init1, libc::IN_NONBLOCK)? as i32;
    file_with(c"old", b"")?;
    sys!(SYS_inotify_add_watch, fd, c".", libc::IN_MOVE)?;
    sys!(SYS_rename, c"old", c"new")?;
    let changes = changes(fd)?;
    let names: Vec<(u32, &str)> = changes
        .iter()
        .map(|change| (change.1, change.3.as_str()))
        .collect();
    equal(
        names,
        vec![(libc::IN_MOVED_FROM, "old"), (libc::IN_MOVED_TO, "new")],
    )?;
    let cookies: Vec<u32> = changes.iter().map(|change| change.2).collect();
    check(
        cookies.first() == cookies.last() && cookies.first() != Some(&0),
        "no common cookie",
    )
}

fn memfd_seals() -> Outcome {
    let fd = sys!(SYS_memfd_create, c"m", libc::MFD_ALLOW_SEALING)? as i32;
    write(fd, b"0123456789")?;
    let seal = |seals: i32| sys!(SYS_fcntl, fd, libc::F_ADD_SEALS, seals);
    seal(libc::F_SEAL_SHRINK)?;
    fails(sys!(SYS_ftruncate, fd, 5), libc::EPERM)?;
    sys!(SYS_ftruncate, fd, 20)?;
    seal(libc::F_SEAL_GROW)?;
    fails(sys!(SYS_ftruncate, fd, 30), libc::EPERM)?;
    let addr = sys!(SYS_mmap, 0, PAGE, libc::PROT_WRITE, libc::MAP_SHARED, fd, 0)?;
    fails(seal(libc::F_SEAL_WRITE), libc::EBUSY)?;
    sys!(SYS_munmap, addr, PAGE)?;
    seal(libc::F_SEAL_WRITE | libc::F_SEAL_SEAL)?;
    fails(sys!(SYS_pwrite64, fd, c"x", 1, 0), libc::EPERM)?;
    fails(seal(libc::F_SEAL_WRITE), libc::EPERM)?;
    equal(sys!(SYS_fcntl, fd, libc::F_GET_SEALS)?, 15)
}

fn memfd_name_and_flags() -> Outcome {
    let fd = sys!(SYS_memfd_create, c"name", libc::MFD_CLOEXEC)? as i32;
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    equal(link.to_string_lossy(), "/memfd:name (deleted)")?;
    equal(sys!(SYS_fcntl, fd, libc::F_GETFD)?, 1)?;
    equal(sys!(SYS_fcntl, fd, libc::F_GET_SEALS)?, 1)?;
    fails(sys!(SYS_fcntl, fd, libc::F_ADD_SEALS, 2), libc::EPERM)?;
    fails(sys!(SYS_memfd_create, c"x", 0x100), libc::EINVAL)?;
    let long = c_string(&"x".repeat(250));
    fails(sys!(SYS_memfd_create, long.as_c_str(), 0), libc::EINVAL)
}
