//! Sending and receiving bytes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::socket::MsgFlags;
use abi::{Errno, Result};
use smoltcp::socket::tcp::Socket;

use super::connection::Connection;
use super::end::state;
use super::socket::TcpSocket;
use super::urgent::View;
use crate::fs::limits;
use crate::mm::user::{IoSink, IoSource};
use crate::net::message::{Incoming, Outgoing, Patience};
use crate::net::unix::{RECEIVE, SEND};
use crate::{signal, task};

/// Takes as much of the source as there is room for.
pub(super) fn fill(socket: &mut Socket<'static>, source: &mut IoSource<'_>) -> Result<usize> {
    let mut total = 0;
    // The room may be in two pieces.
    for _ in 0..2 {
        if source.remaining() == 0 {
            break;
        }
        let sent = socket.send(|room| {
            let len = room.len().min(source.remaining());
            let before = source.done();
            let result = source.take(room.get_mut(..len).unwrap_or_default());
            let taken = source.done() - before;
            (
                taken,
                result.map(|()| taken).or(Err((taken, Errno::EFAULT))),
            )
        });
        match sent {
            Ok(Ok(0)) | Err(_) => break,
            Ok(Ok(count)) => total += count,
            Ok(Err((taken, error))) if total + taken == 0 => return Err(error),
            Ok(Err((taken, _))) => return Ok(total + taken),
        }
    }
    Ok(total)
}

