//! From instructions to a program: everything that could go wrong while it runs is refused here.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::code::{
    A, ABS, ADD, ALU, AND, DIV, IMM, JA, JEQ, JGE, JGT, JMP, JSET, K, LD, LDX, LEN, LSH, MEM, MISC,
    MOD, MUL, NEG, OR, RET, RSH, ST, STX, SUB, TAX, TXA, W, X, XOR,
};
use crate::packet::{self, Load};
use crate::run::{DATA_WORDS, Data};
use crate::{Insn, MAX_LEN, MEMORY_WORDS};

/// Why a program is not taken. The kernel answers EINVAL for all but the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No instruction, or too many.
    Length,
    /// An instruction that does not exist or is not for such programs.
    Code,
    /// A constant that the instruction cannot have: division by zero, a shift by 32, a place that is not there.
    Constant,
    /// A jump beyond the end.
    Jump,
    /// Memory is read that may not have been written.
    Memory,
    /// The last instruction is not a return.
    End,
    /// There is no memory for the program.
    NoMemory,
}

/// What is done with the accumulator and an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alu {
    Add,
    Sub,
    Mul,
    Div,
    And,
    Or,
    Xor,
    Lsh,
    Rsh,
    Mod,
}

/// What a program is about: the instructions that read it differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    SystemCall,
    Packet,
}

/// What is asked of the accumulator and an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Test {
    Equal,
    Greater,
    GreaterEqual,
    AnyBit,
}

/// A decoded instruction. Jumps name the instruction they lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    LoadWord(u8),
    /// Of a packet.
    Load(Load),
    LoadX(Load),
    LoadConstant(u32),
    LoadMemory(u8),
    LoadXConstant(u32),
    LoadXMemory(u8),
    Store(u8),
    StoreX(u8),
    CopyToX,
    CopyFromX,
    Negate,
    AluConstant(Alu, u32),
    AluX(Alu),
    Jump(u16),
    /// Tests with a constant are most of every filter: each has an operation of its own.
    JumpEqual {
        k: u32,
        yes: u16,
        no: u16,
    },
    JumpGreater {
        k: u32,
        yes: u16,
        no: u16,
    },
    JumpGreaterEqual {
        k: u32,
        yes: u16,
        no: u16,
    },
    JumpAnyBit {
        k: u32,
        yes: u16,
        no: u16,
    },
    JumpX {
        test: Test,
        yes: u16,
        no: u16,
    },
    Return(u32),
    ReturnA,
}

/// A program that may be run.
///
/// # Invariants
/// - Every jump leads forward to an instruction of the program, and the last instruction returns: it ends.
/// - Memory is written before it is read on every way to the reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    pub(crate) ops: Box<[Op]>,
}

impl Program {
    /// Checks and decodes instructions that judge system calls.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn new(insns: &[Insn]) -> Result<Program, Refused> {
        Program::about(Subject::SystemCall, insns)
    }

    pub(crate) fn about(subject: Subject, insns: &[Insn]) -> Result<Program, Refused> {
        if insns.is_empty() || insns.len() > MAX_LEN {
            return Err(Refused::Length);
        }
        let mut ops = Vec::new();
        ops.try_reserve_exact(insns.len())
            .map_err(|_| Refused::NoMemory)?;
        for (pc, insn) in insns.iter().enumerate() {
            ops.push(decode(subject, *insn, pc, insns.len())?);
        }
        if !matches!(ops.last(), Some(Op::Return(_) | Op::ReturnA)) {
            return Err(Refused::End);
        }
        check_memory(&ops)?;
        Ok(Program {
            ops: ops.into_boxed_slice(),
        })
    }

    /// How many instructions it has: never zero.
    #[expect(clippy::len_without_is_empty, reason = "a program is never empty")]
    pub fn len(&self) -> usize {
        self.ops.len()
    }
}

fn decode(subject: Subject, insn: Insn, pc: usize, len: usize) -> Result<Op, Refused> {
    let k = insn.k;
    match insn.code & 7 {
        LD | LDX if subject == Subject::Packet => match packet::decode_load(insn)? {
            Some(op) => Ok(op),
            None => decode_load(insn),
        },
        LD | LDX => decode_load(insn),
        ST if insn.code == ST => Ok(Op::Store(memory_place(k)?)),
        STX if insn.code == STX => Ok(Op::StoreX(memory_place(k)?)),
        ALU => decode_alu(subject, insn),
        JMP => decode_jump(insn, pc, len),
        RET if insn.code == RET | K => Ok(Op::Return(k)),
        RET if insn.code == RET | A => Ok(Op::ReturnA),
        MISC if insn.code == MISC | TAX => Ok(Op::CopyToX),
        MISC if insn.code == MISC | TXA => Ok(Op::CopyFromX),
        _ => Err(Refused::Code),
    }
}

fn memory_place(k: u32) -> Result<u8, Refused> {
    u8::try_from(k)
        .ok()
        .filter(|place| usize::from(*place) < MEMORY_WORDS)
        .ok_or(Refused::Constant)
}

