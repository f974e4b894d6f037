//! Tests of message queues: cases, and random calls against a plain list.

use std::vec;

use super::*;
use proptest::prelude::*;

fn message(mtype: i64, len: usize) -> Box<Node<Message>> {
    Node::new(Message {
        mtype,
        text: vec![mtype as u8; len],
    })
}

fn queue() -> Queue<u32> {
    let mut queue = Queue::new(1000);
    queue.swap_message_room(&mut Fifo::with_capacity(64).unwrap());
    queue.swap_receiver_room(&mut Fifo::with_capacity(64).unwrap());
    queue
}

fn send(queue: &mut Queue<u32>, mtype: i64, len: usize) -> (Option<u32>, Vec<u32>) {
    let mut small = TooSmall::new();
    let to = match queue.send(message(mtype, len), &mut small) {
        Sent::To(receiver, _) => Some(receiver.value.who),
        Sent::Queued => None,
        Sent::NoRoom(_) => panic!("there is room"),
    };
    let mut told = Vec::new();
    small.for_each(|receiver| told.push(receiver.who));
    (to, told)
}

fn wait(queue: &mut Queue<u32>, choice: Choice, max: usize, who: u32) {
    queue
        .wait(Node::new(Receiver { choice, max, who }))
        .unwrap();
}

fn take(queue: &mut Queue<u32>, choice: Choice) -> Option<(i64, usize)> {
    let node = queue.receive(choice, usize::MAX, false).unwrap()?;
    Some((node.value.mtype, node.value.text.len()))
}

#[test]
fn flags_and_type_make_the_choice() {
    assert_eq!(Choice::new(0, MSG_EXCEPT), Choice::Any);
    assert_eq!(Choice::new(3, 0), Choice::Equal(3));
    assert_eq!(Choice::new(3, MSG_EXCEPT), Choice::NotEqual(3));
    assert_eq!(Choice::new(-3, MSG_EXCEPT), Choice::LessEqual(3));
    assert_eq!(Choice::new(i64::MIN, 0), Choice::LessEqual(i64::MAX));
    assert_eq!(Choice::new(-3, MSG_COPY), Choice::At(-3));
}

#[test]
fn the_lowest_type_comes_first_and_equals_in_order() {
    let mut q = queue();
    for (mtype, len) in [(5, 1), (3, 2), (3, 3), (9, 4)] {
        send(&mut q, mtype, len);
    }
    assert_eq!(take(&mut q, Choice::LessEqual(2)), None);
    assert_eq!(take(&mut q, Choice::LessEqual(8)), Some((3, 2)));
    assert_eq!(take(&mut q, Choice::LessEqual(8)), Some((3, 3)));
    assert_eq!(take(&mut q, Choice::NotEqual(5)), Some((9, 4)));
    assert_eq!((q.len(), q.bytes()), (1, 1));
}

#[test]
fn a_copy_leaves_the_message() {
    let mut q = queue();
    send(&mut q, 1, 1);
    send(&mut q, 2, 9);
    let mut text = Vec::with_capacity(4);
    assert_eq!(q.copy(Choice::At(2), 99, false, &mut text), Ok(None));
    assert_eq!(q.copy(Choice::At(-1), 99, false, &mut text), Ok(None));
    assert_eq!(
        q.copy(Choice::At(1), 3, false, &mut text),
        Err(Errno::E2BIG)
    );
    assert_eq!(
        q.copy(Choice::At(1), 3, true, &mut text),
        Err(Errno::EINVAL)
    );
    assert_eq!(q.copy(Choice::At(0), 3, true, &mut text), Ok(Some(1)));
    assert_eq!(text, [1]);
    assert_eq!((q.len(), q.bytes()), (2, 10));
}

#[test]
fn a_message_goes_to_who_waits_for_it() {
    let mut q = queue();
    wait(&mut q, Choice::Equal(7), 9, 1);
    wait(&mut q, Choice::Any, 2, 2);
    wait(&mut q, Choice::Any, 9, 3);
    wait(&mut q, Choice::Any, 9, 4);
    // The second's buffer is too small: it is told so.
    assert_eq!(send(&mut q, 5, 5), (Some(3), vec![2]));
    assert_eq!(send(&mut q, 7, 1), (Some(1), vec![]));
    assert_eq!((q.len(), q.bytes()), (0, 0));
    assert!(q.cancel(|who| *who == 4).is_some() && q.cancel(|who| *who == 4).is_none());
    assert_eq!(send(&mut q, 7, 1), (None, vec![]));
}

