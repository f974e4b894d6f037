//! Addresses of local sockets: paths, abstract names, and the names that autobind makes up.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::fs::{AT_FDCWD, DevNum, W_OK};
use abi::socket::{AF_UNIX, SOCKADDR_UN};
use abi::{Errno, Result};

use super::{End, Kind, UnixSocket};
use crate::fs::namei::{self, Make};
use crate::fs::path::{self, LookupFlags};
use crate::fs::{FileKind, Path, perm};
use crate::sync::Mutex;
use crate::task;

/// The bytes of the family before the name.
pub const FAMILY_LEN: usize = size_of::<u16>();
/// Autobind's names are numbers of so many bits.
const AUTOBIND_BITS: u32 = 20;

/// What a socket is bound to.
pub struct Name {
    /// What follows the family: a path with its NUL, or an abstract name that begins with one.
    bytes: Vec<u8>,
    /// Where the path was made; keeps the inode, whose binding [`release`] removes.
    place: Option<Path>,
}

impl Name {
    /// The address as the user gets it.
    pub fn to_address(&self) -> Vec<u8> {
        let mut address = Vec::with_capacity(FAMILY_LEN + self.bytes.len());
        address.extend_from_slice(&AF_UNIX.to_ne_bytes());
        address.extend_from_slice(&self.bytes);
        address
    }
}

/// The address of a socket that may have no name.
pub fn address_of(name: Option<&Arc<Name>>) -> Vec<u8> {
    name.map_or_else(|| AF_UNIX.to_ne_bytes().to_vec(), |name| name.to_address())
}

/// Whom an inode's socket name leads to.
struct Binding(Weak<End>);

/// Ends by socket type and name.
type Names = BTreeMap<(u32, Vec<u8>), Weak<End>>;

/// Abstract names: a socket of each type may have the same one.
static ABSTRACT: Mutex<Names> = Mutex::new(BTreeMap::new());

/// An address that passed the checks of its length and family.
enum Address<'a> {
    Path(&'a [u8]),
    Abstract(&'a [u8]),
}

/// # Errors
/// `EINVAL` for a wrong length or family.
fn parse(address: &[u8]) -> Result<Address<'_>> {
    if address.len() <= FAMILY_LEN || address.len() > SOCKADDR_UN {
        return Err(Errno::EINVAL);
    }
    let (family, name) = address.split_at(FAMILY_LEN);
    if family != AF_UNIX.to_ne_bytes() {
        return Err(Errno::EINVAL);
    }
    if name.first() == Some(&0) {
        return Ok(Address::Abstract(name));
    }
    let end = name.iter().position(|byte| *byte == 0);
    Ok(Address::Path(
        end.and_then(|end| name.get(..end)).unwrap_or(name),
    ))
}

/// Whether `address` is the family alone: a request for a name of the kernel's choice.
fn is_family_alone(address: &[u8]) -> bool {
    address == AF_UNIX.to_ne_bytes()
}

/// Finds the end that an address names, for a socket of `kind`.
///
/// # Errors
/// `ECONNREFUSED` if nobody is there, `EPROTOTYPE` for a path to a socket of another type, those of the walk,
/// `EACCES` without permission to write.
pub fn find(address: &[u8], kind: Kind) -> Result<Arc<End>> {
    match parse(address)? {
        Address::Abstract(name) => {
            let names = ABSTRACT.lock();
            let found = names
                .get(&(kind.number(), name.to_vec()))
                .and_then(Weak::upgrade);
            drop(names);
            found
                .filter(|end| !end.is_dead())
                .ok_or(Errno::ECONNREFUSED)
        }
        Address::Path(name) => {
            let place = path::lookup(AT_FDCWD, name, LookupFlags::FOLLOW)?;
            let inode = place.inode();
            perm::check(inode, W_OK, &task::current().my_cred())?;
            place.check_writable()?;
            if inode.kind != FileKind::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            let bound = inode.extra().and_then(|extra| extra.socket.lock().clone());
            let end = bound
                .as_ref()
                .and_then(|bound| bound.downcast_ref::<Binding>())
                .and_then(|binding| binding.0.upgrade())
                .filter(|end| !end.is_dead())
                .ok_or(Errno::ECONNREFUSED)?;
            if end.kind != kind {
                return Err(Errno::EPROTOTYPE);
            }
            place.inode().touch_accessed();
            Ok(end)
        }
    }
}

