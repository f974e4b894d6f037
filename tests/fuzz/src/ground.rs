//! Where children are: a small file system for every few of them, with something of each kind of file.
//!
//! Random calls turn a folder into one where every call fails the same way, or waits: names become FIFOs, permissions go,
//! the file system fills up. So each is left behind soon, whatever it holds, and taken away while the last
//! of its children may still be in it.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

use crate::sys::sys;

/// Children of one file system.
const SHARERS: u64 = 8;
/// File systems that are there at a time; older ones are detached.
const KEPT: u64 = 3;

/// The folder that holds them.
pub struct Ground {
    root: String,
    /// How many have been made.
    made: u64,
}

impl Ground {
    pub fn new(root: &str) -> Self {
        let _ = fs::create_dir_all(root);
        mount(root, c"size=1m,mode=777");
        Self {
            root: root.to_owned(),
            made: 0,
        }
    }

    /// The folder of a child; children are numbered from 0 in the order of their start.
    pub fn of_child(&mut self, number: u64) -> String {
        let index = number / SHARERS;
        if index >= self.made {
            self.made = index + 1;
            if let Some(old) = index.checked_sub(KEPT) {
                unmount(&self.folder(old));
            }
            furnish(&self.folder(index));
        }
        self.folder(index)
    }

    fn folder(&self, index: u64) -> String {
        format!("{}/{index}", self.root)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for index in self.made.saturating_sub(KEPT)..self.made {
            unmount(&self.folder(index));
        }
        unmount(&self.root);
    }
}

fn furnish(folder: &str) {
    let _ = fs::DirBuilder::new().mode(0o777).create(folder);
    mount(folder, c"size=8m,mode=777");
    let path = |name: &str| format!("{folder}/{name}");
    let _ = fs::create_dir(path("d"));
    let _ = fs::write(path("f"), vec![7; 10_000]);
    let garbage = [&b"\x7fELF\x02\x01\x01"[..], &[0xa5; 300]].concat();
    let _ = fs::write(path("garbage"), garbage);
    let _ = fs::write(path("script"), "#!./garbage\n");
    let _ = symlink("f", path("link"));
    let _ = symlink("loop", path("loop"));
    let fifo = CString::new(path("fifo")).unwrap_or_default();
    let mode = (libc::S_IFIFO | 0o666) as usize;
    sys(libc::SYS_mknod, &[fifo.as_ptr() as usize, mode, 0]);
    for name in ["d", "f", "garbage", "script", "fifo"] {
        let _ = fs::set_permissions(path(name), fs::Permissions::from_mode(0o777));
    }
}

fn mount(folder: &str, data: &std::ffi::CStr) {
    let path = CString::new(folder).unwrap_or_default();
    let (kind, data) = (c"tmpfs".as_ptr() as usize, data.as_ptr() as usize);
    let flags = (libc::MS_NOSUID | libc::MS_NODEV) as usize;
    sys(
        libc::SYS_mount,
        &[kind, path.as_ptr() as usize, kind, flags, data],
    );
}

fn unmount(folder: &str) {
    let path = CString::new(folder).unwrap_or_default();
    let detach = libc::MNT_DETACH as usize;
    sys(libc::SYS_umount2, &[path.as_ptr() as usize, detach]);
    let _ = fs::remove_dir(folder);
}
