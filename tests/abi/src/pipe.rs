//! Pipes, FIFOs, splice, tee and vmsplice.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    data_comes_in_order,
    read_at_end_is_zero,
    write_without_reader_is_epipe_and_sigpipe,
    sigpipe_kills_by_default,
    nonblocking_empty_and_full_are_eagain,
    capacity_is_sixteen_pages,
    small_writes_are_atomic,
    nonblocking_big_write_is_partial,
    blocked_writer_goes_on_after_a_read,
    blocked_reader_is_interrupted,
    pipe2_refuses_unknown_flags,
    pipe2_cloexec_and_nonblock,
    pipe_to_a_bad_address_leaves_no_descriptors,
    packet_mode_keeps_boundaries,
    setpipe_sz_rounds_up_and_is_told,
    setpipe_sz_below_the_contents_is_ebusy,
    fionread_tells_the_bytes,
    seek_is_espipe,
    ends_have_their_directions,
    poll_tells_hup_and_err,
    poll_tells_room,
    fstat_tells_a_fifo,
    reopened_through_proc,
    readv_and_writev_gather,
    read_into_a_bad_address_is_efault,
    fifo_open_waits_for_the_other_end,
    fifo_nonblocking_write_open_is_enxio,
    fifo_read_write_open_never_waits,
    fifo_end_and_again,
    splice_moves_from_file_to_pipe,
    splice_moves_from_pipe_to_file,
    splice_needs_a_pipe,
    splice_offset_of_a_pipe_is_espipe,
    tee_leaves_the_data,
    vmsplice_writes_memory,
    sendfile_takes_from_what_can_be_sought_alone,
    sendfile_copies_and_moves_the_offset,
    sendfile_copies_holes_and_odd_places,
    sendfile_to_append_is_einval,
    copy_file_range_copies_within_limits,
];

fn data_comes_in_order() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = close(read_end);
        for number in 0..50_000_u32 {
            if write(write_end, &number.to_le_bytes()) != Ok(4) {
                return 1;
            }
        }
        0
    })?;
    close(write_end)?;
    let mut all = Vec::new();
    loop {
        let some = read_some(read_end)?;
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    equal(all.len(), 200_000)?;
    let ordered = all
        .chunks(4)
        .zip(0_u32..)
        .all(|(bytes, number)| bytes == number.to_le_bytes());
    check(ordered, "out of order")?;
    equal(wait(pid)?, 0)
}

fn read_at_end_is_zero() -> Outcome {
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    close(write_end)?;
    equal(read_some(read_end)?, b"x".to_vec())?;
    equal(read_some(read_end)?.len(), 0)?;
    equal(read_some(read_end)?.len(), 0)
}

fn write_without_reader_is_epipe_and_sigpipe() -> Outcome {
    catch(libc::SIGPIPE, 0)?;
    let (read_end, write_end) = pipe()?;
    close(read_end)?;
    fails(write(write_end, b"x"), libc::EPIPE)?;
    equal(hits(libc::SIGPIPE), 1)?;
    equal(last_info().si_code, libc::SI_USER)?;
    // Nothing to write: nothing happens.
    equal(write(write_end, b"")?, 0)
}

fn sigpipe_kills_by_default() -> Outcome {
    let (read_end, write_end) = pipe()?;
    close(read_end)?;
    let death = death_of(|| {
        let _ = handle(libc::SIGPIPE, libc::SIG_DFL, 0, &[]);
        let _ = write(write_end, b"x");
    })?;
    equal(death, libc::SIGPIPE)
}

fn fill(fd: i32) -> Sys {
    let mut total = 0;
    loop {
        match write(fd, &[0; 4096]) {
            Ok(count) => total += count,
            Err(Errno(libc::EAGAIN)) => return Ok(total),
            Err(errno) => return Err(errno),
        }
    }
}

