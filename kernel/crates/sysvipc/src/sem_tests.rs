//! Tests of sets of semaphores: cases, and random calls against a model that tries everything again.

use std::vec;

use super::*;
use proptest::prelude::*;

type S = Set<u32>;

fn set(count: usize) -> S {
    let mut set = S::new(count).unwrap();
    set.swap_room(&mut Fifo::with_capacity(256).unwrap());
    set.swap_undo_room(&mut Vec::with_capacity(8));
    set
}

fn op(num: u16, op: i16) -> Sembuf {
    Sembuf { num, op, flags: 0 }
}

fn with(op: Sembuf, flags: u16) -> Sembuf {
    Sembuf { flags, ..op }
}

fn values(set: &S) -> Vec<i32> {
    set.sems().iter().map(|sem| sem.value).collect()
}

/// Tries a call, and leaves it waiting if it cannot go on; answers who was done.
fn call(set: &mut S, ops: &[Sembuf], who: u32, undo: Option<usize>) -> Vec<(u32, Result<()>)> {
    let mut woken = Woken::new();
    match set.attempt(ops, who as i32, undo) {
        Ok(Attempt::Done) => {
            set.update(&mut woken);
            let mut all = vec![(who, Ok(()))];
            woken.for_each(|waiting| all.push((waiting.who, waiting.result)));
            all
        }
        Ok(Attempt::Blocked(blocking)) => {
            let waiting = Waiting {
                ops: ops.into(),
                pid: who as i32,
                undo,
                blocking,
                result: Err(Errno::EINTR),
                who,
            };
            assert!(set.wait(Node::new(waiting)).is_ok());
            vec![]
        }
        Err(errno) => vec![(who, Err(errno))],
    }
}

fn done(set: &mut S, ops: &[Sembuf], who: u32) -> Vec<u32> {
    let all = call(set, ops, who, None);
    assert!(all.iter().all(|(_, result)| result.is_ok()));
    all.into_iter().map(|(who, _)| who).collect()
}

#[test]
fn all_operations_happen_or_none() {
    let mut s = set(2);
    assert_eq!(done(&mut s, &[op(0, 2)], 1), [1]);
    let nowait = with(op(1, -1), IPC_NOWAIT as u16);
    assert_eq!(
        call(&mut s, &[op(0, -1), nowait], 2, None),
        [(2, Err(Errno::EAGAIN))]
    );
    assert_eq!(values(&s), [2, 0]);
    assert_eq!(s.sems()[0].pid, 1);
    // The same semaphore twice: the first operation counts for the second.
    assert_eq!(done(&mut s, &[op(0, -2), op(0, 0), op(0, 5)], 3), [3]);
    assert_eq!(values(&s), [5, 0]);
    assert_eq!(
        call(&mut s, &[op(1, 1), op(0, SEMVMX as i16)], 4, None),
        [(4, Err(Errno::ERANGE))]
    );
    assert_eq!(call(&mut s, &[op(2, 1)], 4, None), [(4, Err(Errno::EFBIG))]);
    assert_eq!(values(&s), [5, 0]);
}

#[test]
fn sleepers_go_on_in_the_order_of_their_coming() {
    let mut s = set(1);
    for who in 1..=3 {
        assert_eq!(done(&mut s, &[op(0, -1)], who), []);
    }
    assert_eq!((s.waiting_for(0, false), s.waiting_for(0, true)), (3, 0));
    assert_eq!(done(&mut s, &[op(0, 2)], 9), [9, 1, 2]);
    assert_eq!(s.sems()[0], Sem { value: 0, pid: 2 });
    // A small call that fits passes a big one that does not.
    assert_eq!(done(&mut s, &[op(0, -5)], 4), []);
    assert!(s.cancel(|who| *who == 3).is_some());
    assert_eq!(done(&mut s, &[op(0, -1)], 5), []);
    assert_eq!(done(&mut s, &[op(0, 1)], 9), [9, 5]);
    assert_eq!(done(&mut s, &[op(0, 5)], 9), [9, 4]);
}

#[test]
fn who_waits_for_zero_goes_before_who_changes_it() {
    let mut s = set(1);
    assert_eq!(done(&mut s, &[op(0, 1)], 9), [9]);
    assert_eq!(done(&mut s, &[op(0, 0), op(0, 3)], 1), []);
    assert_eq!(done(&mut s, &[op(0, 0)], 2), []);
    assert_eq!(s.waiting_for(0, true), 2);
    assert_eq!(done(&mut s, &[op(0, -1)], 9), [9, 2, 1]);
    assert_eq!(values(&s), [3]);
}

#[test]
fn a_chain_of_sleepers_is_done_at_once() {
    let mut s = set(4);
    for number in (0..3).rev() {
        let ops = [op(number, -1), op(number + 1, 1)];
        assert_eq!(done(&mut s, &ops, u32::from(number)), []);
    }
    assert_eq!(done(&mut s, &[op(0, 1)], 9), [9, 0, 1, 2]);
    assert_eq!(values(&s), [0, 0, 0, 1]);
}

