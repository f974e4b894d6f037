//! The boots of `boot/bad`: what is wrong, and what the console must then say.

use super::archives::{self, Make};

const NO_INIT: &str = "Kernel panic - not syncing: No working init found";
/// Ends a command line: a shell that says so and switches off. The sum is not in the words themselves, which the kernel
/// prints.
const HELLO: &str = r#"rdinit=/bin/sh -- -c "echo hello $((40 + 2)); poweroff -f""#;

/// One boot.
pub struct Case {
    pub name: &'static str,
    pub initramfs: Make,
    pub cmdline: Vec<u8>,
    pub mem: u32,
    /// What our console must show.
    pub expect: Vec<&'static str>,
    /// What Linux's must; empty where it is not asked.
    pub linux: Vec<&'static str>,
}

impl Case {
    /// A boot with a bad initramfs and nothing else.
    fn archive(name: &'static str, initramfs: Make, expect: &[&'static str]) -> Self {
        Self {
            name,
            initramfs,
            cmdline: Vec::new(),
            mem: 256,
            expect: expect.to_vec(),
            linux: Vec::new(),
        }
    }

    /// A boot of the good userland with this command line, of which Linux says the same.
    fn words(name: &'static str, cmdline: impl AsRef<[u8]>, expect: &'static str) -> Self {
        Self {
            cmdline: cmdline.as_ref().to_vec(),
            linux: vec![expect],
            ..Self::archive(name, archives::good, &[expect])
        }
    }

    fn cmdline(mut self, words: &str) -> Self {
        self.cmdline = words.as_bytes().to_vec();
        self
    }

    fn mem(mut self, mebibytes: u32) -> Self {
        self.mem = mebibytes;
        self
    }

    fn linux(mut self, expect: &'static str) -> Self {
        self.linux = vec![expect];
        self
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = Case> {
    let cases = [
        archive_cases(),
        word_cases(),
        command_cases(),
        first_process_cases(),
        fork_bombs().into(),
        vec![memory_bombs()],
    ];
    cases.into_iter().flatten()
}

/// Boots whose initramfs is bad.
fn archive_cases() -> Vec<Case> {
    let case = Case::archive;
    let none = "Kernel panic - not syncing: the boot loader passed no initramfs";
    let hello = "hello 42";
    vec![
        case("missing", archives::missing, &[none]),
        case("empty", archives::empty, &[none]),
        case("zeros", archives::zeros, &[NO_INIT]),
        case(
            "garbage",
            archives::garbage,
            &["Initramfs unpacking failed: bad magic number", NO_INIT],
        ),
        case("gzip", archives::gzipped, &[hello])
            .cmdline(HELLO)
            .linux(hello),
        case(
            "gzip-garbage",
            archives::gzip_with_noise,
            &["unpacking failed: corrupt gzip'd data", NO_INIT],
        ),
        case(
            "gzip-cut",
            archives::gzip_cut,
            &["unpacking failed: unexpected end of gzip'd data"],
        )
        .cmdline("rdinit=/none init=/none")
        .linux("Initramfs unpacking failed"),
        case(
            "gzip-bad-sum",
            archives::gzip_with_bad_sum,
            &["unpacking failed: wrong checksum", hello],
        )
        .cmdline(HELLO),
        case(
            "gzip-then-plain",
            archives::gzip_then_plain,
            &["the second archive", hello],
        )
        .cmdline(r#"rdinit=/bin/sh -- -c "cat /word; echo hello $((40 + 2)); poweroff -f""#)
        .linux("the second archive"),
        case(
            "cut-in-header",
            archives::cut_in_header,
            &["unpacking failed: truncated header at byte 0", NO_INIT],
        ),
        case(
            "cut-in-name",
            archives::cut_in_name,
            &["unpacking failed: truncated name at byte 0", NO_INIT],
        ),
        case(
            "cut-in-data",
            archives::cut_in_data,
            &["unpacking failed: truncated file at byte", hello],
        )
        .cmdline(HELLO)
        .linux(hello),
        case("no-init", archives::no_init, &[NO_INIT]),
        case(
            "init-garbage",
            archives::init_is_noise,
            &["Failed to execute /init (error ENOEXEC)", NO_INIT],
        ),
        case(
            "init-empty",
            archives::init_is_empty,
            &["Failed to execute /init (error ENOEXEC)", NO_INIT],
        ),
        case("init-cut", archives::init_is_cut, &["Kernel panic"])
            .linux("Kernel panic - not syncing: Attempted to kill init!"),
        case(
            "init-folder",
            archives::init_is_a_folder,
            &["Failed to execute /init (error EACCES)", NO_INIT],
        ),
        case(
            "init-not-executable",
            archives::init_may_not_run,
            &["Failed to execute /init (error EACCES)", NO_INIT],
        ),
        case("large", archives::large, &[hello])
            .cmdline(HELLO)
            .mem(64),
        case("too-large", archives::too_large, &["ENOSPC"])
            .cmdline("rdinit=/none init=/none")
            .mem(64),
    ]
}

/// Boots whose command line is odd.
fn word_cases() -> Vec<Case> {
    let hello = "hello 42";
    let long = format!("{HELLO} {}", "x".repeat(2900));
    let many = |what: fn(usize) -> String| (0..40).map(what).collect::<Vec<_>>().join(" ");
    let not_text = [
        b"caf\xe9.x=\xff ".as_slice(),
        HELLO.as_bytes(),
        b" \xfe\xff \xc3",
    ]
    .concat();
    let arguments = concat!(
        r#"FOO=bar Q="x y" TERM=vt100 a.b=c maxcpus=1 early rdinit=/bin/sh -- -c "#,
        r#""echo [$0] [$1] [$2] [$FOO] [$Q] [$TERM] [$HOME] [$maxcpus]; poweroff -f" "#,
        r#"zero one=1 "t w o""#
    );
    let mut misspelt = Case::words(
        "misspelt-numbers",
        format!("maxcpus=two loglevel=loud panic=soon nosmpp smp=0 {HELLO}"),
        hello,
    );
    misspelt
        .expect
        .extend(["maxcpus=two is no number", "loglevel=loud is no number"]);
    // There `maxcpus=two` is 0, which takes the interrupts of the serial port as well.
    misspelt.linux.clear();
    vec![
        // The emulator can hand Linux no more than Linux takes.
        Case::archive("long-line", archives::good, &[hello, "more than fits"]).cmdline(&long),
        Case::words("not-text", not_text, hello),
        misspelt,
        Case::words(
            "arguments",
            arguments,
            "[zero] [one=1] [t w o] [bar] [x y] [vt100] [/] []",
        ),
        Case::words(
            "plain-words",
            r#"rdinit=/bin/sh -c "echo plain $0 $# $((1 + 1)); poweroff -f" single quiet S"#,
            "plain single 1 2",
        ),
        Case::words(
            "too-many-variables",
            many(|n| format!("v{n}=1")),
            "Kernel panic - not syncing: Too many boot env vars at `v31=1'",
        ),
        Case::words(
            "too-many-arguments",
            many(|n| format!("a{n}")),
            "Kernel panic - not syncing: Too many boot init vars at `a32'",
        ),
        Case::archive(
            "no-such-rdinit",
            archives::no_init,
            &["rdinit=/none: there is no such program", NO_INIT],
        )
        .cmdline("rdinit=/none"),
        Case::archive(
            "no-such-init",
            archives::no_init,
            &["Kernel panic - not syncing: Requested init /none failed (ENOENT)"],
        )
        .cmdline("init=/none"),
        Case::words(
            "one-cpu",
            concat!(
                r#"maxcpus=1 rdinit=/bin/sh -- -c "mount -t proc none /proc; "#,
                r#"echo cpus $(grep -c ^processor /proc/cpuinfo); poweroff -f""#
            ),
            "cpus 1",
        ),
    ]
}

/// Ends that a command of `/proc/sysrq-trigger` brings about.
fn command_cases() -> Vec<Case> {
    let command = |name, command: &str, linux: &'static str, expect: &[&'static str]| {
        let shell = format!(
            r#"rdinit=/bin/sh -- -c "mount -t proc none /proc; {command} > /proc/sysrq-trigger'""#
        );
        Case::archive(name, archives::good, expect)
            .cmdline(&shell)
            .linux(linux)
    };
    let crash = "Kernel panic - not syncing: sysrq triggered crash";
    vec![
        command(
            "crash",
            "sh -c 'echo c",
            crash,
            &[
                "Kernel panic on CPU",
                "Reason: sysrq triggered crash",
                " kernel::device::sysrq::handle+0x",
                " syscall_entry+0x",
                "sysrq: Trigger a crash",
            ],
        ),
        command(
            "crash-elsewhere",
            "taskset 2 sh -c 'echo c",
            crash,
            &["Kernel panic on CPU 1", "Reason: sysrq triggered crash"],
        ),
        command(
            "reset",
            "sh -c 'echo b",
            "sysrq: Resetting",
            &["sysrq: Resetting"],
        ),
        command(
            "power-off",
            "sh -c 'echo o",
            "sysrq: Power Off",
            &["sysrq: Power Off"],
        ),
    ]
}

/// A shell that is the first process and lets another program take its place, as `sh -c` does with its last command.
fn first_process_cases() -> Vec<Case> {
    let replaced = |name, before: &str, program: &str, expect| {
        let shell = format!(
            r#"rdinit=/bin/sh -- -c "mount -t proc none /proc; {before} exec sh -c '{program}; poweroff -f'""#
        );
        Case::words(name, shell, expect)
    };
    vec![
        replaced(
            "replaced-gets-sigchld",
            "",
            "trap c=chld CHLD; sleep 1 & wait; echo first $$ $c $((40 + 2))",
            "first 1 chld 42",
        ),
        // A child of the program before, and an orphan: the new one has both to wait for.
        replaced(
            "replaced-takes-children",
            "sleep 1 &",
            "(sleep 1 &); sleep 3; grep -l State:.Z /proc/[0-9]*/status; echo left $? $((40 + 2))",
            "left 1 42",
        ),
        replaced(
            "replaced-is-not-killed",
            "",
            "kill -9 1; kill -15 1; kill -19 1; (kill -9 1); echo alive $$ $((40 + 2))",
            "alive 1 42",
        ),
    ]
}

/// Two thousand shells that wait for each other, after `before`.
fn fork_bomb(
    name: &'static str,
    before: &str,
    errors: &str,
    expect: &'static [&'static str],
) -> Case {
    let bomb = "b() { [ $1 -gt 0 ] && { b $(($1 - 1)) & b $(($1 - 1)) & wait; }; }; b 10";
    let after = "echo survived $((40 + 2)); poweroff -f";
    Case::archive(name, archives::good, expect)
        .cmdline(&format!(
            r#"rdinit=/bin/sh -- -c "{before}sh -c '{bomb}' {errors}; {after}""#
        ))
        .mem(64)
}

