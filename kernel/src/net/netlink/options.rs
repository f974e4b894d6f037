//! The options of `SOL_NETLINK`.

use core::sync::atomic::Ordering;

use abi::netlink::{SOL_NETLINK, option};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::socket::{NetlinkSocket, Switches};
use super::table;
use crate::mm::user::UserPtr;
use crate::net::socket::{OptionBytes, OptionValue};
use crate::task::{self, Cap};

fn switch_of(number: i32) -> Option<Switches> {
    Some(match number {
        option::PKTINFO => Switches::PKTINFO,
        option::BROADCAST_ERROR => Switches::BROADCAST_ERROR,
        option::NO_ENOBUFS => Switches::NO_ENOBUFS,
        option::CAP_ACK => Switches::CAP_ACK,
        option::EXT_ACK => Switches::EXT_ACK,
        option::LISTEN_ALL_NSID => Switches::ALL_NSID,
        _ => return None,
    })
}

impl NetlinkSocket {
    /// How many groups can be joined.
    pub(super) fn group_count(&self) -> u32 {
        self.protocol.groups.max(32)
    }

    /// # Errors
    /// `EPERM` where groups are not for everybody.
    pub(super) fn check_may_join(&self) -> Result<()> {
        if self.protocol.open_receive || task::current().my_cred().capable(Cap::NET_ADMIN) {
            return Ok(());
        }
        Err(Errno::EPERM)
    }

    fn change_membership(&self, group: u32, joins: bool) -> Result<()> {
        self.check_may_join()?;
        self.switch(Switches::HAS_GROUPS, true);
        if group == 0 || group > self.group_count() {
            return Err(Errno::EINVAL);
        }
        let bit = 1_u64 << (group - 1);
        table::change_groups(self, |groups| match joins {
            true => groups | bit,
            false => groups & !bit,
        });
        Ok(())
    }

    pub(super) fn set_netlink_option(
        &self,
        level: i32,
        number: i32,
        input: OptionValue,
    ) -> Result<()> {
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        let value = match input.len >= size_of::<i32>() {
            true => UserPtr::<i32>::from(input.addr).read()?,
            false => 0,
        };
        match number {
            option::ADD_MEMBERSHIP => return self.change_membership(value as u32, true),
            option::DROP_MEMBERSHIP => return self.change_membership(value as u32, false),
            option::LISTEN_ALL_NSID if !task::current().my_cred().capable(Cap::NET_BROADCAST) => {
                return Err(Errno::EPERM);
            }
            _ => {}
        }
        let switch = switch_of(number).ok_or(Errno::ENOPROTOOPT)?;
        self.switch(switch, value != 0);
        if switch == Switches::NO_ENOBUFS && value != 0 {
            self.forget_congestion();
        }
        Ok(())
    }

    pub(super) fn netlink_option(
        &self,
        level: i32,
        number: i32,
        room: usize,
    ) -> Result<OptionBytes> {
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        if number == option::LIST_MEMBERSHIPS {
            return Ok(self.memberships());
        }
        let switch = switch_of(number)
            .filter(|switch| *switch != Switches::ALL_NSID)
            .ok_or(Errno::ENOPROTOOPT)?;
        if room < size_of::<i32>() {
            return Err(Errno::EINVAL);
        }
        let value = i32::from(self.has(switch));
        Ok(OptionBytes::from_slice(value.as_bytes()))
    }

    /// The words of the group mask; none before a group was asked for.
    fn memberships(&self) -> OptionBytes {
        let bytes = match self.has(Switches::HAS_GROUPS) {
            true => (self.group_count() as usize / 8).next_multiple_of(size_of::<u32>()),
            false => 0,
        };
        let mask = self.groups.load(Ordering::SeqCst).to_le_bytes();
        OptionBytes::from_slice(mask.get(..bytes).unwrap_or(&mask))
    }
}
