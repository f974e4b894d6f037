//! POSIX message queues. The calls are made directly, so that names have no slash.

use std::ffi::CStr;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;
use crate::sysv::{end_of, sleeper};

pub const CASES: &[Case] = cases![
    mq_open_makes_and_finds,
    mq_open_of_bad_names,
    mq_open_checks_the_size,
    mq_open_checks_the_mode,
    mq_priorities_come_first,
    mq_sizes_are_checked,
    mq_access_modes,
    mq_nonblocking_is_eagain,
    mq_of_bad_arguments,
    mq_attributes,
    mq_poll,
    mq_receive_sleeps,
    mq_receivers_are_handed_messages,
    mq_send_sleeps,
    mq_timeouts,
    mq_signals_interrupt_or_restart,
    mq_unlinked_lives_on,
    mq_notify_signals_once,
    mq_notify_is_exclusive,
    mq_notify_when_empty_only,
    mq_notify_not_while_somebody_sleeps,
    mq_notify_ends_with_a_close,
    mq_notify_ends_with_an_exit,
    mq_notify_of_bad_arguments,
    mq_descriptor_is_closed_by_exec,
    mq_limits,
    mq_rlimit,
    mq_hundreds_of_queues,
    mqueue_file_system,
    mqueue_status_text,
];

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Attr {
    flags: i64,
    maxmsg: i64,
    msgsize: i64,
    curmsgs: i64,
    reserved: [i64; 4],
}

fn attr(maxmsg: i64, msgsize: i64) -> Attr {
    Attr {
        maxmsg,
        msgsize,
        ..Attr::default()
    }
}

/// A name that goes when the case ends, whatever it has left.
struct Name(std::ffi::CString);

impl Name {
    fn new(what: &str) -> Self {
        Self(c_string(&format!("abi-{}-{what}", getpid())))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = unlink(&self.0);
    }
}

fn open_as(name: &CStr, flags: i32, mode: u32, attr: Option<&Attr>) -> Sys<i32> {
    let attr = attr.map_or(0, |attr| std::ptr::from_ref(attr) as usize);
    sys!(SYS_mq_open, name, flags, mode, attr).map(|fd| fd as i32)
}

fn unlink(name: &CStr) -> Sys {
    sys!(SYS_mq_unlink, name)
}

const MAKE: i32 = libc::O_CREAT | libc::O_RDWR;

/// A queue for two messages of eight bytes.
fn small(flags: i32) -> Outcome<(Name, i32)> {
    let name = Name::new("small");
    let fd = open_as(&name.0, MAKE | flags, 0o600, Some(&attr(2, 8)))?;
    Ok((name, fd))
}

fn send(fd: i32, text: &[u8], priority: u32) -> Sys {
    sys!(SYS_mq_timedsend, fd, text.as_ptr(), text.len(), priority, 0)
}

fn receive(fd: i32) -> Sys<(Vec<u8>, u32)> {
    receive_until(fd, None)
}

fn receive_until(fd: i32, time: Option<&[i64; 2]>) -> Sys<(Vec<u8>, u32)> {
    let mut bytes = vec![0_u8; 8192];
    let mut priority = 0_u32;
    let time = time.map_or(0, |time| std::ptr::from_ref(time) as usize);
    let (start, len) = (bytes.as_mut_ptr(), bytes.len());
    let count = sys!(SYS_mq_timedreceive, fd, start, len, &mut priority, time)?;
    bytes.truncate(count);
    Ok((bytes, std::hint::black_box(priority)))
}

fn attr_of(fd: i32) -> Sys<Attr> {
    let mut out = Attr::default();
    sys!(SYS_mq_getsetattr, fd, 0, &mut out)?;
    Ok(std::hint::black_box(out))
}

