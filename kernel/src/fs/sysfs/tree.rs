//! What each directory of sysfs holds.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use abi::{Errno, Result};

use crate::device::registry::{self, Content, Device, NodeKind, Subsystem};

/// A directory.
#[derive(Clone)]
pub enum Place {
    Root,
    Classes,
    Class(&'static str),
    /// `/sys/block`.
    BlockDevices,
    Buses,
    Bus(&'static str),
    BusDevices(&'static str),
    Drivers(&'static str),
    Driver(&'static str, &'static str),
    Numbers,
    NumbersOf(NodeKind),
    Device(Arc<Device>),
    /// The attributes of a device whose names begin with this and a slash.
    Group(Arc<Device>, String),
    Kernel,
    Empty,
}

/// What a directory holds under a name.
pub enum Entry {
    Dir(Place),
    /// A link to this path from the top.
    Link(String),
    /// An attribute, by its index.
    Attribute(Arc<Device>, usize),
    Uevent(Arc<Device>),
    UeventCount,
    /// The device number.
    Dev(Arc<Device>),
    Fixed(&'static str),
}

/// A name and what is under it.
pub type Named = (Cow<'static, str>, Entry);

fn dir(name: &'static str, place: Place) -> Named {
    (name.into(), Entry::Dir(place))
}

fn link(device: &Arc<Device>) -> Named {
    (
        device.name().to_string().into(),
        Entry::Link(path_of(device)),
    )
}

fn path_of(device: &Device) -> String {
    format!("devices/{}", device.path())
}

fn subsystems(wanted: fn(Subsystem) -> bool) -> impl Iterator<Item = Subsystem> {
    registry::subsystems()
        .into_iter()
        .filter(move |subsystem| wanted(*subsystem))
}

fn members(subsystem: Subsystem) -> Vec<Named> {
    registry::members(subsystem).iter().map(link).collect()
}

fn is_class(subsystem: Subsystem) -> bool {
    matches!(subsystem, Subsystem::Class(_))
}

fn is_bus(subsystem: Subsystem) -> bool {
    matches!(subsystem, Subsystem::Bus(_))
}

impl Place {
    /// The directory's content, without `.` and `..`.
    pub fn entries(&self) -> Vec<Named> {
        match self {
            Self::Root => alloc::vec![
                dir("block", Self::BlockDevices),
                dir("bus", Self::Buses),
                dir("class", Self::Classes),
                dir("dev", Self::Numbers),
                dir("devices", Self::Device(registry::root().clone())),
                dir("firmware", Self::Empty),
                dir("fs", Self::Empty),
                dir("kernel", Self::Kernel),
            ],
            Self::Classes => subsystems(is_class)
                .map(|class| dir(class.name(), Self::Class(class.name())))
                .collect(),
            Self::Class(name) => members(Subsystem::Class(name)),
            Self::BlockDevices => members(Subsystem::Class("block")),
            Self::Buses => subsystems(is_bus)
                .map(|bus| dir(bus.name(), Self::Bus(bus.name())))
                .collect(),
            Self::Bus(name) => alloc::vec![
                dir("devices", Self::BusDevices(name)),
                dir("drivers", Self::Drivers(name)),
            ],
            Self::BusDevices(name) => members(Subsystem::Bus(name)),
            Self::Drivers(bus) => drivers(bus)
                .into_iter()
                .map(|driver| dir(driver, Self::Driver(bus, driver)))
                .collect(),
            Self::Driver(bus, driver) => registry::members(Subsystem::Bus(bus))
                .iter()
                .filter(|device| device.driver() == Some(driver))
                .map(link)
                .collect(),
            Self::Numbers => alloc::vec![
                dir("block", Self::NumbersOf(NodeKind::Block)),
                dir("char", Self::NumbersOf(NodeKind::Char)),
            ],
            Self::NumbersOf(kind) => numbers(*kind),
            Self::Device(device) => device_entries(device),
            Self::Group(device, group) => attributes(device, Some(group)),
            Self::Kernel => alloc::vec![
                ("uevent_seqnum".into(), Entry::UeventCount),
                ("address_bits".into(), Entry::Fixed("64\n")),
                ("cpu_byteorder".into(), Entry::Fixed("little\n")),
            ],
            Self::Empty => Vec::new(),
        }
    }
}

/// The drivers of a bus that have a device.
fn drivers(bus: &'static str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for device in registry::members(Subsystem::Bus(bus)) {
        if let Some(driver) = device.driver()
            && !found.contains(&driver)
        {
            found.push(driver);
        }
    }
    found
}

fn numbers(kind: NodeKind) -> Vec<Named> {
    let mut found = Vec::new();
    registry::for_each(&mut |device| {
        if let Some(node) = device.node().filter(|node| node.kind == kind) {
            let name = format!("{}:{}", node.major, node.minor);
            found.push((name.into(), Entry::Link(path_of(device))));
        }
    });
    found
}

fn device_entries(device: &Arc<Device>) -> Vec<Named> {
    let mut found: Vec<Named> = device
        .children()
        .iter()
        .map(|child| {
            (
                child.name().to_string().into(),
                Entry::Dir(Place::Device(child.clone())),
            )
        })
        .collect();
    found.extend(attributes(device, None));
    if device.node().is_some() {
        found.push(("dev".into(), Entry::Dev(device.clone())));
    }
    if let Some(subsystem) = device.subsystem() {
        found.push(("uevent".into(), Entry::Uevent(device.clone())));
        let target = match subsystem {
            Subsystem::Class(name) => format!("class/{name}"),
            Subsystem::Bus(name) => format!("bus/{name}"),
        };
        found.push(("subsystem".into(), Entry::Link(target)));
        if let (Subsystem::Class(_), Some(below)) = (subsystem, device_below(device)) {
            found.push(("device".into(), Entry::Link(path_of(&below))));
        }
        if let (Subsystem::Bus(bus), Some(driver)) = (subsystem, device.driver()) {
            let target = format!("bus/{bus}/drivers/{driver}");
            found.push(("driver".into(), Entry::Link(target)));
        }
    }
    found
}

/// The device that a class's device is made of: the nearest that is more than a folder.
fn device_below(device: &Device) -> Option<Arc<Device>> {
    core::iter::successors(device.parent(), |above| above.parent())
        .find(|above| above.subsystem().is_some())
}

/// The attributes in a group, or those in none and the groups.
fn attributes(device: &Arc<Device>, group: Option<&str>) -> Vec<Named> {
    let mut found: Vec<Named> = Vec::new();
    for (index, attribute) in device.attributes().iter().enumerate() {
        let (prefix, name) = match attribute.name.split_once('/') {
            Some((prefix, name)) => (Some(prefix), name),
            None => (None, &*attribute.name),
        };
        if prefix == group {
            let entry = Entry::Attribute(device.clone(), index);
            found.push((name.to_string().into(), entry));
        } else if let (Some(prefix), None) = (prefix, group)
            && !found.iter().any(|(name, _)| name == prefix)
        {
            let place = Place::Group(device.clone(), prefix.to_string());
            found.push((prefix.to_string().into(), Entry::Dir(place)));
        }
    }
    found
}

/// What an attribute of the device says, without its newline.
fn text_of(device: &Device, name: &str) -> Option<String> {
    let attribute = device
        .attributes()
        .iter()
        .find(|attribute| attribute.name == name)?;
    let Content::Text(show) = &attribute.content else {
        return None;
    };
    let mut text = String::new();
    show(&mut text).ok()?;
    text.truncate(text.trim_end().len());
    Some(text)
}

/// The variables of `uevent`.
pub fn uevent(device: &Device, out: &mut String) -> Result<()> {
    write_uevent(device, out).map_err(|_| Errno::ENOMEM)
}

fn write_uevent(device: &Device, out: &mut String) -> core::fmt::Result {
    if let Some(node) = device.node() {
        writeln!(
            out,
            "MAJOR={}\nMINOR={}\nDEVNAME={}",
            node.major, node.minor, node.name
        )?;
    }
    if let Some(driver) = device.driver() {
        writeln!(out, "DRIVER={driver}")?;
    }
    if device.subsystem() == Some(Subsystem::Bus("pci")) {
        let hex = |name: &str| {
            let text = text_of(device, name).unwrap_or_default();
            text.trim_start_matches("0x").to_ascii_uppercase()
        };
        writeln!(out, "PCI_CLASS={}", hex("class").trim_start_matches('0'))?;
        writeln!(out, "PCI_ID={}:{}", hex("vendor"), hex("device"))?;
        writeln!(
            out,
            "PCI_SUBSYS_ID={}:{}",
            hex("subsystem_vendor"),
            hex("subsystem_device")
        )?;
        writeln!(out, "PCI_SLOT_NAME={}", device.name())?;
    }
    match text_of(device, "modalias") {
        Some(modalias) => writeln!(out, "MODALIAS={modalias}"),
        None => Ok(()),
    }
}
