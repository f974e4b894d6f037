//! How changes below one mount reach others: peer groups, which tell each other, and slaves, which only listen.
//!
//! Linux keeps peers in a ring and hangs slaves on one of them. Here both belong to the [`Group`], so that nothing
//! has to be handed over while it has a peer left.

use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::fs::MountFlags;
use abi::{Errno, Result};

use super::{Mount, Path, TREE, Tree};
use crate::sync::Mutex;

/// What a mount has to do with others.
#[derive(Clone)]
pub(super) enum Propagation {
    Private,
    /// A peer of this group; what the group listens to is the group's.
    Shared(Arc<Group>),
    /// Listens to this group.
    Slave(Arc<Group>),
    /// As private, and never copied.
    Unbindable,
}

/// Mounts that tell each other of what is mounted and unmounted on them.
///
/// # Invariants
/// - It has at least one peer, except while it is made or dissolved.
/// - `slaves` and `slave_groups` are exactly those whose master it is.
pub(super) struct Group {
    id: u32,
    /// A sleeping lock though [`TREE`] is always held: changes allocate.
    links: Mutex<GroupLinks>,
}

struct GroupLinks {
    peers: Vec<Weak<Mount>>,
    slaves: Vec<Weak<Mount>>,
    slave_groups: Vec<Weak<Group>>,
    /// The group that all the peers listen to.
    master: Option<Arc<Group>>,
}

fn upgraded<T>(all: &[Weak<T>]) -> Vec<Arc<T>> {
    all.iter().filter_map(Weak::upgrade).collect()
}

fn remove<T>(all: &mut Vec<Weak<T>>, one: &Arc<T>) {
    all.retain(|other| other.as_ptr() != Arc::as_ptr(one));
}

impl Group {
    fn new(tree: &mut Tree, master: Option<Arc<Group>>) -> Arc<Self> {
        let id = (tree.first_free..)
            .find(|id| !tree.groups.contains(id))
            .expect("groups are fewer than numbers: memory ends first");
        tree.groups.insert(id);
        tree.first_free = id + 1;
        let group = Arc::new(Self {
            id,
            links: Mutex::new(GroupLinks {
                peers: Vec::new(),
                slaves: Vec::new(),
                slave_groups: Vec::new(),
                master: master.clone(),
            }),
        });
        if let Some(master) = master {
            let mut links = master.links.lock();
            links.slave_groups.push(Arc::downgrade(&group));
        }
        group
    }

    fn peers(&self) -> Vec<Arc<Mount>> {
        upgraded(&self.links.lock().peers)
    }
    fn slaves(&self) -> Vec<Arc<Mount>> {
        upgraded(&self.links.lock().slaves)
    }
    fn slave_groups(&self) -> Vec<Arc<Group>> {
        upgraded(&self.links.lock().slave_groups)
    }
    fn master(&self) -> Option<Arc<Group>> {
        self.links.lock().master.clone()
    }

    /// The last peer left: those who listened to it listen to its master from now on, or to nobody.
    fn dissolve(self: &Arc<Self>, tree: &mut Tree) {
        tree.groups.remove(&self.id);
        tree.first_free = tree.first_free.min(self.id);
        let (slaves, groups) = (self.slaves(), self.slave_groups());
        let master = self.links.lock().master.take();
        if let Some(master) = &master {
            let mut links = master.links.lock();
            remove(&mut links.slave_groups, self);
            links.slaves.extend(slaves.iter().map(Arc::downgrade));
            links.slave_groups.extend(groups.iter().map(Arc::downgrade));
        }
        for slave in slaves {
            let now = master
                .clone()
                .map_or(Propagation::Private, Propagation::Slave);
            slave.set_propagation(now);
        }
        for group in groups {
            group.links.lock().master.clone_from(&master);
        }
    }
}

