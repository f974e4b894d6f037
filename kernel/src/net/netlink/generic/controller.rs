//! The family that tells of families (`nlctrl`).

use abi::Errno;
use abi::netlink::NlmFlags;
use abi::netlink::generic::{
    GENL_CMD_CAP_DO, GENL_CMD_CAP_DUMP, GENL_CMD_CAP_HASPOL, GENL_ID_CTRL, ctrl,
};
use netlink::Builder;

use super::{Call, Command, FAMILIES, Family, put_header};
use crate::net::netlink::request::{Answer, Dump, Outcome, Refusal};

pub(super) static FAMILY: Family = Family {
    id: GENL_ID_CTRL,
    name: "nlctrl",
    version: 2,
    max_attribute: ctrl::ATTR_MAX,
    commands: &[Command {
        number: ctrl::CMD_GETFAMILY,
        flags: 0,
        run: Some(get_family),
        dump: Some(dump_families),
    }],
    groups: &[("notify", 16)],
};

/// A family's name with its NUL.
const NAME_SIZE: usize = 16;

fn get_family(call: &Call<'_>) -> Outcome {
    let by_id = call.attributes.find(ctrl::ATTR_FAMILY_ID);
    let by_name = call.attributes.find(ctrl::ATTR_FAMILY_NAME);
    let mut families = FAMILIES.iter();
    let found = match (by_id, by_name) {
        (None, None) => return Err(Errno::EINVAL.into()),
        // The name counts, on Linux too.
        (_, Some(name)) => {
            if name.value.len() > NAME_SIZE || !name.value.contains(&0) {
                return Err(Refusal::because(
                    Errno::EINVAL,
                    "Attribute failed policy validation",
                ));
            }
            families.find(|family| family.name.as_bytes() == name.text())
        }
        (Some(id), None) => {
            let id = id.read::<u16>().ok_or(Refusal::because(
                Errno::ERANGE,
                "Attribute failed policy validation",
            ))?;
            families.find(|family| family.id == id)
        }
    };
    let family = found.ok_or(Errno::ENOENT)?;
    let mut builder = Builder::new();
    call.request
        .begin(&mut builder, FAMILY.id, NlmFlags::empty());
    describe(&mut builder, family);
    builder.finish();
    call.request.reply(builder);
    Ok(Answer::Done)
}

fn dump_families(call: &Call<'_>) -> Outcome {
    let mut dump = Dump::new(call.request);
    for family in FAMILIES {
        dump.message(FAMILY.id, |builder| describe(builder, family));
    }
    dump.finish()
}

fn describe(builder: &mut Builder, family: &Family) {
    put_header(builder, &FAMILY, ctrl::CMD_NEWFAMILY);
    builder.text(ctrl::ATTR_FAMILY_NAME, family.name.as_bytes());
    builder.number(ctrl::ATTR_FAMILY_ID, family.id);
    builder.number(ctrl::ATTR_VERSION, u32::from(family.version));
    builder.number(ctrl::ATTR_HDRSIZE, 0_u32);
    builder.number(ctrl::ATTR_MAXATTR, u32::from(family.max_attribute));
    let commands = builder.nest(ctrl::ATTR_OPS);
    for (index, command) in (1..).zip(family.commands) {
        let nest = builder.nest(index);
        let mut flags = command.flags | GENL_CMD_CAP_HASPOL;
        if command.run.is_some() {
            flags |= GENL_CMD_CAP_DO;
        }
        if command.dump.is_some() {
            flags |= GENL_CMD_CAP_DUMP;
        }
        builder.number(ctrl::ATTR_OP_ID, u32::from(command.number));
        builder.number(ctrl::ATTR_OP_FLAGS, flags);
        builder.end(nest);
    }
    builder.end(commands);
    if family.groups.is_empty() {
        return;
    }
    let groups = builder.nest(ctrl::ATTR_MCAST_GROUPS);
    for (index, (name, number)) in (1..).zip(family.groups) {
        let nest = builder.nest(index);
        builder.number(ctrl::ATTR_MCAST_GRP_ID, *number);
        builder.text(ctrl::ATTR_MCAST_GRP_NAME, name.as_bytes());
        builder.end(nest);
    }
    builder.end(groups);
}
