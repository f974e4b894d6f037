//! The tree of devices that sysfs shows: what is there, of which class, on which bus, with which attributes.
//!
//! A device has a parent, a name, maybe a subsystem (a bus or a class), maybe a device number, and attributes whose
//! content is asked for when it is read. sysfs derives all of `/sys/devices`, `/sys/class`, `/sys/bus`, `/sys/block`
//! and `/sys/dev` from here; nothing in it is made up there.
//!
//! # Invariants
//! - A device's children and a device's parent agree; the only device without a parent is the root.
//! - The list of a device's children is replaced as a whole, so that a reader sees a consistent one without waiting.
//!
//! Lock order: `CHANGES`, then one device's `children` or `driver`.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::{Errno, Result};
use ksync::SpinLock;

use super::uevent;

/// What a device is listed under besides its place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsystem {
    /// `/sys/class/NAME`, or `/sys/block` for the class `block`.
    Class(&'static str),
    /// `/sys/bus/NAME/devices`.
    Bus(&'static str),
}

impl Subsystem {
    pub fn name(self) -> &'static str {
        match self {
            Self::Class(name) | Self::Bus(name) => name,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    Char,
    Block,
}

/// The number and name of a device node in `/dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    pub kind: NodeKind,
    pub major: u32,
    pub minor: u32,
    /// Path below `/dev`: `ttyS0`, `input/event0`.
    pub name: Cow<'static, str>,
}

type Show = Box<dyn Fn(&mut String) -> Result<()> + Send + Sync>;
type Store = Box<dyn Fn(&[u8]) -> Result<()> + Send + Sync>;
type ReadAt = Box<dyn Fn(u64, &mut [u8]) -> Result<usize> + Send + Sync>;

/// Where an attribute's content comes from.
pub enum Content {
    /// Text, made anew for each open-and-read, with its final newline.
    Text(Show),
    /// Bytes of a fixed size, read at an offset.
    Binary { bytes: u64, read: ReadAt },
}

/// A file in a device's directory. `name` may hold one slash: `power/control` lies in a group `power`.
pub struct Attribute {
    pub name: Cow<'static, str>,
    pub mode: u16,
    pub content: Content,
    pub store: Option<Store>,
}

/// One device.
pub struct Device {
    name: Cow<'static, str>,
    parent: Weak<Device>,
    subsystem: Option<Subsystem>,
    node: Option<DeviceNode>,
    attributes: Vec<Attribute>,
    driver: SpinLock<Option<&'static str>>,
    children: SpinLock<Arc<[Arc<Device>]>>,
}

/// A device to be added: [`DeviceSpec::add`] puts it in the tree.
pub struct DeviceSpec {
    name: Cow<'static, str>,
    subsystem: Option<Subsystem>,
    node: Option<DeviceNode>,
    attributes: Vec<Attribute>,
}

impl DeviceSpec {
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            subsystem: None,
            node: None,
            attributes: Vec::new(),
        }
    }

    pub fn subsystem(mut self, subsystem: Subsystem) -> Self {
        self.subsystem = Some(subsystem);
        self
    }

    pub fn node(
        mut self,
        kind: NodeKind,
        major: u32,
        minor: u32,
        name: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.node = Some(DeviceNode {
            kind,
            major,
            minor,
            name: name.into(),
        });
        self
    }

    /// A read-only text attribute; `show` appends its content, without the final newline.
    pub fn text(
        self,
        name: impl Into<Cow<'static, str>>,
        show: impl Fn(&mut String) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let show: Show = Box::new(move |out| {
            show(out)?;
            out.push('\n');
            Ok(())
        });
        self.attribute(Attribute {
            name: name.into(),
            mode: 0o444,
            content: Content::Text(show),
            store: None,
        })
    }

    /// A read-only text attribute that never changes.
    pub fn fixed(
        self,
        name: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        let text = text.into();
        self.text(name, move |out| {
            out.push_str(&text);
            Ok(())
        })
    }

    pub fn attribute(mut self, attribute: Attribute) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Adds the device below `parent`, or at the top. `EEXIST` if there is one of that name.
    pub fn add(self, parent: Option<&Arc<Device>>) -> Result<Arc<Device>> {
        let parent = parent.unwrap_or_else(|| root());
        let device = Arc::new(Device {
            name: self.name,
            parent: Arc::downgrade(parent),
            subsystem: self.subsystem,
            node: self.node,
            attributes: self.attributes,
            driver: SpinLock::new(None),
            children: SpinLock::new(Arc::new([])),
        });
        loop {
            let old = parent.children();
            if old.iter().any(|child| child.name == device.name) {
                return Err(Errno::EEXIST);
            }
            let new: Arc<[_]> = old.iter().cloned().chain([device.clone()]).collect();
            if parent.replace_children(&old, new) {
                uevent::added(&device);
                return Ok(device);
            }
        }
    }
}