fn nonblocking_empty_and_full_are_eagain() -> Outcome {
    let (read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    fails(read_some(read_end), libc::EAGAIN)?;
    fill(write_end)?;
    fails(write(write_end, b"x"), libc::EAGAIN)
}

fn capacity_is_sixteen_pages() -> Outcome {
    let (_read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    equal(fill(write_end)?, 65536)?;
    equal(sys!(SYS_fcntl, write_end, libc::F_GETPIPE_SZ)?, 65536)
}

fn small_writes_are_atomic() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let mut writers = Vec::new();
    for letter in b'a'..b'e' {
        writers.push(fork(|| {
            let _ = close(read_end);
            for _ in 0..100 {
                if write(write_end, &[letter; 1000]) != Ok(1000) {
                    return 1;
                }
            }
            0
        })?);
    }
    close(write_end)?;
    let mut all = Vec::new();
    loop {
        let some = read_some(read_end)?;
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    equal(all.len(), 400_000)?;
    let whole = all
        .chunks(1000)
        .all(|chunk| chunk.iter().all(|byte| Some(byte) == chunk.first()));
    check(whole, "writes are mixed")?;
    for pid in writers {
        equal(wait(pid)?, 0)?;
    }
    Ok(())
}

fn nonblocking_big_write_is_partial() -> Outcome {
    let (_read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    equal(write(write_end, &[1; 100_000])?, 65536)
}

fn blocked_writer_goes_on_after_a_read() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| i32::from(write(write_end, &[7; 70_000]) != Ok(70_000)))?;
    close(write_end)?;
    let mut total = 0;
    loop {
        let some = read_some(read_end)?;
        if some.is_empty() {
            break;
        }
        total += some.len();
    }
    equal(total, 70_000)?;
    equal(wait(pid)?, 0)
}

fn blocked_reader_is_interrupted() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    catch(libc::SIGUSR1, 0)?;
    let me = getpid();
    let pid = fork(|| {
        let _ = await_state(me, "S");
        i32::from(sys!(SYS_kill, me, libc::SIGUSR1).is_err())
    })?;
    fails(read_some(read_end), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn pipe2_refuses_unknown_flags() -> Outcome {
    fails(pipe2(libc::O_APPEND), libc::EINVAL)?;
    fails(pipe2(1), libc::EINVAL)
}

fn pipe2_cloexec_and_nonblock() -> Outcome {
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
    for (fd, access) in [(read_end, libc::O_RDONLY), (write_end, libc::O_WRONLY)] {
        equal(sys!(SYS_fcntl, fd, libc::F_GETFD)?, 1)?;
        let flags = sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32;
        equal(
            flags & !libc::O_LARGEFILE & !0o100_000,
            access | libc::O_NONBLOCK,
        )?;
    }
    Ok(())
}

fn pipe_to_a_bad_address_leaves_no_descriptors() -> Outcome {
    let first = open(c"/dev/null", libc::O_RDONLY)?;
    close(first)?;
    fails(sys!(SYS_pipe2, 8, 0), libc::EFAULT)?;
    equal(open(c"/dev/null", libc::O_RDONLY)?, first)
}

fn packet_mode_keeps_boundaries() -> Outcome {
    let (read_end, write_end) = pipe2(libc::O_DIRECT)?;
    write(write_end, b"one")?;
    write(write_end, b"second")?;
    let mut two = [0; 2];
    equal(read(read_end, &mut two)?, 2)?;
    equal(read_some(read_end)?, b"second".to_vec())
}

fn setpipe_sz_rounds_up_and_is_told() -> Outcome {
    let (read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    equal(sys!(SYS_fcntl, read_end, libc::F_SETPIPE_SZ, 5000)?, 8192)?;
    equal(sys!(SYS_fcntl, write_end, libc::F_GETPIPE_SZ)?, 8192)?;
    equal(fill(write_end)?, 8192)
}

fn setpipe_sz_below_the_contents_is_ebusy() -> Outcome {
    let (_read_end, write_end) = pipe()?;
    write(write_end, &[0; 20_000])?;
    fails(
        sys!(SYS_fcntl, write_end, libc::F_SETPIPE_SZ, PAGE),
        libc::EBUSY,
    )
}

fn fionread_tells_the_bytes() -> Outcome {
    let (read_end, write_end) = pipe()?;
    write(write_end, b"12345")?;
    write(write_end, b"678")?;
    let mut count = 0_i32;
    sys!(SYS_ioctl, read_end, libc::FIONREAD, &mut count)?;
    equal(count, 8)
}

fn seek_is_espipe() -> Outcome {
    let (read_end, write_end) = pipe()?;
    fails(sys!(SYS_lseek, read_end, 0, 0), libc::ESPIPE)?;
    let mut byte = [0_u8];
    fails(sys!(SYS_pread64, read_end, &mut byte, 1, 0), libc::ESPIPE)?;
    fails(sys!(SYS_pwrite64, write_end, &byte, 1, 0), libc::ESPIPE)?;
    fails(sys!(SYS_ftruncate, write_end, 0), libc::EINVAL)?;
    fails(sys!(SYS_fsync, write_end), libc::EINVAL)
}

fn ends_have_their_directions() -> Outcome {
    let (read_end, write_end) = pipe()?;
    fails(write(read_end, b"x"), libc::EBADF)?;
    fails(read_some(write_end), libc::EBADF)
}

fn poll_tells_hup_and_err() -> Outcome {
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    close(write_end)?;
    equal(ready(read_end, libc::POLLIN)?, libc::POLLIN | libc::POLLHUP)?;
    read_some(read_end)?;
    equal(ready(read_end, libc::POLLIN)?, libc::POLLHUP)?;
    let (read_end, write_end) = pipe()?;
    close(read_end)?;
    equal(
        ready(write_end, libc::POLLOUT)?,
        libc::POLLOUT | libc::POLLERR,
    )
}

fn poll_tells_room() -> Outcome {
    let (read_end, write_end) = pipe2(libc::O_NONBLOCK)?;
    equal(ready(write_end, libc::POLLOUT)?, libc::POLLOUT)?;
    equal(ready(read_end, libc::POLLIN)?, 0)?;
    fill(write_end)?;
    equal(ready(write_end, libc::POLLOUT)?, 0)?;
    equal(read_some(read_end)?.len(), 4096)?;
    equal(ready(write_end, libc::POLLOUT)?, libc::POLLOUT)
}

fn fstat_tells_a_fifo() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let (one, two) = (fstat(read_end)?, fstat(write_end)?);
    equal(one.st_mode, libc::S_IFIFO | 0o600)?;
    equal((one.st_ino, one.st_nlink, one.st_size), (two.st_ino, 1, 0))?;
    let link = std::fs::read_link(format!("/proc/self/fd/{read_end}"))?;
    equal(
        link.to_string_lossy().into_owned(),
        format!("pipe:[{}]", one.st_ino),
    )
}

fn reopened_through_proc() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    let path = c_string(&format!("/proc/self/fd/{read_end}"));
    let writer = open(&path, libc::O_WRONLY)?;
    write(writer, b"again")?;
    equal(read_some(read_end)?, b"again".to_vec())
}

fn readv_and_writev_gather() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let parts = [b"abc".as_slice(), b"", b"defg"];
    let vectors = parts.map(|part| libc::iovec {
        iov_base: part.as_ptr() as *mut _,
        iov_len: part.len(),
    });
    equal(sys!(SYS_writev, write_end, &vectors, 3)?, 7)?;
    let (mut one, mut two) = ([0_u8; 5], [0_u8; 5]);
    let vectors = [&mut one, &mut two].map(|part| libc::iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: 5,
    });
    equal(sys!(SYS_readv, read_end, &vectors, 2)?, 7)?;
    equal(
        (&std::hint::black_box(one), &std::hint::black_box(two)),
        (b"abcde", b"fg\0\0\0"),
    )?;
    fails(sys!(SYS_writev, write_end, &vectors, 1025), libc::EINVAL)?;
    equal(sys!(SYS_writev, write_end, 0, 0)?, 0)
}

