//! prctl in full, arch_prctl and personality.

use std::arch::asm;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    options_of_other_processors_are_einval,
    times_are_taken_in_one_way,
    reading_the_counter_can_be_forbidden,
    the_counter_is_forbidden_to_children_too,
    broken_memory_may_be_told_early,
    huge_pages_can_be_refused,
    flushers_need_power,
    the_slack_of_timers_has_no_sign,
    subreapers_do_not_inherit,
    speculation_is_told_as_it_is,
    places_of_memory_are_set,
    places_are_checked,
    places_need_power,
    arguments_are_where_they_are_said_to_be,
    the_auxiliary_vector_is_replaced,
    all_places_are_set_at_once,
    executables_are_checked,
    dispatched_calls_become_signals,
    dispatch_has_a_selector,
    bad_selectors_kill,
    dispatch_is_not_inherited,
    dispatch_arguments_are_checked,
    dispatch_comes_before_filters,
    personalities_are_set_and_told,
    addresses_may_be_the_same_each_time,
    readable_memory_may_be_executable,
    old_programs_see_an_old_release,
    writable_memory_may_be_kept_from_execution,
    that_is_for_children_and_for_good,
    the_vector_is_given_to_who_asks,
    cpuid_is_always_allowed,
    extended_states_are_told,
];

fn prctl(option: i32, args: [usize; 4]) -> Sys {
    let [a, b, c, d] = args;
    sys!(SYS_prctl, option, a, b, c, d)
}

fn options_of_other_processors_are_einval() -> Outcome {
    let word = 0u64;
    let at = &raw const word as usize;
    // Alignment, emulation and precision of numbers, byte order, vectors, tags, pointer keys, and what never was.
    let others = [
        0, 5, 6, 9, 10, 11, 12, 19, 20, 43, 44, 45, 46, 50, 51, 54, 55, 56, 60, 61, 63, 64, 99, -1,
    ];
    for option in others {
        fails(prctl(option, [at, 0, 0, 0]), libc::EINVAL)?;
    }
    Ok(())
}

fn times_are_taken_in_one_way() -> Outcome {
    equal(prctl(libc::PR_GET_TIMING, [0; 4])?, 0)?;
    equal(prctl(libc::PR_SET_TIMING, [0; 4])?, 0)?;
    fails(prctl(libc::PR_SET_TIMING, [1, 0, 0, 0]), libc::EINVAL)
}

const PR_GET_TSC: i32 = 25;
const PR_SET_TSC: i32 = 26;

fn tsc_right() -> Sys<i32> {
    let mut right = 0;
    prctl(PR_GET_TSC, [&raw mut right as usize, 0, 0, 0])?;
    Ok(right)
}

fn read_counter() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; at worst a signal comes.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high) };
    u64::from(high) << 32 | u64::from(low)
}

fn reading_the_counter_can_be_forbidden() -> Outcome {
    equal(tsc_right()?, 1)?;
    check(read_counter() != 0, "there is no counter")?;
    for wrong in [0, 3] {
        fails(prctl(PR_SET_TSC, [wrong, 0, 0, 0]), libc::EINVAL)?;
    }
    fails(prctl(PR_GET_TSC, [0; 4]), libc::EFAULT)?;
    let signal = death_of(|| {
        let _ = prctl(PR_SET_TSC, [2, 0, 0, 0]);
        read_counter();
    })?;
    equal(signal, libc::SIGSEGV)?;
    within(|| {
        prctl(PR_SET_TSC, [2, 0, 0, 0])?;
        equal(tsc_right()?, 2)?;
        prctl(PR_SET_TSC, [1, 0, 0, 0])?;
        read_counter();
        equal(tsc_right()?, 1)
    })
}

fn the_counter_is_forbidden_to_children_too() -> Outcome {
    within(|| {
        prctl(PR_SET_TSC, [2, 0, 0, 0])?;
        let signal = death_of(|| {
            read_counter();
        })?;
        equal(signal, libc::SIGSEGV)
    })?;
    // Others are not concerned, also on the same processor.
    read_counter();
    Ok(())
}