fn mq_open_makes_and_finds() -> Outcome {
    let name = Name::new("a");
    fails(open_as(&name.0, libc::O_RDWR, 0, None), libc::ENOENT)?;
    let first = open_as(&name.0, MAKE, 0o640, None)?;
    let flags = sys!(SYS_fcntl, first, libc::F_GETFD)? as i32;
    equal(flags, libc::FD_CLOEXEC)?;
    let exclusive = MAKE | libc::O_EXCL;
    fails(open_as(&name.0, exclusive, 0o600, None), libc::EEXIST)?;
    let second = open_as(&name.0, libc::O_RDONLY, 0, None)?;
    send(first, b"x", 0)?;
    equal(receive(second)?, (b"x".to_vec(), 0))?;
    equal(fstat(first)?.st_mode, libc::S_IFREG | 0o640)?;
    equal(fstat(first)?.st_size, 80)?;
    unlink(&name.0)?;
    fails(unlink(&name.0), libc::ENOENT)?;
    fails(open_as(&name.0, libc::O_RDWR, 0, None), libc::ENOENT)
}

fn mq_open_of_bad_names() -> Outcome {
    for (name, errno) in [
        (c"", libc::ENOENT),
        (c"/abi", libc::EACCES),
        (c"a/b", libc::EACCES),
        (c".", libc::EACCES),
        (c"..", libc::EACCES),
    ] {
        fails(open_as(name, MAKE, 0o600, None), errno)?;
        fails(unlink(name), errno)?;
    }
    let long = c_string(&"n".repeat(256));
    fails(open_as(&long, MAKE, 0o600, None), libc::ENAMETOOLONG)?;
    fails(sys!(SYS_mq_open, 8, MAKE, 0o600, 0), libc::EFAULT)?;
    let longest = Name(c_string(&"n".repeat(255)));
    open_as(&longest.0, MAKE, 0o600, None)?;
    Ok(())
}

fn mq_open_checks_the_size() -> Outcome {
    let name = Name::new("size");
    for bad in [
        attr(0, 8),
        attr(8, 0),
        attr(-1, 8),
        attr(65537, 8),
        attr(8, (16 << 20) + 1),
    ] {
        fails(open_as(&name.0, MAKE, 0o600, Some(&bad)), libc::EINVAL)?;
    }
    fails(
        sys!(SYS_mq_open, name.0.as_c_str(), MAKE, 0o600, 8),
        libc::EFAULT,
    )?;
    let fd = open_as(&name.0, MAKE, 0o600, Some(&attr(100, 16)))?;
    equal((attr_of(fd)?.maxmsg, attr_of(fd)?.msgsize), (100, 16))?;
    // What exists has its size.
    let again = open_as(&name.0, MAKE, 0o600, Some(&attr(-5, 7)))?;
    equal(attr_of(again)?.maxmsg, 100)?;
    let other = Name::new("user");
    within(|| {
        become_user()?;
        fails(
            open_as(&other.0, MAKE, 0o600, Some(&attr(11, 8))),
            libc::EINVAL,
        )?;
        fails(
            open_as(&other.0, MAKE, 0o600, Some(&attr(8, 8193))),
            libc::EINVAL,
        )?;
        let fd = open_as(&other.0, MAKE, 0o600, None)?;
        equal((attr_of(fd)?.maxmsg, attr_of(fd)?.msgsize), (10, 8192))
    })
}

fn mq_open_checks_the_mode() -> Outcome {
    let (secret, shown) = (Name::new("secret"), Name::new("shown"));
    sys!(SYS_umask, 0o022)?;
    open_as(&secret.0, MAKE, 0o600, None)?;
    open_as(&shown.0, MAKE, 0o666, None)?;
    let both = libc::O_RDWR | libc::O_WRONLY;
    fails(open_as(&secret.0, both, 0, None), libc::EINVAL)?;
    within(|| {
        become_user()?;
        fails(open_as(&secret.0, libc::O_RDONLY, 0, None), libc::EACCES)?;
        fails(open_as(&shown.0, libc::O_RDWR, 0, None), libc::EACCES)?;
        open_as(&shown.0, libc::O_RDONLY, 0, None)?;
        // The directory is sticky.
        fails(unlink(&shown.0), libc::EPERM)?;
        // Who makes a queue has what was asked for, whatever the mode.
        let mine = Name::new("mine");
        let fd = open_as(&mine.0, MAKE, 0, None)?;
        send(fd, b"x", 0)?;
        fails(open_as(&mine.0, libc::O_RDONLY, 0, None), libc::EACCES)
    })
}