fn decode_load(insn: Insn) -> Result<Op, Refused> {
    const LOAD_WORD: u16 = LD | W | ABS;
    const LOAD_LEN: u16 = LD | W | LEN;
    const LOAD_IMM: u16 = LD | IMM;
    const LOAD_MEM: u16 = LD | MEM;
    const LOADX_LEN: u16 = LDX | W | LEN;
    const LOADX_IMM: u16 = LDX | IMM;
    const LOADX_MEM: u16 = LDX | MEM;
    let size = size_of::<Data>() as u32;
    match insn.code {
        LOAD_WORD if insn.k >= size || !insn.k.is_multiple_of(4) => Err(Refused::Constant),
        LOAD_WORD => Ok(Op::LoadWord((insn.k / 4) as u8 % DATA_WORDS as u8)),
        LOAD_LEN => Ok(Op::LoadConstant(size)),
        LOAD_IMM => Ok(Op::LoadConstant(insn.k)),
        LOAD_MEM => Ok(Op::LoadMemory(memory_place(insn.k)?)),
        LOADX_LEN => Ok(Op::LoadXConstant(size)),
        LOADX_IMM => Ok(Op::LoadXConstant(insn.k)),
        LOADX_MEM => Ok(Op::LoadXMemory(memory_place(insn.k)?)),
        _ => Err(Refused::Code),
    }
}

fn decode_alu(subject: Subject, insn: Insn) -> Result<Op, Refused> {
    if insn.code == ALU | NEG {
        return Ok(Op::Negate);
    }
    let alu = match insn.code & 0xfff0 {
        ADD => Alu::Add,
        SUB => Alu::Sub,
        MUL => Alu::Mul,
        DIV => Alu::Div,
        OR => Alu::Or,
        AND => Alu::And,
        LSH => Alu::Lsh,
        RSH => Alu::Rsh,
        XOR => Alu::Xor,
        // The modulus is classic BPF's, but not seccomp's.
        MOD if subject == Subject::Packet => Alu::Mod,
        _ => return Err(Refused::Code),
    };
    if insn.code & X != 0 {
        return Ok(Op::AluX(alu));
    }
    match alu {
        Alu::Div | Alu::Mod if insn.k == 0 => Err(Refused::Constant),
        Alu::Lsh | Alu::Rsh if insn.k >= 32 => Err(Refused::Constant),
        _ => Ok(Op::AluConstant(alu, insn.k)),
    }
}

fn decode_jump(insn: Insn, pc: usize, len: usize) -> Result<Op, Refused> {
    let target = |skipped: u32| {
        let target = usize::try_from(skipped)
            .ok()
            .and_then(|skipped| skipped.checked_add(pc + 1))
            .filter(|target| *target < len)
            .ok_or(Refused::Jump)?;
        // A program has fewer instructions than 16 bits can count.
        u16::try_from(target).map_err(|_| Refused::Jump)
    };
    if insn.code == JMP | JA {
        return target(insn.k).map(Op::Jump);
    }
    let test = match insn.code & 0xfff0 {
        JEQ => Test::Equal,
        JGT => Test::Greater,
        JGE => Test::GreaterEqual,
        JSET => Test::AnyBit,
        _ => return Err(Refused::Code),
    };
    let (yes, no) = (target(insn.jt.into())?, target(insn.jf.into())?);
    if insn.code & X != 0 {
        return Ok(Op::JumpX { test, yes, no });
    }
    let k = insn.k;
    Ok(match test {
        Test::Equal => Op::JumpEqual { k, yes, no },
        Test::Greater => Op::JumpGreater { k, yes, no },
        Test::GreaterEqual => Op::JumpGreaterEqual { k, yes, no },
        Test::AnyBit => Op::JumpAnyBit { k, yes, no },
    })
}

/// No way through the program may read a word of memory before it was written. As on Linux a set of written words is
/// carried along: each jump leaves what holds at its target, and what follows a jump is reached by jumps alone.
fn check_memory(ops: &[Op]) -> Result<(), Refused> {
    let touches = |op: &Op| matches!(op, Op::LoadMemory(_) | Op::LoadXMemory(_));
    if !ops.iter().any(touches) {
        return Ok(());
    }
    let mut at_target = Vec::new();
    at_target
        .try_reserve_exact(ops.len())
        .map_err(|_| Refused::NoMemory)?;
    at_target.resize(ops.len(), u16::MAX);
    let mut written = 0u16;
    for (pc, op) in ops.iter().enumerate() {
        written &= at_target.get(pc).copied().unwrap_or(0);
        let mut lead = |target: u16| {
            if let Some(mask) = at_target.get_mut(usize::from(target)) {
                *mask &= written;
            }
        };
        match *op {
            Op::Store(place) | Op::StoreX(place) => written |= 1 << place,
            Op::LoadMemory(place) | Op::LoadXMemory(place) if written & 1 << place == 0 => {
                return Err(Refused::Memory);
            }
            Op::Jump(target) => {
                lead(target);
                written = u16::MAX;
            }
            Op::JumpEqual { yes, no, .. }
            | Op::JumpGreater { yes, no, .. }
            | Op::JumpGreaterEqual { yes, no, .. }
            | Op::JumpAnyBit { yes, no, .. }
            | Op::JumpX { yes, no, .. } => {
                lead(yes);
                lead(no);
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}
