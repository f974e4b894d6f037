//! The task that runs on this CPU, and cells that only it may change.

use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ops::Deref;

use ksync::IrqSpinLock;

use crate::arch;
use crate::task::Task;

/// The running task, borrowed for as long as it runs: it cannot be dropped under its own feet, since the scheduler
/// holds a reference while it is current.
#[derive(Clone, Copy)]
pub struct CurrentTask {
    task: &'static Task,
    /// Who is current is a fact of one CPU at one time.
    _not_send: PhantomData<*mut ()>,
}

impl Deref for CurrentTask {
    type Target = Task;
    #[inline(always)]
    fn deref(&self) -> &Task {
        self.task
    }
}

/// The running task. Must not be called before the scheduler has started on this CPU.
#[inline(always)]
pub fn current() -> CurrentTask {
    let thread = arch::current_task_ptr();
    // SAFETY: from the scheduler's start on, the per-CPU pointer names the `arch` field, the first of a `repr(C)`
    // `Task` that the run queue keeps alive while it is current. The 'static bound is never longer than the
    // task's own run, since `CurrentTask` cannot leave its thread.
    let task = unsafe { &*thread.cast::<Task>() };
    CurrentTask {
        task,
        _not_send: PhantomData,
    }
}

/// The running task; `None` before the scheduler has started on this CPU.
pub fn try_current() -> Option<CurrentTask> {
    (!arch::current_task_ptr().is_null()).then(current)
}

/// A counted reference to the running task.
pub fn current_arc() -> Arc<Task> {
    let task: *const Task = current().task;
    // SAFETY: every task lives in an `Arc`, of which the scheduler holds a count while it runs.
    unsafe {
        Arc::increment_strong_count(task);
        Arc::from_raw(task)
    }
}

/// A value of a task that only the task itself replaces: the owner reads it without a lock, others take one and
/// clone.
///
/// # Invariants
/// - `value` is changed only by the owner, under `lock`, with `borrows` at zero.
/// - `borrows` is touched by the owner alone.
pub struct TaskCell<T: Clone> {
    lock: IrqSpinLock<()>,
    borrows: Cell<u32>,
    value: UnsafeCell<T>,
}

// SAFETY: other threads only clone the value under `lock`, which the owner holds while it changes it.
unsafe impl<T: Clone + Send + Sync> Sync for TaskCell<T> {}
// SAFETY: moving the cell moves the value and a counter.
unsafe impl<T: Clone + Send> Send for TaskCell<T> {}

impl<T: Clone> TaskCell<T> {
    /// A cell of a task that does not run yet.
    #[track_caller]
    pub const fn new(value: T) -> TaskCell<T> {
        TaskCell {
            lock: IrqSpinLock::new(()),
            borrows: Cell::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Whether this cell lies within the running task.
    #[inline(always)]
    fn is_mine(&self) -> bool {
        let task = arch::current_task_ptr() as usize;
        (self as *const Self as usize).wrapping_sub(task) < size_of::<Task>()
    }

    /// The owner's view, without a lock.
    ///
    /// # Panics
    /// If the cell is not the running task's.
    #[inline(always)]
    pub fn borrow(&self) -> TaskRef<'_, T> {
        assert!(self.is_mine(), "a cell of another task");
        self.borrows.set(self.borrows.get() + 1);
        TaskRef { cell: self }
    }

    /// A copy for anybody.
    pub fn get(&self) -> T {
        let _guard = self.lock.lock();
        // SAFETY: under the lock nobody changes the value.
        unsafe { (*self.value.get()).clone() }
    }

    /// Runs `f` on the value under the lock; `f` must be short and take no lock.
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        let _guard = self.lock.lock();
        // SAFETY: under the lock nobody changes the value.
        f(unsafe { &*self.value.get() })
    }

    /// The owner replaces the value; the old one is returned.
    ///
    /// # Panics
    /// If the cell is not the running task's, or is borrowed.
    pub fn replace(&self, value: T) -> T {
        assert!(self.is_mine(), "a cell of another task");
        assert!(self.borrows.get() == 0, "replaced while borrowed");
        let _guard = self.lock.lock();
        // SAFETY: the owner runs this, nothing is borrowed, and the lock keeps others out.
        unsafe { core::mem::replace(&mut *self.value.get(), value) }
    }
}

/// A borrow of a [`TaskCell`] by its owner.
pub struct TaskRef<'a, T: Clone> {
    cell: &'a TaskCell<T>,
}

impl<T: Clone> Deref for TaskRef<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: while `borrows` is not zero the value is not replaced.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T: Clone> Drop for TaskRef<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.cell.borrows.set(self.cell.borrows.get() - 1);
    }
}

/// The task a CPU switches to, borrowed past the guard of the queue that holds it.
///
/// # Panics
/// If `next` is not what `running` holds.
pub fn incoming<'a>(running: &Option<Arc<Task>>, next: *const Task) -> &'a Task {
    assert!(
        running
            .as_ref()
            .is_some_and(|task| core::ptr::eq(Arc::as_ptr(task), next))
    );
    // SAFETY: the queue's `running` owns a count and is replaced only by the next switch of this CPU, which cannot
    // begin before this one has ended.
    unsafe { &*next }
}

/// The value behind a pointer that `Box::into_raw` made of a `T`, given through an entry argument.
///
/// # Panics
/// On a null pointer.
pub fn take_boxed<T>(raw: usize) -> T {
    assert!(raw != 0);
    // SAFETY: called once, by the entry function of a thread, on the argument its maker produced with
    // `Box::into_raw` of the same type.
    *unsafe { alloc::boxed::Box::from_raw(raw as *mut T) }
}