#[test]
fn an_exit_takes_back_what_was_asked() {
    let mut s = set(2);
    let undo = s.add_undo(vec![0; 2].into()).unwrap();
    let mine = |num, by| with(op(num, by), SEM_UNDO);
    call(&mut s, &[mine(0, 5), op(1, 2)], 1, Some(undo));
    call(&mut s, &[mine(0, -2), mine(1, 1)], 1, Some(undo));
    assert_eq!(values(&s), [3, 3]);
    // A call that fails leaves no adjustment.
    let nowait = with(op(1, -9), IPC_NOWAIT as u16);
    call(&mut s, &[mine(0, 1), nowait], 1, Some(undo));
    assert!(s.apply_undo(undo, 7).is_some());
    assert_eq!(values(&s), [0, 2]);
    assert_eq!(s.sems()[0].pid, 7);
    assert!(s.apply_undo(undo, 7).is_none());
}

#[test]
fn adjustments_are_cut_and_forgotten_by_setval() {
    let mut s = set(2);
    let undo = s.add_undo(vec![0; 2].into()).unwrap();
    let mine = |num, by| with(op(num, by), SEM_UNDO);
    call(&mut s, &[mine(0, 5), mine(1, 5)], 1, Some(undo));
    s.set_value(1, 7, 3);
    call(&mut s, &[op(0, -4)], 2, None);
    s.apply_undo(undo, 9);
    assert_eq!(values(&s), [0, 7]);
    let undo = s.add_undo(vec![0; 2].into()).unwrap();
    for _ in 0..2 {
        call(&mut s, &[mine(0, 16384)], 1, Some(undo));
        call(&mut s, &[op(0, -16384)], 1, None);
    }
    // The adjustment would be below what 16 bits hold.
    assert_eq!(
        call(&mut s, &[mine(0, 1)], 1, Some(undo)),
        [(1, Err(Errno::ERANGE))]
    );
}

#[test]
fn a_removed_set_lets_everybody_go() {
    let mut s = set(1);
    for who in 0..3 {
        done(&mut s, &[op(0, -1), op(0, -1)], who);
    }
    let mut gone = Vec::new();
    s.drain().for_each(|waiting| gone.push(waiting.who));
    assert_eq!(gone, [0, 1, 2]);
    assert!(!s.has_waiting());
}

#[derive(Clone, Debug)]
enum Call {
    Ops(Vec<(u16, i16, bool)>),
    Set(usize, i32),
    Exit,
}

fn calls() -> impl Strategy<Value = Call> {
    let ops = proptest::collection::vec((0_u16..3, -3_i16..4, any::<bool>()), 1..4);
    prop_oneof![
        8 => ops.prop_map(Call::Ops),
        1 => (0_usize..3, 0_i32..4).prop_map(|(number, value)| Call::Set(number, value)),
        1 => Just(Call::Exit),
    ]
}

/// Values and adjustments, and calls on them one by one.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    values: [i32; 3],
    adjust: [i32; 3],
}

impl Model {
    /// The state after the operations, if they can all happen.
    fn after(&self, ops: &[(u16, i16, bool)]) -> Option<Model> {
        let mut next = self.clone();
        for &(number, by, undo) in ops {
            let (number, by) = (usize::from(number), i32::from(by));
            let value = &mut next.values[number];
            if *value + by < 0 || (by == 0 && *value != 0) {
                return None;
            }
            *value += by;
            if undo {
                next.adjust[number] -= by;
            }
        }
        Some(next)
    }
}

proptest! {
    /// The set against a model that knows no order: nobody may be left waiting who could go on, values are those of the
    /// calls done in the order told.
    #[test]
    fn nobody_waits_in_vain(all in proptest::collection::vec(calls(), 0..50)) {
        let mut s = set(3);
        let mut slot = s.add_undo(vec![0; 3].into()).unwrap();
        let mut model = Model::default();
        let mut asked: Vec<Vec<(u16, i16, bool)>> = Vec::new();
        let mut waiting: Vec<u32> = Vec::new();
        for one in all {
            let mut told = Vec::new();
            match one {
                Call::Ops(ops) => {
                    let who = asked.len() as u32;
                    let bufs: Vec<_> = ops.iter()
                        .map(|&(num, by, undo)| with(op(num, by), if undo { SEM_UNDO } else { 0 }))
                        .collect();
                    asked.push(ops);
                    told = call(&mut s, &bufs, who, Some(slot));
                    if told.is_empty() {
                        waiting.push(who);
                    }
                }
                Call::Set(number, value) => {
                    s.set_value(number, value, 0);
                    (model.values[number], model.adjust[number]) = (value, 0);
                    let mut woken = Woken::new();
                    s.update(&mut woken);
                    woken.for_each(|waiting| told.push((waiting.who, waiting.result)));
                }
                Call::Exit => {
                    // The record goes while nobody of its process waits.
                    while s.cancel(|_| true).is_some() {}
                    waiting.clear();
                    s.apply_undo(slot, 0);
                    for (value, adjust) in model.values.iter_mut().zip(&mut model.adjust) {
                        *value = (*value + core::mem::take(adjust)).clamp(0, SEMVMX);
                    }
                    slot = s.add_undo(vec![0; 3].into()).unwrap();
                }
            }
            for (who, result) in told {
                prop_assert_eq!(result, Ok(()));
                let next = model.after(&asked[who as usize]);
                prop_assert!(next.is_some(), "{} was done too early", who);
                model = next.unwrap();
                waiting.retain(|other| *other != who);
            }
            prop_assert_eq!(values(&s), model.values.to_vec());
            for who in &waiting {
                prop_assert!(model.after(&asked[*who as usize]).is_none(), "{} waits in vain", who);
            }
            let counted: usize = (0..3).flat_map(|n| [s.waiting_for(n, false), s.waiting_for(n, true)]).sum();
            prop_assert_eq!(counted, waiting.len());
        }
    }
}
