//! What is in a dump.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    the_header_says_core,
    registers_are_those_of_the_fault,
    the_signal_is_told,
    the_program_is_told,
    the_auxiliary_vector_is_there,
    mapped_files_are_listed,
    vector_registers_are_there,
    private_memory_is_there,
    memory_without_rights_is_there,
    untouched_memory_is_left_out,
    large_memory_leaves_holes,
    vast_memory_is_no_work,
    dontdump_leaves_memory_out,
    shared_memory_is_there_by_default,
    the_filter_leaves_memory_out,
    files_show_their_first_page,
    the_filter_brings_files_in,
    the_vdso_is_there,
    every_thread_is_there,
    the_filter_is_read_and_written,
    the_filter_is_inherited,
    a_filtered_call_shows_its_registers,
];

fn the_header_says_core() -> Outcome {
    let core = dump_of(|| die_with(0))?;
    equal((core.half(16), core.half(18)), (4, 62))?;
    equal((core.half(52), core.half(54)), (64, 56))?;
    let loads = core.loads();
    check(loads.len() > 3, "few pieces")?;
    for load in &loads {
        check(load.file_len <= load.memory_len, "a piece is too long")?;
        check(
            load.addr % PAGE == 0 && load.offset % PAGE == 0,
            "a piece is not aligned",
        )?;
    }
    let order = loads
        .windows(2)
        .all(|pair| pair[0].addr + pair[0].memory_len <= pair[1].addr);
    check(order, "the pieces overlap")
}

fn registers_are_those_of_the_fault() -> Outcome {
    let core = dump_of(|| die_with(0x1234_5678_9abc))?;
    equal(core.register(R12)?, 0x1234_5678_9abc)?;
    // The instruction that died, in memory that the program executes.
    let at = core.register(RIP)?;
    equal(core.load_of(at)?.flags & 1, 1)?;
    let here = die_with as fn(usize) -> ! as usize;
    check(at.abs_diff(here) < 4096, "dies elsewhere")?;
    let sp = core.register(RSP)?;
    core.memory(sp, 8)?;
    // The code segment of 64-bit programs.
    equal(core.register(17)?, 0x33)
}

fn the_signal_is_told() -> Outcome {
    let core = dump_of(|| {
        peek(0x1234);
    })?;
    let status = core.note(NT_PRSTATUS)?;
    equal(status.len(), 336)?;
    equal(int_at(status, 0), libc::SIGSEGV)?;
    equal(int_at(status, 12) & 0xffff, libc::SIGSEGV)?;
    let info = core.note(NT_SIGINFO)?;
    equal(info.len(), 128)?;
    equal((int_at(info, 0), int_at(info, 8)), (libc::SIGSEGV, 1))?;
    equal(word_at(info, 16), 0x1234)
}

fn the_program_is_told() -> Outcome {
    let words = map_shared(PAGE)?;
    let core = dump_of(|| {
        let _ = sys!(SYS_prctl, libc::PR_SET_NAME, c"a name", 0, 0, 0);
        word(words).store(getpid() as u32, Ordering::SeqCst);
        die_with(0)
    })?;
    let pid = word(words).load(Ordering::SeqCst) as i32;
    let info = core.note(NT_PRPSINFO)?;
    equal(info.len(), 136)?;
    equal((int_at(info, 24), int_at(info, 28)), (pid, getpid()))?;
    equal(int_at(info, 16), 0)?;
    equal(
        info.get(40..56).unwrap_or_default(),
        b"a name\0\0\0\0\0\0\0\0\0\0",
    )?;
    let status = core.note(NT_PRSTATUS)?;
    equal((int_at(status, 32), int_at(status, 36)), (pid, getpid()))?;
    let ids = (sys!(SYS_getpgrp)? as i32, sys!(SYS_getsid, 0)? as i32);
    equal((int_at(status, 40), int_at(status, 44)), ids)?;
    let line = std::fs::read("/proc/self/cmdline")?;
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let shown = info.get(56..56 + first.len().min(79)).unwrap_or_default();
    equal(shown, first.get(..shown.len()).unwrap_or_default())
}

fn the_auxiliary_vector_is_there() -> Outcome {
    let core = dump_of(|| die_with(0))?;
    equal(
        core.note(NT_AUXV)?,
        std::fs::read("/proc/self/auxv")?.as_slice(),
    )
}

