//! Programs that judge packets (`SO_ATTACH_FILTER`): what they read, and what they answer.

use crate::Insn;
use crate::check::{Alu, Op, Program, Refused, Subject};
use crate::code::{ABS, B, H, IND, LD, LDX, LEN, MSH, W};
use crate::run::Input;

/// Places from here on are no bytes but what is known of the packet (`SKF_AD_OFF`).
const ABOUT: u32 = 0xffff_f000;
/// Places from here on count from the network's header (`SKF_NET_OFF`).
const FROM_NET: u32 = 0xfff0_0000;
/// Places from here on count from the link's header (`SKF_LL_OFF`).
const FROM_LINK: u32 = 0xffe0_0000;

/// What an instruction reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    Byte(u32),
    Half(u32),
    Word(u32),
    /// With the index register added.
    ByteAt(u32),
    HalfAt(u32),
    WordAt(u32),
    /// Four times the low half of a byte: the length of a header of IPv4.
    HeaderLen(u32),
    Len,
    Protocol,
    Kind,
    Interface,
    Hardware,
}

/// A load that only programs about packets have; `None` for one that all have.
pub(crate) fn decode_load(insn: Insn) -> Result<Option<Op>, Refused> {
    const WORD: u16 = LD | W | ABS;
    const HALF: u16 = LD | H | ABS;
    const BYTE: u16 = LD | B | ABS;
    const WORD_AT: u16 = LD | W | IND;
    const HALF_AT: u16 = LD | H | IND;
    const BYTE_AT: u16 = LD | B | IND;
    const LOAD_LEN: u16 = LD | W | LEN;
    const LOADX_LEN: u16 = LDX | W | LEN;
    const HEADER_LEN: u16 = LDX | B | MSH;
    let k = insn.k;
    Ok(Some(match insn.code {
        WORD | HALF | BYTE if k >= ABOUT => about(k - ABOUT)?,
        WORD => Op::Load(Load::Word(k)),
        HALF => Op::Load(Load::Half(k)),
        BYTE => Op::Load(Load::Byte(k)),
        WORD_AT => Op::Load(Load::WordAt(k)),
        HALF_AT => Op::Load(Load::HalfAt(k)),
        BYTE_AT => Op::Load(Load::ByteAt(k)),
        LOAD_LEN => Op::Load(Load::Len),
        LOADX_LEN => Op::LoadX(Load::Len),
        HEADER_LEN => Op::LoadX(Load::HeaderLen(k)),
        _ => return Ok(None),
    }))
}

/// What is known of a packet beside its bytes (`SKF_AD_*`).
fn about(what: u32) -> Result<Op, Refused> {
    Ok(match what {
        0 => Op::Load(Load::Protocol),
        4 => Op::Load(Load::Kind),
        8 => Op::Load(Load::Interface),
        28 => Op::Load(Load::Hardware),
        40 => Op::AluX(Alu::Xor),
        // Marks, queues and tags of VLANs: no packet has them.
        20 | 24 | 44 | 48 | 60 => Op::LoadConstant(0),
        _ => return Err(Refused::Constant),
    })
}

/// A packet as a program sees it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// With the link's header.
    pub frame: &'a [u8],
    /// Where in it the places of a program begin.
    pub start: usize,
    /// Where in it the network's header begins.
    pub net: usize,
    pub protocol: u16,
    /// `PACKET_HOST` and its kin.
    pub kind: u8,
    pub interface: u32,
    /// `ARPHRD_*`.
    pub hardware: u16,
}

impl Packet<'_> {
    /// So many bytes from a place on.
    #[inline]
    fn bytes<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let (base, offset) = match at {
            ..0x8000_0000 => (self.start, at),
            FROM_NET.. => (self.net, at - FROM_NET),
            FROM_LINK.. => (0, at - FROM_LINK),
            _ => return None,
        };
        let at = base.checked_add(usize::try_from(offset).ok()?)?;
        self.frame.get(at..)?.first_chunk::<N>().copied()
    }

    #[inline]
    fn byte(&self, at: u32) -> Option<u32> {
        self.bytes::<1>(at).map(|[byte]| u32::from(byte))
    }
    #[inline]
    fn half(&self, at: u32) -> Option<u32> {
        let bytes = self.bytes::<2>(at)?;
        Some(u32::from(u16::from_be_bytes(bytes)))
    }
    #[inline]
    fn word_at(&self, at: u32) -> Option<u32> {
        self.bytes::<4>(at).map(u32::from_be_bytes)
    }
}

impl Input for Packet<'_> {
    #[inline]
    fn load(&self, load: Load, x: u32) -> Option<u32> {
        match load {
            Load::Byte(k) => self.byte(k),
            Load::Half(k) => self.half(k),
            Load::Word(k) => self.word_at(k),
            Load::ByteAt(k) => self.byte(k.wrapping_add(x)),
            Load::HalfAt(k) => self.half(k.wrapping_add(x)),
            Load::WordAt(k) => self.word_at(k.wrapping_add(x)),
            Load::HeaderLen(k) => self.byte(k).map(|byte| (byte & 0xf) * 4),
            Load::Len => u32::try_from(self.frame.len().saturating_sub(self.start)).ok(),
            Load::Protocol => Some(u32::from(self.protocol)),
            Load::Kind => Some(u32::from(self.kind)),
            Load::Interface => Some(self.interface),
            Load::Hardware => Some(u32::from(self.hardware)),
        }
    }
}

/// A program that judges packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketProgram(Program);

impl PacketProgram {
    /// Checks and decodes instructions.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn new(insns: &[Insn]) -> Result<PacketProgram, Refused> {
        Program::about(Subject::Packet, insns).map(PacketProgram)
    }

    /// How many bytes of the packet are wanted: none if the program reads beyond its end or divides by zero.
    pub fn run(&self, packet: &Packet<'_>) -> u32 {
        self.0.execute(packet).unwrap_or(0)
    }
}
