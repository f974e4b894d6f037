//! The limits of `/proc/sys/kernel`, and what happens at them.

use super::sem::{SETVAL, op, semctl, semop};
use super::{IPC_PRIVATE, Owned, Setting, msg, sem, shm, write_setting};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    limits_are_told,
    limits_refuse_nonsense,
    limit_of_segments,
    limit_of_a_segment_and_of_all,
    limit_of_semaphores,
    limit_of_operations,
    limit_of_sets,
    limit_of_messages,
    limit_of_queues,
    limit_next_id_is_taken_once,
    limit_forced_removal_at_detach,
    limit_forced_removal_of_orphans,
    limit_thousands_of_objects,
];

fn told(name: &str) -> Outcome<String> {
    Ok(text_of(&format!("/proc/sys/kernel/{name}"))?
        .trim_end()
        .to_owned())
}

fn limits_are_told() -> Outcome {
    for (name, value) in [
        ("shmmax", "18446744073692774399"),
        ("shmall", "18446744073692774399"),
        ("shmmni", "4096"),
        ("shm_rmid_forced", "0"),
        ("sem", "32000\t1024000000\t500\t32000"),
        ("msgmax", "8192"),
        ("msgmnb", "16384"),
        ("msgmni", "32000"),
    ] {
        equal(told(name)?.as_str(), value)?;
    }
    for name in ["shm_next_id", "sem_next_id", "msg_next_id"] {
        equal(told(name)?.as_str(), "-1")?;
    }
    Ok(())
}

fn limits_refuse_nonsense() -> Outcome {
    for (name, value) in [
        ("shmmni", "-1"),
        ("shmmni", "32769"),
        ("shmmax", "x"),
        ("shm_rmid_forced", "2"),
        ("msgmni", "32769"),
        ("msgmax", "-1"),
        ("msgmnb", "-1"),
        ("sem_next_id", "-1"),
    ] {
        fails(write_setting(name, value)?, libc::EINVAL)?;
    }
    fails(
        write_setting("sem", "32000 1024000000 500 32769")?,
        libc::ERANGE,
    )?;
    equal(told("shmmni")?.as_str(), "4096")?;
    equal(told("sem")?.as_str(), "32000\t1024000000\t500\t32000")?;
    within(|| {
        become_user()?;
        let path = c"/proc/sys/kernel/shmmni";
        fails(open(path, libc::O_WRONLY), libc::EACCES)
    })
}

/// The objects of a kind there are now.
fn count(table: &str) -> Outcome<usize> {
    let text = text_of(&format!("/proc/sysvipc/{table}"))?;
    Ok(text.lines().count().saturating_sub(1))
}

fn limit_of_segments() -> Outcome {
    let limit = (count("shm")? + 2).to_string();
    let _setting = Setting::set("shmmni", &limit)?;
    let (_a, b) = (shm::private(PAGE)?, shm::private(PAGE)?);
    fails(shm::shmget(IPC_PRIVATE, PAGE, 0o600), libc::ENOSPC)?;
    shm::remove(b.id)?;
    shm::private(PAGE)?;
    Ok(())
}

fn limit_of_a_segment_and_of_all() -> Outcome {
    let mut usage = [0_u64; 6];
    sys!(SYS_shmctl, 0, 14, &mut usage)?;
    let pages = std::hint::black_box(usage)[1];
    let most = Setting::set("shmmax", "8192")?;
    fails(shm::shmget(IPC_PRIVATE, 8193, 0o600), libc::EINVAL)?;
    shm::private(8192)?;
    drop(most);
    let _all = Setting::set("shmall", &(pages + 3).to_string())?;
    let two = shm::private(2 * PAGE)?;
    fails(shm::shmget(IPC_PRIVATE, PAGE + 1, 0o600), libc::ENOSPC)?;
    shm::private(PAGE)?;
    shm::remove(two.id)?;
    shm::private(3 * PAGE)?;
    Ok(())
}

fn limit_of_semaphores() -> Outcome {
    let mut usage = [0_i32; 10];
    sys!(SYS_semctl, 0, 0, 19, &mut usage)?;
    let used = std::hint::black_box(usage)[9];
    let _setting = Setting::set("sem", &format!("10 {}", used + 12))?;
    fails(sem::semget(IPC_PRIVATE, 11, 0o600), libc::EINVAL)?;
    let ten = sem::private(10)?;
    fails(sem::semget(IPC_PRIVATE, 3, 0o600), libc::ENOSPC)?;
    sem::private(2)?;
    sem::remove(ten.id)?;
    sem::private(10)?;
    Ok(())
}

