//! Mount propagation, and what else mount and umount2 promise. Every case works below a tmpfs of its own.

use std::ffi::CStr;
use std::path::PathBuf;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    the_root_is_private,
    peers_tell_each_other,
    a_slave_only_listens,
    a_shared_slave_passes_on,
    a_slave_becomes_private_with_its_master,
    slaves_move_up_when_their_group_ends,
    a_group_survives_one_peer,
    make_slave_of_a_lone_peer_is_private,
    changes_of_type_reach_below_with_rec,
    change_of_type_errors,
    unbindable_is_not_bound,
    rbind_copies_relations,
    bind_tells_only_what_lies_below_its_root,
    new_mounts_on_shared_are_shared,
    moves_propagate,
    move_errors,
    a_copy_slips_under_what_is_there,
    umount_uncovers_what_was_there,
    umount_leaves_what_has_mounts,
    a_busy_peer_is_busy,
    lazy_umount_propagates_its_tree,
    propagate_from_names_the_nearest_visible,
    expire_takes_two_calls,
    expire_errors,
    unmounted_places_take_no_mounts,
    bind_of_no_source,
    the_same_file_system_twice,
    remount_keeps_atime,
    there_is_a_limit,
    umount_of_the_root_makes_it_read_only,
    read_only_needs_no_writers_anywhere,
];

const SHARED: u64 = libc::MS_SHARED;
const SLAVE: u64 = libc::MS_SLAVE;
const PRIVATE: u64 = libc::MS_PRIVATE;
const UNBINDABLE: u64 = libc::MS_UNBINDABLE;
const REC: u64 = libc::MS_REC;

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64) -> Sys {
    sys!(SYS_mount, source, target, kind, flags, 0)
}

fn umount(target: &CStr) -> Sys {
    umount_with(target, 0)
}

fn umount_with(target: &CStr, flags: i32) -> Sys {
    sys!(SYS_umount2, target, flags)
}

fn tmpfs(target: &CStr) -> Sys {
    mount(c"t", target, c"tmpfs", 0)
}

fn bind(from: &CStr, to: &CStr) -> Sys {
    mount(from, to, c"", libc::MS_BIND)
}

fn rbind(from: &CStr, to: &CStr) -> Sys {
    mount(from, to, c"", libc::MS_BIND | REC)
}

fn make(target: &CStr, kind: u64) -> Sys {
    mount(c"", target, c"", kind)
}

fn mkdirs(paths: &[&CStr]) -> Sys<()> {
    paths
        .iter()
        .try_for_each(|path| sys!(SYS_mkdirat, libc::AT_FDCWD, *path, 0o755).map(drop))
}

fn touch_file(path: &CStr) -> Sys {
    file_with(path, b"").and_then(close)
}

fn is_there(path: &CStr) -> bool {
    stat(path).is_ok()
}

/// A private tmpfs as working directory, with the folders `a`, `b`, `c` and `d`; unmounted with all below at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        mkdirs(&[c"w"])?;
        tmpfs(c"w")?;
        make(c"w", PRIVATE)?;
        let place = std::env::current_dir()?.join("w");
        std::env::set_current_dir(&place)?;
        mkdirs(&[c"a", c"b", c"c", c"d"])?;
        Ok(Self(place))
    }

    /// The propagation fields of each mount at a place below, bottommost first.
    fn all(&self, place: &str) -> Outcome<Vec<String>> {
        fields_in(
            &text_of("/proc/self/mountinfo")?,
            &self.0.join(place).to_string_lossy(),
        )
    }

    /// The propagation fields of the one mount at a place below.
    fn fields(&self, place: &str) -> Outcome<String> {
        let mut all = self.all(place)?;
        if all.len() != 1 {
            return fail(&format!("{} mounts at {place}", all.len()));
        }
        Ok(all.remove(0))
    }

    fn count(&self, place: &str) -> Outcome<usize> {
        Ok(self.all(place)?.len())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::env::set_current_dir("/");
        let _ = umount_with(&c_string(&self.0.to_string_lossy()), libc::MNT_DETACH);
    }
}

fn fields_in(mountinfo: &str, place: &str) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let (head, _) = some(line.split_once(" - "), "no separator")?;
        let words: Vec<&str> = head.split(' ').collect();
        if words.get(4) == Some(&place) {
            found.push(words.get(6..).unwrap_or_default().join(" "));
        }
    }
    Ok(found)
}