fn mq_priorities_come_first() -> Outcome {
    let name = Name::new("p");
    let fd = open_as(&name.0, MAKE, 0o600, Some(&attr(10, 8)))?;
    for (text, priority) in [(b"a", 1), (b"b", 3), (b"c", 1), (b"d", 32767), (b"e", 3)] {
        send(fd, text, priority)?;
    }
    fails(send(fd, b"f", 32768), libc::EINVAL)?;
    let mut got = Vec::new();
    for _ in 0..5 {
        let (text, priority) = receive(fd)?;
        got.push((text[0], priority));
    }
    let want = [(b'd', 32767), (b'b', 3), (b'e', 3), (b'a', 1), (b'c', 1)];
    equal(got, want.to_vec())
}

fn mq_sizes_are_checked() -> Outcome {
    let (_name, fd) = small(0)?;
    fails(send(fd, b"123456789", 0), libc::EMSGSIZE)?;
    send(fd, b"12345678", 0)?;
    send(fd, b"", 0)?;
    let mut bytes = [0_u8; 8];
    // The buffer must have room for the largest message, whatever is there.
    fails(
        sys!(SYS_mq_timedreceive, fd, &mut bytes, 7, 0, 0),
        libc::EMSGSIZE,
    )?;
    equal(sys!(SYS_mq_timedreceive, fd, &mut bytes, 8, 0, 0)?, 8)?;
    equal(&std::hint::black_box(bytes), b"12345678")?;
    equal(receive(fd)?.0.len(), 0)
}

fn mq_access_modes() -> Outcome {
    let (name, fd) = small(0)?;
    let reader = open_as(&name.0, libc::O_RDONLY, 0, None)?;
    let writer = open_as(&name.0, libc::O_WRONLY, 0, None)?;
    fails(send(reader, b"x", 0), libc::EBADF)?;
    send(writer, b"x", 0)?;
    fails(receive(writer), libc::EBADF)?;
    receive(reader)?;
    // Writing to the file is no message.
    fails(write(fd, b"x"), libc::EINVAL)
}

fn mq_nonblocking_is_eagain() -> Outcome {
    let (_name, fd) = small(libc::O_NONBLOCK)?;
    fails(receive(fd), libc::EAGAIN)?;
    send(fd, b"a", 0)?;
    send(fd, b"b", 0)?;
    fails(send(fd, b"c", 0), libc::EAGAIN)?;
    equal(attr_of(fd)?.curmsgs, 2)
}

fn mq_of_bad_arguments() -> Outcome {
    let (_name, fd) = small(0)?;
    let (read_end, _write_end) = pipe()?;
    fails(send(99, b"x", 0), libc::EBADF)?;
    fails(send(read_end, b"x", 0), libc::EBADF)?;
    fails(receive(read_end), libc::EBADF)?;
    fails(attr_of(read_end), libc::EBADF)?;
    fails(sys!(SYS_mq_timedsend, fd, 8, 1, 0, 0), libc::EFAULT)?;
    equal(attr_of(fd)?.curmsgs, 0)?;
    fails(sys!(SYS_mq_timedsend, fd, c"x", 1, 0, 8), libc::EFAULT)?;
    let bad = [0_i64, 1_000_000_000];
    fails(sys!(SYS_mq_timedsend, fd, c"x", 1, 0, &bad), libc::EINVAL)?;
    fails(receive_until(fd, Some(&[-1, 0])), libc::EINVAL)?;
    // A message to a bad address is lost.
    send(fd, b"x", 0)?;
    fails(sys!(SYS_mq_timedreceive, fd, 8, 8, 0, 0), libc::EFAULT)?;
    equal(attr_of(fd)?.curmsgs, 0)
}