fn limit_of_operations() -> Outcome {
    let set = sem::private(1)?;
    let _setting = Setting::set("sem", "32000 1024000000 2 32000")?;
    semop(set.id, &[op(0, 1), op(0, 1)])?;
    fails(semop(set.id, &[op(0, 1), op(0, 1), op(0, 1)]), libc::E2BIG)
}

fn limit_of_sets() -> Outcome {
    let limit = count("sem")? + 1;
    let _setting = Setting::set("sem", &format!("32000 1024000000 500 {limit}"))?;
    let _one = sem::private(1)?;
    fails(sem::semget(IPC_PRIVATE, 1, 0o600), libc::ENOSPC)
}

fn limit_of_messages() -> Outcome {
    let old = msg::private()?;
    let _most = Setting::set("msgmax", "4")?;
    let _bytes = Setting::set("msgmnb", "6")?;
    fails(msg::send(old.id, 1, b"abcde"), libc::EINVAL)?;
    let new = msg::private()?;
    equal(
        (msg::stat_of(old.id)?.qbytes, msg::stat_of(new.id)?.qbytes),
        (16384, 6),
    )?;
    msg::send(new.id, 1, b"abcd")?;
    fails(msg::send(new.id, 1, b"abc"), libc::EAGAIN)
}

fn limit_of_queues() -> Outcome {
    let limit = (count("msg")? + 1).to_string();
    let _setting = Setting::set("msgmni", &limit)?;
    let _one = msg::private()?;
    fails(msg::msgget(IPC_PRIVATE, 0o600), libc::ENOSPC)
}

fn limit_next_id_is_taken_once() -> Outcome {
    let wanted = 7 << 15 | 0x1234;
    write_setting("sem_next_id", &wanted.to_string())??;
    equal(told("sem_next_id")?, wanted.to_string())?;
    let set = sem::private(1)?;
    equal(set.id, wanted)?;
    equal(told("sem_next_id")?.as_str(), "-1")?;
    // The index is in use: the next free one.
    write_setting("sem_next_id", &wanted.to_string())??;
    let next = sem::private(1)?;
    equal(next.id, wanted + 1)?;
    semctl(next.id, 0, SETVAL, 1)?;
    Ok(())
}

fn limit_forced_removal_at_detach() -> Outcome {
    let _setting = Setting::set("shm_rmid_forced", "1")?;
    let segment = shm::private(PAGE)?;
    let first = shm::shmat(segment.id, 0, 0)?;
    let second = shm::shmat(segment.id, 0, 0)?;
    shm::shmdt(first)?;
    equal(shm::nattch(segment.id)?, 1)?;
    shm::shmdt(second)?;
    fails(shm::stat_of(segment.id), libc::EINVAL)
}

fn limit_forced_removal_of_orphans() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let orphan = || -> Outcome<i32> {
        let child = fork(|| {
            let id = shm::shmget(IPC_PRIVATE, PAGE, 0o600).unwrap_or(-1);
            i32::from(write(write_end, &id.to_ne_bytes()).is_err())
        })?;
        wait(child)?;
        let mut id = [0; 4];
        read(read_end, &mut id)?;
        Ok(i32::from_ne_bytes(id))
    };
    let mine = shm::private(PAGE)?;
    let theirs = Owned::shm(orphan()?);
    shm::stat_of(theirs.id)?;
    let _setting = Setting::set("shm_rmid_forced", "1")?;
    fails(shm::stat_of(theirs.id), libc::EINVAL)?;
    shm::stat_of(mine.id)?;
    // From now on an exit takes what was made along.
    fails(shm::stat_of(orphan()?), libc::EINVAL)
}

fn limit_thousands_of_objects() -> Outcome {
    let before = [count("shm")?, count("sem")?, count("msg")?];
    let mut all = Vec::new();
    let mut end = 0;
    while end == 0 {
        match shm::private(PAGE) {
            Ok(segment) => all.push(segment),
            Err(Errno(errno)) => end = errno,
        }
    }
    equal((end, all.len() + before[0]), (libc::ENOSPC, 4096))?;
    for _ in 0..3000 {
        all.push(sem::private(10)?);
        let queue = msg::private()?;
        msg::send(queue.id, 1, b"some text")?;
        all.push(queue);
    }
    equal(
        [count("sem")?, count("msg")?],
        [before[1] + 3000, before[2] + 3000],
    )?;
    drop(all);
    equal([count("shm")?, count("sem")?, count("msg")?], before)
}
