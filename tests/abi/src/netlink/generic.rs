//! `NETLINK_GENERIC`: the controller, acknowledgements, dumps, and the figures of tasks.

use libc::{
    E2BIG, EBUSY, EINVAL, ENOENT, EOPNOTSUPP, EPERM, ESRCH, NETLINK_CAP_ACK, NETLINK_GENERIC,
    SOL_NETLINK,
};

use super::*;
use crate::cases;
use crate::harness::Case;
use crate::ptrace::status_of;

pub const CASES: &[Case] = cases![
    families_are_found_by_name_and_number,
    families_that_are_not_there_are_refused,
    all_families_are_dumped,
    a_second_dump_has_to_wait,
    requests_are_acknowledged_when_asked,
    errors_bring_the_request_back,
    a_datagram_holds_many_requests,
    commands_are_checked,
    taskstats_of_a_thread,
    taskstats_of_a_process,
    taskstats_are_checked,
    taskstats_tell_of_ends,
];

const CTRL: u16 = 16;
const NEWFAMILY: u8 = 1;
const GETFAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const GET: u8 = 1;
const PID: u16 = 1;
const TGID: u16 = 2;
const REGISTER: u16 = 3;
const DEREGISTER: u16 = 4;

fn generic() -> Outcome<i32> {
    Ok(bound(NETLINK_GENERIC, 0)?.0)
}

/// A command with one attribute.
fn command(cmd: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![cmd, 1, 0, 0];
    bytes.extend(attribute(kind, value));
    bytes
}

/// What the controller says of a family.
fn family(fd: i32, name: &str) -> Outcome<Vec<u8>> {
    let name = format!("{name}\0");
    let question = command(GETFAMILY, FAMILY_NAME, name.as_bytes());
    let answer = ask_one(fd, CTRL, &question)?;
    equal((answer.kind, answer.flags), (CTRL, 0))?;
    equal(&answer.payload[..4], [NEWFAMILY, 2, 0, 0])?;
    Ok(answer.payload[4..].to_vec())
}

fn number_of(fd: i32, name: &str) -> Outcome<u16> {
    Ok(half_at(&find(&family(fd, name)?, FAMILY_ID)?, 0))
}

fn families_are_found_by_name_and_number() -> Outcome {
    let fd = generic()?;
    let nlctrl = family(fd, "nlctrl")?;
    equal(find(&nlctrl, FAMILY_ID)?, CTRL.to_ne_bytes())?;
    equal(text(&find(&nlctrl, FAMILY_NAME)?), "nlctrl")?;
    equal(number_at(&find(&nlctrl, 3)?, 0), 2)?;
    equal(number_at(&find(&nlctrl, 4)?, 0), 0)?;
    let stats = family(fd, "TASKSTATS")?;
    let id = half_at(&find(&stats, FAMILY_ID)?, 0);
    check(id > 18, "a number that was handed out")?;
    equal(number_at(&find(&stats, 3)?, 0), 1)?;
    // Its command: for the administrator, to be done, with a policy.
    let commands = attributes_of(&find(&stats, 6)?);
    let (_, get) = some(commands.first(), "a command")?;
    equal(number_at(&find(get, 1)?, 0), u32::from(GET))?;
    equal(number_at(&find(get, 2)?, 0), 1 | 2 | 8)?;
    let question = command(GETFAMILY, FAMILY_ID, &id.to_ne_bytes());
    let same = ask_one(fd, CTRL, &question)?;
    equal(text(&find(&same.payload[4..], FAMILY_NAME)?), "TASKSTATS")
}