fn broken_memory_may_be_told_early() -> Outcome {
    let get = || prctl(libc::PR_MCE_KILL_GET, [0; 4]);
    let set = |when: usize| prctl(libc::PR_MCE_KILL, [1, when, 0, 0]);
    equal(get()?, 2)?;
    for when in [1, 0, 2] {
        set(when)?;
        equal(get()?, when)?;
    }
    set(1)?;
    within(|| equal(get()?, 1))?;
    fails(set(3), libc::EINVAL)?;
    fails(prctl(libc::PR_MCE_KILL, [0, 1, 0, 0]), libc::EINVAL)?;
    fails(prctl(libc::PR_MCE_KILL, [2, 0, 0, 0]), libc::EINVAL)?;
    fails(prctl(libc::PR_MCE_KILL, [1, 1, 1, 0]), libc::EINVAL)?;
    fails(prctl(libc::PR_MCE_KILL_GET, [1, 0, 0, 0]), libc::EINVAL)?;
    prctl(libc::PR_MCE_KILL, [0; 4])?;
    equal(get()?, 2)
}

fn huge_pages_can_be_refused() -> Outcome {
    let get = || prctl(libc::PR_GET_THP_DISABLE, [0; 4]);
    equal(get()?, 0)?;
    prctl(libc::PR_SET_THP_DISABLE, [1, 0, 0, 0])?;
    equal(get()?, 1)?;
    within(|| {
        equal(get()?, 1)?;
        let at = map(8 << 20)?;
        (0..2048).for_each(|page| poke(at + page * PAGE, 1));
        let rollup = text_of("/proc/self/smaps_rollup")?;
        let line = rollup
            .lines()
            .find(|line| line.starts_with("AnonHugePages"));
        check(
            line.is_none_or(|line| line.contains(" 0 kB")),
            "there are huge pages",
        )
    })?;
    fails(prctl(libc::PR_SET_THP_DISABLE, [1, 1, 0, 0]), libc::EINVAL)?;
    fails(prctl(libc::PR_GET_THP_DISABLE, [1, 0, 0, 0]), libc::EINVAL)?;
    prctl(libc::PR_SET_THP_DISABLE, [0; 4])?;
    equal(get()?, 0)
}

const PR_SET_IO_FLUSHER: i32 = 57;
const PR_GET_IO_FLUSHER: i32 = 58;

fn flushers_need_power() -> Outcome {
    equal(prctl(PR_GET_IO_FLUSHER, [0; 4])?, 0)?;
    prctl(PR_SET_IO_FLUSHER, [1, 0, 0, 0])?;
    equal(prctl(PR_GET_IO_FLUSHER, [0; 4])?, 1)?;
    fails(prctl(PR_SET_IO_FLUSHER, [2, 0, 0, 0]), libc::EINVAL)?;
    fails(prctl(PR_SET_IO_FLUSHER, [1, 1, 0, 0]), libc::EINVAL)?;
    fails(prctl(PR_GET_IO_FLUSHER, [1, 0, 0, 0]), libc::EINVAL)?;
    prctl(PR_SET_IO_FLUSHER, [0; 4])?;
    become_user()?;
    fails(prctl(PR_SET_IO_FLUSHER, [0; 4]), libc::EPERM)?;
    fails(prctl(PR_GET_IO_FLUSHER, [0; 4]), libc::EPERM)
}

fn the_slack_of_timers_has_no_sign() -> Outcome {
    let get = || prctl(libc::PR_GET_TIMERSLACK, [0; 4]);
    equal(get()?, 50_000)?;
    prctl(libc::PR_SET_TIMERSLACK, [1 << 40, 0, 0, 0])?;
    equal(get()?, 1 << 40)?;
    within(|| {
        prctl(libc::PR_SET_TIMERSLACK, [7, 0, 0, 0])?;
        prctl(libc::PR_SET_TIMERSLACK, [0; 4])?;
        equal(get()?, 1 << 40)
    })?;
    prctl(libc::PR_SET_TIMERSLACK, [0; 4])?;
    equal(get()?, 50_000)
}

fn subreapers_do_not_inherit() -> Outcome {
    let get = || {
        let mut value = 7;
        prctl(
            libc::PR_GET_CHILD_SUBREAPER,
            [&raw mut value as usize, 0, 0, 0],
        )?;
        Ok::<i32, Errno>(value)
    };
    prctl(libc::PR_SET_CHILD_SUBREAPER, [5, 0, 0, 0])?;
    equal(get()?, 1)?;
    within(|| equal(get()?, 0))?;
    prctl(libc::PR_SET_CHILD_SUBREAPER, [0; 4])?;
    equal(get()?, 0)
}

