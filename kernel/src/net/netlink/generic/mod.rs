//! Families that are found by name (`NETLINK_GENERIC`).
//!
//! | module | what |
//! |---|---|
//! | this | the table of families, and which command a message is |
//! | `controller` | the family that tells of families |
//! | [`taskstats`] | what tasks have used |
//!
//! A family's number is its place behind the first that Linux hands out; programs ask the controller for it.
//!
//! References: Linux `Documentation/userspace-api/netlink/intro.rst`, `Documentation/accounting/taskstats.rst`.

mod controller;
pub mod taskstats;

use abi::Errno;
use abi::netlink::generic::GENL_ADMIN_PERM;
use abi::netlink::{GenlMsgHdr, NETLINK_GENERIC, NlmFlags};
use netlink::{Attributes, Builder};

use super::Protocol;
use super::request::{self, Outcome, Request};
use super::send::Sent;
use crate::task::Cap;

pub(super) static PROTOCOL: Protocol = Protocol {
    number: NETLINK_GENERIC,
    groups: 32,
    open_receive: true,
    open_send: false,
    input: Some(input),
    close: Some(taskstats::forget),
};

/// A family.
struct Family {
    id: u16,
    name: &'static str,
    version: u8,
    /// The highest attribute of its requests.
    max_attribute: u16,
    commands: &'static [Command],
    /// Names and numbers of its groups.
    groups: &'static [(&'static str, u32)],
}

/// A command of a family.
struct Command {
    number: u8,
    /// `GENL_ADMIN_PERM` or nothing.
    flags: u32,
    run: Option<fn(&Call<'_>) -> Outcome>,
    dump: Option<fn(&Call<'_>) -> Outcome>,
}

static FAMILIES: &[&Family] = &[&controller::FAMILY, &taskstats::FAMILY];

/// A command's message.
struct Call<'a> {
    request: &'a Request<'a>,
    attributes: Attributes<'a>,
}

impl Call<'_> {
    /// Begins a message of the family that answers this one.
    fn begin(&self, builder: &mut Builder, family: &Family, cmd: u8) {
        self.request.begin(builder, family.id, NlmFlags::empty());
        put_header(builder, family, cmd);
    }
}

fn put_header(builder: &mut Builder, family: &Family, cmd: u8) {
    builder.put(&GenlMsgHdr {
        cmd,
        version: family.version,
        _reserved: 0,
    });
}

fn input(sent: &Sent<'_>) {
    request::handle(sent, command);
}

fn command(request: &Request<'_>) -> Outcome {
    let kind = request.message.header.kind;
    let mut families = FAMILIES.iter();
    let family = families
        .find(|family| family.id == kind)
        .ok_or(Errno::ENOENT)?;
    let (header, attributes) = request.message.split::<GenlMsgHdr>().ok_or(Errno::EINVAL)?;
    let mut commands = family.commands.iter();
    let command = commands
        .find(|command| command.number == header.cmd)
        .ok_or(Errno::EOPNOTSUPP)?;
    if command.flags & GENL_ADMIN_PERM != 0 && !request.sent.capable(Cap::NET_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let handler = match request.wants_dump() {
        true => command.dump,
        false => command.run,
    };
    handler.ok_or(Errno::EOPNOTSUPP)?(&Call {
        request,
        attributes,
    })
}