fn read_into_a_bad_address_is_efault() -> Outcome {
    let (read_end, write_end) = pipe()?;
    write(write_end, b"xy")?;
    fails(sys!(SYS_read, read_end, 8, 2), libc::EFAULT)?;
    fails(sys!(SYS_write, write_end, 8, 2), libc::EFAULT)?;
    fails(sys!(SYS_read, read_end, usize::MAX - 4, 2), libc::EFAULT)
}

fn mkfifo() -> Sys {
    sys!(
        SYS_mknodat,
        libc::AT_FDCWD,
        c"fifo",
        libc::S_IFIFO | 0o644,
        0
    )
}

fn fifo_open_waits_for_the_other_end() -> Outcome {
    mkfifo()?;
    let pid = fork(|| {
        let Ok(fd) = open(c"fifo", libc::O_WRONLY) else {
            return 1;
        };
        i32::from(write(fd, b"hello") != Ok(5))
    })?;
    await_state(pid, "S")?;
    let fd = open(c"fifo", libc::O_RDONLY)?;
    equal(read_some(fd)?, b"hello".to_vec())?;
    equal(wait(pid)?, 0)
}

fn fifo_nonblocking_write_open_is_enxio() -> Outcome {
    mkfifo()?;
    fails(
        open(c"fifo", libc::O_WRONLY | libc::O_NONBLOCK),
        libc::ENXIO,
    )?;
    let reader = open(c"fifo", libc::O_RDONLY | libc::O_NONBLOCK)?;
    equal(read_some(reader)?.len(), 0)?;
    let writer = open(c"fifo", libc::O_WRONLY | libc::O_NONBLOCK)?;
    fails(read_some(reader), libc::EAGAIN)?;
    write(writer, b"x")?;
    equal(read_some(reader)?, b"x".to_vec())
}