impl Mount {
    pub(super) fn propagation(&self) -> Propagation {
        self.links.lock().propagation.clone()
    }
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.propagation(), Propagation::Shared(_))
    }
    pub(super) fn is_unbindable(&self) -> bool {
        matches!(self.propagation(), Propagation::Unbindable)
    }
    fn set_propagation(&self, new: Propagation) {
        let old = core::mem::replace(&mut self.links.lock().propagation, new);
        drop(old);
    }
    fn master(&self) -> Option<Arc<Group>> {
        match self.propagation() {
            Propagation::Shared(group) => group.master(),
            Propagation::Slave(master) => Some(master),
            Propagation::Private | Propagation::Unbindable => None,
        }
    }
}

fn join(mount: &Arc<Mount>, group: &Arc<Group>) {
    group.links.lock().peers.push(Arc::downgrade(mount));
    mount.set_propagation(Propagation::Shared(group.clone()));
}

fn enslave(mount: &Arc<Mount>, master: Option<Arc<Group>>) {
    let Some(master) = master else {
        mount.set_propagation(Propagation::Private);
        return;
    };
    master.links.lock().slaves.push(Arc::downgrade(mount));
    mount.set_propagation(Propagation::Slave(master));
}

/// Makes `mount` private; answers the group that it would now listen to as a slave.
pub(super) fn leave(tree: &mut Tree, mount: &Arc<Mount>) -> Option<Arc<Group>> {
    let old = mount.propagation();
    mount.set_propagation(Propagation::Private);
    match old {
        Propagation::Private | Propagation::Unbindable => None,
        Propagation::Slave(master) => {
            remove(&mut master.links.lock().slaves, mount);
            Some(master)
        }
        Propagation::Shared(group) => {
            remove(&mut group.links.lock().peers, mount);
            if !group.peers().is_empty() {
                return Some(group);
            }
            let master = group.master();
            group.dissolve(tree);
            master
        }
    }
}

/// Makes `mount` a peer, of a group of its own if it is in none; what it listens to, it still does.
pub(super) fn share(tree: &mut Tree, mount: &Arc<Mount>) {
    if !mount.is_shared() {
        let master = leave(tree, mount);
        let group = Group::new(tree, master);
        join(mount, &group);
    }
}

/// How a copy of a mount is related to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// The same: a peer of a peer, a slave of a slave's master.
    Like,
    /// Listens to it.
    Slave,
    /// Listens to it, and has a group of its own.
    SharedSlave,
}

/// Relates `copy`, which is new, to `original`.
pub(super) fn relate(tree: &mut Tree, copy: &Arc<Mount>, original: &Mount, relation: Relation) {
    match (relation, original.propagation()) {
        (Relation::Like, Propagation::Shared(group)) => join(copy, &group),
        (Relation::Like, Propagation::Slave(master)) => enslave(copy, Some(master)),
        (Relation::Slave, Propagation::Shared(group)) => enslave(copy, Some(group)),
        (Relation::SharedSlave, Propagation::Shared(group)) => {
            let own = Group::new(tree, Some(group));
            join(copy, &own);
        }
        (_, other) => copy.set_propagation(other),
    }
}

/// Changes the propagation of the mount at `path`, or of its whole subtree.
pub fn set_propagation(path: &Path, kind: MountFlags, recursive: bool) -> Result<()> {
    let mut tree = TREE.lock();
    if !path.is_mount_root() || !path.mount.is_mounted() {
        return Err(Errno::EINVAL);
    }
    let mounts = if recursive {
        path.mount.subtree()
    } else {
        alloc::vec![path.mount.clone()]
    };
    for mount in &mounts {
        match kind {
            MountFlags::SHARED => share(&mut tree, mount),
            MountFlags::SLAVE if mount.is_unbindable() => {}
            MountFlags::SLAVE => {
                let master = leave(&mut tree, mount);
                enslave(mount, master);
            }
            MountFlags::UNBINDABLE => {
                leave(&mut tree, mount);
                mount.set_propagation(Propagation::Unbindable);
            }
            _ => {
                leave(&mut tree, mount);
            }
        }
    }
    Ok(())
}

