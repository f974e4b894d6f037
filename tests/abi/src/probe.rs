//! A program for cases about exec: what it finds itself with.
//!
//! `abi-tests --probe WHAT...` prints a line `WHAT VALUE` for each question, in order.

use crate::check::*;
use crate::sys::*;

/// Answers the questions; the status is 0 if it knows all of them.
pub fn run(questions: impl Iterator<Item = String>) -> i32 {
    let mut status = 0;
    for question in questions {
        match answer(&question) {
            Some(value) => println!("{question} {value}"),
            None => status = 1,
        }
    }
    status
}

fn signals(name: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.rsplit('\t').next()?.to_owned())
}

fn answer(question: &str) -> Option<String> {
    Some(match question {
        "pid" => getpid().to_string(),
        "tid" => sys!(SYS_gettid).ok()?.to_string(),
        "threads" => signals("Threads:")?,
        "thread-pending" => signals("SigPnd:")?,
        "pending" => signals("ShdPnd:")?,
        "blocked" => signals("SigBlk:")?,
        // The runtime of the language catches faults and ignores SIGPIPE: these do not count.
        "ignored" => without(&signals("SigIgn:")?, &[libc::SIGPIPE])?,
        "caught" => without(&signals("SigCgt:")?, &[libc::SIGSEGV, libc::SIGBUS])?,
        "itimer" => {
            let mut left = zeroed::<libc::itimerval>();
            sys!(SYS_getitimer, libc::ITIMER_REAL, &mut left).ok()?;
            left.it_value.tv_sec.to_string()
        }
        "alarm" => sys!(SYS_alarm, 0).ok()?.to_string(),
        "timer0" => {
            let mut left = zeroed::<libc::itimerspec>();
            verdict(sys!(SYS_timer_gettime, 0, &mut left))
        }
        "robust" => {
            let (mut head, mut len) = (0_usize, 0_usize);
            sys!(SYS_get_robust_list, 0, &mut head, &mut len).ok()?;
            head.to_string()
        }
        "rseq" => {
            let area = map(PAGE).ok()?;
            verdict(sys!(SYS_rseq, area, 32, 0, 0x1234_5678))
        }
        "membarrier" => verdict(sys!(SYS_membarrier, 8, 0, 0)),
        "policy" => sys!(SYS_sched_getscheduler, 0).ok()?.to_string(),
        "priority" => {
            let mut value = 0_i32;
            sys!(SYS_sched_getparam, 0, &mut value).ok()?;
            value.to_string()
        }
        "nice" => (20 - sys!(SYS_getpriority, 0, 0).ok()? as i32).to_string(),
        "slack" => sys!(SYS_prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0)
            .ok()?
            .to_string(),
        "pdeathsig" => {
            let mut value = 0_i32;
            sys!(SYS_prctl, libc::PR_GET_PDEATHSIG, &mut value, 0, 0, 0).ok()?;
            std::hint::black_box(value).to_string()
        }
        "subreaper" => {
            let mut value = 0_i32;
            sys!(SYS_prctl, libc::PR_GET_CHILD_SUBREAPER, &mut value, 0, 0, 0).ok()?;
            std::hint::black_box(value).to_string()
        }
        "hostname" => text_of("/proc/sys/kernel/hostname").ok()?.trim().to_owned(),
        "children" => match sys!(SYS_wait4, -1, 0, libc::WNOHANG, 0) {
            Ok(0) => "running".to_owned(),
            Ok(_) => "ended".to_owned(),
            Err(_) => "none".to_owned(),
        },
        "wait" => {
            let mut status = 0;
            match sys!(SYS_wait4, -1, &mut status, 0, 0) {
                Ok(_) => std::hint::black_box(status).to_string(),
                Err(errno) => format!("{errno:?}"),
            }
        }
        _ => return None,
    })
}

fn without(set: &str, signals: &[i32]) -> Option<String> {
    let bits = u64::from_str_radix(set, 16).ok()? & !set_of(signals);
    Some(format!("{bits:016x}"))
}

fn verdict(got: Sys) -> String {
    match got {
        Ok(_) => "ok".to_owned(),
        Err(Errno(errno)) => format!("errno {errno}"),
    }
}

/// Executes the probe in this process; comes back only if that fails. By the thread's own link: the process's leads
/// nowhere once its first thread has gone.
pub fn execute(questions: &[&str]) -> i32 {
    let mut words = vec![c_string("abi-tests"), c_string("--probe")];
    words.extend(questions.iter().map(|question| c_string(question)));
    let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    let _ = sys!(SYS_execve, c"/proc/thread-self/exe", argv.as_ptr(), 0);
    120
}

/// Sets a process up by `prepare` and lets it execute the probe; answers what that says, a value a question.
pub fn after_exec(questions: &[&str], prepare: impl FnOnce() -> Outcome) -> Outcome<Vec<String>> {
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = close(read_end);
        let _ = sys!(SYS_dup3, write_end, 1, 0);
        let _ = close(write_end);
        // Shells start programs in the background with these ignored.
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            let _ = handle(signal, libc::SIG_DFL, 0, &[]);
        }
        match prepare() {
            Ok(()) => execute(questions),
            Err(_) => 121,
        }
    })?;
    close(write_end)?;
    values_of(pid, read_end)
}

/// What a process says through the pipe until it ends, with status 0.
pub fn values_of(pid: i32, read_end: i32) -> Outcome<Vec<String>> {
    let mut text = Vec::new();
    loop {
        let some = read_some(read_end)?;
        if some.is_empty() {
            break;
        }
        text.extend_from_slice(&some);
    }
    close(read_end)?;
    equal(wait(pid)?, 0)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, value)| value.to_owned())
        .collect())
}
