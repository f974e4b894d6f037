//! Requests to the kernel: each message of a datagram is handled, acknowledged, refused, or answered by a dump.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use abi::Errno;
use abi::netlink::{
    NLMSG_DONE, NLMSG_ERROR, NLMSG_MIN_TYPE, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS, NlMsgErr,
    NlmFlags,
};
use netlink::{Builder, Message, Messages};

use super::send::Sent;
use super::socket::Switches;

/// More than an acknowledgement has beside the request: two headers, and the attributes that tell why.
const MAX_OVERHEAD: usize = 256;

/// A message to the kernel.
pub struct Request<'a> {
    pub sent: &'a Sent<'a>,
    pub message: Message<'a>,
}

/// How a request that succeeded is answered.
#[derive(PartialEq, Eq, Debug)]
pub enum Answer {
    /// By what it sent itself, and an acknowledgement if one was asked for.
    Done,
    /// By a dump, whose end stands for the acknowledgement.
    Dumping,
}

/// Why a request failed; for those who asked (`NETLINK_EXT_ACK`) in words, and where in the message.
#[derive(Debug)]
pub struct Refusal {
    errno: Errno,
    text: Option<&'static str>,
    offset: Option<u32>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal {
            errno,
            text: None,
            offset: None,
        }
    }
}

impl Refusal {
    pub fn because(errno: Errno, text: &'static str) -> Refusal {
        Refusal {
            text: Some(text),
            ..errno.into()
        }
    }
}

pub type Outcome = Result<Answer, Refusal>;

/// Handles the messages of a datagram in turn.
pub fn handle(sent: &Sent<'_>, handler: impl Fn(&Request<'_>) -> Outcome) {
    for message in Messages::new(sent.data) {
        let request = Request { sent, message };
        let flags = message.flags();
        // Only requests are handled; netlink's own control messages are not.
        let is_handled = flags.contains(NlmFlags::REQUEST) && message.header.kind >= NLMSG_MIN_TYPE;
        let outcome = if is_handled {
            handler(&request)
        } else {
            Ok(Answer::Done)
        };
        match outcome {
            Ok(Answer::Dumping) => {}
            Ok(Answer::Done) if !flags.contains(NlmFlags::ACK) => {}
            Ok(Answer::Done) => request.acknowledge(None),
            Err(refusal) => request.acknowledge(Some(&refusal)),
        }
    }
}

impl Request<'_> {
    /// Begins a message that answers this one.
    pub fn begin(&self, builder: &mut Builder, kind: u16, flags: NlmFlags) {
        let port = self.sent.socket.port();
        builder.begin(kind, flags, self.message.header.seq, port);
    }

    pub fn reply(&self, builder: Builder) {
        self.sent.socket.reply(builder.into_bytes());
    }

    pub fn wants_dump(&self) -> bool {
        self.message.flags().contains(NlmFlags::DUMP)
    }

    fn acknowledge(&self, refusal: Option<&Refusal>) {
        let socket = self.sent.socket;
        let mut flags = NlmFlags::empty();
        let is_capped = refusal.is_none() || socket.has(Switches::CAP_ACK);
        if is_capped {
            flags |= NlmFlags::CAPPED;
        }
        let told = refusal
            .filter(|_| socket.has(Switches::EXT_ACK))
            .filter(|refusal| refusal.text.is_some() || refusal.offset.is_some());
        if told.is_some() {
            flags |= NlmFlags::ACK_TLVS;
        }
        let mut builder = Builder::new();
        if !builder.try_reserve(self.message.payload.len() + MAX_OVERHEAD) {
            return socket.set_error(Errno::ENOBUFS);
        }
        self.begin(&mut builder, NLMSG_ERROR, flags);
        builder.put(&NlMsgErr {
            error: refusal.map_or(0, |refusal| -refusal.errno.get()),
            request: self.message.header,
        });
        if !is_capped {
            builder.raw(self.message.payload);
        }
        if let Some(refusal) = told {
            if let Some(text) = refusal.text {
                builder.text(NLMSGERR_ATTR_MSG, text.as_bytes());
            }
            if let Some(offset) = refusal.offset {
                builder.number(NLMSGERR_ATTR_OFFS, offset);
            }
        }
        builder.finish();
        self.reply(builder);
    }
}

/// The answer to a request for a whole table, in datagrams of a size that the socket's owner reads.
pub struct Dump<'a> {
    request: &'a Request<'a>,
    part: Builder,
    parts: VecDeque<Vec<u8>>,
    limit: usize,
}

impl<'a> Dump<'a> {
    pub fn new(request: &'a Request<'a>) -> Dump<'a> {
        Dump {
            request,
            part: Builder::new(),
            parts: VecDeque::new(),
            limit: request.sent.socket.dump_part(),
        }
    }

    /// Adds a message; `build` puts what follows its header.
    pub fn message(&mut self, kind: u16, build: impl FnOnce(&mut Builder)) {
        let before = self.part.len();
        self.request.begin(&mut self.part, kind, NlmFlags::MULTI);
        build(&mut self.part);
        self.part.finish();
        if before != 0 && self.part.len() > self.limit {
            let last = self.part.split_last();
            let full = mem::replace(&mut self.part, last);
            self.parts.push_back(full.into_bytes());
        }
    }

    /// Sends it. As on Linux its end comes in a datagram of its own.
    ///
    /// # Errors
    /// `EBUSY` while another dump of the socket runs.
    pub fn finish(mut self) -> Outcome {
        if !self.part.is_empty() {
            self.parts.push_back(self.part.into_bytes());
        }
        let mut done = Builder::new();
        self.request.begin(&mut done, NLMSG_DONE, NlmFlags::MULTI);
        done.put(&0_i32);
        done.finish();
        self.parts.push_back(done.into_bytes());
        self.request.sent.socket.start_dump(self.parts)?;
        Ok(Answer::Dumping)
    }
}
