//! FPU state as register sets show it to tracers: FXSAVE (`NT_PRFPREG`) and XSAVE (`NT_X86_XSTATE`), in the standard
//! format. Of a thread that does not run, so that its area is up to date.
//!
//! References: Intel SDM volume 1, section 13.4; Linux `arch/x86/kernel/fpu/{regset,xstate}.c`.

use abi::{Errno, Result};

use super::fpu::{self, FXSAVE_SIZE, HEADER_SIZE, SW_RESERVED};
use super::thread::ThreadArch;

/// Components: x87, SSE, AVX.
const FP: u64 = 1;
const SSE: u64 = 2;
const YMM: u64 = 4;
/// Where the parts of the legacy area lie.
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;
const PADDING: usize = 416;

/// Bytes of the FXSAVE set.
pub const FXSAVE_BYTES: usize = FXSAVE_SIZE;

/// Bytes of the XSAVE set; `None` on processors without.
pub fn xsave_bytes() -> Option<usize> {
    fpu::has_xsave().then(fpu::area_size)
}

/// A component that the processor did not store is in its initial state: what its bytes are is not in the area.
fn fill(thread: &ThreadArch, out: &mut [u8]) -> u64 {
    let area = thread.fpu.contents();
    let len = out.len().min(area.len());
    out[..len].copy_from_slice(&area[..len]);
    let present = match fpu::has_xsave() {
        true => fpu::present_in(area),
        false => FP | SSE,
    };
    if present & FP == 0 {
        out[..MXCSR].fill(0);
        out[ST..XMM].fill(0);
        out[..2].copy_from_slice(&fpu::INITIAL_CONTROL.to_le_bytes());
    }
    if present & (SSE | YMM) == 0 {
        out[MXCSR..MXCSR + 4].copy_from_slice(&fpu::INITIAL_MXCSR.to_le_bytes());
    }
    out[MXCSR + 4..ST].copy_from_slice(&fpu::mxcsr_mask().to_le_bytes());
    if present & SSE == 0 {
        out[XMM..PADDING].fill(0);
    }
    out[PADDING..FXSAVE_SIZE].fill(0);
    present
}

/// The FXSAVE set.
pub fn fxsave(thread: &ThreadArch) -> [u8; FXSAVE_SIZE] {
    let mut out = [0; FXSAVE_SIZE];
    fill(thread, &mut out);
    out
}

/// Fills `out`, of [`xsave_bytes`] bytes, with the XSAVE set.
pub fn xsave(thread: &ThreadArch, out: &mut [u8]) {
    let present = fill(thread, out);
    let features = fpu::features();
    out[SW_RESERVED..SW_RESERVED + 8].copy_from_slice(&features.to_le_bytes());
    let header = &mut out[FXSAVE_SIZE..FXSAVE_SIZE + HEADER_SIZE];
    header.fill(0);
    header[..8].copy_from_slice(&(present & features).to_le_bytes());
    for component in 2..63 {
        if present >> component & 1 == 0
            && features >> component & 1 != 0
            && let Some((offset, len)) = place_of(component)
            && let Some(bytes) = out.get_mut(offset..offset + len)
        {
            bytes.fill(0);
        }
    }
}

/// Where an extended component lies in the standard format.
fn place_of(component: u32) -> Option<(usize, usize)> {
    let leaf = core::arch::x86_64::__cpuid_count(0xd, component);
    (leaf.eax != 0).then_some((leaf.ebx as usize, leaf.eax as usize))
}

fn check_mxcsr(bytes: &[u8]) -> Result<()> {
    let word = bytes.get(MXCSR..MXCSR + 4).unwrap_or_default();
    let mxcsr = word
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte));
    match mxcsr & !fpu::mxcsr_mask() {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// Takes an FXSAVE set.
///
/// # Errors
/// `EINVAL` for bits of MXCSR that the processor refuses.
pub fn set_fxsave(thread: &ThreadArch, bytes: &[u8; FXSAVE_SIZE]) -> Result<()> {
    check_mxcsr(bytes)?;
    thread.fpu.replace(|area| {
        area[..PADDING].copy_from_slice(&bytes[..PADDING]);
        if let Some(header) = area.get_mut(FXSAVE_SIZE..FXSAVE_SIZE + 8) {
            header[0] |= (FP | SSE) as u8;
        }
    });
    Ok(())
}

/// Takes an XSAVE set of [`xsave_bytes`] bytes.
///
/// # Errors
/// `EINVAL` for a header or MXCSR that the processor would refuse.
pub fn set_xsave(thread: &ThreadArch, bytes: &[u8]) -> Result<()> {
    let header = bytes
        .get(FXSAVE_SIZE..FXSAVE_SIZE + HEADER_SIZE)
        .ok_or(Errno::EFAULT)?;
    let present = fpu::present_in(bytes);
    if present & !fpu::features() != 0 || header.iter().skip(8).any(|byte| *byte != 0) {
        return Err(Errno::EINVAL);
    }
    if present & (SSE | YMM) != 0 {
        check_mxcsr(bytes)?;
    }
    thread.fpu.replace(|area| {
        let len = area.len().min(bytes.len());
        area[..len].copy_from_slice(&bytes[..len]);
        if present & (SSE | YMM) == 0 {
            area[MXCSR..MXCSR + 4].copy_from_slice(&fpu::INITIAL_MXCSR.to_le_bytes());
        }
        area[MXCSR + 4..ST].copy_from_slice(&fpu::mxcsr_mask().to_le_bytes());
        area[PADDING..FXSAVE_SIZE].fill(0);
    });
    Ok(())
}
