//! Policies of areas (`mbind`), and where pages are.

use abi::{Errno, Result};
use vm::VmFlags;

use super::AddressSpace;
use super::content::Shown;
use crate::mm::addr::{PAGE_SIZE, page_up};
use crate::mm::frame;
use crate::mm::policy::{Mode, Policy};
use crate::mm::tunables::max_map_count;

/// The end of a range that starts at a page; EINVAL when it does not, or wraps.
fn range_end(start: usize, len: usize) -> Result<usize> {
    if !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let len = page_up(len).unwrap_or(0);
    start.checked_add(len).ok_or(Errno::EINVAL)
}

impl AddressSpace {
    /// `mbind`. EFAULT when part of the range is not mapped.
    pub fn set_policy(&self, start: usize, len: usize, policy: Policy) -> Result<()> {
        let end = range_end(start, len)?;
        if end == start {
            return Ok(());
        }
        let mut map = self.map.write();
        if !map.areas.covers(start, end) {
            return Err(Errno::EFAULT);
        }
        if map.areas.len() + map.areas.splits_needed(start, end) > max_map_count() {
            return Err(Errno::ENOMEM);
        }
        map.areas
            .change_flags(start, end, |f| f.with_policy(policy.bits()), |_, _| ())
            .map_err(|_| Errno::ENOMEM)
    }

    /// `set_mempolicy_home_node`: which node is nearest, for policies that name several. With one node there is nothing
    /// to keep, but for who may ask.
    pub fn set_home_node(&self, start: usize, len: usize) -> Result<()> {
        let end = range_end(start, len)?;
        if end == start {
            return Ok(());
        }
        let map = self.map.read();
        let mut found = Err(Errno::ENOENT);
        for area in map.areas.range(start, end) {
            match Policy::from_bits(area.flags.policy()).mode() {
                Mode::Default => {}
                Mode::Bind | Mode::PreferredMany => found = Ok(()),
                _ => return Err(Errno::EOPNOTSUPP),
            }
        }
        found
    }

    /// The policy of the area at an address. EFAULT where there is none.
    pub fn policy_at(&self, address: usize) -> Result<Policy> {
        let map = self.map.read();
        let area = map.areas.find(address).ok_or(Errno::EFAULT)?;
        Ok(Policy::from_bits(area.flags.policy()))
    }

    /// The node of the page at an address, as `move_pages` tells it: EFAULT without an area, for the page of zeros and
    /// for private memory that was not touched, ENOENT for a page of an object that is not there.
    pub fn node_of_page(&self, address: usize) -> Result<u32> {
        let map = self.map.read();
        let area = map.areas.find(address).ok_or(Errno::EFAULT)?;
        if area.flags.contains(VmFlags::SPECIAL) {
            return Err(Errno::EFAULT);
        }
        match self.lookup(address) {
            None if matches!(area.content, Shown::Anon) => Err(Errno::EFAULT),
            None => Err(Errno::ENOENT),
            Some(entry) if entry.pfn() == frame::zero_page() => Err(Errno::EFAULT),
            Some(_) => Ok(0),
        }
    }
}