fn speculation_is_told_as_it_is() -> Outcome {
    const GET: i32 = 52;
    const SET: i32 = 53;
    let get = |which: usize| prctl(GET, [which, 0, 0, 0]);
    let set = |which: usize, wish: usize| prctl(SET, [which, wish, 0, 0]);
    for which in [0, 1, 2] {
        get(which)?;
    }
    fails(get(3), libc::ENODEV)?;
    fails(set(3, 2), libc::ENODEV)?;
    fails(prctl(GET, [0, 1, 0, 0]), libc::EINVAL)?;
    fails(prctl(SET, [0, 2, 1, 0]), libc::EINVAL)?;
    // Where a thread has no say, it is not told that it had.
    if get(0)? & 1 == 0 {
        fails(set(0, 4), libc::ENXIO)?;
        fails(set(0, 2), libc::ENXIO)?;
    }
    if get(1)? == 2 {
        set(1, 2)?;
        fails(set(1, 4), libc::EPERM)?;
        fails(set(1, 1), libc::ERANGE)?;
    }
    if get(2)? == 8 {
        fails(set(2, 2), libc::EPERM)?;
    }
    Ok(())
}

const PR_SET_MM: i32 = 35;

fn set_place(option: usize, addr: usize) -> Sys {
    prctl(PR_SET_MM, [option, addr, 0, 0])
}

/// A field of `/proc/self/stat`, counted from 1 as proc(5) does.
fn stat_field(number: usize) -> Outcome<usize> {
    let text = text_of("/proc/self/stat")?;
    let after = text.rsplit(") ").next().unwrap_or_default();
    let field = after.split(' ').nth(number - 3);
    some(
        field.and_then(|field| field.trim().parse().ok()),
        "no such field",
    )
}

fn places_of_memory_are_set() -> Outcome {
    // The option, and where stat shows what it sets.
    for (option, field) in [
        (2, 27),
        (1, 26),
        (5, 28),
        (4, 46),
        (3, 45),
        (8, 48),
        (9, 49),
        (10, 50),
        (11, 51),
    ] {
        let before = stat_field(field)?;
        let moved = if matches!(option, 1 | 3 | 5 | 8 | 10) {
            before - 16
        } else {
            before + 16
        };
        set_place(option, moved)?;
        equal((option, stat_field(field)?), (option, moved))?;
        set_place(option, before)?;
    }
    let brk = sys!(SYS_brk, 0)?;
    set_place(7, brk + PAGE)?;
    equal(sys!(SYS_brk, 0)?, brk + PAGE)?;
    set_place(7, brk)?;
    equal(sys!(SYS_brk, 0)?, brk)
}

fn places_are_checked() -> Outcome {
    fails(set_place(1, 0), libc::EINVAL)?;
    fails(set_place(1, 100), libc::EINVAL)?;
    fails(set_place(1, 1 << 47), libc::EINVAL)?;
    fails(set_place(99, 1 << 30), libc::EINVAL)?;
    fails(set_place(0, 1 << 30), libc::EINVAL)?;
    fails(prctl(PR_SET_MM, [1, 1 << 30, 1, 0]), libc::EINVAL)?;
    fails(prctl(PR_SET_MM, [1, 1 << 30, 0, 1]), libc::EINVAL)?;
    // The end of the code comes after its start, and so on.
    fails(set_place(1, stat_field(27)?), libc::EINVAL)?;
    fails(set_place(3, stat_field(46)? + 1), libc::EINVAL)?;
    fails(set_place(8, stat_field(49)? + 1), libc::EINVAL)?;
    fails(set_place(11, stat_field(50)? - 1), libc::EINVAL)
}

fn places_need_power() -> Outcome {
    let mut size = 0u32;
    become_user()?;
    fails(set_place(2, 1 << 40), libc::EPERM)?;
    fails(set_place(99, 1 << 40), libc::EPERM)?;
    fails(prctl(PR_SET_MM, [13, usize::MAX, 0, 0]), libc::EPERM)?;
    // The size of the whole is no secret, where it is known.
    prctl(PR_SET_MM, [15, &raw mut size as usize, 0, 0])?;
    equal(size, 104)
}

