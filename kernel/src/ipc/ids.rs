//! The System V objects of one kind, by id and by key.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::sysv::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE};
use abi::{Errno, Result};
use ksync::RwSpinLock;
use sysvipc::ids::{Allocator, index_of};

use crate::sync::{Mutex, MutexGuard};

/// What the objects of a kind have in common.
pub trait Object: Send + Sync {
    /// The object's id.
    fn id(&self) -> i32;
    /// Tells a new object its id.
    fn set_id(&mut self, id: i32);
}

struct Slot<T> {
    id: i32,
    object: Arc<T>,
}

/// Ids and keys in use. Changed by who makes and removes objects, one at a time.
pub struct Admin {
    ids: Allocator,
    keys: BTreeMap<i32, i32>,
}

/// All objects of a kind.
///
/// # Invariants
/// - A slot is filled exactly while its id is in use; slots change under `admin` too.
/// - `keys` names the ids of objects that are found by their key.
pub struct Ids<T> {
    admin: Mutex<Admin>,
    slots: RwSpinLock<Vec<Option<Slot<T>>>>,
}

/// How an existing object is asked for.
pub struct Request {
    pub key: i32,
    /// `IPC_CREAT`, `IPC_EXCL` and the mode.
    pub flags: u32,
    /// Objects there may be.
    pub limit: u32,
}

impl<T: Object> Default for Ids<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Object> Ids<T> {
    pub const fn new() -> Self {
        Self {
            admin: Mutex::new(Admin {
                ids: Allocator::new(),
                keys: BTreeMap::new(),
            }),
            slots: RwSpinLock::new(Vec::new()),
        }
    }

    /// Keeps others from making and removing objects.
    pub fn admin(&self) -> MutexGuard<'_, Admin> {
        self.admin.lock()
    }

    /// The object with this id.
    ///
    /// # Errors
    /// `EINVAL` if there is none, or another by now.
    #[inline]
    pub fn get(&self, id: i32) -> Result<Arc<T>> {
        match self.slots.read().get(index_of(id)) {
            Some(Some(slot)) if slot.id == id => Ok(slot.object.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The object at an index, whatever its sequence number (`*_STAT`).
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn at(&self, index: i32) -> Result<Arc<T>> {
        match self.slots.read().get(index_of(index)) {
            Some(Some(slot)) if index >= 0 => Ok(slot.object.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Calls `f` for each object in the order of indices, without any lock.
    pub fn for_each(&self, mut f: impl FnMut(&Arc<T>)) {
        let mut index = 0;
        loop {
            let next = {
                let slots = self.slots.read();
                let rest = slots.get(index..).unwrap_or_default();
                rest.iter()
                    .enumerate()
                    .find_map(|(more, slot)| Some((index + more, slot.as_ref()?.object.clone())))
            };
            let Some((found, object)) = next else { return };
            f(&object);
            index = found + 1;
        }
    }

    /// How many there are, and the highest index in use (0 for none).
    pub fn usage(&self) -> (u32, u32) {
        let admin = self.admin();
        (admin.ids.count(), admin.ids.highest().unwrap_or(0))
    }

    /// The id that the next object is to have; -1 for any.
    pub fn next_id(&self) -> i32 {
        self.admin().ids.wanted().unwrap_or(-1)
    }

    /// Asks for the next object's id.
    pub fn set_next_id(&self, id: i32) {
        self.admin().ids.want(Some(id));
    }

    /// What the `*get` calls do: finds the object of the key, which `check` looks at, or makes one.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST`, `ENOSPC`, `ENOMEM`, and those of `make` and `check`.
    pub fn obtain(
        &self,
        request: &Request,
        make: impl FnOnce() -> Result<T>,
        check: impl FnOnce(&T) -> Result<()>,
    ) -> Result<i32> {
        let mut admin = self.admin();
        let known = match request.key {
            IPC_PRIVATE => None,
            key => Some(admin.keys.get(&key).copied()),
        };
        match known {
            Some(None) if request.flags & IPC_CREAT == 0 => Err(Errno::ENOENT),
            Some(Some(_)) if request.flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL => {
                Err(Errno::EEXIST)
            }
            Some(Some(id)) => check(&*self.get(id)?).map(|()| id),
            _ => self.add(&mut admin, request, make()?),
        }
    }

    fn add(&self, admin: &mut Admin, request: &Request, mut object: T) -> Result<i32> {
        let id = admin.ids.allocate(request.limit)?;
        if let Err(errno) = self.make_room(index_of(id)) {
            admin.ids.free(id);
            return Err(errno);
        }
        object.set_id(id);
        let object = Arc::new(object);
        if request.key != IPC_PRIVATE {
            admin.keys.insert(request.key, id);
        }
        if let Some(slot) = self.slots.write().get_mut(index_of(id)) {
            *slot = Some(Slot { id, object });
        }
        Ok(id)
    }

    /// Makes the table long enough for an index. The memory comes and goes outside of the spin lock.
    fn make_room(&self, index: usize) -> Result<()> {
        if index < self.slots.read().len() {
            return Ok(());
        }
        let len = (index + 1).next_power_of_two().max(16);
        let mut roomier = Vec::new();
        roomier.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
        {
            let mut slots = self.slots.write();
            roomier.append(&mut slots);
            roomier.resize_with(len, || None);
            core::mem::swap(&mut *slots, &mut roomier);
        }
        Ok(())
    }

    /// Nobody finds the object by its key any more.
    pub fn forget_key(&self, admin: &mut Admin, key: i32) {
        if key != IPC_PRIVATE {
            admin.keys.remove(&key);
        }
    }

    /// Takes an object out; who removes it has marked it so under its own lock, and holds another count.
    pub fn remove(&self, admin: &mut Admin, object: &T, key: i32) {
        self.forget_key(admin, key);
        admin.ids.free(object.id());
        let slot = match self.slots.write().get_mut(index_of(object.id())) {
            Some(slot) => slot.take(),
            None => None,
        };
        drop(slot);
    }
}
