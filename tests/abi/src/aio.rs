//! Asynchronous I/O of `io_submit`.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;
use crate::sysv::{end_of, sleeper};

pub const CASES: &[Case] = cases![
    aio_setup_of_bad_arguments,
    aio_reads_and_writes_a_file,
    aio_vectors,
    aio_results_may_be_errors,
    aio_requests_may_be_bad,
    aio_some_requests_are_taken,
    aio_syncs,
    aio_moves_bytes_of_a_pipe,
    aio_poll_waits_for_a_pipe,
    aio_poll_of_what_is_ready,
    aio_poll_tells_hangups,
    aio_poll_is_cancelled,
    aio_tells_an_eventfd,
    aio_getevents_waits,
    aio_getevents_of_bad_arguments,
    aio_getevents_and_signals,
    aio_pgetevents_swaps_the_mask,
    aio_ring_is_seen,
    aio_ring_is_taken_from_by_hand,
    aio_ring_is_full,
    aio_child_has_no_context,
    aio_destroyed_is_gone,
    aio_exit_lets_go_of_files,
    aio_limit,
];

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const POLL: u16 = 5;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    reqprio: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

fn setup(requests: u32) -> Sys {
    let mut context = 0_usize;
    sys!(SYS_io_setup, requests, &mut context)?;
    Ok(std::hint::black_box(context))
}

fn request(opcode: u16, fd: i32, buf: usize, nbytes: usize, offset: i64) -> Iocb {
    Iocb {
        data: 0x1234_5678_9abc,
        key: 77,
        opcode,
        fd: fd as u32,
        buf: buf as u64,
        nbytes: nbytes as u64,
        offset,
        ..Iocb::default()
    }
}

fn submit(context: usize, iocb: &mut Iocb) -> Sys {
    let list = [std::ptr::from_mut(iocb)];
    sys!(SYS_io_submit, context, 1, &list)
}

fn events(context: usize, least: i64) -> Sys<Vec<Event>> {
    let mut out = [Event::default(); 16];
    let count = sys!(SYS_io_getevents, context, least, 16, &mut out, 0)?;
    let out = std::hint::black_box(out);
    Ok(out.iter().take(count).copied().collect())
}

/// Submits and answers the result of the only event.
fn result_of(context: usize, mut iocb: Iocb) -> Outcome<i64> {
    equal(submit(context, &mut iocb)?, 1)?;
    let all = events(context, 1)?;
    equal(all.len(), 1)?;
    let event = all.first().copied().unwrap_or_default();
    let obj = std::ptr::from_ref(&iocb) as u64;
    equal((event.data, event.obj, event.res2), (iocb.data, obj, 0))?;
    // The kernel has left its mark in the request.
    equal(std::hint::black_box(&iocb).key, 0)?;
    Ok(event.res)
}

fn aio_setup_of_bad_arguments() -> Outcome {
    let mut context = 1_usize;
    fails(sys!(SYS_io_setup, 1, &mut context), libc::EINVAL)?;
    context = 0;
    fails(sys!(SYS_io_setup, 0, &mut context), libc::EINVAL)?;
    fails(sys!(SYS_io_setup, 1, 8), libc::EFAULT)?;
    fails(sys!(SYS_io_setup, u32::MAX, &mut context), libc::EINVAL)?;
    fails(sys!(SYS_io_setup, 100_000, &mut context), libc::EAGAIN)?;
    fails(sys!(SYS_io_destroy, 0), libc::EINVAL)?;
    fails(sys!(SYS_io_submit, 4096, 0, 0), libc::EINVAL)?;
    let (first, second) = (setup(1)?, setup(1)?);
    check(first != second && first % PAGE == 0, "two contexts are one")
}

fn aio_reads_and_writes_a_file() -> Outcome {
    let context = setup(8)?;
    let fd = file_with(c"f", b"0123456789")?;
    let text = *b"abc";
    let write = request(PWRITE, fd, text.as_ptr() as usize, 3, 4);
    equal(result_of(context, write)?, 3)?;
    let mut got = [0_u8; 10];
    let read = request(PREAD, fd, got.as_mut_ptr() as usize, 10, 2);
    equal(result_of(context, read)?, 8)?;
    equal(&std::hint::black_box(got), b"23abc789\0\0")?;
    // The file's own position stays.
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 0)?;
    let past = request(PREAD, fd, got.as_mut_ptr() as usize, 10, 100);
    equal(result_of(context, past)?, 0)
}

