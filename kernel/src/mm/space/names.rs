//! Names of anonymous areas (`PR_SET_VMA_ANON_NAME`): a space keeps each name once, and areas its number in their flags.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, Result};
use vm::VmFlags;

use super::AddressSpace;
use super::content::{Area, Shown};
use crate::mm::addr::{PAGE_SIZE, page_up};
use crate::mm::tunables::max_map_count;

/// Different names that a space may have.
const MOST: usize = 63;

/// A space's names; the first has number 1.
#[derive(Default)]
pub(super) struct Names(Vec<Arc<[u8]>>);

impl Names {
    /// The same for a child.
    pub(super) fn try_clone(&self) -> Result<Names> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.0.len())
            .map_err(|_| Errno::ENOMEM)?;
        copy.extend(self.0.iter().cloned());
        Ok(Names(copy))
    }

    /// The number of a name. ENOMEM when there are too many.
    fn number_of(&mut self, name: &[u8]) -> Result<u8> {
        let place = match self.0.iter().position(|known| **known == *name) {
            Some(place) => place,
            None if self.0.len() >= MOST => return Err(Errno::ENOMEM),
            None => {
                self.0.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                self.0.push(name.into());
                self.0.len() - 1
            }
        };
        Ok(place as u8 + 1)
    }

    /// The name that an area has.
    pub(super) fn of(&self, flags: VmFlags) -> Option<&[u8]> {
        let place = usize::from(flags.name()).checked_sub(1)?;
        self.0.get(place).map(|name| &**name)
    }
}

/// Whether an area is of memory without a file.
fn is_anonymous(area: &Area) -> bool {
    match &area.content {
        Shown::Anon => true,
        Shown::Object(place) => place.file.is_none(),
    }
}

impl AddressSpace {
    /// Names the areas of a range, or takes their names. EBADF for mappings of files, ENOMEM for holes.
    pub fn set_name(&self, start: usize, len: usize, name: Option<&[u8]>) -> Result<()> {
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let end = page_up(len)
            .and_then(|len| start.checked_add(len))
            .ok_or(Errno::EINVAL)?;
        if end == start {
            return Ok(());
        }
        let mut map = self.map.write();
        if !map.areas.range(start, end).all(is_anonymous) {
            return Err(Errno::EBADF);
        }
        if map.areas.len() + map.areas.splits_needed(start, end) > max_map_count() {
            return Err(Errno::EAGAIN);
        }
        let number = match name {
            Some(name) => map.names.number_of(name)?,
            None => 0,
        };
        let whole = map.areas.covers(start, end);
        map.areas
            .change_flags(start, end, |flags| flags.with_name(number), |_, _| ())
            .map_err(|_| Errno::EAGAIN)?;
        match whole {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }
}