fn families_that_are_not_there_are_refused() -> Outcome {
    let fd = generic()?;
    let by_name = command(GETFAMILY, FAMILY_NAME, b"no such\0");
    refused(fd, CTRL, 0, &by_name, ENOENT)?;
    let by_id = command(GETFAMILY, FAMILY_ID, &999_u16.to_ne_bytes());
    refused(fd, CTRL, 0, &by_id, ENOENT)?;
    refused(fd, CTRL, 0, &[GETFAMILY, 1, 0, 0], EINVAL)?;
    let unended = command(GETFAMILY, FAMILY_NAME, b"nlctrl");
    refused(fd, CTRL, 0, &unended, EINVAL)
}

fn all_families_are_dumped() -> Outcome {
    let fd = generic()?;
    let all = ask(fd, CTRL, DUMP, &[GETFAMILY, 1, 0, 0])?;
    let mut names = Vec::new();
    for answer in &all {
        equal((answer.kind, answer.flags), (CTRL, MULTI))?;
        names.push(text(&find(&answer.payload[4..], FAMILY_NAME)?));
    }
    for name in ["nlctrl", "TASKSTATS"] {
        check(names.iter().any(|other| other == name), name)?;
    }
    Ok(())
}

fn a_second_dump_has_to_wait() -> Outcome {
    let fd = generic()?;
    let dump = message(CTRL, REQUEST | DUMP, 1, &[GETFAMILY, 1, 0, 0]);
    send(fd, &dump)?;
    send(fd, &dump)?;
    let mut kinds = Vec::new();
    while let Ok(got) = receive(fd) {
        kinds.extend(messages_of(&got.bytes)?);
    }
    let refused = kinds.iter().find(|message| message.kind == ERROR);
    equal(some(refused, "a refusal")?.error(), EBUSY)?;
    let ends = kinds.iter().filter(|message| message.kind == DONE);
    equal(ends.count(), 1)?;
    // Then there is room for another.
    check(
        !ask(fd, CTRL, DUMP, &[GETFAMILY, 1, 0, 0])?.is_empty(),
        "a dump",
    )
}

fn requests_are_acknowledged_when_asked() -> Outcome {
    let fd = generic()?;
    let question = command(GETFAMILY, FAMILY_NAME, b"nlctrl\0");
    let bytes = message(CTRL, REQUEST | ACK, 77, &question);
    send(fd, &bytes)?;
    let answer = messages_of(&receive(fd)?.bytes)?;
    equal(answer.first().map(|answer| answer.kind), Some(CTRL))?;
    let ack = messages_of(&receive(fd)?.bytes)?;
    let ack = some(ack.first(), "an acknowledgement")?;
    // Without the request's payload.
    equal((ack.kind, ack.flags, ack.seq), (ERROR, 0x100, 77))?;
    equal(ack.error(), 0)?;
    equal(&ack.payload[4..], &bytes[..16])?;
    fails(receive(fd), libc::EAGAIN)?;
    // What is no request is acknowledged all the same, and nothing else.
    send(fd, &message(CTRL, ACK, 78, &question))?;
    let ack = messages_of(&receive(fd)?.bytes)?;
    let ack = some(ack.first(), "an acknowledgement")?;
    equal((ack.kind, ack.seq, ack.error()), (ERROR, 78, 0))?;
    send(fd, &message(CTRL, 0, 79, &question))?;
    send(fd, &message(3, REQUEST, 80, &question))?;
    fails(receive(fd), libc::EAGAIN)
}

fn errors_bring_the_request_back() -> Outcome {
    let fd = generic()?;
    let question = command(GETFAMILY, FAMILY_NAME, b"no such\0");
    let bytes = message(CTRL, REQUEST, 5, &question);
    send(fd, &bytes)?;
    let got = messages_of(&receive(fd)?.bytes)?;
    let error = some(got.first(), "an error")?;
    equal((error.flags, error.error()), (0, ENOENT))?;
    equal(&error.payload[4..], bytes.as_slice())?;
    set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1)?;
    send(fd, &bytes)?;
    let got = messages_of(&receive(fd)?.bytes)?;
    let error = some(got.first(), "an error")?;
    equal((error.flags, error.error()), (0x100, ENOENT))?;
    equal(&error.payload[4..], &bytes[..16])
}