fn mapped_files_are_listed() -> Outcome {
    let core = dump_of(|| die_with(0))?;
    let note = core.note(NT_FILE)?;
    let count = word_at(note, 0);
    check(count > 0, "no file is listed")?;
    equal(word_at(note, 8), PAGE)?;
    let exe = std::fs::read_link("/proc/self/exe")?;
    let exe = exe.to_string_lossy();
    let names = note.get(16 + 24 * count..).unwrap_or_default();
    let mut names = names.split(|byte| *byte == 0).take(count);
    check(
        names.any(|name| name == exe.as_bytes()),
        "the program is not listed",
    )?;
    let (start, end) = (word_at(note, 16), word_at(note, 24));
    core.load_of(start)?;
    check(end > start, "an empty file")
}

fn vector_registers_are_there() -> Outcome {
    let core = dump_of(|| {
        // SAFETY: ends the process.
        unsafe {
            std::arch::asm!(
                "movq xmm7, r12",
                "fld1",
                "ud2",
                in("r12") 0x1122_3344_5566_7788_usize,
                options(noreturn),
            )
        }
    })?;
    let registers = core.note(NT_PRFPREG)?;
    equal(registers.len(), 512)?;
    equal(word_at(registers, 160 + 16 * 7), 0x1122_3344_5566_7788)?;
    // One, as the x87 has it, and its control word.
    equal(word_at(registers, 32), 1 << 63)?;
    equal(int_at(registers, 0) & 0xffff, 0x37f)?;
    if let Ok(state) = core.note(NT_X86_XSTATE) {
        equal(word_at(state, 160 + 16 * 7), 0x1122_3344_5566_7788)?;
        check(word_at(state, 464) & 3 == 3, "no features are told")?;
        check(word_at(state, 512) & 3 == 3, "no state is told")?;
    }
    Ok(())
}

const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn private_memory_is_there() -> Outcome {
    let at = map(3 * PAGE)?;
    let core = dump_of(|| {
        poke(at, b'x');
        poke(at + 2 * PAGE + 5, b'y');
        die_with(0)
    })?;
    equal(core.memory(at, 2)?, b"x\0")?;
    equal(core.memory(at + PAGE, 2)?, b"\0\0")?;
    equal(core.memory(at + 2 * PAGE + 4, 3)?, b"\0y\0")?;
    equal(core.load_of(at)?.flags & 7, 6)
}

fn memory_without_rights_is_there() -> Outcome {
    let at = map(PAGE)?;
    let core = dump_of(|| {
        poke(at, b'x');
        let _ = sys!(SYS_mprotect, at, PAGE, libc::PROT_NONE);
        die_with(0)
    })?;
    equal(core.load_of(at)?.flags, 0)?;
    equal(core.memory(at, 2)?, b"x\0")
}

fn untouched_memory_is_left_out() -> Outcome {
    let at = map_with(64 * PAGE, libc::PROT_NONE, PRIVATE)?;
    let core = dump_of(|| die_with(0))?;
    equal(core.load_of(at)?.file_len, 0)?;
    check(core.load_of(at)?.memory_len >= 64 * PAGE, "it is shorter")
}

fn large_memory_leaves_holes() -> Outcome {
    const LARGE: usize = 8 << 20;
    let at = map_with(LARGE, READ_WRITE, PRIVATE | libc::MAP_NORESERVE)?;
    let core = dump_of(|| {
        let _ = sys!(SYS_madvise, at, LARGE, libc::MADV_NOHUGEPAGE);
        poke(at + LARGE / 2, b'x');
        die_with(0)
    })?;
    equal(core.memory(at + LARGE / 2, 1)?, b"x")?;
    equal(core.memory(at + LARGE - 1, 1)?, b"\0")?;
    let stat = stat(c"core")?;
    check(stat.st_size as usize > LARGE, "the file is short")?;
    check(
        (stat.st_blocks as usize) * 512 < LARGE,
        "the file has no holes",
    )
}

fn vast_memory_is_no_work() -> Outcome {
    const VAST: usize = 4 << 30;
    let at = map_with(VAST, READ_WRITE, PRIVATE | libc::MAP_NORESERVE)?;
    let middle = at + VAST / 2;
    let status = status_of(|| {
        let _ = sys!(SYS_madvise, at, VAST, libc::MADV_NOHUGEPAGE);
        poke(middle, b'x');
        // Holes do not count.
        let _ = limit_core(64 << 20);
        die_with(0)
    })?;
    check(libc::WCOREDUMP(status), "no dump is told of")?;
    let core = Core::read_head("core", 1 << 16)?;
    let load = core.load_of(middle)?;
    check(load.file_len >= VAST, "it is cut")?;
    let fd = open(c"core", libc::O_RDONLY)?;
    let mut byte = [0; 1];
    let place = load.offset + middle - load.addr;
    sys!(SYS_pread64, fd, byte.as_mut_ptr(), 1, place)?;
    equal(&byte, b"x")?;
    check(
        (stat(c"core")?.st_blocks as usize) * 512 < 64 << 20,
        "the file has no holes",
    )
}