/// Who hears of a change on a mount.
pub(super) struct Receiver {
    pub mount: Arc<Mount>,
    /// Whose copy its own is a copy of: 0 is what the change is about, and then the receivers from 1 on.
    pub from: usize,
    pub relation: Relation,
}

/// Who hears of a change on `origin`, of those whom it concerns: masters before their slaves.
pub(super) fn receivers(
    origin: &Arc<Mount>,
    concerns: impl Fn(&Arc<Mount>) -> bool,
) -> Vec<Receiver> {
    let mut found = Vec::new();
    let Propagation::Shared(group) = origin.propagation() else {
        return found;
    };
    for mount in group.peers() {
        if !Arc::ptr_eq(&mount, origin) && concerns(&mount) {
            found.push(Receiver {
                mount,
                from: 0,
                relation: Relation::Like,
            });
        }
    }
    let mut work = alloc::vec![(group, 0)];
    while let Some((group, from)) = work.pop() {
        for mount in group.slaves().into_iter().filter(&concerns) {
            found.push(Receiver {
                mount,
                from,
                relation: Relation::Slave,
            });
        }
        for below in group.slave_groups() {
            // The first copy listens to the master's copy, and the others are its peers. Where no peer is
            // concerned, those who listen to the group listen to the master's copy themselves.
            let (mut from, mut relation) = (from, Relation::SharedSlave);
            for mount in below.peers().into_iter().filter(&concerns) {
                found.push(Receiver {
                    mount,
                    from,
                    relation,
                });
                if relation == Relation::SharedSlave {
                    (from, relation) = (found.len(), Relation::Like);
                }
            }
            work.push((below, from));
        }
    }
    found
}

/// Which mounts go because others heard that those of `gone` go: each that stands where one of them stood, unless
/// something stays mounted on it elsewhere than on its root.
pub(super) fn also_unmounted(gone: &[Arc<Mount>]) -> Vec<Arc<Mount>> {
    let mut known: BTreeSet<u64> = gone.iter().map(|mount| mount.id).collect();
    let mut left = Vec::new();
    for place in gone.iter().rev().filter_map(|mount| mount.position()) {
        for receiver in receivers(&place.mount, |_| true) {
            if let Some(mount) = receiver.mount.child_at(&place.dentry)
                && known.insert(mount.id)
            {
                left.push(mount);
            }
        }
    }
    for mount in &left {
        known.remove(&mount.id);
    }
    let mut also = Vec::new();
    loop {
        let before = also.len();
        for mount in core::mem::take(&mut left) {
            let stays = |child: &Arc<Mount>| {
                !known.contains(&child.id)
                    && child
                        .position()
                        .is_some_and(|place| !Arc::ptr_eq(&place.dentry, &mount.root))
            };
            if mount.children().iter().any(stays) {
                left.push(mount);
            } else {
                known.insert(mount.id);
                also.push(mount);
            }
        }
        if also.len() == before {
            return also;
        }
    }
}

/// What `mountinfo` tells of a mount's propagation.
#[derive(Default)]
pub struct Relations {
    pub shared: Option<u32>,
    pub master: Option<u32>,
    /// The nearest group above the master that has a peer below the reader's root, if the master has none.
    pub propagate_from: Option<u32>,
    pub unbindable: bool,
}

impl Mount {
    /// What a process with this root is told; [`TREE`] is held.
    pub fn relations(&self, root: &Path) -> Relations {
        let propagation = self.propagation();
        let mut relations = Relations {
            unbindable: matches!(propagation, Propagation::Unbindable),
            ..Relations::default()
        };
        if let Propagation::Shared(group) = &propagation {
            relations.shared = Some(group.id);
        }
        let Some(master) = self.master() else {
            return relations;
        };
        relations.master = Some(master.id);
        let visible = |mount: &Arc<Mount>| {
            mount.namespace() == root.mount.namespace() && mount.root_path().is_below(root)
        };
        let mut at = Some(master.clone());
        while let Some(group) = at {
            if group.peers().iter().any(visible) {
                relations.propagate_from = (group.id != master.id).then_some(group.id);
                break;
            }
            at = group.master();
        }
        relations
    }
}
