//! Pages for a core dump.

use super::AddressSpace;
use super::content::Shown;

impl AddressSpace {
    /// Copies the page at `addr` whatever its rights are. False where there is nothing to copy: anonymous memory that was
    /// never touched, a file's end.
    pub fn dump_page(&self, addr: usize, out: &mut [u8]) -> bool {
        let untouched = {
            let map = self.map.read();
            match map.areas.find(addr) {
                Some(area) => matches!(area.content, Shown::Anon) && self.lookup(addr).is_none(),
                None => true,
            }
        };
        if untouched {
            return false;
        }
        self.read_forced(addr, out) == out.len()
    }
}