fn dontdump_leaves_memory_out() -> Outcome {
    let at = map(4 * PAGE)?;
    let core = dump_of(|| {
        for page in 0..4 {
            poke(at + page * PAGE, b'x');
        }
        let _ = sys!(SYS_madvise, at + PAGE, 2 * PAGE, libc::MADV_DONTDUMP);
        let _ = sys!(SYS_madvise, at + 2 * PAGE, PAGE, libc::MADV_DODUMP);
        die_with(0)
    })?;
    equal(core.memory(at, 1)?, b"x")?;
    equal(core.load_of(at + PAGE)?.file_len, 0)?;
    equal(core.memory(at + 2 * PAGE, 1)?, b"x")
}

fn shared_memory_is_there_by_default() -> Outcome {
    let anonymous = map_shared(PAGE)?;
    let fd = file_with(c"file", &[b'f'; PAGE])?;
    let file = sys!(SYS_mmap, 0, PAGE, READ_WRITE, libc::MAP_SHARED, fd, 0)?;
    let core = dump_of(|| {
        poke(anonymous, b'x');
        poke(file, b'y');
        die_with(0)
    })?;
    equal(core.memory(anonymous, 1)?, b"x")?;
    // Files that have a name are not.
    equal(core.load_of(file)?.file_len, 0)
}

fn set_filter(value: &str) -> bool {
    std::fs::write("/proc/self/coredump_filter", value).is_ok()
}

fn the_filter_leaves_memory_out() -> Outcome {
    let private = map(PAGE)?;
    let shared = map_shared(PAGE)?;
    let dump = |filter: &str| {
        dump_of(|| {
            poke(private, b'x');
            poke(shared, b'y');
            if set_filter(filter) {
                die_with(0)
            }
        })
    };
    let core = dump("0x31")?;
    equal(core.memory(private, 1)?, b"x")?;
    equal(core.load_of(shared)?.file_len, 0)?;
    let core = dump("0x2")?;
    equal(core.load_of(private)?.file_len, 0)?;
    equal(core.memory(shared, 1)?, b"y")?;
    let core = dump("0")?;
    equal(core.load_of(private)?.file_len, 0)?;
    equal(core.load_of(shared)?.file_len, 0)
}

/// The program's text: a private mapping of its file that nobody writes to.
fn text_page() -> usize {
    text_page as fn() -> usize as usize & !(PAGE - 1)
}

fn first_of_the_program() -> Outcome<usize> {
    let exe = std::fs::read_link("/proc/self/exe")?;
    let maps = text_of("/proc/self/maps")?;
    let name = exe.to_string_lossy().into_owned();
    let line = maps.lines().find(|line| line.ends_with(&name));
    let start = some(line, "the program is not mapped")?.split('-').next();
    let start = usize::from_str_radix(start.unwrap_or_default(), 16);
    some(start.ok(), "no address")
}

fn files_show_their_first_page() -> Outcome {
    let first = first_of_the_program()?;
    let core = dump_of(|| die_with(0))?;
    let load = core.load_of(first)?;
    // Where the first piece is read-only, one page of it is there: that with the build's name.
    if load.flags & 2 == 0 && core.load_of(text_page())?.addr != load.addr {
        equal(load.file_len, PAGE)?;
    }
    equal(core.memory(first, 4)?, b"\x7fELF")?;
    let core = dump_of(|| {
        if set_filter("1") {
            die_with(0)
        }
    })?;
    let load = core.load_of(first)?;
    check(
        load.file_len == 0 || load.flags & 2 != 0,
        "the first page is there",
    )
}

fn the_filter_brings_files_in() -> Outcome {
    let fd = file_with(c"file", &[b'f'; 2 * PAGE])?;
    let private = sys!(
        SYS_mmap,
        0,
        2 * PAGE,
        libc::PROT_READ,
        libc::MAP_PRIVATE,
        fd,
        0
    )?;
    let shared = sys!(SYS_mmap, 0, 2 * PAGE, READ_WRITE, libc::MAP_SHARED, fd, 0)?;
    let core = dump_of(|| die_with(0))?;
    equal(core.load_of(private)?.file_len, 0)?;
    let core = dump_of(|| {
        if set_filter("0xf") {
            die_with(0)
        }
    })?;
    equal(core.memory(private + PAGE, 1)?, b"f")?;
    equal(core.memory(shared + PAGE, 1)?, b"f")?;
    core.memory(text_page(), PAGE)?;
    Ok(())
}

