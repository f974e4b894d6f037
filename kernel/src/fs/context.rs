//! A process's place in the tree: root, working directory, umask. Shared by `CLONE_FS`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use ksync::SpinLock;

use crate::fs::mount::{MountNamespace, Path};

#[derive(Clone)]
struct Places {
    root: Path,
    cwd: Path,
}

/// Root, working directory and umask.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
    namespace: SpinLock<Arc<MountNamespace>>,
}

impl FsContext {
    pub fn new(root: Path, namespace: Arc<MountNamespace>) -> Arc<Self> {
        Arc::new(Self {
            places: SpinLock::new(Places {
                cwd: root.clone(),
                root,
            }),
            umask: AtomicU32::new(0o022),
            namespace: SpinLock::new(namespace),
        })
    }

    /// A copy of its own, for a fork without `CLONE_FS`.
    pub fn fork(&self) -> Arc<Self> {
        // By itself: the lock's guard would live as long as the whole expression, and that takes memory.
        let places = self.places.lock().clone();
        Arc::new(Self {
            places: SpinLock::new(places),
            umask: AtomicU32::new(self.umask()),
            namespace: SpinLock::new(self.namespace()),
        })
    }

    #[inline]
    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }
    /// Looks at the root; `f` may take no lock.
    #[inline]
    pub fn with_root<R>(&self, f: impl FnOnce(&Path) -> R) -> R {
        f(&self.places.lock().root)
    }
    /// Looks at the working directory; `f` may take no lock.
    #[inline]
    pub fn with_cwd<R>(&self, f: impl FnOnce(&Path) -> R) -> R {
        f(&self.places.lock().cwd)
    }
    #[inline]
    pub fn cwd(&self) -> Path {
        self.places.lock().cwd.clone()
    }
    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.places.lock().root, root);
        drop(old);
    }
    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut self.places.lock().cwd, cwd);
        drop(old);
    }
    #[inline]
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }
    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
    pub fn namespace(&self) -> Arc<MountNamespace> {
        self.namespace.lock().clone()
    }

    /// Changes root and working directory from `old` to `new` where they are `old` (`pivot_root`).
    pub fn replace(&self, old: &Path, new: &Path) {
        let mut places = self.places.lock();
        let root = (places.root == *old).then(|| core::mem::replace(&mut places.root, new.clone()));
        let cwd = (places.cwd == *old).then(|| core::mem::replace(&mut places.cwd, new.clone()));
        drop(places);
        drop((root, cwd));
    }
}