fn mq_attributes() -> Outcome {
    let (_name, fd) = small(0)?;
    send(fd, b"abc", 0)?;
    let want = Attr {
        curmsgs: 1,
        ..attr(2, 8)
    };
    equal(attr_of(fd)?, want)?;
    let mut old = Attr::default();
    let new = Attr {
        flags: i64::from(libc::O_NONBLOCK),
        ..attr(7, 7)
    };
    sys!(SYS_mq_getsetattr, fd, &new, &mut old)?;
    equal(std::hint::black_box(old), want)?;
    // The flags alone can be set.
    let want = Attr {
        flags: new.flags,
        ..want
    };
    equal(attr_of(fd)?, want)?;
    let flags = sys!(SYS_fcntl, fd, libc::F_GETFL)? as i32;
    check(flags & libc::O_NONBLOCK != 0, "the flag is not the file's")?;
    let bad = Attr {
        flags: 1,
        ..Attr::default()
    };
    fails(sys!(SYS_mq_getsetattr, fd, &bad, 0), libc::EINVAL)?;
    fails(sys!(SYS_mq_getsetattr, fd, 8, 0), libc::EFAULT)?;
    fails(sys!(SYS_mq_getsetattr, fd, 0, 8), libc::EFAULT)?;
    sys!(SYS_mq_getsetattr, fd, &Attr::default(), 0)?;
    equal(attr_of(fd)?.flags, 0)
}

fn mq_poll() -> Outcome {
    let (_name, fd) = small(0)?;
    let both = libc::POLLIN | libc::POLLOUT;
    equal(ready(fd, both)?, libc::POLLOUT)?;
    send(fd, b"a", 0)?;
    equal(ready(fd, both)?, both)?;
    send(fd, b"b", 0)?;
    equal(ready(fd, both)?, libc::POLLIN)?;
    let writer = sleeper(|| poll_one(fd, libc::POLLOUT, -1).map(|_| 0))?;
    receive(fd)?;
    equal(end_of(writer)?, 0)?;
    receive(fd)?;
    let reader = sleeper(|| poll_one(fd, libc::POLLIN, -1).map(|_| 0))?;
    send(fd, b"c", 0)?;
    equal(end_of(reader)?, 0)
}

/// A child that sleeps in a receive and ends well if it gets this.
fn await_message(fd: i32, want: &'static [u8]) -> Outcome<i32> {
    sleeper(move || match receive(fd)?.0 == want {
        true => Ok(0),
        false => Err(Errno(libc::EBADMSG)),
    })
}

fn mq_receive_sleeps() -> Outcome {
    let (_name, fd) = small(0)?;
    let first = await_message(fd, b"a")?;
    let second = await_message(fd, b"b")?;
    send(fd, b"a", 0)?;
    send(fd, b"b", 9)?;
    equal((end_of(first)?, end_of(second)?), (0, 0))
}

fn mq_receivers_are_handed_messages() -> Outcome {
    let (_name, fd) = small(libc::O_NONBLOCK)?;
    let other = Attr::default();
    sys!(SYS_mq_getsetattr, fd, &other, 0)?;
    let child = await_message(fd, b"a")?;
    send(fd, b"a", 0)?;
    equal(attr_of(fd)?.curmsgs, 0)?;
    equal(end_of(child)?, 0)
}

fn mq_send_sleeps() -> Outcome {
    let (_name, fd) = small(0)?;
    send(fd, b"a", 5)?;
    send(fd, b"b", 5)?;
    let child = sleeper(|| send(fd, b"c", 9))?;
    equal(receive(fd)?.0, b"a".to_vec())?;
    // Who took the message has put the sleeper's in.
    equal(attr_of(fd)?.curmsgs, 2)?;
    equal(end_of(child)?, 0)?;
    equal(receive(fd)?, (b"c".to_vec(), 9))?;
    equal(receive(fd)?, (b"b".to_vec(), 5))
}

/// The real time, so much later.
fn later(nanoseconds: i64) -> Sys<[i64; 2]> {
    let mut now = [0_i64; 2];
    sys!(SYS_clock_gettime, libc::CLOCK_REALTIME, &mut now)?;
    let [seconds, rest] = std::hint::black_box(now);
    let sum = rest + nanoseconds;
    Ok([seconds + sum / 1_000_000_000, sum % 1_000_000_000])
}

