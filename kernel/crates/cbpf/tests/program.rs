//! The checker against what Linux refuses, and the interpreter against a plain reading of the instructions.

use cbpf::code::*;
use cbpf::{Data, Insn, MAX_LEN, Program, Refused};
use proptest::prelude::*;

fn stmt(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

const ALLOW: u32 = 0x7fff_0000;

fn ret(k: u32) -> Insn {
    stmt(RET | K, k)
}

fn run(insns: &[Insn], data: &Data) -> u32 {
    Program::new(insns).expect("a good program").run(data)
}

fn refused(insns: &[Insn]) -> Refused {
    Program::new(insns).expect_err("a bad program")
}

#[test]
fn lengths_have_bounds() {
    assert_eq!(refused(&[]), Refused::Length);
    let longest = vec![ret(0); MAX_LEN];
    assert_eq!(Program::new(&longest).unwrap().len(), MAX_LEN);
    assert_eq!(refused(&vec![ret(0); MAX_LEN + 1]), Refused::Length);
}

#[test]
fn the_last_instruction_returns() {
    assert_eq!(refused(&[stmt(LD | IMM, 1)]), Refused::End);
    assert_eq!(refused(&[ret(0), stmt(MISC | TAX, 0)]), Refused::End);
    assert_eq!(run(&[stmt(LD | IMM, 7), stmt(RET | A, 0)], &[0; 16]), 7);
}

#[test]
fn jumps_stay_inside() {
    assert_eq!(refused(&[stmt(JMP | JA, 1), ret(0)]), Refused::Jump);
    assert_eq!(refused(&[stmt(JMP | JA, u32::MAX), ret(0)]), Refused::Jump);
    assert_eq!(
        refused(&[jump(JMP | JEQ | K, 0, 1, 0), ret(0)]),
        Refused::Jump
    );
    assert_eq!(
        refused(&[jump(JMP | JEQ | X, 0, 0, 1), ret(0)]),
        Refused::Jump
    );
    assert_eq!(run(&[stmt(JMP | JA, 1), ret(1), ret(2)], &[0; 16]), 2);
}

#[test]
fn constants_are_checked() {
    for (code, k) in [
        (ALU | DIV | K, 0),
        (ALU | LSH | K, 32),
        (ALU | RSH | K, 32),
        (ST, 16),
        (STX, u32::MAX),
        (LD | MEM, 16),
        (LDX | MEM, 16),
        (LD | W | ABS, 64),
        (LD | W | ABS, 2),
        (LD | W | ABS, u32::MAX),
        // The extensions of socket filters.
        (LD | W | ABS, 0xffff_f000),
    ] {
        assert_eq!(
            refused(&[stmt(code, k), ret(0)]),
            Refused::Constant,
            "{code:#x} {k}"
        );
    }
}

#[test]
fn only_instructions_for_seccomp_are_taken() {
    for code in [
        LD | H | ABS,
        LD | B | ABS,
        LD | W | IND,
        LD | H | IND,
        LDX | B | MSH,
        LDX | W | ABS,
        LD | 0x18 | ABS,
        ALU | MOD | K,
        ALU | MOD | X,
        ALU | NEG | X,
        ST | MEM,
        RET | X,
        MISC | 0x40,
        JMP | 0x50,
        0x100 | RET,
        0x100 | ALU | ADD,
        0x100 | JMP | JEQ,
        0x8000,
        u16::MAX,
    ] {
        assert_eq!(
            refused(&[stmt(code, 0), ret(0)]),
            Refused::Code,
            "{code:#x}"
        );
    }
}

#[test]
fn memory_is_written_before_it_is_read() {
    let read = stmt(LD | MEM, 3);
    assert_eq!(refused(&[read, ret(0)]), Refused::Memory);
    assert_eq!(refused(&[stmt(ST, 2), read, ret(0)]), Refused::Memory);
    let good = [
        stmt(LD | IMM, 9),
        stmt(ST, 3),
        stmt(LD | IMM, 0),
        read,
        stmt(RET | A, 0),
    ];
    assert_eq!(run(&good, &[0; 16]), 9);
    // One of two ways does not write.
    let branch = jump(JMP | JEQ | K, 0, 0, 1);
    assert_eq!(
        refused(&[branch, stmt(ST, 3), read, ret(0)]),
        Refused::Memory
    );
    // Both ways write.
    let both = [
        branch,
        stmt(JMP | JA, 1),
        stmt(JMP | JA, 1),
        stmt(ST, 3),
        stmt(ST, 3),
        read,
        ret(5),
    ];
    assert_eq!(run(&both, &[0; 16]), 5);
}

#[test]
fn arithmetic_wraps_and_dividing_by_zero_answers_zero() {
    let with = |code: u16, a: u32, x: u32| {
        let program = [
            stmt(LDX | IMM, x),
            stmt(LD | IMM, a),
            stmt(code, 0),
            stmt(RET | A, 0),
        ];
        run(&program, &[0; 16])
    };
    assert_eq!(with(ALU | ADD | X, u32::MAX, 2), 1);
    assert_eq!(with(ALU | SUB | X, 1, 2), u32::MAX);
    assert_eq!(with(ALU | MUL | X, 1 << 31, 2), 0);
    assert_eq!(with(ALU | LSH | X, 1, 33), 2);
    assert_eq!(with(ALU | RSH | X, 4, 33), 2);
    assert_eq!(with(ALU | DIV | X, 9, 2), 4);
    let divide = [stmt(LD | IMM, 9), stmt(ALU | DIV | X, 0), ret(ALLOW)];
    assert_eq!(run(&divide, &[0; 16]), 0);
}

#[test]
fn data_are_read_by_words() {
    let data: Data = std::array::from_fn(|index| index as u32 * 3);
    for word in 0..16 {
        let program = [stmt(LD | W | ABS, word * 4), stmt(RET | A, 0)];
        assert_eq!(run(&program, &data), word * 3);
    }
    assert_eq!(run(&[stmt(LD | W | LEN, 0), stmt(RET | A, 0)], &data), 64);
    let of_x = [
        stmt(LDX | W | LEN, 0),
        stmt(MISC | TXA, 0),
        stmt(RET | A, 0),
    ];
    assert_eq!(run(&of_x, &data), 64);
}

#[test]
fn an_answer_is_constant_if_only_number_and_architecture_count() {
    let filter = [
        stmt(LD | W | ABS, 0),
        jump(JMP | JEQ | K, 1, 0, 1),
        ret(ALLOW),
        stmt(LD | W | ABS, 16),
        jump(JMP | JEQ | K, 0, 0, 1),
        ret(ALLOW),
        ret(0),
    ];
    let program = Program::new(&filter).unwrap();
    assert_eq!(program.constant_answer(1, 5), Some(ALLOW));
    assert_eq!(program.constant_answer(2, 5), None);
}

/// A plain reading of the instructions, which notices what the checker must have kept out.
fn model(insns: &[Insn], data: &Data) -> u32 {
    let (mut a, mut x, mut pc) = (0u32, 0u32, 0usize);
    let mut memory = [None; 16];
    loop {
        let insn = insns[pc];
        pc += 1;
        let operand = if insn.code & X != 0 { x } else { insn.k };
        let place = insn.k as usize;
        match insn.code & 7 {
            LD if insn.code & 0xe0 == ABS => a = data[place / 4],
            LD if insn.code & 0xe0 == LEN => a = 64,
            LD if insn.code & 0xe0 == MEM => a = memory[place].expect("written"),
            LD => a = insn.k,
            LDX if insn.code & 0xe0 == LEN => x = 64,
            LDX if insn.code & 0xe0 == MEM => x = memory[place].expect("written"),
            LDX => x = insn.k,
            ST => memory[place] = Some(a),
            STX => memory[place] = Some(x),
            MISC if insn.code & 0xf8 == TXA => a = x,
            MISC => x = a,
            RET => return if insn.code & 0x18 == A { a } else { insn.k },
            ALU => match insn.code & 0xf0 {
                ADD => a = a.wrapping_add(operand),
                SUB => a = a.wrapping_sub(operand),
                MUL => a = a.wrapping_mul(operand),
                DIV if operand == 0 => return 0,
                DIV => a /= operand,
                OR => a |= operand,
                AND => a &= operand,
                LSH => a <<= operand & 31,
                RSH => a >>= operand & 31,
                XOR => a ^= operand,
                _ => a = a.wrapping_neg(),
            },
            _ => {
                let holds = match insn.code & 0xf0 {
                    JEQ => a == operand,
                    JGT => a > operand,
                    JGE => a >= operand,
                    JSET => a & operand != 0,
                    _ => {
                        pc += insn.k as usize;
                        continue;
                    }
                };
                pc += usize::from(if holds { insn.jt } else { insn.jf });
            }
        }
    }
}

/// Instructions that are often good together: small constants, short jumps.
fn insns() -> impl Strategy<Value = Vec<Insn>> {
    let code = prop_oneof![
        8 => prop::sample::select(vec![
            LD | W | ABS, LD | W | LEN, LD | IMM, LD | MEM, LDX | W | LEN, LDX | IMM, LDX | MEM, ST, STX, MISC | TAX,
            MISC | TXA, ALU | NEG, ALU | ADD | K, ALU | SUB | X, ALU | MUL | K, ALU | DIV | X, ALU | DIV | K,
            ALU | AND | K, ALU | OR | X, ALU | XOR | K, ALU | LSH | K, ALU | RSH | X, JMP | JA, JMP | JEQ | K,
            JMP | JGT | X, JMP | JGE | K, JMP | JSET | X, RET | K, RET | A,
        ]),
        1 => any::<u16>(),
    ];
    let k =
        prop_oneof![4 => 0u32..16, 3 => (0u32..16).prop_map(|word| word * 4), 1 => any::<u32>()];
    let insn = (code, 0u8..4, 0u8..4, k).prop_map(|(code, jt, jf, k)| Insn { code, jt, jf, k });
    prop::collection::vec(insn, 1..24).prop_map(|mut insns| {
        insns.push(stmt(RET | A, 0));
        insns
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_taken_runs_as_it_reads(insns in insns(), data in any::<Data>()) {
        if let Ok(program) = Program::new(&insns) {
            prop_assert_eq!(program.run(&data), model(&insns, &data));
            if let Some(answer) = program.constant_answer(data[0], data[1]) {
                prop_assert_eq!(answer, program.run(&data));
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<[u8; 8]>(), 0..64), data in any::<Data>()) {
        let insns: Vec<Insn> = bytes.into_iter().map(Insn::from_bytes).collect();
        if let Ok(program) = Program::new(&insns) {
            program.run(&data);
        }
    }
}