fn the_vdso_is_there() -> Outcome {
    const AT_SYSINFO_EHDR: usize = 33;
    let auxv = std::fs::read("/proc/self/auxv")?;
    let words: Vec<usize> = (0..auxv.len() / 8)
        .map(|at| word_at(&auxv, at * 8))
        .collect();
    let pair = words
        .chunks(2)
        .find(|pair| pair.first() == Some(&AT_SYSINFO_EHDR));
    let Some([_, vdso]) = pair else {
        return skip("there is no vDSO");
    };
    let core = dump_of(|| {
        if set_filter("0") {
            die_with(0)
        }
    })?;
    equal(core.memory(*vdso, 4)?, b"\x7fELF")
}

fn every_thread_is_there() -> Outcome {
    static READY: AtomicU32 = AtomicU32::new(0);
    extern "C" fn body(r12: *mut libc::c_void) -> i32 {
        READY.fetch_add(1, Ordering::SeqCst);
        // SAFETY: spins for ever.
        unsafe { std::arch::asm!("2: pause", "jmp 2b", in("r12") r12, options(noreturn)) }
    }
    let core = dump_of(|| {
        let mut started = 0;
        for number in 1..4 {
            started += u32::from(thread(body, number * 0x1111).is_ok());
        }
        await_word(&READY, started);
        // They may be on their way into the loop.
        nap();
        if started == 3 {
            die_with(0x9999)
        }
    })?;
    let notes = core.notes();
    let of = |kind: u32| notes.iter().filter(move |note| note.0 == kind);
    let mut registers: Vec<usize> = of(NT_PRSTATUS)
        .map(|note| word_at(note.1, REGISTERS + 8 * R12))
        .collect();
    equal(registers.first().copied(), Some(0x9999))?;
    registers.sort_unstable();
    equal(registers, [0x1111, 0x2222, 0x3333, 0x9999])?;
    equal(of(NT_PRFPREG).count(), 4)?;
    let mut tids: Vec<i32> = of(NT_PRSTATUS).map(|note| int_at(note.1, 32)).collect();
    tids.sort_unstable();
    tids.dedup();
    equal(tids.len(), 4)
}

const FILTER: &str = "/proc/self/coredump_filter";

fn the_filter_is_read_and_written() -> Outcome {
    equal(text_of(FILTER)?.as_str(), "00000033\n")?;
    for (written, read) in [
        ("0x7", "00000007"),
        ("16", "00000010"),
        ("017", "0000000f"),
        ("0xffffffff\n", "000001ff"),
    ] {
        check(set_filter(written), "a number is refused")?;
        equal(text_of(FILTER)?.trim_end(), read)?;
    }
    for wrong in ["x", "1 2", "0x1g", "-1", "0x100000000"] {
        check(!set_filter(wrong), wrong)?;
    }
    equal(text_of(FILTER)?.trim_end(), "000001ff")
}

fn the_filter_is_inherited() -> Outcome {
    check(set_filter("0x5"), "the filter cannot be set")?;
    within(|| equal(text_of(FILTER)?.trim_end(), "00000005"))?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup2, write_end, 1);
        let argv = [
            c"cat".as_ptr(),
            c"/proc/self/coredump_filter".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/cat", argv.as_ptr(), 0);
        3
    })?;
    equal(wait(pid)?, 0)?;
    equal(read_some(read_end)?.as_slice(), b"00000005\n")
}

fn a_filtered_call_shows_its_registers() -> Outcome {
    use crate::seccomp::{CALL, KILL_PROCESS, install, only, the_call};
    let status = status_of(|| {
        if install(&only(CALL, KILL_PROCESS)).is_ok() {
            let _ = the_call();
        }
    })?;
    equal(libc::WTERMSIG(status), libc::SIGSYS)?;
    check(libc::WCOREDUMP(status), "no dump is told of")?;
    let core = Core::read("core")?;
    // rax and the number are those of the call.
    equal(
        (core.register(10)?, core.register(15)?),
        (CALL as usize, CALL as usize),
    )?;
    let info = core.note(NT_SIGINFO)?;
    equal((int_at(info, 0), int_at(info, 8)), (libc::SIGSYS, 1))?;
    equal(int_at(info, 24), CALL as i32)
}