fn mq_timeouts() -> Outcome {
    let (_name, fd) = small(0)?;
    fails(receive_until(fd, Some(&[0, 0])), libc::ETIMEDOUT)?;
    let soon = later(5_000_000)?;
    fails(receive_until(fd, Some(&soon)), libc::ETIMEDOUT)?;
    // The time does not matter where nobody has to wait.
    for text in [b"a", b"b"] {
        sys!(SYS_mq_timedsend, fd, text, 1, 0, &[1_i64, 0])?;
    }
    fails(
        sys!(SYS_mq_timedsend, fd, b"c", 1, 0, &soon),
        libc::ETIMEDOUT,
    )?;
    equal(receive_until(fd, Some(&[1, 0]))?.0, b"a".to_vec())?;
    receive(fd)?;
    let long = later(1_000_000_000_000)?;
    let child = sleeper(|| receive_until(fd, Some(&long)).map(|_| 0))?;
    send(fd, b"x", 0)?;
    equal(end_of(child)?, 0)
}

fn mq_signals_interrupt_or_restart() -> Outcome {
    let (_name, fd) = small(0)?;
    let child = sleeper(|| {
        catch(libc::SIGUSR1, 0)?;
        receive(fd).map(|_| 0)
    })?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    equal(end_of(child)?, libc::EINTR)?;
    let child = sleeper(|| {
        catch(libc::SIGUSR1, libc::SA_RESTART)?;
        receive(fd)?;
        match hits(libc::SIGUSR1) {
            1 => Ok(0),
            _ => Err(Errno(libc::EBADMSG)),
        }
    })?;
    sys!(SYS_kill, child, libc::SIGUSR1)?;
    await_state(child, "S")?;
    send(fd, b"x", 0)?;
    equal(end_of(child)?, 0)
}

fn mq_unlinked_lives_on() -> Outcome {
    let (name, fd) = small(0)?;
    send(fd, b"x", 0)?;
    unlink(&name.0)?;
    let other = open_as(&name.0, MAKE, 0o600, Some(&attr(1, 1)))?;
    equal(attr_of(other)?.curmsgs, 0)?;
    equal(receive(fd)?.0, b"x".to_vec())?;
    equal(fstat(fd)?.st_nlink, 0)
}

/// `struct sigevent`.
#[repr(C)]
struct Event {
    value: u64,
    signo: i32,
    notify: i32,
    rest: [i32; 12],
}

const NONE: i32 = 1;
const SIGNAL: i32 = 0;
const THREAD_EVENT: i32 = 2;

fn event(notify: i32, signo: i32, value: u64) -> Event {
    Event {
        value,
        signo,
        notify,
        rest: [0; 12],
    }
}

fn notify(fd: i32, event: &Event) -> Sys {
    sys!(SYS_mq_notify, fd, event)
}

fn mq_notify_signals_once() -> Outcome {
    let (_name, fd) = small(0)?;
    block(&[libc::SIGUSR1])?;
    notify(fd, &event(SIGNAL, libc::SIGUSR1, 0x1234_5678_9abc))?;
    let child = fork(|| i32::from(send(fd, b"x", 0).is_err()))?;
    equal(wait(child)?, 0)?;
    let info = take(&[libc::SIGUSR1])?;
    equal((info.si_code, info.si_errno), (-3, 0))?;
    // SAFETY: such information is that of a queued signal.
    let (pid, uid, value) = unsafe { (info.si_pid(), info.si_uid(), info.si_value().sival_ptr) };
    equal((pid, uid, value as u64), (child, 0, 0x1234_5678_9abc))?;
    receive(fd)?;
    send(fd, b"y", 0)?;
    equal(pending()?, 0)?;
    // It can be asked for anew.
    notify(fd, &event(SIGNAL, libc::SIGUSR1, 0))
        .map(|_| ())
        .map_err(Into::into)
}