/// The number in a field such as `shared:3`.
fn group(fields: &str, name: &str) -> Outcome<u32> {
    let number = fields
        .split(' ')
        .find_map(|field| field.strip_prefix(name)?.strip_prefix(':')?.parse().ok());
    some(number, &format!("no {name} in {fields:?}"))
}

/// A shared tmpfs at `a` with the folders `x` and `y`.
fn shared_a() -> Outcome {
    tmpfs(c"a")?;
    make(c"a", SHARED)?;
    mkdirs(&[c"a/x", c"a/y"])?;
    Ok(())
}

fn the_root_is_private() -> Outcome {
    let text = text_of("/proc/self/mountinfo")?;
    let root = fields_in(&text, "/")?;
    equal(root.first().map(String::as_str), Some(""))
}

fn peers_tell_each_other() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    let id = group(&w.fields("a")?, "shared")?;
    equal(w.fields("b")?, format!("shared:{id}"))?;
    tmpfs(c"a/x")?;
    touch_file(c"a/x/f")?;
    check(is_there(c"b/x/f"), "the peer heard nothing")?;
    equal(w.fields("a/x")?, w.fields("b/x")?)?;
    check(
        group(&w.fields("a/x")?, "shared")? != id,
        "the same group as its parent",
    )?;
    tmpfs(c"b/y")?;
    equal(w.count("a/y")?, 1)?;
    umount(c"b/x")?;
    equal(w.count("a/x")?, 0)?;
    check(!is_there(c"a/x/f"), "still mounted at the peer")?;
    umount(c"a/y")?;
    equal(w.count("b/y")?, 0)
}

fn a_slave_only_listens() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    let id = group(&w.fields("a")?, "shared")?;
    equal(w.fields("b")?, format!("master:{id}"))?;
    tmpfs(c"a/x")?;
    let below = group(&w.fields("a/x")?, "shared")?;
    equal(w.fields("b/x")?, format!("master:{below}"))?;
    tmpfs(c"b/y")?;
    equal(w.count("a/y")?, 0)?;
    equal(w.fields("b/y")?, "")?;
    umount(c"b/x")?;
    equal(w.count("a/x")?, 1)?;
    tmpfs(c"a/y")?;
    umount(c"a/x")?;
    equal(w.count("b/y")?, 2)
}

fn a_shared_slave_passes_on() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    make(c"b", SHARED)?;
    bind(c"b", c"c")?;
    bind(c"b", c"d")?;
    make(c"d", SLAVE)?;
    let (a, b) = (w.fields("a")?, w.fields("b")?);
    equal(group(&b, "master")?, group(&a, "shared")?)?;
    equal(w.fields("c")?, b.clone())?;
    equal(group(&w.fields("d")?, "master")?, group(&b, "shared")?)?;
    tmpfs(c"a/x")?;
    let (ax, bx) = (w.fields("a/x")?, w.fields("b/x")?);
    equal(group(&bx, "master")?, group(&ax, "shared")?)?;
    equal(w.fields("c/x")?, bx.clone())?;
    equal(
        w.fields("d/x")?,
        format!("master:{}", group(&bx, "shared")?),
    )?;
    tmpfs(c"c/y")?;
    equal(w.count("a/y")?, 0)?;
    equal((w.count("b/y")?, w.count("d/y")?), (1, 1))?;
    umount(c"a/x")?;
    equal(
        (w.count("b/x")?, w.count("c/x")?, w.count("d/x")?),
        (0, 0, 0),
    )
}

fn a_slave_becomes_private_with_its_master() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    make(c"a", PRIVATE)?;
    equal(
        (w.fields("a")?, w.fields("b")?),
        (String::new(), String::new()),
    )?;
    tmpfs(c"a/x")?;
    equal(w.count("b/x")?, 0)
}

fn slaves_move_up_when_their_group_ends() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    make(c"b", SHARED)?;
    bind(c"b", c"c")?;
    make(c"c", SLAVE)?;
    make(c"b", PRIVATE)?;
    let id = group(&w.fields("a")?, "shared")?;
    equal(w.fields("b")?, "")?;
    equal(w.fields("c")?, format!("master:{id}"))?;
    tmpfs(c"a/x")?;
    equal((w.count("b/x")?, w.count("c/x")?), (0, 1))?;
    // An unmounted master is gone as well.
    umount(c"a/x")?;
    umount(c"a")?;
    equal(w.fields("c")?, "")
}

