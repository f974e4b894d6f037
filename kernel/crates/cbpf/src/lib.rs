//! Classic BPF: a program is checked and decoded once, and then judges system calls, or packets.
//!
//! | module | what |
//! |---|---|
//! | this | instructions as user space writes them |
//! | `check` | from instructions to a [`Program`]: what Linux refuses is refused |
//! | `run` | what a program answers for a system call |
//! | `packet` | programs that judge packets: what they read, and what they answer |
//!
//! The input of a program for seccomp is `struct seccomp_data` as sixteen words of 32 bits. Packets, their headers and
//! the extensions of socket filters are for a [`PacketProgram`] alone: seccomp refuses them.
//!
//! References: seccomp(2), socket(7); `Documentation/networking/filter.rst` of Linux; McCanne and Jacobson, "The BSD Packet Filter"; Linux `seccomp_check_filter` and
//! `bpf_check_classic` for what is refused.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
extern crate alloc;

mod check;
mod packet;
mod run;

pub use check::{Program, Refused};
pub use packet::{Packet, PacketProgram};
pub use run::{ARCH_WORD, DATA_WORDS, Data, NR_WORD};

/// The most instructions that one program has (BPF_MAXINSNS).
pub const MAX_LEN: usize = 4096;
/// Words of a program's scratch memory (BPF_MEMWORDS).
pub const MEMORY_WORDS: usize = 16;

/// `struct sock_filter`: an instruction as user space writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    pub code: u16,
    /// Instructions to skip when a test holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    pub k: u32,
}

impl Insn {
    /// The bytes that one takes in memory.
    pub const SIZE: usize = 8;

    /// From its bytes in memory.
    pub const fn from_bytes(bytes: [u8; Insn::SIZE]) -> Insn {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
        Insn {
            code: u16::from_le_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_le_bytes([k0, k1, k2, k3]),
        }
    }
}

/// The parts of an instruction's code, as `linux/bpf_common.h` names them.
pub mod code {
    pub const LD: u16 = 0x00;
    pub const LDX: u16 = 0x01;
    pub const ST: u16 = 0x02;
    pub const STX: u16 = 0x03;
    pub const ALU: u16 = 0x04;
    pub const JMP: u16 = 0x05;
    pub const RET: u16 = 0x06;
    pub const MISC: u16 = 0x07;

    pub const W: u16 = 0x00;
    pub const H: u16 = 0x08;
    pub const B: u16 = 0x10;
    pub const IMM: u16 = 0x00;
    pub const ABS: u16 = 0x20;
    pub const IND: u16 = 0x40;
    pub const MEM: u16 = 0x60;
    pub const LEN: u16 = 0x80;
    pub const MSH: u16 = 0xa0;

    pub const ADD: u16 = 0x00;
    pub const SUB: u16 = 0x10;
    pub const MUL: u16 = 0x20;
    pub const DIV: u16 = 0x30;
    pub const OR: u16 = 0x40;
    pub const AND: u16 = 0x50;
    pub const LSH: u16 = 0x60;
    pub const RSH: u16 = 0x70;
    pub const NEG: u16 = 0x80;
    pub const MOD: u16 = 0x90;
    pub const XOR: u16 = 0xa0;

    pub const JA: u16 = 0x00;
    pub const JEQ: u16 = 0x10;
    pub const JGT: u16 = 0x20;
    pub const JGE: u16 = 0x30;
    pub const JSET: u16 = 0x40;

    pub const K: u16 = 0x00;
    pub const X: u16 = 0x08;
    pub const A: u16 = 0x10;
    pub const TAX: u16 = 0x00;
    pub const TXA: u16 = 0x80;
}
