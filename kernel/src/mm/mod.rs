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
//! | `init` | the start of it all |
//! | `policy` | memory policies of one node |
//! | `promise` | overcommit |
//! | `tunables` | `vm.max_map_count` and `vm.mmap_min_addr` |
//! | `oom` | out of memory |
//! | `stats` | counters for `/proc` |

pub mod addr;
pub mod fault;
#[allow(unsafe_code, reason = "contents of frames in the direct map")]
pub mod frame;
pub mod hooks;
#[allow(unsafe_code, reason = "hands memory out before there is an allocator")]
mod init;
#[allow(unsafe_code, reason = "device memory")]
pub mod kmap;
pub mod kstack;
pub mod object;
pub mod oom;
#[allow(unsafe_code, reason = "entries are memory that the processor reads")]
mod page_table;
pub mod pagecache;
pub mod policy;
pub mod promise;
pub mod space;
pub mod stats;
pub mod tunables;
#[allow(unsafe_code, reason = "the raw copies")]
pub mod user;

#[allow(unsafe_code, reason = "the global allocator")]
mod heap;

pub use addr::{PAGE_SIZE, PhysAddr, USER_END, user_range_ok};
pub use frame::FrameRef;
pub use init::{init, init_other_cpu};
pub use object::{MappedFile, MemoryObject, ObjectKind};
pub use page_table::tlb::switch_to;
pub use space::{AddressSpace, Backing, ExecInfo, MapRequest};
pub use stats::stats;