fn a_group_survives_one_peer() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    bind(c"a", c"c")?;
    make(c"c", SLAVE)?;
    let id = group(&w.fields("a")?, "shared")?;
    make(c"a", SLAVE)?;
    equal(w.fields("a")?, format!("master:{id}"))?;
    equal(w.fields("b")?, format!("shared:{id}"))?;
    equal(w.fields("c")?, format!("master:{id}"))?;
    tmpfs(c"b/x")?;
    equal((w.count("a/x")?, w.count("c/x")?), (1, 1))
}

fn make_slave_of_a_lone_peer_is_private() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    make(c"a", SLAVE)?;
    equal(w.fields("a")?, "")?;
    make(c"a", UNBINDABLE)?;
    make(c"a", SLAVE)?;
    equal(w.fields("a")?, "unbindable")?;
    make(c"a", SHARED)?;
    group(&w.fields("a")?, "shared").map(drop)
}

fn changes_of_type_reach_below_with_rec() -> Outcome {
    let w = Scratch::new()?;
    tmpfs(c"a")?;
    mkdirs(&[c"a/x"])?;
    tmpfs(c"a/x")?;
    make(c"a", SHARED)?;
    equal(w.fields("a/x")?, "")?;
    make(c"a", SHARED | REC)?;
    let id = group(&w.fields("a/x")?, "shared")?;
    make(c"a", SHARED | REC)?;
    equal(w.fields("a/x")?, format!("shared:{id}"))?;
    make(c"a", UNBINDABLE | REC)?;
    equal(
        (w.fields("a")?, w.fields("a/x")?),
        ("unbindable".into(), "unbindable".into()),
    )?;
    make(c"a", PRIVATE | REC)?;
    equal(
        (w.fields("a")?, w.fields("a/x")?),
        (String::new(), String::new()),
    )
}

fn change_of_type_errors() -> Outcome {
    let _w = Scratch::new()?;
    tmpfs(c"a")?;
    mkdirs(&[c"a/x"])?;
    fails(make(c"a", SHARED | PRIVATE), libc::EINVAL)?;
    fails(make(c"a", SHARED | libc::MS_NOSUID), libc::EINVAL)?;
    fails(make(c"a/x", SHARED), libc::EINVAL)?;
    fails(make(c"a/no", SHARED), libc::ENOENT)?;
    make(c"a", SHARED | libc::MS_SILENT)?;
    within(|| {
        become_user()?;
        fails(make(c"a", PRIVATE), libc::EPERM)
    })
}

fn unbindable_is_not_bound() -> Outcome {
    let w = Scratch::new()?;
    tmpfs(c"a")?;
    mkdirs(&[c"a/x", c"a/y"])?;
    tmpfs(c"a/x")?;
    tmpfs(c"a/y")?;
    mkdirs(&[c"a/x/z"])?;
    tmpfs(c"a/x/z")?;
    make(c"a/x", UNBINDABLE)?;
    fails(bind(c"a/x", c"c"), libc::EINVAL)?;
    fails(bind(c"a/x/z/../", c"c"), libc::EINVAL)?;
    rbind(c"a", c"b")?;
    equal((w.count("b")?, w.count("b/x")?, w.count("b/y")?), (1, 0, 1))?;
    // What is below the unbindable one is not copied either.
    equal(w.count("b/x/z")?, 0)
}

fn rbind_copies_relations() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    tmpfs(c"a/x")?;
    make(c"a/x", PRIVATE)?;
    tmpfs(c"a/y")?;
    rbind(c"a", c"b")?;
    equal(w.fields("b")?, w.fields("a")?)?;
    equal(w.fields("b/y")?, w.fields("a/y")?)?;
    equal(w.fields("b/x")?, "")?;
    bind(c"a", c"c")?;
    equal((w.count("c")?, w.count("c/x")?, w.count("c/y")?), (1, 0, 0))
}