fn aio_vectors() -> Outcome {
    let context = setup(8)?;
    let fd = file_with(c"f", b"0123456789")?;
    let (mut a, mut b) = ([0_u8; 3], [0_u8; 4]);
    let vector = [[a.as_mut_ptr() as usize, 3], [b.as_mut_ptr() as usize, 4]];
    let at = vector.as_ptr() as usize;
    equal(result_of(context, request(PREADV, fd, at, 2, 1))?, 7)?;
    equal(
        (&std::hint::black_box(a), &std::hint::black_box(b)),
        (b"123", b"4567"),
    )?;
    equal(result_of(context, request(PWRITEV, fd, at, 2, 8))?, 7)?;
    equal(text_of("f")?.as_str(), "012345671234567")
}

fn aio_results_may_be_errors() -> Outcome {
    let context = setup(8)?;
    let fd = file_with(c"f", b"0123456789")?;
    let res = result_of(context, request(PREAD, fd, 8, 4, 0))?;
    equal(res, -i64::from(libc::EFAULT))?;
    let dir = open(c".", libc::O_RDONLY)?;
    let mut byte = [0_u8];
    let mut iocb = request(PREAD, dir, byte.as_mut_ptr() as usize, 1, 0);
    fails(submit(context, &mut iocb), libc::EINVAL)
}

fn aio_requests_may_be_bad() -> Outcome {
    let context = setup(8)?;
    let fd = file_with(c"f", b"0123456789")?;
    let reader = open(c"f", libc::O_RDONLY)?;
    let writer = open(c"f", libc::O_WRONLY)?;
    let mut bytes = [0_u8; 4];
    let at = bytes.as_mut_ptr() as usize;
    for (mut bad, errno) in [
        (request(99, fd, at, 4, 0), libc::EINVAL),
        (request(PREAD, 99, at, 4, 0), libc::EBADF),
        (request(PREAD, writer, at, 4, 0), libc::EBADF),
        (request(PWRITE, reader, at, 4, 0), libc::EBADF),
        (request(PREAD, fd, at, 4, -1), libc::EINVAL),
        (request(PREAD, fd, at, usize::MAX, 0), libc::EINVAL),
        (request(FSYNC, fd, 1, 0, 0), libc::EINVAL),
        (request(POLL, fd, 1, 1, 0), libc::EINVAL),
        (request(POLL, fd, 0x1_0000, 0, 0), libc::EINVAL),
    ] {
        fails(submit(context, &mut bad), errno)?;
    }
    let mut reserved = request(PREAD, fd, at, 4, 0);
    reserved.reserved = 1;
    fails(submit(context, &mut reserved), libc::EINVAL)?;
    let mut other = request(PREAD, fd, at, 4, 0);
    (other.flags, other.resfd) = (1, fd as u32);
    fails(submit(context, &mut other), libc::EINVAL)?;
    other.resfd = 99;
    fails(submit(context, &mut other), libc::EBADF)?;
    fails(sys!(SYS_io_submit, context, 1, 8), libc::EFAULT)?;
    fails(sys!(SYS_io_submit, context, 1, &[8_usize]), libc::EFAULT)?;
    fails(sys!(SYS_io_submit, context, -1, 8), libc::EINVAL)?;
    equal(sys!(SYS_io_submit, context, 0, 8)?, 0)?;
    // None of them has an event, or keeps a place.
    equal(events(context, 0)?, vec![])
}

fn aio_some_requests_are_taken() -> Outcome {
    let context = setup(8)?;
    let fd = file_with(c"f", b"0123456789")?;
    let mut bytes = [[0_u8; 2]; 3];
    let at: [usize; 3] = std::array::from_fn(|index| bytes[index].as_mut_ptr() as usize);
    let mut good = [
        request(PREAD, fd, at[0], 2, 0),
        request(PREAD, fd, at[1], 2, 2),
    ];
    let mut bad = request(PREAD, 99, at[2], 2, 4);
    let [first, second] = &mut good;
    let list = [
        std::ptr::from_mut(first),
        std::ptr::from_mut(second),
        &raw mut bad,
        std::ptr::from_mut(first),
    ];
    equal(sys!(SYS_io_submit, context, 4, &list)?, 2)?;
    let results: Vec<i64> = events(context, 2)?.iter().map(|event| event.res).collect();
    equal(results, vec![2, 2])?;
    equal(&std::hint::black_box(bytes)[1], b"23")
}

fn aio_syncs() -> Outcome {
    let context = setup(8)?;
    let fd = file_with(c"f", b"x")?;
    equal(result_of(context, request(FSYNC, fd, 0, 0, 0))?, 0)?;
    equal(result_of(context, request(FDSYNC, fd, 0, 0, 0))?, 0)?;
    let (read_end, _write_end) = pipe()?;
    let mut bad = request(FSYNC, read_end, 0, 0, 0);
    fails(submit(context, &mut bad), libc::EINVAL)
}