fn fifo_read_write_open_never_waits() -> Outcome {
    mkfifo()?;
    let fd = open(c"fifo", libc::O_RDWR)?;
    write(fd, b"self")?;
    equal(read_some(fd)?, b"self".to_vec())
}

fn fifo_end_and_again() -> Outcome {
    mkfifo()?;
    let reader = open(c"fifo", libc::O_RDONLY | libc::O_NONBLOCK)?;
    for text in [b"one", b"two"] {
        let writer = open(c"fifo", libc::O_WRONLY)?;
        write(writer, text)?;
        close(writer)?;
        equal(read_some(reader)?, text.to_vec())?;
        equal(read_some(reader)?.len(), 0)?;
        equal(ready(reader, libc::POLLIN)?, libc::POLLHUP)?;
    }
    Ok(())
}

fn splice_moves_from_file_to_pipe() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let fd = file_with(c"f", b"0123456789")?;
    let mut offset = 3_i64;
    equal(sys!(SYS_splice, fd, &mut offset, write_end, 0, 4, 0)?, 4)?;
    equal(std::hint::black_box(offset), 7)?;
    equal(read_some(read_end)?, b"3456".to_vec())?;
    equal(sys!(SYS_splice, fd, 0, write_end, 0, 100, 0)?, 10)?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 10)?;
    equal(read_some(read_end)?, b"0123456789".to_vec())
}

fn splice_moves_from_pipe_to_file() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let fd = file_with(c"f", b"........")?;
    write(write_end, b"abc")?;
    let mut offset = 2_i64;
    equal(sys!(SYS_splice, read_end, 0, fd, &mut offset, 10, 0)?, 3)?;
    equal(text_of("f")?, "..abc...")?;
    equal(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR)?, 0)
}

fn splice_needs_a_pipe() -> Outcome {
    let one = file_with(c"one", b"data")?;
    let two = file_with(c"two", b"")?;
    fails(sys!(SYS_splice, one, 0, two, 0, 4, 0), libc::EINVAL)?;
    let (_read_end, write_end) = pipe()?;
    fails(
        sys!(SYS_splice, one, 0, write_end, 0, 4, 0x100),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_splice, -1, 0, write_end, 0, 4, 0), libc::EBADF)?;
    equal(sys!(SYS_splice, -1, 0, -1, 0, 0, 0)?, 0)
}

fn splice_offset_of_a_pipe_is_espipe() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let fd = file_with(c"f", b"data")?;
    let mut offset = 0_i64;
    fails(
        sys!(SYS_splice, fd, 0, write_end, &mut offset, 4, 0),
        libc::ESPIPE,
    )?;
    fails(
        sys!(SYS_splice, read_end, &mut offset, fd, 0, 4, 0),
        libc::ESPIPE,
    )
}

fn tee_leaves_the_data() -> Outcome {
    let (first_read, first_write) = pipe()?;
    let (second_read, second_write) = pipe()?;
    write(first_write, b"copied")?;
    equal(sys!(SYS_tee, first_read, second_write, 100, 0)?, 6)?;
    equal(read_some(first_read)?, b"copied".to_vec())?;
    equal(read_some(second_read)?, b"copied".to_vec())?;
    fails(sys!(SYS_tee, first_read, first_write, 1, 0), libc::EINVAL)
}

fn vmsplice_writes_memory() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let text = b"from memory";
    let vector = libc::iovec {
        iov_base: text.as_ptr() as *mut _,
        iov_len: text.len(),
    };
    equal(sys!(SYS_vmsplice, write_end, &vector, 1, 0)?, text.len())?;
    equal(read_some(read_end)?, text.to_vec())
}

fn sendfile_copies_and_moves_the_offset() -> Outcome {
    let input = file_with(c"in", b"0123456789")?;
    let output = file_with(c"out", b"")?;
    equal(sys!(SYS_sendfile, output, input, 0, 4)?, 4)?;
    equal(sys!(SYS_lseek, input, 0, libc::SEEK_CUR)?, 4)?;
    let mut offset = 8_i64;
    equal(sys!(SYS_sendfile, output, input, &mut offset, 100)?, 2)?;
    equal(std::hint::black_box(offset), 10)?;
    equal(sys!(SYS_lseek, input, 0, libc::SEEK_CUR)?, 4)?;
    equal(text_of("out")?, "012389")
}