fn bind_tells_only_what_lies_below_its_root() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    mkdirs(&[c"a/x/in"])?;
    bind(c"a/x", c"b")?;
    tmpfs(c"a/x/in")?;
    tmpfs(c"a/y")?;
    equal((w.count("b/in")?, w.count("b/y")?), (1, 0))?;
    umount(c"b/in")?;
    equal(w.count("a/x/in")?, 0)
}

fn new_mounts_on_shared_are_shared() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    tmpfs(c"c")?;
    equal(w.fields("c")?, "")?;
    bind(c"c", c"a/x")?;
    group(&w.fields("a/x")?, "shared")?;
    equal(w.fields("c")?, "")?;
    // A bind onto its own peer reaches the peers that were there.
    bind(c"a", c"b")?;
    bind(c"b", c"a/y")?;
    equal(w.fields("a/y")?, w.fields("a")?)?;
    equal(w.fields("b/y")?, w.fields("a")?)
}

fn moves_propagate() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    tmpfs(c"c")?;
    touch_file(c"c/f")?;
    mount(c"c", c"a/x", c"", libc::MS_MOVE)?;
    check(
        is_there(c"b/x/f") && !is_there(c"c/f"),
        "not moved everywhere",
    )?;
    group(&w.fields("a/x")?, "shared")?;
    equal(w.fields("b/x")?, w.fields("a/x")?)
}

fn move_errors() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    tmpfs(c"a/x")?;
    let to = |from: &CStr, to: &CStr| mount(from, to, c"", libc::MS_MOVE);
    fails(to(c"a/x", c"c"), libc::EINVAL)?;
    fails(to(c"a/y", c"c"), libc::EINVAL)?;
    tmpfs(c"b")?;
    mkdirs(&[c"b/x"])?;
    tmpfs(c"b/x")?;
    make(c"b/x", UNBINDABLE)?;
    fails(to(c"b", c"a/y"), libc::EINVAL)?;
    make(c"b/x", PRIVATE)?;
    fails(to(c"b", c"b/x"), libc::ELOOP)?;
    touch_file(c"file")?;
    fails(to(c"b", c"file"), libc::EINVAL)?;
    fails(to(c"", c"c"), libc::EINVAL)?;
    fails(to(c"none", c"c"), libc::ENOENT)?;
    to(c"b", c"c")?;
    equal((w.count("b")?, w.count("c")?, w.count("c/x")?), (0, 1, 1))
}

fn a_copy_slips_under_what_is_there() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    tmpfs(c"b/x")?;
    touch_file(c"b/x/old")?;
    tmpfs(c"a/x")?;
    touch_file(c"a/x/new")?;
    equal(w.count("b/x")?, 2)?;
    check(is_there(c"b/x/old"), "the new one is on top")?;
    umount(c"b/x")?;
    check(is_there(c"b/x/new"), "the new one is not below")
}

fn umount_uncovers_what_was_there() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    tmpfs(c"b/x")?;
    touch_file(c"b/x/old")?;
    tmpfs(c"a/x")?;
    umount(c"a/x")?;
    equal(w.count("b/x")?, 1)?;
    check(is_there(c"b/x/old"), "gone with the one below")?;
    umount(c"b/x")?;
    check(!is_there(c"b/x/old"), "still there")
}

fn umount_leaves_what_has_mounts() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    make(c"b", SLAVE)?;
    tmpfs(c"a/x")?;
    mkdirs(&[c"a/x/z"])?;
    tmpfs(c"b/x/z")?;
    umount(c"a/x")?;
    equal(
        (w.count("a/x")?, w.count("b/x")?, w.count("b/x/z")?),
        (0, 1, 1),
    )
}

fn a_busy_peer_is_busy() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    tmpfs(c"a/x")?;
    let fd = file_with(c"b/x/f", b"")?;
    fails(umount(c"a/x"), libc::EBUSY)?;
    equal((w.count("a/x")?, w.count("b/x")?), (1, 1))?;
    close(fd)?;
    umount(c"a/x")?;
    equal(w.count("b/x")?, 0)
}

fn lazy_umount_propagates_its_tree() -> Outcome {
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    tmpfs(c"a/x")?;
    mkdirs(&[c"a/x/z"])?;
    tmpfs(c"a/x/z")?;
    equal(w.count("b/x/z")?, 1)?;
    let fd = file_with(c"b/x/f", b"seen")?;
    fails(umount(c"a/x"), libc::EBUSY)?;
    umount_with(c"a/x", libc::MNT_DETACH)?;
    equal(
        (w.count("a/x")?, w.count("b/x")?, w.count("b/x/z")?),
        (0, 0, 0),
    )?;
    equal(read_some(fd)?, b"seen")
}