fn aio_moves_bytes_of_a_pipe() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    let text = *b"hello";
    let write = request(PWRITE, write_end, text.as_ptr() as usize, 5, 0);
    equal(result_of(context, write)?, 5)?;
    let mut got = [0_u8; 8];
    let read = request(PREAD, read_end, got.as_mut_ptr() as usize, 8, 0);
    equal(result_of(context, read)?, 5)?;
    equal(&std::hint::black_box(got)[..5], b"hello")?;
    equal(result_of(context, read)?, -i64::from(libc::EAGAIN))
}

fn poll(fd: i32, events: i16) -> Iocb {
    request(POLL, fd, events as u16 as usize, 0, 0)
}

fn aio_poll_waits_for_a_pipe() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe()?;
    let mut iocb = poll(read_end, libc::POLLIN);
    equal(submit(context, &mut iocb)?, 1)?;
    equal(events(context, 0)?, vec![])?;
    let child = fork(|| i32::from(write(write_end, b"x").is_err()))?;
    let all = events(context, 1)?;
    equal(all.len(), 1)?;
    // Who makes the file ready tells all that it is ready for.
    let found = all.first().map_or(0, |event| event.res);
    equal(found & i64::from(libc::POLLIN), i64::from(libc::POLLIN))?;
    equal(
        all.first().map(|event| event.obj),
        Some(&raw const iocb as u64),
    )?;
    wait(child)?;
    // Once only.
    write(write_end, b"y")?;
    equal(events(context, 0)?, vec![])
}

fn aio_poll_of_what_is_ready() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe()?;
    let both = libc::POLLIN | libc::POLLOUT;
    equal(
        result_of(context, poll(write_end, both))?,
        i64::from(libc::POLLOUT),
    )?;
    write(write_end, b"x")?;
    equal(
        result_of(context, poll(read_end, both))?,
        i64::from(libc::POLLIN),
    )
}

fn aio_poll_tells_hangups() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe()?;
    // Nothing need be asked for.
    let mut iocb = poll(read_end, 0);
    submit(context, &mut iocb)?;
    write(write_end, b"x")?;
    equal(events(context, 0)?, vec![])?;
    close(write_end)?;
    let all = events(context, 1)?;
    equal(
        all.first().map(|event| event.res),
        Some(i64::from(libc::POLLHUP)),
    )
}

fn aio_poll_is_cancelled() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe()?;
    let mut iocb = poll(read_end, libc::POLLIN);
    let mut event = Event::default();
    fails(sys!(SYS_io_cancel, context, 8, &mut event), libc::EFAULT)?;
    // What was not submitted has no key of the kernel's.
    fails(
        sys!(SYS_io_cancel, context, &iocb, &mut event),
        libc::EINVAL,
    )?;
    submit(context, &mut iocb)?;
    fails(
        sys!(SYS_io_cancel, context, &iocb, &mut event),
        libc::EINPROGRESS,
    )?;
    let all = events(context, 1)?;
    equal(all.first().map(|event| event.res), Some(0))?;
    fails(
        sys!(SYS_io_cancel, context, &iocb, &mut event),
        libc::EINVAL,
    )?;
    write(write_end, b"x")?;
    equal(events(context, 0)?, vec![])
}

fn aio_tells_an_eventfd() -> Outcome {
    let context = setup(8)?;
    let eventfd = sys!(SYS_eventfd2, 0, libc::EFD_NONBLOCK)? as i32;
    let (read_end, write_end) = pipe()?;
    let fd = file_with(c"f", b"0123456789")?;
    let mut bytes = [0_u8; 4];
    let mut read_it = request(PREAD, fd, bytes.as_mut_ptr() as usize, 4, 0);
    let mut poll_it = poll(read_end, libc::POLLIN);
    for iocb in [&mut read_it, &mut poll_it] {
        (iocb.flags, iocb.resfd) = (1, eventfd as u32);
        submit(context, iocb)?;
    }
    let mut count = [0_u8; 8];
    read(eventfd, &mut count)?;
    equal(u64::from_ne_bytes(count), 1)?;
    write(write_end, b"x")?;
    // It is told without anybody asking for events.
    poll_one(eventfd, libc::POLLIN, -1)?;
    read(eventfd, &mut count)?;
    equal(u64::from_ne_bytes(count), 1)?;
    equal(events(context, 2)?.len(), 2)
}