/// There are fewer threads than the bomb wants, and the machine goes on; where there may be as many, but there is memory for
/// half of them, some are killed.
fn fork_bombs() -> [Case; 2] {
    let unbounded = "mount -t proc none /proc; echo 100000 >/proc/sys/kernel/threads-max; ";
    [
        // Shells in the background read from there.
        fork_bomb(
            "fork-bomb",
            ": >/dev/null; ",
            "",
            &["can't fork", "survived 42"],
        ),
        fork_bomb(
            "fork-bomb-unbounded",
            unbounded,
            "2>/dev/null",
            &["Out of memory: killed process", "survived 42"],
        ),
    ]
}

/// Programs that want more memory than there is, of their own and in files: they end or are refused, what they had comes
/// back, and the shell goes on.
fn memory_bombs() -> Case {
    let own = "awk 'BEGIN{for(;;)a[i++]=i}'";
    let files = "dd if=/dev/zero of=/big bs=65536 count=4096; rm -f /big";
    let again = "dd if=/dev/zero of=/small bs=65536 count=160 && rm /small";
    let after = "echo survived $((40 + 2)); poweroff -f";
    Case::archive(
        "memory-bombs",
        archives::good,
        &["Out of memory: killed process", "survived 42"],
    )
    .cmdline(&format!(
        r#"rdinit=/bin/sh -- -c "mount -t devtmpfs none /dev; {{ {own}; {files}; }} 2>/dev/null; {again} && {after}""#
    ))
    .mem(64)
}
