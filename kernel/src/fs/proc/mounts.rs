//! `mounts`, `mountinfo` and `mountstats`: the mounts that a process sees below its root.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{MountFlags, NSFS_MAGIC};
use abi::{Errno, Result};

use super::subject::Target;
use super::text::Text;
use crate::fs::mount::{Mount, Path, Relations};

/// What would break a line into wrong fields.
const SPECIAL: &[u8] = b" \t\n\\#";
const SPECIAL_IN_PATHS: &[u8] = b" \t\n\\";

/// Calls `show` with each mount that can be reached, its place, and the root that it is reached from.
fn each(
    target: &Target,
    mut show: impl FnMut(&Arc<Mount>, &[u8], &Path) -> Result<()>,
) -> Result<()> {
    let fs = target
        .task
        .as_ref()
        .and_then(|task| task.fs())
        .ok_or(Errno::EINVAL)?;
    let root = fs.root();
    fs.namespace().each(|mount| {
        let (place, reached) = mount.root_path().to_bytes(&root);
        if reached {
            show(mount, &place, &root)
        } else {
            Ok(())
        }
    })
}

const MOUNT_OPTIONS: &[(MountFlags, &str)] = &[
    (MountFlags::NOSUID, ",nosuid"),
    (MountFlags::NODEV, ",nodev"),
    (MountFlags::NOEXEC, ",noexec"),
    (MountFlags::NOATIME, ",noatime"),
    (MountFlags::NODIRATIME, ",nodiratime"),
    (MountFlags::RELATIME, ",relatime"),
    (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
];

const SUPER_OPTIONS: &[(MountFlags, &str)] = &[
    (MountFlags::SYNCHRONOUS, ",sync"),
    (MountFlags::DIRSYNC, ",dirsync"),
    (MountFlags::MANDLOCK, ",mand"),
    (MountFlags::LAZYTIME, ",lazytime"),
];

fn options(flags: MountFlags, table: &[(MountFlags, &str)], out: &mut Text) -> Result<()> {
    for (flag, name) in table {
        if flags.contains(*flag) {
            out.bytes(name.as_bytes())?;
        }
    }
    Ok(())
}

fn writable(read_only: bool) -> &'static [u8] {
    if read_only { b"ro" } else { b"rw" }
}

fn show_options(mount: &Mount, out: &mut Text) -> Result<()> {
    mount
        .sb
        .ops
        .show_options(&mount.sb, out)
        .map_err(|_| Errno::ENOMEM)
}

/// `mounts`, in the form of fstab(5).
pub fn mounts(target: &Target, out: &mut Text) -> Result<()> {
    each(target, |mount, place, _| {
        out.escaped(&mount.source, SPECIAL)?;
        out.bytes(b" ")?;
        out.escaped(place, SPECIAL_IN_PATHS)?;
        write!(out, " {} ", mount.sb.fs_name)?;
        out.bytes(writable(mount.is_read_only()))?;
        options(mount.sb.flags(), SUPER_OPTIONS, out)?;
        options(mount.flags(), MOUNT_OPTIONS, out)?;
        show_options(mount, out)?;
        out.bytes(b" 0 0\n")
    })
}

/// The path of the mount's root in its own file system; of a namespace's file its name.
fn inner_root(mount: &Arc<Mount>) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = mount.root.clone();
    while let Some(parent) = at.parent() {
        names.push(at.name());
        at = parent;
    }
    if mount.sb.magic == NSFS_MAGIC {
        return mount.root.name().to_vec();
    }
    if names.is_empty() {
        return b"/".to_vec();
    }
    names.iter().rev().fold(Vec::new(), |mut path, name| {
        path.push(b'/');
        path.extend_from_slice(name);
        path
    })
}

fn relations(relations: &Relations, out: &mut Text) -> Result<()> {
    if let Some(group) = relations.shared {
        write!(out, " shared:{group}")?;
    }
    if let Some(group) = relations.master {
        write!(out, " master:{group}")?;
    }
    if let Some(group) = relations.propagate_from {
        write!(out, " propagate_from:{group}")?;
    }
    if relations.unbindable {
        out.bytes(b" unbindable")?;
    }
    Ok(())
}

/// `mountinfo`.
pub fn mountinfo(target: &Target, out: &mut Text) -> Result<()> {
    each(target, |mount, place, root| {
        let parent = mount
            .position()
            .map_or(mount.id, |Path { mount, .. }| mount.id);
        let dev = mount.sb.dev;
        write!(
            out,
            "{} {parent} {}:{} ",
            mount.id,
            dev.major(),
            dev.minor()
        )?;
        out.escaped(&inner_root(mount), SPECIAL_IN_PATHS)?;
        out.bytes(b" ")?;
        out.escaped(place, SPECIAL_IN_PATHS)?;
        out.bytes(b" ")?;
        out.bytes(writable(mount.flags().contains(MountFlags::RDONLY)))?;
        options(mount.flags(), MOUNT_OPTIONS, out)?;
        relations(&mount.relations(root), out)?;
        write!(out, " - {} ", mount.sb.fs_name)?;
        out.escaped(&mount.source, SPECIAL)?;
        out.bytes(b" ")?;
        out.bytes(writable(mount.sb.is_read_only()))?;
        options(mount.sb.flags(), SUPER_OPTIONS, out)?;
        show_options(mount, out)?;
        out.bytes(b"\n")
    })
}

/// `mountstats`.
pub fn mountstats(target: &Target, out: &mut Text) -> Result<()> {
    each(target, |mount, place, _| {
        out.bytes(b"device ")?;
        out.escaped(&mount.source, SPECIAL)?;
        out.bytes(b" mounted on ")?;
        out.escaped(place, SPECIAL_IN_PATHS)?;
        writeln!(out, " with fstype {}", mount.sb.fs_name)
    })
}
