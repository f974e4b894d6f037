//! Extended attributes, by path, by link and by descriptor.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    values_are_set_read_and_removed,
    create_and_replace_are_conditions,
    lists_hold_all_names,
    sizes_are_told_and_checked,
    descriptors_work_alike,
    o_path_descriptors_are_refused,
    links_have_none_of_their_own,
    names_without_a_prefix_are_refused,
    long_names_and_values_are_refused,
    trusted_ones_need_power,
    the_owner_decides_about_its_own,
    they_go_with_rename_and_links,
    folders_have_them,
];

fn set(path: &std::ffi::CStr, name: &std::ffi::CStr, value: &[u8], flags: i32) -> Sys {
    sys!(SYS_setxattr, path, name, value.as_ptr(), value.len(), flags)
}

fn get(path: &std::ffi::CStr, name: &std::ffi::CStr) -> Sys<Vec<u8>> {
    let mut value = vec![0_u8; 256];
    let len = sys!(SYS_getxattr, path, name, value.as_mut_ptr(), 256)?;
    value.truncate(len);
    Ok(value)
}

fn list(path: &std::ffi::CStr) -> Sys<Vec<String>> {
    let mut names = vec![0_u8; 1024];
    let len = sys!(SYS_listxattr, path, names.as_mut_ptr(), 1024)?;
    names.truncate(len);
    let mut names: Vec<String> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// A file whose file system keeps attributes of this kind; tmpfs does so for `trusted.`.
fn file() -> Outcome {
    std::fs::write("file", "x")?;
    Ok(())
}

const A: &std::ffi::CStr = c"trusted.a";
const B: &std::ffi::CStr = c"trusted.b";

fn values_are_set_read_and_removed() -> Outcome {
    file()?;
    fails(get(c"file", A), libc::ENODATA)?;
    set(c"file", A, b"one", 0)?;
    equal(get(c"file", A)?, b"one".to_vec())?;
    set(c"file", A, b"", 0)?;
    equal(get(c"file", A)?, Vec::new())?;
    sys!(SYS_removexattr, c"file", A)?;
    fails(sys!(SYS_removexattr, c"file", A), libc::ENODATA)
}

fn create_and_replace_are_conditions() -> Outcome {
    file()?;
    fails(set(c"file", A, b"x", libc::XATTR_REPLACE), libc::ENODATA)?;
    set(c"file", A, b"x", libc::XATTR_CREATE)?;
    fails(set(c"file", A, b"y", libc::XATTR_CREATE), libc::EEXIST)?;
    set(c"file", A, b"z", libc::XATTR_REPLACE)?;
    equal(get(c"file", A)?, b"z".to_vec())?;
    fails(set(c"file", A, b"y", 8), libc::EINVAL)
}

fn lists_hold_all_names() -> Outcome {
    file()?;
    equal(list(c"file")?, Vec::<String>::new())?;
    set(c"file", A, b"1", 0)?;
    set(c"file", B, b"2", 0)?;
    equal(list(c"file")?, vec!["trusted.a", "trusted.b"])?;
    sys!(SYS_removexattr, c"file", A)?;
    equal(list(c"file")?, vec!["trusted.b"])
}

fn sizes_are_told_and_checked() -> Outcome {
    file()?;
    set(c"file", A, b"value", 0)?;
    equal(sys!(SYS_getxattr, c"file", A, 0, 0)?, 5)?;
    equal(sys!(SYS_listxattr, c"file", 0, 0)?, 10)?;
    let mut few = [0_u8; 4];
    fails(
        sys!(SYS_getxattr, c"file", A, few.as_mut_ptr(), 4),
        libc::ERANGE,
    )?;
    fails(
        sys!(SYS_listxattr, c"file", few.as_mut_ptr(), 4),
        libc::ERANGE,
    )?;
    fails(sys!(SYS_getxattr, c"file", A, 8, 100), libc::EFAULT)?;
    fails(sys!(SYS_setxattr, c"file", A, 8, 100, 0), libc::EFAULT)?;
    fails(get(c"missing", A), libc::ENOENT)
}

fn descriptors_work_alike() -> Outcome {
    file()?;
    let fd = open(c"file", libc::O_RDONLY)?;
    sys!(SYS_fsetxattr, fd, A, b"one".as_ptr(), 3, 0)?;
    let mut value = [0_u8; 8];
    equal(sys!(SYS_fgetxattr, fd, A, value.as_mut_ptr(), 8)?, 3)?;
    equal(&value[..3], b"one".as_slice())?;
    equal(sys!(SYS_flistxattr, fd, 0, 0)?, 10)?;
    equal(get(c"file", A)?, b"one".to_vec())?;
    sys!(SYS_fremovexattr, fd, A)?;
    fails(get(c"file", A), libc::ENODATA)?;
    fails(sys!(SYS_fgetxattr, 999, A, 0, 0), libc::EBADF)
}

fn o_path_descriptors_are_refused() -> Outcome {
    file()?;
    let fd = open(c"file", libc::O_PATH)?;
    fails(sys!(SYS_fgetxattr, fd, A, 0, 0), libc::EBADF)?;
    fails(sys!(SYS_flistxattr, fd, 0, 0), libc::EBADF)?;
    fails(sys!(SYS_fsetxattr, fd, A, 0, 0, 0), libc::EBADF)
}

fn links_have_none_of_their_own() -> Outcome {
    file()?;
    std::os::unix::fs::symlink("file", "link")?;
    sys!(SYS_setxattr, c"link", A, b"f".as_ptr(), 1, 0)?;
    equal(get(c"file", A)?, b"f".to_vec())?;
    let mut value = [0_u8; 8];
    fails(
        sys!(SYS_lgetxattr, c"link", A, value.as_mut_ptr(), 8),
        libc::ENODATA,
    )?;
    equal(sys!(SYS_llistxattr, c"link", 0, 0)?, 0)?;
    sys!(SYS_lsetxattr, c"link", A, b"link".as_ptr(), 4, 0)?;
    equal(sys!(SYS_lgetxattr, c"link", A, value.as_mut_ptr(), 8)?, 4)?;
    equal(get(c"link", A)?, b"f".to_vec())?;
    sys!(SYS_lremovexattr, c"link", A)?;
    equal(get(c"file", A)?, b"f".to_vec())
}

fn names_without_a_prefix_are_refused() -> Outcome {
    file()?;
    fails(set(c"file", c"plain", b"x", 0), libc::EOPNOTSUPP)?;
    fails(set(c"file", c"strange.x", b"x", 0), libc::EOPNOTSUPP)?;
    fails(get(c"file", c"strange.x"), libc::EOPNOTSUPP)?;
    fails(set(c"file", c"", b"x", 0), libc::ERANGE)?;
    fails(set(c"file", c"trusted.", b"x", 0), libc::EINVAL)
}

fn long_names_and_values_are_refused() -> Outcome {
    file()?;
    let name = c_string(&format!("trusted.{}", "n".repeat(248)));
    fails(set(c"file", &name, b"x", 0), libc::ERANGE)?;
    let name = c_string(&format!("trusted.{}", "n".repeat(247)));
    set(c"file", &name, b"x", 0)?;
    let value = vec![0_u8; 65537];
    fails(set(c"file", A, &value, 0), libc::E2BIG)
}

fn trusted_ones_need_power() -> Outcome {
    file()?;
    set(c"file", A, b"x", 0)?;
    sys!(SYS_chown, c"file", 1000, 1000)?;
    within(|| {
        become_user()?;
        fails(get(c"file", A), libc::ENODATA)?;
        fails(set(c"file", A, b"y", 0), libc::EPERM)?;
        fails(sys!(SYS_removexattr, c"file", A), libc::EPERM)?;
        // Nor are their names shown.
        equal(list(c"file")?, Vec::<String>::new())
    })
}

fn the_owner_decides_about_its_own() -> Outcome {
    file()?;
    // Not every tmpfs keeps those of users.
    match set(c"file", c"user.a", b"x", 0) {
        Err(Errno(libc::EOPNOTSUPP)) => {
            return fails(get(c"file", c"user.a"), libc::EOPNOTSUPP);
        }
        other => other?,
    };
    sys!(SYS_chmod, c"file", 0o600)?;
    within(|| {
        become_user()?;
        fails(get(c"file", c"user.a"), libc::EACCES)?;
        fails(set(c"file", c"user.a", b"y", 0), libc::EACCES)
    })?;
    std::os::unix::fs::symlink("file", "link")?;
    fails(
        sys!(SYS_lsetxattr, c"link", c"user.a", b"x".as_ptr(), 1, 0),
        libc::EPERM,
    )
}

fn they_go_with_rename_and_links() -> Outcome {
    file()?;
    set(c"file", A, b"x", 0)?;
    sys!(SYS_link, c"file", c"second")?;
    sys!(SYS_rename, c"file", c"third")?;
    equal(get(c"second", A)?, b"x".to_vec())?;
    equal(get(c"third", A)?, b"x".to_vec())?;
    // A write leaves them, as they are no capabilities.
    std::fs::write("third", "more")?;
    equal(get(c"second", A)?, b"x".to_vec())
}

fn folders_have_them() -> Outcome {
    std::fs::create_dir("folder")?;
    set(c"folder", A, b"dir", 0)?;
    equal(get(c"folder", A)?, b"dir".to_vec())?;
    std::fs::write("folder/file", "")?;
    // They are not inherited.
    fails(get(c"folder/file", A), libc::ENODATA)
}