fn arguments_are_where_they_are_said_to_be() -> Outcome {
    let at = map(PAGE)?;
    for (index, byte) in b"other\0words\0".iter().enumerate() {
        poke(at + index, *byte);
    }
    // The new place may lie on either side of the old one.
    let (first, second) = if at > stat_field(49)? {
        ((9, at + 12), (8, at))
    } else {
        ((8, at), (9, at + 12))
    };
    set_place(first.0, first.1)?;
    set_place(second.0, second.1)?;
    equal(std::fs::read("/proc/self/cmdline")?, b"other\0words\0")
}

fn the_auxiliary_vector_is_replaced() -> Outcome {
    let words = [6usize, 4096, 17, 99, 5, 5];
    prctl(PR_SET_MM, [12, &raw const words as usize, 48, 0])?;
    let shown = std::fs::read("/proc/self/auxv")?;
    let mut want: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    equal(shown.get(..48), Some(want.as_slice()))?;
    fails(
        prctl(PR_SET_MM, [12, &raw const words as usize, 4096, 0]),
        libc::EINVAL,
    )?;
    fails(prctl(PR_SET_MM, [12, 8, 48, 0]), libc::EFAULT)?;
    want.clear();
    Ok(())
}

#[repr(C)]
struct MmMap {
    places: [u64; 11],
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

fn all_places_are_set_at_once() -> Outcome {
    let fields = [26, 27, 45, 46, 47, 0, 28, 48, 49, 50, 51];
    let mut places = [0; 11];
    for (place, field) in places.iter_mut().zip(fields) {
        *place = match field {
            0 => sys!(SYS_brk, 0)? as u64,
            field => stat_field(field)? as u64,
        };
    }
    places[1] += 8;
    let mut map = MmMap {
        places,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    let set = |map: &MmMap, size: usize| {
        prctl(PR_SET_MM, [14, std::ptr::from_ref(map) as usize, size, 0])
    };
    set(&map, 104)?;
    equal(stat_field(27)? as u64, places[1])?;
    fails(set(&map, 103), libc::EINVAL)?;
    fails(prctl(PR_SET_MM, [14, 8, 104, 0]), libc::EFAULT)?;
    map.places[1] = places[0];
    fails(set(&map, 104), libc::EINVAL)?;
    map.places[1] = places[1];
    map.auxv_size = 16;
    fails(set(&map, 104), libc::EINVAL)
}

fn executables_are_checked() -> Outcome {
    let set = |fd: i32| prctl(PR_SET_MM, [13, fd as usize, 0, 0]);
    fails(set(-1), libc::EBADF)?;
    let fd = file_with(c"file", b"text")?;
    fails(set(fd), libc::EACCES)?;
    sys!(SYS_mkdir, c"folder", 0o777)?;
    fails(set(open(c"folder", libc::O_RDONLY)?), libc::EACCES)?;
    // The old one is mapped: this is it.
    sys!(SYS_chmod, c"file", 0o755)?;
    fails(set(fd), libc::EBUSY)
}

const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;

fn dispatch(mode: usize, offset: usize, len: usize, selector: usize) -> Sys {
    prctl(PR_SET_SYSCALL_USER_DISPATCH, [mode, offset, len, selector])
}

/// A range that holds the C library's and this program's calls.
const EVERYTHING: (usize, usize) = (1, (1 << 47) - 2);

static SELECTOR: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

fn selector() -> usize {
    SELECTOR.as_ptr() as usize
}

fn select(value: u8) {
    SELECTOR.store(value, std::sync::atomic::Ordering::SeqCst);
}

/// Lets calls through again and notes the signal.
extern "C" fn on_dispatch(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    select(0);
    // SAFETY: the kernel passes both.
    unsafe {
        let words = info.cast::<i32>();
        for (index, slot) in SEEN.iter().enumerate() {
            slot.store(*words.add(index), std::sync::atomic::Ordering::SeqCst);
        }
        let context = &mut *context.cast::<libc::ucontext_t>();
        context.uc_mcontext.gregs[libc::REG_RAX as usize] += 1000;
    }
    let _ = signal;
}

static SEEN: [std::sync::atomic::AtomicI32; 8] =
    [const { std::sync::atomic::AtomicI32::new(0) }; 8];

fn dispatched_calls_become_signals() -> Outcome {
    within(|| {
        let handler =
            on_dispatch as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        handle(libc::SIGSYS, handler, libc::SA_SIGINFO, &[])?;
        dispatch(1, 0, 0, selector())?;
        select(1);
        let answer = crate::sys::call(libc::SYS_getpriority, &[0, 0]);
        dispatch(0, 0, 0, 0)?;
        // The handler found the call's number where it was, and made the answer of it.
        equal(answer?, libc::SYS_getpriority as usize + 1000)?;
        let seen: Vec<i32> = SEEN
            .iter()
            .map(|word| word.load(std::sync::atomic::Ordering::SeqCst))
            .collect();
        equal(&seen[..3], [libc::SIGSYS, 0, 2])?;
        equal(
            &seen[6..],
            [libc::SYS_getpriority as i32, 0xc000_003e_u32 as i32],
        )
    })
}

fn dispatch_has_a_selector() -> Outcome {
    within(|| {
        dispatch(1, 0, 0, selector())?;
        select(0);
        equal(sys!(SYS_getpriority, 0, 0)?, 20)?;
        // Calls from the range go through whatever it says.
        dispatch(1, EVERYTHING.0, EVERYTHING.1, selector())?;
        select(1);
        equal(sys!(SYS_getpriority, 0, 0)?, 20)
    })
}

fn bad_selectors_kill() -> Outcome {
    let signal = death_of(|| {
        let _ = catch(libc::SIGSYS, 0);
        let _ = dispatch(1, 0, 0, selector());
        select(2);
        let _ = sys!(SYS_getpid);
    })?;
    equal(signal, libc::SIGSYS)?;
    let signal = death_of(|| {
        let _ = catch(libc::SIGSEGV, 0);
        let _ = dispatch(1, 0, 0, 8);
        let _ = sys!(SYS_getpid);
    })?;
    equal(signal, libc::SIGSEGV)?;
    let signal = death_of(|| {
        let _ = dispatch(1, 0, 0, 0);
        let _ = sys!(SYS_getpid);
    })?;
    equal(signal, libc::SIGSYS)
}

fn dispatch_is_not_inherited() -> Outcome {
    within(|| {
        dispatch(1, 0, 0, selector())?;
        let pid = fork(|| {
            select(1);
            i32::from(sys!(SYS_getpriority, 0, 0) != Ok(20))
        })?;
        equal(wait(pid)?, 0)?;
        // A program begins without.
        let pid = fork(|| {
            let argv = [c"true".as_ptr(), std::ptr::null()];
            // From here on only the call of exec itself is allowed.
            let _ = dispatch(1, EVERYTHING.0, EVERYTHING.1, 8);
            let _ = sys!(SYS_execve, c"/bin/true", argv.as_ptr(), 0);
            3
        })?;
        equal(wait(pid)?, 0)
    })
}

fn dispatch_arguments_are_checked() -> Outcome {
    fails(dispatch(2, 0, 0, 0), libc::EINVAL)?;
    fails(dispatch(0, 1, 0, 0), libc::EINVAL)?;
    fails(dispatch(0, 0, 1, 0), libc::EINVAL)?;
    fails(dispatch(0, 0, 0, 1), libc::EINVAL)?;
    fails(dispatch(1, 4096, 0, 0), libc::EINVAL)?;
    fails(dispatch(1, 4096, usize::MAX, 0), libc::EINVAL)?;
    fails(dispatch(1, 1, 1 << 46, usize::MAX), libc::EFAULT)
}

fn dispatch_comes_before_filters() -> Outcome {
    use crate::seccomp::{CALL, KILL_PROCESS, install, only};
    within(|| {
        let handler =
            on_dispatch as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        handle(libc::SIGSYS, handler, libc::SA_SIGINFO, &[])?;
        install(&only(CALL, KILL_PROCESS))?;
        dispatch(1, 0, 0, selector())?;
        select(1);
        let answer = crate::seccomp::the_call();
        dispatch(0, 0, 0, 0)?;
        equal(answer?, CALL as usize + 1000)
    })
}

const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
const UNAME26: u32 = 0x0002_0000;

fn personalities_are_set_and_told() -> Outcome {
    equal(sys!(SYS_personality, u32::MAX)?, 0)?;
    equal(sys!(SYS_personality, ADDR_NO_RANDOMIZE)?, 0)?;
    equal(
        sys!(SYS_personality, 0x0fff_ffff_u32)?,
        ADDR_NO_RANDOMIZE as usize,
    )?;
    equal(sys!(SYS_personality, u32::MAX)?, 0x0fff_ffff)?;
    within(|| equal(sys!(SYS_personality, u32::MAX)?, 0x0fff_ffff))?;
    equal(text_of("/proc/self/personality")?.as_str(), "0fffffff\n")
}

/// Where a program's stack, heap and program lie.
fn places_after_exec(persona: u32) -> Outcome<String> {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let _ = sys!(SYS_personality, persona);
        let argv = [
            c"grep".as_ptr(),
            c"-E".as_ptr(),
            c"stack|heap|busybox|vdso".as_ptr(),
            c"/proc/self/maps".as_ptr(),
            std::ptr::null(),
        ];
        let envp = [std::ptr::null::<u8>()];
        let _ = sys!(SYS_execve, c"/bin/grep", argv.as_ptr(), envp.as_ptr());
        3
    })?;
    close(write_end)?;
    let mut text = Vec::new();
    loop {
        let some = read_some(read_end)?;
        if some.is_empty() {
            break;
        }
        text.extend_from_slice(&some);
    }
    wait(pid)?;
    check(!text.is_empty(), "the program says nothing")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn addresses_may_be_the_same_each_time() -> Outcome {
    let first = places_after_exec(ADDR_NO_RANDOMIZE)?;
    equal(places_after_exec(ADDR_NO_RANDOMIZE)?, first.as_str())?;
    let stack = first.lines().find(|line| line.contains("[stack]"));
    check(
        stack.is_some_and(|line| line.contains("-7ffffffff000 ")),
        &first,
    )?;
    check(places_after_exec(0)? != first, "addresses are never random")
}

fn rights_of(addr: usize) -> Outcome<String> {
    let maps = text_of("/proc/self/maps")?;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap_or_default();
        let (start, end) = range.split_once('-').unwrap_or_default();
        let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
        if (number(start)..number(end)).contains(&addr) {
            return Ok(rest.get(..4).unwrap_or_default().to_owned());
        }
    }
    fail("the address is not mapped")
}