/// Forgets what leads to a socket that is being closed. The path's entry stays.
pub fn release(end: &Arc<End>) {
    let Some(name) = end.name.get() else { return };
    let Some(place) = &name.place else {
        let mut names = ABSTRACT.lock();
        let key = (end.kind.number(), name.bytes.clone());
        // Sockets made by `accept` bear their listener's name, but the name leads to the listener.
        if names
            .get(&key)
            .is_some_and(|other| core::ptr::eq(other.as_ptr(), Arc::as_ptr(end)))
        {
            names.remove(&key);
        }
        return;
    };
    let Some(extra) = place.inode().extra() else {
        return;
    };
    let mut slot = extra.socket.lock();
    let is_mine = slot
        .as_ref()
        .and_then(|bound| bound.downcast_ref::<Binding>())
        .is_some_and(|binding| core::ptr::eq(binding.0.as_ptr(), Arc::as_ptr(end)));
    let old = if is_mine { slot.take() } else { None };
    drop(slot);
    drop(old);
}

impl UnixSocket {
    /// `bind`.
    ///
    /// # Errors
    /// `EINVAL` for a bad address or a socket that has a name, `EADDRINUSE`, those of making a file.
    pub fn bind(&self, address: &[u8]) -> Result<()> {
        if is_family_alone(address) {
            return self.autobind();
        }
        match parse(address)? {
            Address::Path(name) => self.bind_path(name),
            Address::Abstract(name) => self.bind_abstract(name),
        }
    }

    fn bind_path(&self, name: &[u8]) -> Result<()> {
        let task = task::current();
        let parent = path::lookup_parent(AT_FDCWD, name)?;
        let _naming = self.naming.lock();
        if self.end.name.is_completed() {
            // An existing file is the error that Linux finds first.
            return match path::lookup(AT_FDCWD, name, LookupFlags::empty()) {
                Ok(_) => Err(Errno::EADDRINUSE),
                Err(_) => Err(Errno::EINVAL),
            };
        }
        let node = Make::Node {
            kind: FileKind::Socket,
            mode: 0o777 & !task.my_fs().umask(),
            rdev: DevNum(0),
        };
        let made = namei::make(&parent, &node, &task.my_cred());
        let place = made.map_err(|error| match error {
            Errno::EEXIST => Errno::EADDRINUSE,
            other => other,
        })?;
        let binding: Arc<dyn Any + Send + Sync> = Arc::new(Binding(Arc::downgrade(&self.end)));
        *place.inode().extra_or_new().socket.lock() = Some(binding);
        let mut bytes = name.to_vec();
        bytes.push(0);
        self.end.name.call_once(|| {
            Arc::new(Name {
                bytes,
                place: Some(place),
            })
        });
        Ok(())
    }

    fn bind_abstract(&self, name: &[u8]) -> Result<()> {
        let _naming = self.naming.lock();
        if self.end.name.is_completed() {
            return Err(Errno::EINVAL);
        }
        self.claim(name)
    }

    /// Enters an abstract name; `naming` is held and there is no name yet.
    fn claim(&self, name: &[u8]) -> Result<()> {
        let mut names = ABSTRACT.lock();
        let key = (self.kind().number(), name.to_vec());
        if names.contains_key(&key) {
            return Err(Errno::EADDRINUSE);
        }
        names.insert(key, Arc::downgrade(&self.end));
        drop(names);
        self.end.name.call_once(|| {
            Arc::new(Name {
                bytes: name.to_vec(),
                place: None,
            })
        });
        Ok(())
    }

    /// Gives the socket a name of the kernel's choice, unless it has one.
    ///
    /// # Errors
    /// `ENOSPC` when all are taken.
    pub fn autobind(&self) -> Result<()> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        const COUNT: u32 = 1 << AUTOBIND_BITS;
        let _naming = self.naming.lock();
        if self.end.name.is_completed() {
            return Ok(());
        }
        for _ in 0..COUNT {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let text = alloc::format!("\0{number:05x}");
            match self.claim(text.as_bytes()) {
                Err(Errno::EADDRINUSE) => {}
                result => return result,
            }
        }
        Err(Errno::ENOSPC)
    }

    /// A sender whose credentials are asked for must be one that can be answered.
    pub fn autobind_if_passing(&self) -> Result<()> {
        if self.end.passcred.load(Ordering::Relaxed) && !self.end.name.is_completed() {
            return self.autobind();
        }
        Ok(())
    }
}

/// Checks an address's length and family.
///
/// # Errors
/// `EINVAL`.
pub fn check(address: &[u8]) -> Result<()> {
    parse(address).map(drop)
}
