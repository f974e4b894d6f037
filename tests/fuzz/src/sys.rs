//! Raw system calls.

/// Makes a call; negative answers are errors. Past the C library, whose thread-local storage may
/// be gone by the time.
pub fn call(number: usize, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: what a call does to the process is what is tested: it may die of it.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// A call with fewer arguments.
pub fn sys(number: i64, args: &[usize]) -> isize {
    let mut six = [0; 6];
    for (slot, &arg) in six.iter_mut().zip(args) {
        *slot = arg;
    }
    call(number as usize, six)
}