fn sendfile_copies_holes_and_odd_places() -> Outcome {
    const SIZE: usize = 200_000;
    // Data, a hole of many pages, data, and a hole to the end.
    let input = file_with(c"in", b"")?;
    let piece: Vec<u8> = (0..6000_u32).map(|at| (at % 251) as u8 + 1).collect();
    for at in [0, 100_001] {
        sys!(SYS_pwrite64, input, piece.as_ptr(), piece.len(), at)?;
    }
    sys!(SYS_ftruncate, input, SIZE)?;
    let content = std::fs::read("in")?;
    for (from, at, len) in [
        (0, 0, SIZE),
        (1, 4095, 70_000),
        (4097, 3, 150_000),
        (99_999, 8192, 1),
    ] {
        let output = file_with(c"out", b"")?;
        sys!(SYS_ftruncate, output, 0)?;
        sys!(SYS_lseek, output, at, libc::SEEK_SET)?;
        let mut offset = from as i64;
        equal(sys!(SYS_sendfile, output, input, &mut offset, len)?, len)?;
        equal(offset as usize, from + len)?;
        let copied = std::fs::read("out")?;
        equal(copied.len(), at + len)?;
        check(copied[at..] == content[from..from + len], "other bytes")?;
        close(output)?;
    }
    // The end of the input is where it ends, and behind it is nothing.
    let output = file_with(c"out", b"")?;
    let mut offset = SIZE as i64 - 10;
    equal(sys!(SYS_sendfile, output, input, &mut offset, 100)?, 10)?;
    equal(sys!(SYS_sendfile, output, input, &mut offset, 100)?, 0)?;
    // Within one file, one page to the next.
    let both = open(c"in", libc::O_RDWR)?;
    sys!(SYS_lseek, both, SIZE, libc::SEEK_SET)?;
    let mut offset = 100_000_i64;
    equal(sys!(SYS_sendfile, both, both, &mut offset, 9000)?, 9000)?;
    let copied = std::fs::read("in")?;
    check(
        copied[SIZE..] == content[100_000..109_000],
        "other bytes in place",
    )
}

fn sendfile_to_append_is_einval() -> Outcome {
    let input = file_with(c"in", b"0123456789")?;
    file_with(c"out", b"")?;
    let output = open(c"out", libc::O_WRONLY | libc::O_APPEND)?;
    fails(sys!(SYS_sendfile, output, input, 0, 4), libc::EINVAL)?;
    fails(sys!(SYS_sendfile, -1, input, 0, 4), libc::EBADF)
}

fn sendfile_takes_from_what_can_be_sought_alone() -> Outcome {
    let output = file_with(c"out", b"")?;
    let mut pair = [0_i32; 2];
    sys!(
        SYS_socketpair,
        libc::AF_UNIX,
        libc::SOCK_DGRAM,
        0,
        &mut pair
    )?;
    write(pair[0], b"packet")?;
    let (read_end, write_end) = pipe()?;
    write(write_end, b"bytes")?;
    let event = sys!(SYS_eventfd2, 7, 0)? as i32;
    let terminal = open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    for input in [pair[1], read_end, event, terminal] {
        fails(sys!(SYS_sendfile, output, input, 0, 4), libc::EINVAL)?;
        // To itself it would go round and round.
        fails(sys!(SYS_sendfile, pair[0], input, 0, 1 << 30), libc::EINVAL)?;
    }
    // Nothing was taken.
    equal(read_some(pair[1])?, b"packet".to_vec())?;
    equal(read_some(read_end)?, b"bytes".to_vec())
}

fn copy_file_range_copies_within_limits() -> Outcome {
    let input = file_with(c"in", b"0123456789")?;
    let output = file_with(c"out", b"abcdef")?;
    let (mut from, mut to) = (2_i64, 1_i64);
    equal(
        sys!(SYS_copy_file_range, input, &mut from, output, &mut to, 3, 0)?,
        3,
    )?;
    equal(
        (std::hint::black_box(from), std::hint::black_box(to)),
        (5, 4),
    )?;
    equal(text_of("out")?, "a234ef")?;
    fails(
        sys!(SYS_copy_file_range, input, 0, output, 0, 3, 1),
        libc::EINVAL,
    )?;
    let (mut from, mut to) = (0_i64, 2_i64);
    fails(
        sys!(SYS_copy_file_range, input, &mut from, input, &mut to, 4, 0),
        libc::EINVAL,
    )
}