#[test]
fn empty_messages_fill_a_queue_too() {
    let mut q = Queue::<u32>::new(3);
    q.swap_message_room(&mut Fifo::with_capacity(8).unwrap());
    for _ in 0..3 {
        assert!(q.fits(0));
        send(&mut q, 1, 0);
    }
    assert!(!q.fits(0));
    assert!(q.receive(Choice::Any, 0, false).unwrap().is_some());
    assert!(q.fits(3) && !q.fits(4) && !q.fits(usize::MAX));
}

#[derive(Clone, Debug)]
enum Call {
    Send(i64, usize),
    Receive(i64, bool, usize),
    Wait(i64, bool, usize),
}

fn calls() -> impl Strategy<Value = Call> {
    let types = 1_i64..5;
    let wanted = -5_i64..5;
    prop_oneof![
        (types, 0_usize..4).prop_map(|(mtype, len)| Call::Send(mtype, len)),
        (wanted.clone(), any::<bool>(), 0_usize..4).prop_map(|(t, e, m)| Call::Receive(t, e, m)),
        (wanted, any::<bool>(), 0_usize..4).prop_map(|(t, e, m)| Call::Wait(t, e, m)),
    ]
}

/// Whether a receiver that waits would take a message of the type, as msgop(2) has it.
fn would_take(wanted: i64, except: bool, mtype: i64) -> bool {
    match wanted {
        0 => true,
        ..0 => mtype <= -wanted,
        _ => (mtype == wanted) != except,
    }
}

proptest! {
    /// The queue against a list of messages and a list of receivers.
    #[test]
    fn behaves_as_a_list(all in proptest::collection::vec(calls(), 0..60)) {
        let mut q = queue();
        let mut messages: Vec<(i64, usize)> = Vec::new();
        let mut waiting: Vec<(i64, bool, usize, u32)> = Vec::new();
        for (turn, one) in all.into_iter().enumerate() {
            let who = turn as u32;
            let flags = |except: bool| if except { MSG_EXCEPT } else { 0 };
            match one {
                Call::Send(mtype, len) => {
                    let (mut told, mut to) = (Vec::new(), None);
                    waiting.retain(|(wanted, except, max, who)| {
                        if to.is_some() || !would_take(*wanted, *except, mtype) {
                            return true;
                        }
                        if *max < len { told.push(*who) } else { to = Some(*who) }
                        false
                    });
                    if to.is_none() {
                        messages.push((mtype, len));
                    }
                    prop_assert_eq!(send(&mut q, mtype, len), (to, told));
                }
                Call::Receive(wanted, except, max) => {
                    let matching = messages.iter().enumerate()
                        .filter(|(_, (mtype, _))| would_take(wanted, except, *mtype));
                    let found = match wanted {
                        ..0 => matching.min_by_key(|(_, (mtype, _))| *mtype),
                        _ => { let mut matching = matching; matching.next() }
                    };
                    let got = q.receive(Choice::new(wanted, flags(except)), max, false);
                    match found.map(|(at, message)| (at, *message)) {
                        None => prop_assert_eq!(got, Ok(None)),
                        Some((_, (_, len))) if len > max => prop_assert_eq!(got, Err(Errno::E2BIG)),
                        Some((at, (mtype, len))) => {
                            messages.remove(at);
                            let node = got.unwrap().unwrap();
                            prop_assert_eq!((node.value.mtype, node.value.text.len()), (mtype, len));
                        }
                    }
                }
                Call::Wait(wanted, except, max) => {
                    // Only who finds nothing waits.
                    if !messages.iter().any(|(mtype, _)| would_take(wanted, except, *mtype)) {
                        waiting.push((wanted, except, max, who));
                        wait(&mut q, Choice::new(wanted, flags(except)), max, who);
                    }
                }
            }
            prop_assert_eq!(q.len(), messages.len());
            prop_assert_eq!(q.bytes(), messages.iter().map(|(_, len)| len).sum::<usize>());
        }
    }
}