fn get(context: usize, least: i64, most: i64, timeout: Option<&[i64; 2]>) -> Sys<Vec<i64>> {
    let mut out = [Event::default(); 16];
    let timeout = timeout.map_or(0, |time| std::ptr::from_ref(time) as usize);
    let count = sys!(SYS_io_getevents, context, least, most, &mut out, timeout)?;
    let out = std::hint::black_box(out);
    Ok(out.iter().take(count).map(|event| event.res).collect())
}

fn aio_getevents_waits() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe()?;
    let both = libc::POLLIN | libc::POLLOUT;
    equal(get(context, 1, 4, Some(&[0, 0]))?, vec![])?;
    equal(get(context, 1, 4, Some(&[0, 3_000_000]))?, vec![])?;
    let mut ready = poll(write_end, both);
    submit(context, &mut ready)?;
    // One of two is there when the time is over.
    equal(get(context, 2, 4, Some(&[0, 3_000_000]))?.len(), 1)?;
    submit(context, &mut ready)?;
    submit(context, &mut ready)?;
    equal(get(context, 1, 1, None)?.len(), 1)?;
    let mut later = poll(read_end, libc::POLLIN);
    submit(context, &mut later)?;
    let child = fork(|| {
        for _ in 0..20 {
            nap();
        }
        i32::from(write(write_end, b"x").is_err())
    })?;
    equal(get(context, 2, 4, None)?.len(), 2)?;
    wait(child)?;
    Ok(())
}

fn aio_getevents_of_bad_arguments() -> Outcome {
    let context = setup(8)?;
    fails(get(context, -1, 4, None), libc::EINVAL)?;
    fails(get(context, 5, 4, None), libc::EINVAL)?;
    fails(get(context + PAGE, 0, 4, None), libc::EINVAL)?;
    fails(get(context, 0, 4, Some(&[0, 1_000_000_000])), libc::EINVAL)
        .or_else(|_| equal(get(context, 0, 4, Some(&[0, 1_000_000_000]))?, vec![]))?;
    let (_read_end, write_end) = pipe()?;
    let mut ready = poll(write_end, libc::POLLOUT);
    submit(context, &mut ready)?;
    fails(sys!(SYS_io_getevents, context, 1, 1, 8, 0), libc::EFAULT)?;
    // The event is not lost.
    equal(get(context, 1, 1, None)?.len(), 1)
}

fn aio_getevents_and_signals() -> Outcome {
    for flags in [0, libc::SA_RESTART] {
        let child = sleeper(|| {
            catch(libc::SIGUSR1, flags)?;
            get(setup(8)?, 1, 4, None).map(|_| 0)
        })?;
        sys!(SYS_kill, child, libc::SIGUSR1)?;
        equal(end_of(child)?, libc::EINTR)?;
    }
    Ok(())
}

fn aio_pgetevents_swaps_the_mask() -> Outcome {
    let context = setup(8)?;
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let mask = 0_u64;
    let set = [&raw const mask as usize, 8];
    let mut out = [Event::default(); 4];
    fails(
        pgetevents(context, 1, &mut out, Arg::arg(&set)),
        libc::EINTR,
    )?;
    equal(
        (hits(libc::SIGUSR1), block(&[])?),
        (1, set_of(&[libc::SIGUSR1])),
    )?;
    let short = [&raw const mask as usize, 4];
    fails(
        pgetevents(context, 0, &mut out, Arg::arg(&short)),
        libc::EINVAL,
    )?;
    equal(pgetevents(context, 0, &mut out, 0)?, 0)
}

/// io_pgetevents(2), whose number not every C library has, without a time-out.
fn pgetevents(context: usize, least: usize, out: &mut [Event; 4], mask: usize) -> Sys {
    const SYS_IO_PGETEVENTS: i64 = 333;
    call(
        SYS_IO_PGETEVENTS,
        &[context, least, 4, out.as_mut_ptr() as usize, 0, mask],
    )
}

/// The words of a ring's head.
fn ring(context: usize) -> [u32; 8] {
    std::array::from_fn(|index| word(context + 4 * index).load(std::sync::atomic::Ordering::SeqCst))
}

fn aio_ring_is_seen() -> Outcome {
    let context = setup(8)?;
    let [_, nr, head, tail, magic, compat, incompat, length] = ring(context);
    equal((head, tail, magic), (0, 0, 0xa10a_10a1))?;
    equal((compat, incompat, length), (1, 0, 32))?;
    check(
        nr >= 9 && ((nr as usize + 1) * 32).is_multiple_of(PAGE),
        "places of the ring",
    )?;
    let (_read_end, write_end) = pipe()?;
    let mut ready = poll(write_end, libc::POLLOUT);
    submit(context, &mut ready)?;
    equal((ring(context)[2], ring(context)[3]), (0, 1))?;
    get(context, 1, 1, None)?;
    equal((ring(context)[2], ring(context)[3]), (1, 1))?;
    let maps = text_of("/proc/self/maps")?;
    let start = format!("{context:x}-");
    let line = some(
        maps.lines().find(|line| line.starts_with(&start)),
        "no area",
    )?;
    check(
        line.contains(" rw-s ") && line.ends_with("/[aio] (deleted)"),
        line,
    )
}