fn a_datagram_holds_many_requests() -> Outcome {
    let fd = generic()?;
    let question = command(GETFAMILY, FAMILY_NAME, b"no such\0");
    let mut bytes = Vec::new();
    for seq in 1..4 {
        bytes.extend(message(CTRL, REQUEST, seq, &question));
    }
    // The last is not whole.
    let mut cut = message(CTRL, REQUEST, 4, &question);
    cut.truncate(20);
    bytes.extend(cut);
    equal(send(fd, &bytes)?, bytes.len())?;
    for seq in 1..4 {
        let got = messages_of(&receive(fd)?.bytes)?;
        equal(got.first().map(|answer| answer.seq), Some(seq))?;
    }
    fails(receive(fd), libc::EAGAIN)
}

fn commands_are_checked() -> Outcome {
    let fd = generic()?;
    refused(fd, 999, 0, &[1, 1, 0, 0], ENOENT)?;
    refused(fd, CTRL, 0, &[99, 1, 0, 0], EOPNOTSUPP)?;
    refused(fd, CTRL, 0, &[1], EINVAL)?;
    let stats = number_of(fd, "TASKSTATS")?;
    refused(fd, stats, DUMP, &[GET, 1, 0, 0], EOPNOTSUPP)
}

/// The figures in an answer, of a thread or of a process, and whose.
fn figures(payload: &[u8], kind: u16) -> Outcome<(u32, Vec<u8>)> {
    let aggregate = find(&payload[4..], kind + 3)?;
    let number = number_at(&find(&aggregate, kind)?, 0);
    let stats = find(&aggregate, 3)?;
    check(
        stats.len() >= 416 && half_at(&stats, 0) >= 13,
        "of version 13",
    )?;
    Ok((number, stats))
}

fn long_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(number_at(bytes, at)) | u64::from(number_at(bytes, at + 4)) << 32
}

fn taskstats_of_a_thread() -> Outcome {
    let fd = generic()?;
    let family = number_of(fd, "TASKSTATS")?;
    sys!(SYS_prctl, libc::PR_SET_NAME, c"counted", 0, 0, 0)?;
    sys!(SYS_setpriority, 0, 0, 5)?;
    let me = getpid() as u32;
    // On a busy machine a sleep may be over before it began.
    while status_of(getpid(), "voluntary_ctxt_switches")? < 3 {
        nap();
    }
    let answer = ask_one(fd, family, &command(GET, PID, &me.to_ne_bytes()))?;
    equal(&answer.payload[..4], [2, 1, 0, 0])?;
    let (number, stats) = figures(&answer.payload, PID)?;
    equal(number, me)?;
    equal((number_at(&stats, 128), number_at(&stats, 368)), (me, me))?;
    equal(number_at(&stats, 132), sys!(SYS_getppid)? as u32)?;
    equal((number_at(&stats, 120), number_at(&stats, 124)), (0, 0))?;
    equal(text(&stats[80..112]), "counted")?;
    // Forked without exec; its nice value.
    equal((stats[8] & 1, stats[9]), (1, 5))?;
    equal(number_at(&stats, 4), 0)?;
    check(long_at(&stats, 144) >= 3000, "time has passed")?;
    check(long_at(&stats, 16) >= 3, "it got a processor")?;
    check(long_at(&stats, 272) >= 3, "it gave up its processor")?;
    check(long_at(&stats, 72) > 0, "it ran")?;
    check(long_at(&stats, 168) > 0, "it had faults")?;
    let rss = long_at(&stats, 200);
    check(rss > 50 && rss <= long_at(&stats, 208), "its memory")?;
    let now = sys!(SYS_time, 0)? as u64;
    let start = long_at(&stats, 344);
    check(start <= now && now - start < 60, "when it began")?;
    equal(start as u32, number_at(&stats, 136))
}

