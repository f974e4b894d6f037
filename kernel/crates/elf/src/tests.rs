//! Plans of files made here, and of every program the test finds on the host.

use super::*;

fn header(kind: u16, phnum: u16) -> Vec<u8> {
    let mut bytes = vec![0; EHDR_SIZE];
    bytes[..4].copy_from_slice(b"\x7fELF");
    bytes[4..7].copy_from_slice(&[2, 1, 1]);
    bytes[16..18].copy_from_slice(&kind.to_le_bytes());
    bytes[18..20].copy_from_slice(&62u16.to_le_bytes());
    bytes[24..32].copy_from_slice(&0x1040u64.to_le_bytes());
    bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&phnum.to_le_bytes());
    bytes
}

fn phdr(kind: u32, flags: u32, offset: u64, vaddr: u64, filesz: u64, memsz: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    for value in [offset, vaddr, vaddr, filesz, memsz, 0x1000] {
        bytes.extend(value.to_le_bytes());
    }
    bytes
}

fn plan_of(phdrs: &[Vec<u8>]) -> Result<Plan> {
    let header = parse_header(&header(ET_DYN, phdrs.len() as u16))?;
    plan(header, &phdrs.concat())
}

#[test]
fn a_usual_program() {
    let plan = plan_of(&[
        phdr(PT_LOAD, PF_R, 0, 0, 0x500, 0x500),
        phdr(PT_LOAD, PF_R | PF_X, 0x1000, 0x1000, 0x234, 0x234),
        phdr(PT_LOAD, PF_R | PF_W, 0x1e10, 0x2e10, 0x300, 0x1400),
        phdr(PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0),
    ])
    .expect("a plan");
    assert_eq!((plan.start, plan.end, plan.phdrs_addr), (0, 0x5000, 64));
    assert_eq!(plan.exec_stack, Some(false));
    let data = plan.segments[2];
    assert_eq!(
        (data.addr, data.map_len, data.offset),
        (0x2000, 0x2000, 0x1000)
    );
    assert_eq!((data.data_end, data.memory_end), (0x3110, 0x4210));
}

#[test]
fn headers_of_other_files_are_refused() {
    let good = header(ET_EXEC, 1);
    assert!(parse_header(&good).is_ok());
    for (place, value) in [(0, 0), (16, 1), (18, 3), (54, 32), (56, 0)] {
        let mut bad = good.clone();
        bad[place] = value;
        assert_eq!(parse_header(&bad), Err(Errno::ENOEXEC), "byte {place}");
    }
    assert_eq!(parse_header(&good[..63]), Err(Errno::ENOEXEC));
    assert_eq!(parse_header(b""), Err(Errno::ENOEXEC));
}

#[test]
fn segments_that_cannot_be_mapped_are_refused() {
    let one = |p: Vec<u8>| plan_of(&[p]).map(|_| ());
    assert_eq!(one(phdr(PT_LOAD, PF_R, 0, 0, 2, 1)), Err(Errno::ENOEXEC));
    assert_eq!(one(phdr(PT_LOAD, PF_R, 1, 0, 2, 2)), Err(Errno::EINVAL));
    assert_eq!(
        one(phdr(PT_LOAD, PF_R, 0, u64::MAX - 4095, 1, 4096)),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        one(phdr(PT_LOAD, PF_R, 0, 1 << 47, 1, 1)),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        one(phdr(PT_GNU_STACK, PF_R, 0, 0, 0, 0)),
        Err(Errno::ENOEXEC)
    );
    assert_eq!(
        plan_of(&[
            phdr(PT_INTERP, PF_R, 0, 0, 5000, 5000),
            phdr(PT_LOAD, PF_R, 0, 0, 1, 1)
        ])
        .map(|_| ()),
        Err(Errno::ENOEXEC)
    );
}

/// Any bytes after a good magic give a plan or an error, never a panic.
#[test]
fn garbage_never_panics() {
    let mut seed = 0x1234_5678_9abc_def0u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..20_000 {
        let mut head = header(if next() & 1 == 0 { ET_EXEC } else { ET_DYN }, 4);
        let place = (next() % 64) as usize;
        head[place] = next() as u8;
        let mut phdrs = Vec::new();
        for _ in 0..4 {
            let wild = |value: u64| {
                if value & 3 == 0 {
                    value
                } else {
                    value & 0xffff
                }
            };
            phdrs.extend(phdr(
                [PT_LOAD, PT_INTERP, PT_PHDR, PT_LOAD][(next() & 3) as usize],
                next() as u32,
                wild(next()),
                wild(next()),
                wild(next()),
                wild(next()),
            ));
        }
        if let Ok(header) = parse_header(&head) {
            let _ = plan(header, &phdrs);
        }
    }
}

#[test]
fn every_program_of_the_host_has_a_plan() {
    let mut seen = 0;
    for entry in std::fs::read_dir("/usr/bin")
        .expect("/usr/bin")
        .flatten()
        .take(300)
    {
        let Ok(bytes) = std::fs::read(entry.path()) else {
            continue;
        };
        let Ok(header) = parse_header(&bytes) else {
            continue;
        };
        let at = header.phdrs_offset as usize;
        let phdrs = &bytes[at..at + header.phdrs_len()];
        let plan = plan(header, phdrs).expect("a plan");
        let loads = phdrs
            .chunks(PHDR_SIZE)
            .filter(|phdr| phdr[..4] == PT_LOAD.to_le_bytes())
            .count();
        assert_eq!(plan.segments.len(), loads, "{:?}", entry.path());
        seen += 1;
    }
    assert!(seen > 10, "only {seen} programs");
}