/// Where received bytes go.
enum Target<'a, 'b> {
    Sink(&'a mut IoSink<'b>),
    /// Nowhere: `MSG_TRUNC`.
    Nowhere(&'a mut usize),
}

impl Target<'_, '_> {
    fn remaining(&self) -> usize {
        match self {
            Target::Sink(sink) => sink.remaining(),
            Target::Nowhere(left) => **left,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> (usize, Result<()>) {
        match self {
            Target::Sink(sink) => {
                let before = sink.done();
                let result = sink.put(bytes);
                (sink.done() - before, result)
            }
            Target::Nowhere(left) => {
                **left -= bytes.len();
                (bytes.len(), Ok(()))
            }
        }
    }
}

/// Puts as much of what was received as there is room for, and no more than `most`.
fn drain(socket: &mut Socket<'static>, target: &mut Target<'_, '_>, most: usize) -> Result<usize> {
    let mut total = 0;
    for _ in 0..2 {
        let room = target.remaining().min(most - total);
        if room == 0 {
            break;
        }
        let received = socket.recv(|bytes| {
            let len = bytes.len().min(room);
            let (put, result) = target.put(bytes.get(..len).unwrap_or_default());
            (put, result.map(|()| put))
        });
        match received {
            Ok(Ok(0)) | Err(_) => break,
            Ok(Ok(count)) => total += count,
            Ok(Err(error)) if total == 0 => return Err(error),
            Ok(Err(_)) => break,
        }
    }
    Ok(total)
}

impl TcpSocket {
    /// # Errors
    /// `EPIPE` with its signal, the pending error, `EAGAIN`, `EFAULT`.
    pub fn send(&self, message: &mut Outgoing<'_, '_>) -> Result<usize> {
        let mut patience = Patience::new(message.flags, self.common.options.send_timeout_ns());
        let mut sent = 0;
        let result = self.send_all(message, &mut patience, &mut sent);
        match result {
            Err(error) if sent == 0 => {
                if error == Errno::EPIPE && !message.flags.contains(MsgFlags::NOSIGNAL) {
                    limits::send_sigpipe();
                }
                Err(error)
            }
            _ => Ok(sent),
        }
    }

    fn send_all(
        &self,
        message: &mut Outgoing<'_, '_>,
        patience: &mut Patience,
        sent: &mut usize,
    ) -> Result<()> {
        let end = &self.end;
        let is_connecting = || matches!(end.state(), state::SYN_SENT | state::SYN_RECV);
        if is_connecting() && !end.has_error() {
            patience.wait(&end.writers, || !is_connecting())?;
        }
        loop {
            end.take_error()?;
            let connection = self.connection().ok_or(Errno::EPIPE)?;
            if end.is_shut(SEND) || end.state() == state::CLOSE {
                return Err(Errno::EPIPE);
            }
            if message.data.remaining() == 0 {
                return Ok(());
            }
            let sent_now = connection.send(message.data, message.flags);
            let count = sent_now.ok_or(Errno::EPIPE)??;
            *sent += count;
            if message.data.remaining() == 0 {
                return Ok(());
            }
            if end.is_writable() && count != 0 {
                continue;
            }
            patience.wait(&end.writers, || {
                end.is_writable()
                    || end.is_shut(SEND)
                    || end.has_error()
                    || end.state() == state::CLOSE
            })?;
        }
    }

    /// # Errors
    /// `ENOTCONN`, the pending error, `EAGAIN`, `EFAULT`; those of [`Self::receive_urgent`].
    pub fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        if message.flags.contains(MsgFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        let state = self.end.state();
        if state == state::LISTEN {
            return Err(Errno::ENOTCONN);
        }
        if message.flags.contains(MsgFlags::OOB) {
            return self.receive_urgent(message);
        }
        if message.flags.contains(MsgFlags::PEEK) {
            return self.peek(message);
        }
        let wanted = message.data.remaining();
        let least = self.least(message.flags, wanted);
        let mut patience = Patience::new(message.flags, self.common.options.receive_timeout_ns());
        let mut unwanted = wanted;
        let truncates = message.flags.contains(MsgFlags::TRUNC);
        let mut done = 0;
        loop {
            let connection = self.connection();
            // Who is to learn of the mark by a signal learns of it before it is passed.
            if done == 0 && self.end.urgent.is_at_mark() && signal::pending(&task::current()) {
                return Err(patience.broken_off());
            }
            if self.end.readable() != 0
                && let Some(connection) = &connection
            {
                let mut target = if truncates {
                    Target::Nowhere(&mut unwanted)
                } else {
                    Target::Sink(message.data)
                };
                match connection.receive(done == 0, |socket, most| drain(socket, &mut target, most))
                {
                    Some(Ok(count)) => done += count,
                    Some(Err(error)) if done == 0 => return Err(error),
                    Some(Err(_)) | None => {}
                }
            }
            // A read ends at urgent data, whatever it waits for.
            if done >= least || (done != 0 && self.end.urgent.is_at_mark()) {
                return Ok(done);
            }
            if self.end.readable() != 0 && wanted > done {
                continue;
            }
            match self.wait_for_bytes(connection.as_ref(), &mut patience, done, 0) {
                Ok(true) => {}
                Ok(false) => return Ok(done),
                Err(_) if done != 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    fn least(&self, flags: MsgFlags, wanted: usize) -> usize {
        if flags.contains(MsgFlags::WAITALL) {
            wanted
        } else {
            wanted.min(self.common.options.receive_low_water())
        }
        .max(1)
    }

    /// Waits for more than `seen` bytes; `false` at the end of the stream.
    fn wait_for_bytes(
        &self,
        connection: Option<&Arc<Connection>>,
        patience: &mut Patience,
        done: usize,
        seen: usize,
    ) -> Result<bool> {
        let end = &self.end;
        if done != 0 && end.has_error() {
            return Ok(false);
        }
        end.take_error()?;
        if end.is_shut(RECEIVE) {
            return Ok(false);
        }
        if connection.is_none() || end.state() == state::CLOSE {
            return Err(Errno::ENOTCONN);
        }
        patience.wait(&end.readers, || {
            end.readable() > seen
                || end.is_shut(RECEIVE)
                || end.has_error()
                || end.state() == state::CLOSE
        })?;
        Ok(true)
    }

    fn peek(&self, message: &mut Incoming<'_, '_>) -> Result<usize> {
        let wanted = message.data.remaining();
        let least = self.least(message.flags, wanted);
        let mut patience = Patience::new(message.flags, self.common.options.receive_timeout_ns());
        loop {
            let connection = self.connection();
            let there = self.end.readable();
            let view = self.end.urgent.view(there);
            let is_last = self.end.is_shut(RECEIVE) || self.end.has_error() || view.is_whole;
            if (view.len >= least || (view.len != 0 && is_last))
                && let Some(connection) = &connection
            {
                return show(connection, message, &view);
            }
            match self.wait_for_bytes(connection.as_ref(), &mut patience, view.len, there) {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    return match connection {
                        Some(connection) if view.len != 0 => show(&connection, message, &view),
                        _ => Err(error),
                    };
                }
            }
        }
    }
}

/// Copies what was received without taking it.
fn show(
    connection: &Arc<Connection>,
    message: &mut Incoming<'_, '_>,
    view: &View,
) -> Result<usize> {
    let len = view.skip + view.len.min(message.data.remaining());
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
    bytes.resize(len, 0);
    let shown = connection
        .with(|socket| socket.peek_slice(&mut bytes).unwrap_or(0))
        .unwrap_or(0);
    if !message.flags.contains(MsgFlags::TRUNC) {
        let shown = bytes.get(view.skip..shown).unwrap_or_default();
        message.data.put(shown)?;
    }
    Ok(shown.saturating_sub(view.skip))
}
