//! Objects of IPC outlive their makers: what random calls make is bounded, and taken away at the end.

use std::ffi::CString;
use std::fs;

use crate::sys::sys;

/// Limits that keep all objects together small, and what they were before.
pub struct Bounds(Vec<(&'static str, String)>);

const SMALL: [(&str, &str); 4] = [
    // Pages.
    ("shmall", "4096"),
    ("shmmni", "64"),
    ("sem", "250 8000 64 64"),
    ("msgmni", "64"),
];

impl Bounds {
    pub fn set() -> Self {
        let set = |(name, value): (&'static str, &str)| {
            let path = path(name);
            let old = fs::read_to_string(&path).ok()?;
            fs::write(&path, value).ok()?;
            Some((name, old))
        };
        Self(SMALL.into_iter().filter_map(set).collect())
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        for (name, old) in &self.0 {
            let _ = fs::write(path(name), old);
        }
    }
}

fn path(name: &str) -> String {
    format!("/proc/sys/kernel/{name}")
}

/// Removes every object there is.
pub fn clear(root: &str) {
    for (table, call, before) in [
        ("shm", libc::SYS_shmctl, &[][..]),
        ("sem", libc::SYS_semctl, &[0][..]),
        ("msg", libc::SYS_msgctl, &[][..]),
    ] {
        for id in ids(table) {
            let args = [&[id][..], before, &[libc::IPC_RMID as usize, 0]].concat();
            sys(call, &args);
        }
    }
    clear_queues(&format!("{root}-mqueue"));
}

fn ids(table: &str) -> Vec<usize> {
    let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
    let id = |line: &str| line.split_ascii_whitespace().nth(1)?.parse().ok();
    text.lines().skip(1).filter_map(id).collect()
}

/// POSIX queues have names only where their file system is mounted.
fn clear_queues(place: &str) {
    if fs::create_dir(place).is_err() {
        return;
    }
    let target = CString::new(place).unwrap_or_default();
    let kind = c"mqueue".as_ptr() as usize;
    sys(
        libc::SYS_mount,
        &[kind, target.as_ptr() as usize, kind, 0, 0],
    );
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    sys(libc::SYS_umount2, &[target.as_ptr() as usize, 0]);
    let _ = fs::remove_dir(place);
}
