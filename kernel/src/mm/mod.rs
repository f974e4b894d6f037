//! Memory: frames, the kernel's heap and mappings, address spaces, the page cache, user access.
//!
//! | module | what |
//! |---|---|
//! | `addr` | page sizes, `PhysAddr`, the kernel's layout |
//! | `frame` | physical frames: allocation, references, contents |
//! | `heap` | the global allocator |
//! | `kmap` | run-time kernel mappings: MMIO, stacks, large blocks |
//! | `kstack` | kernel stacks with guard pages |
//! | `page_table` | table entries and walks |
//! | `tlb` | which CPU runs which space; flushes |
//! | `space` | [`AddressSpace`] |
//! | `fault` | page faults |
//! | `object` | [`MemoryObject`], what a file mapping maps |
//! | `pagecache` | [`PageCache`]: one cache under read, write and mmap |
//! | `user` | user memory |
//! | `hooks` | what memory asks of the tiers above it |
//! | `oom` | out of memory |
//! | `stats` | counters for `/proc` |

pub mod addr;
pub mod fault;
pub mod frame;
pub mod hooks;
pub mod kmap;
pub mod kstack;
pub mod object;
pub mod oom;
pub mod pagecache;
pub mod space;
pub mod stats;
pub mod user;

mod heap;

pub use addr::{HUGE_SIZE, PAGE_SIZE, PhysAddr, USER_END};
pub use frame::{FrameBlock, FrameRef};
pub use object::{MappedFile, MemoryObject, ObjectKind, SpecialMapping};
pub use pagecache::PageCache;
pub use space::{AddressSpace, FutexKey, Backing, ExecInfo, MapRequest, Totals, VmaInfo, switch_to};
pub use stats::{Stats, stats};
