//! System V IPC: shared memory, semaphores and message queues.
//!
//! The structures are the kernel's; a C library's may differ in names and padding.

pub mod limit;
pub mod msg;
pub mod sem;
pub mod shm;
pub mod sleep;

use crate::check::*;
use crate::sys::*;

pub const IPC_PRIVATE: i32 = 0;
pub const CREAT: i32 = 0o1000;
pub const EXCL: i32 = 0o2000;
pub const NOWAIT: i32 = 0o4000;
pub const RMID: i32 = 0;
pub const SET: i32 = 1;
pub const STAT: i32 = 2;
pub const INFO: i32 = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Perm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub seq: u16,
    pad: [u16; 3],
    unused: [u64; 2],
}

/// A call that takes an object away when the case ends, however it ends.
pub struct Owned {
    control: i64,
    pub id: i32,
}

impl Owned {
    pub fn shm(id: i32) -> Self {
        let control = libc::SYS_shmctl;
        Self { control, id }
    }
    pub fn sem(id: i32) -> Self {
        let control = libc::SYS_semctl;
        Self { control, id }
    }
    pub fn msg(id: i32) -> Self {
        let control = libc::SYS_msgctl;
        Self { control, id }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let semctl = self.control == libc::SYS_semctl;
        let args = if semctl {
            [self.id as usize, 0, RMID as usize]
        } else {
            [self.id as usize, RMID as usize, 0]
        };
        let _ = call(self.control, &args);
    }
}

/// A key that no other case uses: by the process's number.
pub fn key() -> i32 {
    0x4950_0000 + getpid()
}

/// The numbers of a line of `/proc/sysvipc`, the mode read as octal; of the object with this id.
pub fn row_of(table: &str, id: i32) -> Outcome<Vec<u64>> {
    let text = text_of(&format!("/proc/sysvipc/{table}"))?;
    let words =
        |line: &str| -> Vec<String> { line.split_ascii_whitespace().map(str::to_owned).collect() };
    let row = text
        .lines()
        .skip(1)
        .map(words)
        .find(|words| words.get(1).is_some_and(|word| *word == id.to_string()));
    let row = some(row, "the object is not in the table")?;
    row.iter()
        .enumerate()
        .map(|(column, word)| {
            let radix = if column == 2 { 8 } else { 10 };
            let number = u64::from_str_radix(word, radix).ok();
            some(number, "a field of the table is no number")
        })
        .collect()
}

/// A file of `/proc/sys/kernel` that is set back when the case ends.
pub struct Setting {
    path: String,
    old: String,
}

impl Setting {
    pub fn set(name: &str, value: &str) -> Outcome<Self> {
        let path = format!("/proc/sys/kernel/{name}");
        let old = text_of(&path)?;
        std::fs::write(&path, value)?;
        Ok(Self { path, old })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.path, &self.old);
    }
}

/// The result of writing a file of `/proc/sys/kernel`.
pub fn write_setting(name: &str, value: &str) -> Outcome<Sys> {
    let path = c_string(&format!("/proc/sys/kernel/{name}"));
    let fd = open(&path, libc::O_WRONLY)?;
    let result = write(fd, value.as_bytes());
    close(fd)?;
    Ok(result)
}

/// Starts a child and waits until it sleeps; it ends with the error number that the body answers, or 0.
pub fn sleeper(body: impl FnOnce() -> Sys) -> Outcome<i32> {
    let pid = fork(|| match body() {
        Ok(_) => 0,
        Err(Errno(errno)) => errno,
    })?;
    await_state(pid, "S")?;
    Ok(pid)
}

/// How a child ended by itself: its error number.
pub fn end_of(pid: i32) -> Outcome<i32> {
    let status = loop {
        match wait(pid) {
            Err(Errno(libc::EINTR)) => continue,
            other => break other?,
        }
    };
    check(libc::WIFEXITED(status), "the child is killed")?;
    Ok(libc::WEXITSTATUS(status))
}