fn taskstats_of_a_process() -> Outcome {
    let fd = generic()?;
    let family = number_of(fd, "TASKSTATS")?;
    let me = getpid() as u32;
    // On a busy machine a sleep may be over before it began.
    while status_of(getpid(), "voluntary_ctxt_switches")? < 3 {
        nap();
    }
    let answer = ask_one(fd, family, &command(GET, TGID, &me.to_ne_bytes()))?;
    let (number, stats) = figures(&answer.payload, TGID)?;
    equal(number, me)?;
    check(long_at(&stats, 272) >= 3, "it gave up its processor")?;
    check(long_at(&stats, 144) >= 3000, "time has passed")?;
    // What is of single threads is not told.
    equal(
        (number_at(&stats, 128), text(&stats[80..112])),
        (0, String::new()),
    )
}

fn taskstats_are_checked() -> Outcome {
    let fd = generic()?;
    let family = number_of(fd, "TASKSTATS")?;
    refused(fd, family, 0, &[GET, 1, 0, 0], EINVAL)?;
    let nobody = command(GET, PID, &0x3fff_fff0_u32.to_ne_bytes());
    refused(fd, family, 0, &nobody, ESRCH)?;
    let nobody = command(GET, TGID, &0x3fff_fff0_u32.to_ne_bytes());
    refused(fd, family, 0, &nobody, ESRCH)?;
    let register = |list: &[u8]| command(GET, REGISTER, list);
    refused(fd, family, 0, &register(b"x\0"), EINVAL)?;
    refused(fd, family, 0, &register(b"3-1\0"), EINVAL)?;
    refused(fd, family, 0, &register(b"0-100000\0"), libc::ERANGE)
        .or_else(|_| refused(fd, family, 0, &register(b"0-100000\0"), EINVAL))?;
    refused(fd, family, 0, &register(&[b' '; 60000]), E2BIG)?;
    within(|| {
        let fd = generic()?;
        become_user()?;
        let me = (getpid() as u32).to_ne_bytes();
        refused(fd, family, 0, &command(GET, PID, &me), EPERM)
    })
}

fn taskstats_tell_of_ends() -> Outcome {
    let fd = generic()?;
    let family = number_of(fd, "TASKSTATS")?;
    let online = text_of("/sys/devices/system/cpu/online")?;
    let list = format!("{}\0", online.trim());
    let register = command(GET, REGISTER, list.as_bytes());
    send(fd, &message(family, REQUEST | ACK, 1, &register))?;
    let ack = messages_of(&receive(fd)?.bytes)?;
    equal(ack.first().map(Message::error), Some(0))?;
    let child = fork(|| 3)?;
    wait(child)?;
    // It is there before the end is known.
    let (pid, stats) = loop {
        let got = messages_of(&receive(fd)?.bytes)?;
        let told = some(got.first(), "an end")?;
        equal((told.kind, told.flags, told.port), (family, 0, 0))?;
        equal(&told.payload[..4], [2, 1, 0, 0])?;
        let (pid, stats) = figures(&told.payload, PID)?;
        if pid == child as u32 {
            break (pid, stats);
        }
    };
    equal(
        (number_at(&stats, 128), number_at(&stats, 4)),
        (pid, 3 << 8),
    )?;
    // Forked without exec, the last of its process.
    equal(stats[8] & 0x21, 0x21)?;
    check(long_at(&stats, 200) > 0, "its memory was there")?;
    check(long_at(&stats, 392) > 0, "its program is known")?;
    let deregister = command(GET, DEREGISTER, list.as_bytes());
    send(fd, &message(family, REQUEST | ACK, 2, &deregister))?;
    loop {
        let got = messages_of(&receive(fd)?.bytes)?;
        if got.iter().any(|message| message.kind == ERROR) {
            break;
        }
    }
    let child = fork(|| 0)?;
    wait(child)?;
    fails(receive(fd), libc::EAGAIN)
}