fn propagate_from_names_the_nearest_visible() -> Outcome {
    let w = Scratch::new()?;
    mkdirs(&[c"r", c"r/a", c"r/c"])?;
    tmpfs(c"r/a")?;
    make(c"r/a", SHARED)?;
    bind(c"r/a", c"b")?;
    make(c"b", SLAVE)?;
    make(c"b", SHARED)?;
    bind(c"b", c"r/c")?;
    make(c"r/c", SLAVE)?;
    let (a, b) = (w.fields("r/a")?, w.fields("b")?);
    let (a, b) = (group(&a, "shared")?, group(&b, "shared")?);
    equal(w.fields("r/c")?, format!("master:{b}"))?;
    within(|| {
        let proc = open(c"/proc", libc::O_PATH)?;
        // The root must be a mount's, or those at and below it are all that shows.
        sys!(SYS_chroot, c"r")?;
        let info = sys!(SYS_openat, proc, c"self/mountinfo", libc::O_RDONLY)? as i32;
        let text = String::from_utf8_lossy(&read_some(info)?).into_owned();
        equal(
            fields_in(&text, "/c")?,
            vec![format!("master:{b} propagate_from:{a}")],
        )?;
        equal(fields_in(&text, "/a")?, vec![format!("shared:{a}")])
    })
}

fn expire_takes_two_calls() -> Outcome {
    let w = Scratch::new()?;
    tmpfs(c"a")?;
    let expire = || umount_with(c"a", libc::MNT_EXPIRE);
    fails(expire(), libc::EAGAIN)?;
    stat(c"a")?;
    fails(expire(), libc::EAGAIN)?;
    fails(umount_with(c"b", libc::MNT_EXPIRE), libc::EINVAL)?;
    equal(w.count("a")?, 1)?;
    expire()?;
    equal(w.count("a")?, 0)
}

fn expire_errors() -> Outcome {
    let _w = Scratch::new()?;
    tmpfs(c"a")?;
    for flag in [libc::MNT_DETACH, libc::MNT_FORCE] {
        fails(umount_with(c"a", libc::MNT_EXPIRE | flag), libc::EINVAL)?;
    }
    let fd = open(c"a", libc::O_RDONLY)?;
    fails(umount_with(c"a", libc::MNT_EXPIRE), libc::EBUSY)?;
    close(fd)?;
    mkdirs(&[c"a/x"])?;
    tmpfs(c"a/x")?;
    fails(umount_with(c"a", libc::MNT_EXPIRE), libc::EBUSY)?;
    fails(umount_with(c"none", libc::MNT_EXPIRE), libc::ENOENT)?;
    fails(umount_with(c"a", 1 << 10), libc::EINVAL)?;
    within(|| {
        become_user()?;
        fails(umount_with(c"none", 0), libc::ENOENT)?;
        fails(umount_with(c"a", libc::MNT_EXPIRE), libc::EPERM)
    })
}

fn unmounted_places_take_no_mounts() -> Outcome {
    let _w = Scratch::new()?;
    tmpfs(c"a")?;
    mkdirs(&[c"a/x"])?;
    std::env::set_current_dir("a")?;
    umount_with(c".", libc::MNT_DETACH)?;
    fails(tmpfs(c"x"), libc::EINVAL)?;
    fails(bind(c"/tmp", c"x"), libc::EINVAL)?;
    fails(bind(c".", c"/tmp"), libc::EINVAL)?;
    fails(umount(c"."), libc::EINVAL)?;
    fails(umount_with(c".", libc::MNT_DETACH), libc::EINVAL)
}

fn bind_of_no_source() -> Outcome {
    let _w = Scratch::new()?;
    fails(bind(c"", c"a"), libc::EINVAL)?;
    fails(sys!(SYS_mount, 0, c"a", 0, libc::MS_BIND, 0), libc::EINVAL)?;
    fails(sys!(SYS_mount, 0, c"a", 0, libc::MS_MOVE, 0), libc::EINVAL)?;
    fails(sys!(SYS_mount, 0, c"a", 0, 0, 0), libc::EINVAL)?;
    fails(bind(c"none", c"a"), libc::ENOENT)
}

