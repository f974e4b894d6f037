//! Filters: each has a program and stands on the filters that were there before it. All are asked, the strictest counts.

use alloc::sync::Arc;

use abi::seccomp::{
    AUDIT_ARCH_X86_64, SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF,
    SeccompData,
};
use cbpf::Program;
use zerocopy::IntoBytes;

use super::notify::Notifier;

/// Calls that the fast answer knows: more than there are.
const KNOWN_CALLS: usize = 512;

/// Calls that are allowed whatever their arguments are, a bit each.
#[derive(Clone, Copy)]
struct CallSet([u64; KNOWN_CALLS / 64]);

impl CallSet {
    fn has(&self, nr: u32) -> bool {
        let word = self.0.get(nr as usize / 64).copied().unwrap_or(0);
        word >> (nr % 64) & 1 != 0
    }

    fn insert(&mut self, nr: u32) {
        if let Some(word) = self.0.get_mut(nr as usize / 64) {
            *word |= 1 << (nr % 64);
        }
    }
}

/// A program and the filters below it.
pub(super) struct Filter {
    program: Program,
    below: Option<Arc<Filter>>,
    /// This one and those below.
    pub(super) depth: u32,
    /// Instructions of all, as the limit counts them.
    pub(super) cost: usize,
    /// Calls that this one and those below allow without a look at the arguments.
    allowed: CallSet,
    /// What it forbids is logged (SECCOMP_FILTER_FLAG_LOG).
    pub(super) log: bool,
    /// Who answers SECCOMP_RET_USER_NOTIF.
    pub(super) notifier: Option<Arc<Notifier>>,
}

/// What all filters of a thread say about a call.
pub(super) struct Verdict {
    /// The strictest answer.
    pub(super) answer: u32,
    /// Whether the filter that gave it wants that logged.
    pub(super) log: bool,
    /// Whom that filter asks, if it does.
    pub(super) notifier: Option<Arc<Notifier>>,
}

/// What an instruction of a filter below costs besides itself: each filter is a call more.
const COST_PER_FILTER: usize = 4;

impl Filter {
    /// A filter on nothing yet.
    pub(super) fn new(program: Program, log: bool, notifier: Option<Arc<Notifier>>) -> Filter {
        let mut allowed = CallSet([0; _]);
        for nr in 0..KNOWN_CALLS as u32 {
            if program.constant_answer(nr, AUDIT_ARCH_X86_64) == Some(SECCOMP_RET_ALLOW) {
                allowed.insert(nr);
            }
        }
        Filter {
            depth: 1,
            cost: program.len(),
            program,
            below: None,
            allowed,
            log,
            notifier,
        }
    }

    /// Puts it on `below`. Allocates and frees nothing: a filter is put down once.
    pub(super) fn stand_on(&mut self, below: Arc<Filter>) {
        self.depth = below.depth.saturating_add(1);
        self.cost = self.cost_on(Some(&below));
        for (word, under) in self.allowed.0.iter_mut().zip(below.allowed.0) {
            *word &= under;
        }
        self.below = Some(below);
    }

    /// What it and all below would cost.
    pub(super) fn cost_on(&self, below: Option<&Arc<Filter>>) -> usize {
        let under = below.map_or(0, |below| below.cost.saturating_add(COST_PER_FILTER));
        self.program.len().saturating_add(under)
    }

    /// It and those below it, the newest first.
    fn chain(&self) -> impl Iterator<Item = &Filter> {
        core::iter::successors(Some(self), |filter| filter.below.as_deref())
    }

    /// Whether `other` (or no filter) is this one or below it.
    pub(super) fn has_below(&self, other: Option<&Arc<Filter>>) -> bool {
        other.is_none_or(|other| {
            self.chain()
                .any(|filter| core::ptr::eq(filter, Arc::as_ptr(other)))
        })
    }

    /// Whether anybody listens to it or to one below.
    pub(super) fn has_listener(&self) -> bool {
        let mut notifiers = self.chain().filter_map(|filter| filter.notifier.as_ref());
        notifiers.any(|notifier| notifier.is_open())
    }

    /// Asks every filter: the lowest action counts, of equal ones the newest filter's.
    pub(super) fn judge(&self, data: &SeccompData) -> Verdict {
        let mut verdict = Verdict {
            answer: SECCOMP_RET_ALLOW,
            log: false,
            notifier: None,
        };
        if data.arch == AUDIT_ARCH_X86_64 && self.allowed.has(data.nr as u32) {
            return verdict;
        }
        let words = words_of(data);
        let mut strictest = None;
        for filter in self.chain() {
            let answer = filter.program.run(&words);
            if action_of(answer) < action_of(verdict.answer) {
                verdict.answer = answer;
                strictest = Some(filter);
            }
        }
        if let Some(filter) = strictest {
            verdict.log = filter.log;
            if verdict.answer & SECCOMP_RET_ACTION_FULL == SECCOMP_RET_USER_NOTIF {
                verdict.notifier = filter.notifier.clone();
            }
        }
        verdict
    }
}

/// An answer's action, in the order of strictness: signed, so that SECCOMP_RET_KILL_PROCESS is the strictest.
fn action_of(answer: u32) -> i32 {
    (answer & SECCOMP_RET_ACTION_FULL) as i32
}

/// The data as programs see them.
fn words_of(data: &SeccompData) -> cbpf::Data {
    let mut words = [0; cbpf::DATA_WORDS];
    words.as_mut_bytes().copy_from_slice(data.as_bytes());
    words
}

impl Drop for Filter {
    /// Nobody asks it any more, so its listener hears nothing more. A chain may be thousands long: it is taken apart
    /// here, one after the other, and not by one drop within another.
    fn drop(&mut self) {
        if let Some(notifier) = &self.notifier {
            notifier.hang_up();
        }
        let mut below = self.below.take();
        while let Some(mut filter) = below.and_then(Arc::into_inner) {
            below = filter.below.take();
        }
    }
}
