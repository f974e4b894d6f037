//! What a program answers.

use crate::MEMORY_WORDS;
use crate::check::{Alu, Op, Program, Test};
use crate::packet::Load;

/// Words of `struct seccomp_data`: number, architecture, instruction pointer (two), six arguments (two each).
pub const DATA_WORDS: usize = 16;
/// The word that holds the system call's number.
pub const NR_WORD: u8 = 0;
/// The word that holds the architecture.
pub const ARCH_WORD: u8 = 1;

/// `struct seccomp_data`, low halves first.
pub type Data = [u32; DATA_WORDS];

/// What a program reads.
pub(crate) trait Input {
    /// A word of a system call's data; `None` ends the program without an answer.
    fn word(&self, _at: u8) -> Option<u32> {
        None
    }
    /// What a packet has there, `x` being the index register; `None` as before.
    fn load(&self, _load: Load, _x: u32) -> Option<u32> {
        None
    }
}

/// The words of a system call, by a function.
struct Words<F>(F);

impl<F: Fn(u8) -> Option<u32>> Input for Words<F> {
    #[inline(always)]
    fn word(&self, at: u8) -> Option<u32> {
        self.0(at)
    }
}

impl Program {
    /// What the program answers for a system call.
    #[inline]
    pub fn run(&self, data: &Data) -> u32 {
        let word = |at: u8| data.get(usize::from(at)).copied();
        // Every word is there, so there is always an answer.
        self.execute(&Words(word)).unwrap_or(0)
    }

    /// What it answers for every call of that number and architecture, if nothing else counts on the way.
    pub fn constant_answer(&self, nr: u32, arch: u32) -> Option<u32> {
        self.execute(&Words(|at| match at {
            NR_WORD => Some(nr),
            ARCH_WORD => Some(arch),
            _ => None,
        }))
    }

    /// Runs over what `input` gives; `None` once it does not.
    #[inline(always)]
    pub(crate) fn execute(&self, input: &impl Input) -> Option<u32> {
        let (mut a, mut x) = (0u32, 0u32);
        let mut memory = [0u32; MEMORY_WORDS];
        let mut pc = 0usize;
        // The last instruction returns and jumps stay inside: the loop is left by a return.
        while let Some(op) = self.ops.get(pc) {
            pc += 1;
            match *op {
                Op::LoadWord(at) => a = input.word(at)?,
                Op::Load(load) => a = input.load(load, x)?,
                Op::LoadX(load) => x = input.load(load, x)?,
                Op::LoadConstant(k) => a = k,
                Op::LoadMemory(place) => a = memory[usize::from(place) % MEMORY_WORDS],
                Op::LoadXConstant(k) => x = k,
                Op::LoadXMemory(place) => x = memory[usize::from(place) % MEMORY_WORDS],
                Op::Store(place) => memory[usize::from(place) % MEMORY_WORDS] = a,
                Op::StoreX(place) => memory[usize::from(place) % MEMORY_WORDS] = x,
                Op::CopyToX => x = a,
                Op::CopyFromX => a = x,
                Op::Negate => a = a.wrapping_neg(),
                Op::AluConstant(alu, k) => a = alu.apply(a, k)?,
                // A division by zero ends the program with 0, which kills.
                Op::AluX(alu) => match alu.apply(a, x) {
                    Some(value) => a = value,
                    None => return Some(0),
                },
                Op::Jump(target) => pc = usize::from(target),
                Op::JumpEqual { k, yes, no } => pc = usize::from(if a == k { yes } else { no }),
                Op::JumpGreater { k, yes, no } => pc = usize::from(if a > k { yes } else { no }),
                Op::JumpGreaterEqual { k, yes, no } => {
                    pc = usize::from(if a >= k { yes } else { no });
                }
                Op::JumpAnyBit { k, yes, no } => {
                    pc = usize::from(if a & k != 0 { yes } else { no });
                }
                Op::JumpX { test, yes, no } => {
                    pc = usize::from(if test.holds(a, x) { yes } else { no });
                }
                Op::Return(k) => return Some(k),
                Op::ReturnA => return Some(a),
            }
        }
        Some(0)
    }
}

impl Alu {
    /// `None` for a division by zero.
    #[inline(always)]
    fn apply(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Alu::Add => a.wrapping_add(b),
            Alu::Sub => a.wrapping_sub(b),
            Alu::Mul => a.wrapping_mul(b),
            Alu::Div => a.checked_div(b)?,
            Alu::And => a & b,
            Alu::Or => a | b,
            Alu::Xor => a ^ b,
            // Of a shift by a register only the low five bits count.
            Alu::Lsh => a.wrapping_shl(b),
            Alu::Rsh => a.wrapping_shr(b),
            Alu::Mod => a.checked_rem(b)?,
        })
    }
}

impl Test {
    #[inline(always)]
    fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Test::Equal => a == b,
            Test::Greater => a > b,
            Test::GreaterEqual => a >= b,
            Test::AnyBit => a & b != 0,
        }
    }
}