fn the_same_file_system_twice() -> Outcome {
    let w = Scratch::new()?;
    mount(c"p", c"a", c"devtmpfs", 0)?;
    fails(mount(c"p", c"a", c"devtmpfs", 0), libc::EBUSY)?;
    mount(c"p", c"b", c"devtmpfs", 0)?;
    tmpfs(c"a")?;
    tmpfs(c"a")?;
    equal((w.count("a")?, w.count("b")?), (3, 1))
}

fn remount_keeps_atime() -> Outcome {
    let w = Scratch::new()?;
    mount(c"marked", c"a", c"tmpfs", libc::MS_NOATIME)?;
    let options = || -> Outcome<String> {
        let mounts = text_of("/proc/self/mounts")?;
        let place = w.0.join("a").to_string_lossy().into_owned();
        let line = mounts.lines().find(|line| line.contains(&place));
        Ok(some(line, "not mounted")?.to_owned())
    };
    check(options()?.contains("noatime"), "not noatime")?;
    let again = libc::MS_REMOUNT | libc::MS_BIND;
    mount(c"", c"a", c"", again | libc::MS_NOSUID)?;
    check(options()?.contains("rw,nosuid,noatime"), &options()?)?;
    mount(c"", c"a", c"", again | libc::MS_RELATIME)?;
    check(options()?.contains("rw,relatime"), &options()?)?;
    mount(c"", c"a", c"", again | libc::MS_STRICTATIME)?;
    check(!options()?.contains("atime"), &options()?)
}

fn there_is_a_limit() -> Outcome {
    let path = "/proc/sys/fs/mount-max";
    let before = text_of(path)?;
    let w = Scratch::new()?;
    shared_a()?;
    bind(c"a", c"b")?;
    let count = text_of("/proc/self/mountinfo")?.lines().count();
    // Room for one more, where one that propagates makes two.
    std::fs::write(path, (count + 1).to_string())?;
    let propagated = tmpfs(c"a/x");
    let single = tmpfs(c"c");
    let full = tmpfs(c"d");
    std::fs::write(path, &before)?;
    fails(propagated, libc::ENOSPC)?;
    single?;
    fails(full, libc::ENOSPC)?;
    equal((w.count("a/x")?, w.count("b/x")?), (0, 0))?;
    check(std::fs::write(path, "0").is_err(), "a limit of 0")?;
    equal(text_of(path)?, before)
}

fn umount_of_the_root_makes_it_read_only() -> Outcome {
    let _w = Scratch::new()?;
    tmpfs(c"a")?;
    bind(c"a", c"b")?;
    let writer = file_with(c"b/f", b"text")?;
    within(|| {
        sys!(SYS_chroot, c"a")?;
        sys!(SYS_chdir, c"/")?;
        fails(umount_with(c"/", libc::MNT_EXPIRE), libc::EINVAL)?;
        fails(umount(c"/"), libc::EBUSY)?;
        close(writer)?;
        Ok(())
    })?;
    close(writer)?;
    within(|| {
        sys!(SYS_chroot, c"a")?;
        sys!(SYS_chdir, c"/")?;
        umount(c"/")?;
        umount(c"/")?;
        fails(file_with(c"/g", b""), libc::EROFS)?;
        stat(c"/f").map(drop).map_err(Trouble::from)
    })?;
    fails(open(c"b/f", libc::O_WRONLY), libc::EROFS)
}

fn read_only_needs_no_writers_anywhere() -> Outcome {
    let _w = Scratch::new()?;
    tmpfs(c"a")?;
    bind(c"a", c"b")?;
    let writer = file_with(c"b/f", b"text")?;
    let read_only = libc::MS_REMOUNT | libc::MS_RDONLY;
    fails(make(c"a", read_only), libc::EBUSY)?;
    // One mount alone may be, where nobody writes.
    make(c"a", read_only | libc::MS_BIND)?;
    fails(open(c"a/f", libc::O_WRONLY), libc::EROFS)?;
    fails(make(c"b", read_only | libc::MS_BIND), libc::EBUSY)?;
    close(writer)?;
    make(c"b", read_only)?;
    fails(open(c"b/f", libc::O_WRONLY), libc::EROFS)
}