fn readable_memory_may_be_executable() -> Outcome {
    sys!(SYS_personality, READ_IMPLIES_EXEC)?;
    let at = map(PAGE)?;
    equal(rights_of(at)?.as_str(), "rwxp")?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let write_only = map_with(PAGE, libc::PROT_WRITE, flags)?;
    equal(rights_of(write_only)?.as_str(), "-w-p")?;
    sys!(SYS_mprotect, write_only, PAGE, libc::PROT_READ)?;
    equal(rights_of(write_only)?.as_str(), "r-xp")?;
    // A program of 64 bits begins without it.
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let argv = [
            c"cat".as_ptr(),
            c"/proc/self/personality".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/cat", argv.as_ptr(), 0);
        3
    })?;
    close(write_end)?;
    equal(read_some(read_end)?.as_slice(), b"00000000\n")?;
    wait(pid)?;
    Ok(())
}

fn old_programs_see_an_old_release() -> Outcome {
    let names = || {
        let mut names = [[0u8; 65]; 6];
        sys!(SYS_uname, &mut names)?;
        let text = |name: &[u8; 65]| {
            String::from_utf8_lossy(name)
                .trim_end_matches('\0')
                .to_owned()
        };
        Ok::<(String, String), Errno>((text(&names[2]), text(&names[4])))
    };
    let (release, machine) = names()?;
    equal(machine.as_str(), "x86_64")?;
    let minor: u32 = release
        .split(['.', '-'])
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    sys!(SYS_personality, UNAME26)?;
    let (old, _) = names()?;
    check(old.starts_with(&format!("2.6.{}", 60 + minor)), &old)?;
    let rest = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    check(
        old.ends_with(&release[rest.unwrap_or(release.len())..]),
        &old,
    )?;
    sys!(SYS_personality, 8)?;
    equal(names()?, (release, "i686".to_owned()))
}

