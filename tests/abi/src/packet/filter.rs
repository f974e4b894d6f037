//! Programs that say which packets a socket takes (`SO_ATTACH_FILTER`).

use super::*;

pub const CASES: &[Case] = cases![filters_choose_and_cut, filters_are_checked_and_locked,];

/// `struct sock_fprog`, and the instructions it names.
#[repr(C)]
#[derive(Clone, Copy)]
struct Program {
    len: u16,
    instructions: *const [u16; 4],
}

/// An instruction: code, jumps, constant.
const fn op(code: u16, yes: u8, no: u8, k: u32) -> [u16; 4] {
    [
        code,
        u16::from_le_bytes([yes, no]),
        k as u16,
        (k >> 16) as u16,
    ]
}

const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

fn attach(fd: Socket, instructions: &[[u16; 4]]) -> Sys {
    let program = Program {
        len: instructions.len() as u16,
        instructions: instructions.as_ptr(),
    };
    set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, program)
}

fn filters_choose_and_cut() -> Outcome {
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    let sender = packet(SOCK_DGRAM, 0)?;
    let sent = |data: &[u8]| send_to(sender, data, &lo(LOCAL_USE));
    // The first byte of the payload must be an `a`; 18 bytes are wanted.
    let filter = [
        op(LOAD_BYTE, 0, 0, 14),
        op(IF_EQUAL, 0, 1, u32::from(b'a')),
        op(RETURN, 0, 0, 18),
        op(RETURN, 0, 0, 0),
    ];
    attach(fd, &filter)?;
    set_option(fd, SOL_PACKET, AUXDATA, 1_i32)?;
    sent(b"not wanted")?;
    sent(b"another")?;
    sent(b"abcdefgh")?;
    let told = receive_message(fd, 64)?;
    equal(told.count, 18)?;
    equal(told.flags & MSG_TRUNC, 0)?;
    let (_, _, data) = some(told.control, "auxiliary data")?;
    equal(&data[4..8], &21_u32.to_ne_bytes()[..])?;
    equal(&data[8..12], &18_u32.to_ne_bytes()[..])?;
    // What a filter does not want counts for nothing.
    equal(option::<[u32; 2]>(fd, SOL_PACKET, STATISTICS)?, [2, 0])?;
    equal(&recv(fd, 64, 0)?[HEADER..], b"abcd")?;
    fails(recv(fd, 64, MSG_DONTWAIT), EAGAIN)?;
    // The kind and the protocol of a packet are asked for by places of their own.
    let by_kind = [
        op(LOAD_HALF, 0, 0, 0xffff_f004),
        op(IF_EQUAL, 0, 1, u32::from(OUTGOING)),
        op(RETURN, 0, 0, u32::MAX),
        op(RETURN, 0, 0, 0),
    ];
    let all = on_lo(SOCK_DGRAM, ALL)?;
    attach(all, &by_kind)?;
    sent(b"outgoing")?;
    equal(kinds(&seen(all, b"outgoing")?), [(OUTGOING, LOCAL_USE)])
}

fn filters_are_checked_and_locked() -> Outcome {
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    let detach = || set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, 0_i32);
    fails(detach(), ENOENT)?;
    let all = [op(RETURN, 0, 0, u32::MAX)];
    for wrong in [
        &[][..],
        &[op(LOAD_BYTE, 0, 0, 0)],
        &[op(IF_EQUAL, 1, 0, 0), all[0]],
        &[op(LOAD_BYTE, 0, 0, 0xffff_f001), all[0]],
        &[op(0xffff, 0, 0, 0), all[0]],
    ] {
        fails(attach(fd, wrong), EINVAL)?;
    }
    fails(set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, 0_i32), EINVAL)?;
    attach(fd, &all)?;
    attach(fd, &all)?;
    detach()?;
    attach(fd, &all)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_LOCK_FILTER)?, 0)?;
    set_option(fd, SOL_SOCKET, SO_LOCK_FILTER, 1_i32)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_LOCK_FILTER)?, 1)?;
    fails(detach(), EPERM)?;
    fails(attach(fd, &all), EPERM)?;
    fails(set_option(fd, SOL_SOCKET, SO_LOCK_FILTER, 0_i32), EPERM)
}