fn mq_notify_is_exclusive() -> Outcome {
    let (_name, fd) = small(0)?;
    notify(fd, &event(NONE, 0, 0))?;
    fails(notify(fd, &event(NONE, 0, 0)), libc::EBUSY)?;
    within(|| {
        fails(notify(fd, &event(SIGNAL, libc::SIGUSR1, 0)), libc::EBUSY)?;
        // Nobody else can take it back.
        sys!(SYS_mq_notify, fd, 0)?;
        fails(notify(fd, &event(NONE, 0, 0)), libc::EBUSY)
    })?;
    sys!(SYS_mq_notify, fd, 0)?;
    sys!(SYS_mq_notify, fd, 0)?;
    notify(fd, &event(NONE, 0, 0))?;
    // A message ends what says nothing, too.
    send(fd, b"x", 0)?;
    notify(fd, &event(NONE, 0, 0))?;
    Ok(())
}

fn mq_notify_when_empty_only() -> Outcome {
    let (_name, fd) = small(0)?;
    block(&[libc::SIGUSR1])?;
    send(fd, b"a", 0)?;
    notify(fd, &event(SIGNAL, libc::SIGUSR1, 0))?;
    send(fd, b"b", 0)?;
    equal(pending()?, 0)?;
    receive(fd)?;
    receive(fd)?;
    send(fd, b"c", 0)?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))
}

fn mq_notify_not_while_somebody_sleeps() -> Outcome {
    let (_name, fd) = small(0)?;
    block(&[libc::SIGUSR1])?;
    notify(fd, &event(SIGNAL, libc::SIGUSR1, 0))?;
    let child = await_message(fd, b"a")?;
    send(fd, b"a", 0)?;
    equal(end_of(child)?, 0)?;
    equal(pending()?, 0)?;
    send(fd, b"b", 0)?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))
}

fn mq_notify_ends_with_a_close() -> Outcome {
    let (name, fd) = small(0)?;
    notify(fd, &event(NONE, 0, 0))?;
    // Any descriptor of the queue will do, and one of a child will not.
    within(|| {
        close(fd)?;
        Ok(())
    })?;
    fails(notify(fd, &event(NONE, 0, 0)), libc::EBUSY)?;
    close(open_as(&name.0, libc::O_RDONLY, 0, None)?)?;
    notify(fd, &event(NONE, 0, 0))?;
    Ok(())
}

fn mq_notify_ends_with_an_exit() -> Outcome {
    let (_name, fd) = small(0)?;
    within(|| {
        notify(fd, &event(SIGNAL, libc::SIGUSR1, 0))?;
        Ok(())
    })?;
    notify(fd, &event(NONE, 0, 0))?;
    Ok(())
}

fn mq_notify_of_bad_arguments() -> Outcome {
    let (_name, fd) = small(0)?;
    let (read_end, _write_end) = pipe()?;
    fails(notify(fd, &event(9, 0, 0)), libc::EINVAL)?;
    fails(notify(fd, &event(4, libc::SIGUSR1, 0)), libc::EINVAL)?;
    fails(notify(fd, &event(SIGNAL, 65, 0)), libc::EINVAL)?;
    fails(notify(fd, &event(SIGNAL, -1, 0)), libc::EINVAL)?;
    fails(notify(read_end, &event(NONE, 0, 0)), libc::EBADF)?;
    fails(sys!(SYS_mq_notify, fd, 8), libc::EFAULT)?;
    let cookie = [0_u8; 32];
    let at = cookie.as_ptr() as u64;
    fails(notify(fd, &event(THREAD_EVENT, 99, at)), libc::EBADF)?;
    fails(
        notify(fd, &event(THREAD_EVENT, read_end, at)),
        libc::ENOTSOCK,
    )?;
    fails(notify(fd, &event(THREAD_EVENT, read_end, 8)), libc::EFAULT)?;
    let socket = sys!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0)? as i32;
    fails(notify(fd, &event(THREAD_EVENT, socket, at)), libc::EINVAL)?;
    // A signal with the number 0 says nothing, and is a registration.
    notify(fd, &event(SIGNAL, 0, 0))?;
    fails(notify(fd, &event(NONE, 0, 0)), libc::EBUSY)
}