const PR_SET_MDWE: i32 = 65;
const PR_GET_MDWE: i32 = 66;
const RWX: i32 = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

fn writable_memory_may_be_kept_from_execution() -> Outcome {
    let before = map(PAGE)?;
    let code = map_with(PAGE, libc::PROT_READ | libc::PROT_EXEC, ANONYMOUS)?;
    if prctl(PR_SET_MDWE, [1, 0, 0, 0]).is_err() {
        return skip("this kernel has no PR_SET_MDWE");
    }
    equal(prctl(PR_GET_MDWE, [0; 4])?, 1)?;
    fails(map_with(PAGE, RWX, ANONYMOUS), libc::EACCES)?;
    let read_exec = libc::PROT_READ | libc::PROT_EXEC;
    fails(sys!(SYS_mprotect, before, PAGE, read_exec), libc::EACCES)?;
    fails(sys!(SYS_mprotect, code, PAGE, RWX), libc::EACCES)?;
    // What is code stays it, and new code may be read from a file.
    sys!(SYS_mprotect, code, PAGE, libc::PROT_EXEC)?;
    map_with(PAGE, read_exec, ANONYMOUS)?;
    sys!(SYS_mprotect, code, PAGE, libc::PROT_READ)?;
    fails(sys!(SYS_mprotect, code, PAGE, read_exec), libc::EACCES)
}

