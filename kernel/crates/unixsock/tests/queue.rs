//! The queue against a model: a plain vector of bytes, each with what it was sent with.

use std::collections::VecDeque;

use unixsock::{AppendError, StreamQueue};

fn append(queue: &mut StreamQueue<u32>, bytes: &[u8]) {
    let mut rest = bytes;
    let copied = queue.append(bytes.len(), |out| {
        let (now, later) = rest.split_at(out.len());
        out.copy_from_slice(now);
        rest = later;
        Ok::<(), ()>(())
    });
    assert_eq!(copied, Ok(()));
}

fn shown(queue: &StreamQueue<u32>, offset: usize, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let result = queue.show(offset, len, |bytes| {
        out.extend_from_slice(bytes);
        Ok::<(), ()>(())
    });
    assert_eq!(result, Ok(()));
    out
}

#[test]
fn bytes_come_out_in_order_across_chunks() {
    let mut queue = StreamQueue::new();
    let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    append(&mut queue, &bytes[..10]);
    append(&mut queue, &bytes[10..]);
    assert_eq!(queue.len(), bytes.len());
    assert_eq!(shown(&queue, 7, 50_000), &bytes[7..50_007]);
    queue.consume(40_000);
    assert_eq!(shown(&queue, 0, queue.len()), &bytes[40_000..]);
    queue.consume(usize::MAX);
    assert!(queue.is_empty());
    assert!(queue.run_at(0).is_none());
}

#[test]
fn a_failed_copy_leaves_the_queue_as_it_was() {
    let mut queue = StreamQueue::new();
    append(&mut queue, b"before");
    let mut calls = 0;
    let result = queue.append(60_000, |out| {
        out.fill(9);
        calls += 1;
        if calls == 3 { Err("fault") } else { Ok(()) }
    });
    assert_eq!(result, Err(AppendError::Copy("fault")));
    append(&mut queue, b" after");
    assert_eq!(shown(&queue, 0, 100), b"before after");
}

#[test]
fn what_is_retracted_was_never_sent() {
    let mut queue = StreamQueue::new();
    append(&mut queue, b"kept");
    append(&mut queue, &[7; 40_000]);
    queue.retract(40_000);
    append(&mut queue, b" too");
    assert_eq!(shown(&queue, 0, 100), b"kept too");
}

#[test]
fn marks_bound_the_runs_and_equal_neighbours_join() {
    let mut queue = StreamQueue::new();
    append(&mut queue, b"plain");
    for carried in [1, 1, 2] {
        append(&mut queue, b"xyz");
        assert_eq!(queue.mark(3, carried, |a, b| a == b), Ok(()));
    }
    append(&mut queue, b"tail");
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(run) = queue.run_at(at) {
        runs.push((run.len, run.carried.copied()));
        at += run.len;
    }
    assert_eq!(runs, [(5, None), (6, Some(1)), (3, Some(2)), (4, None)]);
    assert_eq!(queue.first_carried_mut(), None);
    queue.consume(7);
    assert_eq!(queue.first_carried_mut(), Some(&mut 1));
    queue.consume(4);
    assert_eq!(queue.carried().copied().collect::<Vec<_>>(), [2]);
    queue.consume(3);
    assert_eq!(queue.carried().count(), 0);
    assert_eq!(queue.charge(), queue.len());
}

#[test]
fn random_traffic_agrees_with_a_model() {
    let mut seed = 0x1234_5678_9abc_def0u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut queue = StreamQueue::new();
    let mut model: VecDeque<(u8, Option<u32>)> = VecDeque::new();
    for _ in 0..20_000 {
        if random(2) == 0 && model.len() < 100_000 {
            let most = if random(8) == 0 { 30_000 } else { 64 };
            let len = 1 + random(most) as usize;
            let bytes: Vec<u8> = (0..len).map(|_| random(256) as u8).collect();
            append(&mut queue, &bytes);
            let carried = (random(3) == 0).then(|| random(2) as u32);
            if let Some(carried) = carried {
                assert_eq!(queue.mark(len, carried, |a, b| a == b), Ok(()));
            }
            model.extend(bytes.iter().map(|byte| (*byte, carried)));
        } else if let Some(run) = queue.run_at(0) {
            let len = 1 + random(run.len as u64) as usize;
            let carried = run.carried.copied();
            let got = shown(&queue, 0, len);
            queue.consume(len);
            for byte in got {
                assert_eq!(model.pop_front(), Some((byte, carried)));
            }
        }
        assert_eq!(queue.len(), model.len());
    }
}