fn mq_descriptor_is_closed_by_exec() -> Outcome {
    let (_name, fd) = small(0)?;
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    let (told, tell) = pipe2(libc::O_CLOEXEC)?;
    let child = fork(|| {
        let _ = notify(fd, &event(NONE, 0, 0));
        let _ = sys!(SYS_dup3, read_end, 0, 0);
        let argv = [c"cat".as_ptr(), std::ptr::null()];
        let envp = [std::ptr::null::<libc::c_char>()];
        let _ = sys!(SYS_execve, c"/bin/cat", &argv, &envp);
        1
    })?;
    close(tell)?;
    equal(read_some(told)?.len(), 0)?;
    // The close by exec has taken the registration back, or is about to.
    while notify(fd, &event(NONE, 0, 0)).is_err() {
        nap();
    }
    close(write_end)?;
    equal(wait(child)?, 0)
}

/// A file of `/proc/sys/fs/mqueue` that is set back when the case ends.
struct Setting(&'static str, String);

impl Setting {
    fn set(name: &'static str, value: &str) -> Outcome<Self> {
        let path = format!("/proc/sys/fs/mqueue/{name}");
        let old = text_of(&path)?;
        std::fs::write(&path, value)?;
        Ok(Self(name, old))
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = std::fs::write(format!("/proc/sys/fs/mqueue/{}", self.0), &self.1);
    }
}

fn mq_limits() -> Outcome {
    let told = |name: &str| text_of(&format!("/proc/sys/fs/mqueue/{name}"));
    for (name, value) in [
        ("queues_max", "256\n"),
        ("msg_max", "10\n"),
        ("msgsize_max", "8192\n"),
        ("msg_default", "10\n"),
        ("msgsize_default", "8192\n"),
    ] {
        equal(told(name)?.as_str(), value)?;
    }
    check(Setting::set("msg_max", "0").is_err(), "no messages at most")?;
    check(
        Setting::set("msgsize_max", "127").is_err(),
        "messages of 127 bytes at most",
    )?;
    let name = Name::new("limits");
    let _most = Setting::set("msg_max", "4")?;
    let _size = Setting::set("msgsize_default", "128")?;
    let fd = open_as(&name.0, MAKE, 0o600, None)?;
    equal((attr_of(fd)?.maxmsg, attr_of(fd)?.msgsize), (4, 128))?;
    let _queues = Setting::set("queues_max", "1")?;
    within(|| {
        become_user()?;
        let other = Name::new("other");
        fails(open_as(&other.0, MAKE, 0o600, None), libc::ENOSPC)
    })?;
    // The super-user may have more.
    let other = Name::new("other");
    open_as(&other.0, MAKE, 0o600, None)?;
    Ok(())
}

fn mq_rlimit() -> Outcome {
    within(|| {
        become_user()?;
        let (first, second) = (Name::new("first"), Name::new("second"));
        // Ten messages of 100 bytes, and what is kept of each.
        let cost = 10 * 100 + 10 * 48 + 10 * 48_u64;
        let limit = |bytes: u64| {
            let limit = [bytes, 819_200];
            sys!(SYS_prlimit64, 0, libc::RLIMIT_MSGQUEUE, &limit, 0)
        };
        limit(cost - 1)?;
        let size = attr(10, 100);
        fails(open_as(&first.0, MAKE, 0o600, Some(&size)), libc::EMFILE)?;
        limit(2 * cost - 1)?;
        let fd = open_as(&first.0, MAKE, 0o600, Some(&size))?;
        fails(open_as(&second.0, MAKE, 0o600, Some(&size)), libc::EMFILE)?;
        unlink(&first.0)?;
        fails(open_as(&second.0, MAKE, 0o600, Some(&size)), libc::EMFILE)?;
        // With its last user it is gone.
        close(fd)?;
        open_as(&second.0, MAKE, 0o600, Some(&size))?;
        Ok(())
    })
}

fn mq_hundreds_of_queues() -> Outcome {
    within(|| {
        become_user()?;
        let mut names = Vec::new();
        let mut end = 0;
        while end == 0 {
            let name = Name::new(&format!("many{}", names.len()));
            match open_as(&name.0, MAKE, 0o600, Some(&attr(1, 8))) {
                Ok(fd) => {
                    send(fd, b"abc", 0)?;
                    close(fd)?;
                    names.push(name);
                }
                Err(Errno(errno)) => end = errno,
            }
        }
        equal((end, names.len()), (libc::ENOSPC, 256))?;
        drop(names);
        let again = Name::new("again");
        open_as(&again.0, MAKE, 0o600, None)?;
        Ok(())
    })
}

/// The queues as files.
fn mounted() -> Outcome {
    std::fs::create_dir("q")?;
    sys!(SYS_mount, c"none", c"q", c"mqueue", 0, 0)?;
    Ok(())
}

fn mqueue_file_system() -> Outcome {
    mounted()?;
    let (name, fd) = small(0)?;
    let text = name.0.to_string_lossy().into_owned();
    let path = c_string(&format!("q/{text}"));
    let listed = std::fs::read_dir("q")?
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy() == text);
    check(listed, "the queue is not in the directory")?;
    let st = stat(&path)?;
    equal(
        (st.st_mode, st.st_size, st.st_nlink),
        (libc::S_IFREG | 0o600, 80, 1),
    )?;
    equal(st.st_ino, fstat(fd)?.st_ino)?;
    equal(stat(c"q")?.st_mode, libc::S_IFDIR | 0o1777)?;
    let mut fs = [0_u64; 15];
    sys!(SYS_statfs, c"q", &mut fs)?;
    equal(std::hint::black_box(fs)[0], 0x1980_0202)?;
    // A file that is made is a queue of the default size.
    let made = open(c"q/made", libc::O_CREAT | libc::O_RDWR)?;
    send(made, b"from a file", 1)?;
    let same = open_as(c"made", libc::O_RDONLY, 0, None)?;
    equal(receive(same)?, (b"from a file".to_vec(), 1))?;
    fails(
        sys!(SYS_mkdirat, libc::AT_FDCWD, c"q/d", 0o700),
        libc::EPERM,
    )?;
    close(made)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"q/made", 0)?;
    fails(open_as(c"made", libc::O_RDONLY, 0, None), libc::ENOENT)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, path.as_c_str(), 0)?;
    fails(open_as(&name.0, libc::O_RDONLY, 0, None), libc::ENOENT)?;
    sys!(SYS_umount2, c"q", 0)?;
    Ok(())
}