fn that_is_for_children_and_for_good() -> Outcome {
    let set = |bits: usize| prctl(PR_SET_MDWE, [bits, 0, 0, 0]);
    let get = || prctl(PR_GET_MDWE, [0; 4]);
    for wrong in [2, 4, 1 << 40] {
        fails(set(wrong), libc::EINVAL)?;
    }
    fails(prctl(PR_SET_MDWE, [1, 1, 0, 0]), libc::EINVAL)?;
    fails(prctl(PR_GET_MDWE, [1, 0, 0, 0]), libc::EINVAL)?;
    let supported = within(|| {
        if set(1).is_err() {
            return skip("this kernel has no PR_SET_MDWE");
        }
        within(|| equal(get()?, 1))?;
        fails(set(0), libc::EPERM)?;
        equal(set(1)?, 0)
    });
    supported?;
    set(3)?;
    within(|| equal(get()?, 0))?;
    fails(set(1), libc::EPERM)
}

fn the_vector_is_given_to_who_asks() -> Outcome {
    const PR_GET_AUXV: i32 = 0x4155_5856;
    let mut words = [0u64; 64];
    let at = words.as_mut_ptr() as usize;
    let Ok(len) = prctl(PR_GET_AUXV, [at, 512, 0, 0]) else {
        return skip("this kernel has no PR_GET_AUXV");
    };
    let shown = std::fs::read("/proc/self/auxv")?;
    let given: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    equal(
        &given[..shown.len().min(512)],
        &shown[..shown.len().min(512)],
    )?;
    check(len >= shown.len(), "it is shorter")?;
    equal(prctl(PR_GET_AUXV, [at, 8, 0, 0])?, len)?;
    fails(prctl(PR_GET_AUXV, [8, 512, 0, 0]), libc::EFAULT)?;
    fails(prctl(PR_GET_AUXV, [at, 512, 1, 0]), libc::EINVAL)
}

fn arch_prctl(code: u32, arg: usize) -> Sys {
    sys!(SYS_arch_prctl, code, arg)
}

fn cpuid_is_always_allowed() -> Outcome {
    equal(arch_prctl(0x1011, 0)?, 1)?;
    // Where the processor cannot forbid it.
    if let Err(errno) = arch_prctl(0x1012, 1) {
        equal(errno.0, libc::ENODEV)?;
        fails(arch_prctl(0x1012, 0), libc::ENODEV)?;
    }
    fails(arch_prctl(0x1000, 0), libc::EINVAL)?;
    fails(arch_prctl(0x1005, 0), libc::EINVAL)?;
    fails(arch_prctl(0x1003, 8), libc::EFAULT)?;
    fails(arch_prctl(0x1002, 1 << 63), libc::EPERM)
}

fn extended_states_are_told() -> Outcome {
    let mut features = [0u64; 3];
    for (code, slot) in [0x1021, 0x1022, 0x1024].into_iter().zip(&mut features) {
        arch_prctl(code, std::ptr::from_mut(slot) as usize)?;
    }
    // The x87's and SSE's at least, and nothing without a permission.
    equal(features[0] & 3, 3)?;
    equal(features[1], features[0] & !(1 << 18))?;
    fails(arch_prctl(0x1021, 8), libc::EFAULT)?;
    for (state, errno) in [
        (0, libc::EOPNOTSUPP),
        (2, libc::EOPNOTSUPP),
        (99, libc::EINVAL),
    ] {
        fails(arch_prctl(0x1023, state), errno)?;
    }
    Ok(())
}
