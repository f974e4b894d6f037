//! The map against the simplest model there is: an array of pages.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::{Content, GapRequest, PAGE, VmFlags, Vma, VmaMap};

/// A place in a numbered object; object 0 is anonymous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    object: u8,
    offset: usize,
}

impl Content for Place {
    fn advanced(&self, bytes: usize) -> Self {
        match self.object {
            0 => *self,
            _ => Place {
                offset: self.offset + bytes,
                ..*self
            },
        }
    }
    fn retreated(&self, bytes: usize) -> Self {
        match self.object {
            0 => *self,
            _ => Place {
                offset: self.offset - bytes,
                ..*self
            },
        }
    }
    fn continues(&self, len: usize, next: &Self) -> bool {
        self.advanced(len) == *next
    }
}

type Model = BTreeMap<usize, (VmFlags, Place)>;

fn pages(area: &Vma<Place>) -> impl Iterator<Item = (usize, (VmFlags, Place))> + '_ {
    (area.start..area.end)
        .step_by(PAGE)
        .map(|p| (p, (area.flags, area.content.advanced(p - area.start))))
}

fn check(map: &VmaMap<Place>, model: &Model) {
    let mut end = 0;
    for area in map.iter() {
        assert!(area.start >= end && area.start < area.end);
        end = area.end;
    }
    assert_eq!(map.iter().count(), map.len());
    let flat: Model = map.iter().flat_map(pages).collect();
    assert_eq!(&flat, model);
    for page in 0..TOP {
        let found = map.find(page * PAGE).map(|a| a.flags);
        assert_eq!(found, model.get(&(page * PAGE)).map(|v| v.0));
    }
}

const TOP: usize = 400;

#[derive(Clone, Debug)]
enum Op {
    Map(usize, usize, u8, u64),
    Unmap(usize, usize),
    Protect(usize, usize, u64),
    Place(usize, usize, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..TOP - 20, 1usize..20);
    prop_oneof![
        (range.clone(), 0u8..3, 1u64..8).prop_map(|((s, l), o, f)| Op::Map(s, l, o, f)),
        range.clone().prop_map(|(s, l)| Op::Unmap(s, l)),
        (range, 1u64..8).prop_map(|((s, l), f)| Op::Protect(s, l, f)),
        (1usize..12, 0u32..4, 1u64..8).prop_map(|(l, a, f)| Op::Place(l, 1 << a, f)),
    ]
}

fn apply(map: &mut VmaMap<Place>, model: &mut Model, op: Op) {
    match op {
        Op::Map(s, l, object, f) => {
            let (start, end) = (s * PAGE, (s + l) * PAGE);
            let flags = VmFlags::from_bits_truncate(f);
            let offset = if object == 0 { 0 } else { start };
            map.remove(start, end, |_| ()).expect("memory");
            let area = Vma {
                start,
                end,
                flags,
                content: Place { object, offset },
            };
            model.extend(pages(&area));
            map.insert(area).expect("memory");
        }
        Op::Unmap(s, l) => {
            let (start, end) = (s * PAGE, (s + l) * PAGE);
            let mut gone = Model::new();
            map.remove(start, end, |a| gone.extend(pages(&a)))
                .expect("memory");
            let expected: Model = model.range(start..end).map(|(k, v)| (*k, *v)).collect();
            assert_eq!(gone, expected);
            model.retain(|p, _| !(start..end).contains(p));
        }
        Op::Protect(s, l, f) => {
            let (start, end) = (s * PAGE, (s + l) * PAGE);
            let flags = VmFlags::from_bits_truncate(f);
            let mut told = Model::new();
            map.change_flags(start, end, |_| flags, |a, _| told.extend(pages(a)))
                .expect("memory");
            for (page, value) in model.range_mut(start..end) {
                assert_eq!(told.contains_key(page), value.0 != flags);
                value.0 = flags;
            }
        }
        Op::Place(l, align, f) => {
            let want = GapRequest {
                len: l * PAGE,
                low: PAGE,
                high: TOP * PAGE,
                align: align * PAGE,
            };
            let free = |s: usize| (0..l).all(|i| !model.contains_key(&(s + i * PAGE)));
            let fits = |s: &usize| s.is_multiple_of(want.align) && free(*s);
            let starts = || (1..=TOP - l).map(|p| p * PAGE);
            assert_eq!(map.find_gap_above(&want), starts().find(fits));
            let found = map.find_gap_below(&want);
            assert_eq!(found, starts().rev().find(fits));
            if let Some(start) = found {
                let flags = VmFlags::from_bits_truncate(f);
                let area = Vma {
                    start,
                    end: start + want.len,
                    flags,
                    content: Place {
                        object: 0,
                        offset: 0,
                    },
                };
                model.extend(pages(&area));
                map.insert(area).expect("memory");
            }
        }
    }
}

proptest! {
    #[test]
    fn the_map_is_what_an_array_of_pages_is(ops in prop::collection::vec(op(), 1..120)) {
        let mut map = VmaMap::new();
        let mut model = Model::new();
        for op in ops {
            apply(&mut map, &mut model, op);
            check(&map, &model);
        }
    }
}

fn anon(start: usize, end: usize, flags: VmFlags) -> Vma<Place> {
    Vma {
        start: start * PAGE,
        end: end * PAGE,
        flags,
        content: Place {
            object: 0,
            offset: 0,
        },
    }
}

#[test]
fn equal_neighbours_become_one_and_a_hole_makes_two() {
    let mut map = VmaMap::new();
    map.insert(anon(1, 3, VmFlags::READ)).expect("memory");
    map.insert(anon(5, 7, VmFlags::READ)).expect("memory");
    map.insert(anon(3, 5, VmFlags::READ)).expect("memory");
    assert_eq!(map.len(), 1);
    map.remove(2 * PAGE, 3 * PAGE, |_| ()).expect("memory");
    assert_eq!(map.len(), 2);
}

#[test]
fn a_change_back_joins_again() {
    let mut map = VmaMap::new();
    map.insert(anon(0, 9, VmFlags::READ)).expect("memory");
    map.change_flags(3 * PAGE, 4 * PAGE, |f| f | VmFlags::WRITE, |_, _| ())
        .expect("memory");
    assert_eq!(map.len(), 3);
    map.change_flags(3 * PAGE, 4 * PAGE, |f| f - VmFlags::WRITE, |_, _| ())
        .expect("memory");
    assert_eq!(map.len(), 1);
}

#[test]
fn many_areas_stay_sorted_through_chunk_splits() {
    let mut map = VmaMap::new();
    let n = 5000;
    for i in 0..n {
        let at = (i * 2654435761usize % n) * 2;
        map.insert(anon(at, at + 1, VmFlags::READ)).expect("memory");
    }
    assert_eq!(map.len(), n);
    assert!(
        map.iter()
            .zip(map.iter().skip(1))
            .all(|(a, b)| a.end < b.start)
    );
    map.change_flags(0, usize::MAX & !(PAGE - 1), |_| VmFlags::WRITE, |_, _| ())
        .expect("memory");
    map.remove(PAGE, 2 * n * PAGE, |_| ()).expect("memory");
    assert_eq!(map.len(), 1);
}

#[test]
fn a_stack_keeps_its_guard_gap() {
    let mut map = VmaMap::new();
    map.insert(anon(1000, 1001, VmFlags::READ | VmFlags::GROWS_DOWN))
        .expect("memory");
    let want = GapRequest {
        len: PAGE,
        low: PAGE,
        high: 1000 * PAGE,
        align: PAGE,
    };
    assert_eq!(map.find_gap_below(&want), Some((1000 - 257) * PAGE));
}