fn mqueue_status_text() -> Outcome {
    mounted()?;
    let (name, fd) = small(0)?;
    let path = format!("q/{}", name.0.to_string_lossy());
    send(fd, b"abc", 0)?;
    send(fd, b"de", 0)?;
    let line = |bytes: u32, how: i32, signo: i32, pid: i32| {
        format!("QSIZE:{bytes:<10} NOTIFY:{how:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n")
    };
    equal(text_of(&path)?, line(5, 0, 0, 0))?;
    // Through the descriptor of the queue too.
    equal(read_some(fd)?, line(5, 0, 0, 0).into_bytes())?;
    notify(fd, &event(SIGNAL, libc::SIGUSR1, 0))?;
    receive(fd)?;
    // Reading by this process opens and closes a file of the queue, which ends the registration.
    let reader = |path: &str| {
        let (read_end, write_end) = pipe()?;
        let path = path.to_owned();
        let child = fork(|| {
            let text = text_of(&path).unwrap_or_default();
            i32::from(write(write_end, text.as_bytes()).is_err())
        })?;
        wait(child)?;
        read_some(read_end)
    };
    equal(
        reader(&path)?,
        line(2, 0, libc::SIGUSR1, getpid()).into_bytes(),
    )?;
    equal(text_of(&path)?, line(2, 0, libc::SIGUSR1, getpid()))?;
    equal(text_of(&path)?, line(2, 0, 0, 0))?;
    notify(fd, &event(NONE, 0, 0))?;
    equal(reader(&path)?, line(2, NONE, 0, getpid()).into_bytes())?;
    sys!(SYS_umount2, c"q", 0)?;
    Ok(())
}
