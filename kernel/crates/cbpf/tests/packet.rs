//! Programs about packets: what they may read, and what it is.

use cbpf::code::*;
use cbpf::{Insn, Packet, PacketProgram, Refused};

fn stmt(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// 14 bytes of header, the last of which is 14, then 0x45 and more.
fn frame() -> Vec<u8> {
    let mut frame: Vec<u8> = (1..=14).collect();
    frame.extend([0x45, 0xa1, 0xa2, 0xa3, 0xa4]);
    frame
}

fn run(insns: &[Insn], start: usize) -> u32 {
    let program = PacketProgram::new(insns).expect("a good program");
    program.run(&Packet {
        frame: &frame(),
        start,
        net: 14,
        protocol: 0x800,
        kind: 4,
        interface: 7,
        hardware: 772,
    })
}

fn read(code: u16, k: u32, start: usize) -> u32 {
    run(&[stmt(code, k), stmt(RET | A, 0)], start)
}

#[test]
fn bytes_are_read_in_network_order() {
    assert_eq!(read(LD | B | ABS, 0, 0), 1);
    assert_eq!(read(LD | H | ABS, 12, 0), 0x0d0e);
    assert_eq!(read(LD | W | ABS, 1, 14), 0xa1a2_a3a4);
    assert_eq!(read(LD | W | LEN, 0, 0), 19);
    assert_eq!(read(LD | W | LEN, 0, 14), 5);
    // From the link's and the network's header, wherever the packet is said to begin.
    assert_eq!(read(LD | B | ABS, 0xffe0_0001, 14), 2);
    assert_eq!(read(LD | B | ABS, 0xfff0_0001, 0), 0xa1);
}

#[test]
fn reading_beyond_the_end_answers_nothing() {
    for (code, k) in [
        (LD | B | ABS, 19),
        (LD | H | ABS, 18),
        (LD | W | ABS, 16),
        (LD | W | ABS, 0x7fff_ffff),
        (LD | W | ABS, 0x8000_0000),
        (LD | B | ABS, 0xfff0_0005),
        (LD | B | ABS, 0xffe0_0013),
        (LD | B | IND, u32::MAX),
        (LDX | B | MSH, 19),
    ] {
        let program = [stmt(code, k), stmt(RET | K, 99)];
        assert_eq!(run(&program, 0), 0, "{code:#x} {k:#x}");
    }
}

#[test]
fn an_index_is_added() {
    let program = [
        stmt(LDX | B | MSH, 14),
        stmt(LD | B | IND, u32::MAX - 5),
        stmt(RET | A, 0),
    ];
    // Four times five, less six.
    assert_eq!(run(&program, 0), 0x45);
}

#[test]
fn what_is_known_of_a_packet() {
    assert_eq!(read(LD | W | ABS, 0xffff_f000, 0), 0x800);
    assert_eq!(read(LD | H | ABS, 0xffff_f004, 0), 4);
    assert_eq!(read(LD | W | ABS, 0xffff_f008, 0), 7);
    assert_eq!(read(LD | W | ABS, 0xffff_f01c, 0), 772);
    assert_eq!(read(LD | B | ABS, 0xffff_f030, 0), 0);
    let unknown = [stmt(LD | W | ABS, 0xffff_f001), stmt(RET | K, 0)];
    assert_eq!(PacketProgram::new(&unknown), Err(Refused::Constant));
}

#[test]
fn the_modulus_is_for_packets() {
    let program = [stmt(LD | IMM, 17), stmt(ALU | MOD | K, 5), stmt(RET | A, 0)];
    assert_eq!(run(&program, 0), 2);
    let by_zero = [stmt(LD | IMM, 17), stmt(ALU | MOD | X, 0), stmt(RET | K, 9)];
    assert_eq!(run(&by_zero, 0), 0);
    let constant = [stmt(ALU | MOD | K, 0), stmt(RET | K, 9)];
    assert_eq!(PacketProgram::new(&constant), Err(Refused::Constant));
}