impl Device {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn parent(&self) -> Option<Arc<Device>> {
        self.parent.upgrade()
    }

    pub fn subsystem(&self) -> Option<Subsystem> {
        self.subsystem
    }

    pub fn node(&self) -> Option<&DeviceNode> {
        self.node.as_ref()
    }

    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The name of the driver that has the device.
    pub fn driver(&self) -> Option<&'static str> {
        *self.driver.lock()
    }

    pub fn set_driver(&self, driver: Option<&'static str>) {
        *self.driver.lock() = driver;
    }

    pub fn children(&self) -> Arc<[Arc<Device>]> {
        self.children.lock().clone()
    }

    /// Puts `new` in place of `old`, unless another change came first.
    fn replace_children(&self, old: &Arc<[Arc<Device>]>, new: Arc<[Arc<Device>]>) -> bool {
        let before = {
            let mut children = self.children.lock();
            if !Arc::ptr_eq(&children, old) {
                return false;
            }
            core::mem::replace(&mut *children, new)
        };
        drop(before);
        true
    }

    /// The names from the top to this device, joined by slashes: its path below `/sys/devices`.
    pub fn path(&self) -> String {
        let mut path = match self.parent() {
            Some(parent) => parent.path(),
            None => return String::new(),
        };
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&self.name);
        path
    }
}

static ROOT: spin::Once<Arc<Device>> = spin::Once::new();

/// The top of the tree, which is `/sys/devices` itself.
pub fn root() -> &'static Arc<Device> {
    ROOT.call_once(|| {
        Arc::new(Device {
            name: Cow::Borrowed("devices"),
            parent: Weak::new(),
            subsystem: None,
            node: None,
            attributes: Vec::new(),
            driver: SpinLock::new(None),
            children: SpinLock::new(Arc::new([])),
        })
    })
}

/// A directory without a device behind it: `system`, `virtual`, `virtual/tty`. Made when first asked for.
pub fn folder(path: &'static str) -> Result<Arc<Device>> {
    let mut at = root().clone();
    for name in path.split('/') {
        let found = at
            .children()
            .iter()
            .find(|child| child.name() == name)
            .cloned();
        at = match found {
            Some(child) => child,
            None => match DeviceSpec::new(name).add(Some(&at)) {
                Ok(child) => child,
                // Another CPU made it in between.
                Err(Errno::EEXIST) => at
                    .children()
                    .iter()
                    .find(|child| child.name() == name)
                    .cloned()
                    .ok_or(Errno::ENOENT)?,
                Err(error) => return Err(error),
            },
        };
    }
    Ok(at)
}

/// Calls `visit` for each device, parents first.
pub fn for_each(visit: &mut dyn FnMut(&Arc<Device>)) {
    fn walk(device: &Arc<Device>, visit: &mut dyn FnMut(&Arc<Device>)) {
        for child in device.children().iter() {
            visit(child);
            walk(child, visit);
        }
    }
    walk(root(), visit);
}

/// The devices of one class or bus.
pub fn members(subsystem: Subsystem) -> Vec<Arc<Device>> {
    let mut found = Vec::new();
    for_each(&mut |device| {
        if device.subsystem() == Some(subsystem) {
            found.push(device.clone());
        }
    });
    found
}

/// Every class and bus that has a device.
pub fn subsystems() -> Vec<Subsystem> {
    let mut found = Vec::new();
    for_each(&mut |device| {
        if let Some(subsystem) = device.subsystem()
            && !found.contains(&subsystem)
        {
            found.push(subsystem);
        }
    });
    found
}

/// A class device with a node under `/sys/devices/virtual/CLASS`, as for memory devices, consoles and terminals.
pub fn add_virtual(
    class: &'static str,
    folder_path: &'static str,
    node: DeviceNode,
) -> Result<Arc<Device>> {
    let parent = folder(folder_path)?;
    let name = node.name.replace('/', "!");
    let mut spec = DeviceSpec::new(name).subsystem(Subsystem::Class(class));
    spec.node = Some(node);
    spec.add(Some(&parent))
}