fn aio_ring_is_taken_from_by_hand() -> Outcome {
    let context = setup(1)?;
    let (_read_end, write_end) = pipe()?;
    let nr = ring(context)[1];
    let mut ready = poll(write_end, libc::POLLOUT);
    // Many more than there are places.
    for turn in 0..3 * nr {
        submit(context, &mut ready)?;
        let [_, _, head, tail, ..] = ring(context);
        equal((head, tail), (turn % nr, (turn + 1) % nr))?;
        let result = word(context + 32 * (head as usize + 1) + 16);
        equal(
            result.load(std::sync::atomic::Ordering::SeqCst),
            libc::POLLOUT as u32,
        )?;
        word(context + 8).store(tail, std::sync::atomic::Ordering::SeqCst);
    }
    equal(get(context, 0, 4, None)?, vec![])?;
    // Nonsense there is only the program's own loss.
    word(context + 8).store(u32::MAX, std::sync::atomic::Ordering::SeqCst);
    get(context, 0, 4, Some(&[0, 0]))?;
    Ok(())
}

fn aio_ring_is_full() -> Outcome {
    let context = setup(1)?;
    let (read_end, _write_end) = pipe()?;
    let places = ring(context)[1];
    let mut waits = poll(read_end, libc::POLLIN);
    let mut taken = 0_u32;
    let end = loop {
        match submit(context, &mut waits) {
            Ok(_) => taken += 1,
            Err(errno) => break errno,
        }
    };
    equal(end, Errno(libc::EAGAIN))?;
    check(taken < places, "more than there are places")?;
    let mut event = Event::default();
    fails(
        sys!(SYS_io_cancel, context, &waits, &mut event),
        libc::EINPROGRESS,
    )?;
    get(context, 1, 1, None)?;
    equal(submit(context, &mut waits)?, 1)
}

fn aio_child_has_no_context() -> Outcome {
    let context = setup(8)?;
    within(|| {
        fails(get(context, 0, 4, None), libc::EINVAL)?;
        fails(sys!(SYS_io_destroy, context), libc::EINVAL)
    })?;
    equal(get(context, 0, 4, None)?, vec![])
}

fn aio_destroyed_is_gone() -> Outcome {
    let context = setup(8)?;
    let (read_end, write_end) = pipe()?;
    let mut waits = poll(read_end, libc::POLLIN);
    submit(context, &mut waits)?;
    sys!(SYS_io_destroy, context)?;
    fails(sys!(SYS_io_destroy, context), libc::EINVAL)?;
    fails(get(context, 0, 4, None), libc::EINVAL)?;
    fails(submit(context, &mut waits), libc::EINVAL)?;
    let mut resident = [0_u8];
    fails(
        sys!(SYS_mincore, context, PAGE, &mut resident),
        libc::ENOMEM,
    )?;
    write(write_end, b"x")?;
    Ok(())
}

fn aio_exit_lets_go_of_files() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let child = fork(|| {
        let _ = close(read_end);
        let submitted = setup(8).and_then(|context| {
            // Of an end that is written to, errors alone are to come.
            submit(context, &mut poll(write_end, 0))
        });
        i32::from(submitted.is_err())
    })?;
    close(write_end)?;
    equal(wait(child)?, 0)?;
    // The request held the last reference to the end.
    equal(poll_one(read_end, libc::POLLIN, -1)?, libc::POLLHUP)
}

fn aio_limit() -> Outcome {
    let told = || -> Outcome<u64> {
        let text = text_of("/proc/sys/fs/aio-nr")?;
        some(text.trim().parse().ok(), "aio-nr is no number")
    };
    equal(text_of("/proc/sys/fs/aio-max-nr")?.as_str(), "65536\n")?;
    let before = told()?;
    let context = setup(1000)?;
    check(told()? >= before + 1000, "requests are not counted")?;
    sys!(SYS_io_destroy, context)?;
    while told()? != before {
        nap();
    }
    let most = (before + 10).to_string();
    std::fs::write("/proc/sys/fs/aio-max-nr", most)?;
    let result = setup(10_000);
    std::fs::write("/proc/sys/fs/aio-max-nr", "65536")?;
    fails(result, libc::EAGAIN)
}
