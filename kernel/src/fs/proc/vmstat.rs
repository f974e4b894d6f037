//! Files about memory as a whole: `meminfo`, `vmstat`, `swaps`, `buddyinfo`.

use abi::Result;

use super::text::Text;
use crate::mm::{self, PAGE_SIZE};

/// `meminfo`. Rows of Linux that count what is not here are absent, but for those that tell that there is none.
pub fn meminfo(out: &mut Text) -> Result<()> {
    let s = mm::stats();
    let rows = [
        ("MemTotal", s.total),
        ("MemFree", s.free),
        ("MemAvailable", s.available),
        // No block device has a cache of its own, nothing is swapped, and the heap gives nothing back on demand.
        ("Buffers", 0),
        ("Cached", s.cached),
        ("SwapCached", 0),
        // Pages are not aged: all that could be given back are as if used lately, but for those that are locked.
        ("Active", s.anon + s.cached),
        ("Inactive", 0),
        ("Active(anon)", s.anon + s.shmem),
        ("Inactive(anon)", 0),
        ("Active(file)", s.cached - s.shmem),
        ("Inactive(file)", 0),
        ("Unevictable", s.mlocked),
        ("Mlocked", s.mlocked),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        // No file lies on storage that would have to be written.
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", s.anon),
        ("Mapped", s.mapped),
        ("Shmem", s.shmem),
        ("KReclaimable", 0),
        ("Slab", s.slab),
        ("SReclaimable", 0),
        ("SUnreclaim", s.slab),
        ("KernelStack", s.kernel_stack),
        ("PageTables", s.page_tables),
        ("CommitLimit", s.commit_limit),
        ("Committed_AS", s.committed),
        ("VmallocTotal", (mm::addr::VMAP_SIZE / PAGE_SIZE) as u64),
        ("VmallocUsed", s.vmalloc_used),
        ("HardwareCorrupted", 0),
        ("AnonHugePages", s.anon_huge),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
    ];
    for (name, pages) in rows {
        let start = out.len();
        write!(out, "{name}:")?;
        out.pad(start, 16)?;
        writeln!(out, "{:8} kB", pages * (PAGE_SIZE as u64 / 1024))?;
    }
    // Huge pages to be set aside, of which none are.
    for name in ["Total", "Free", "Rsvd", "Surp"] {
        writeln!(
            out,
            "HugePages_{name}:{:width$}",
            0,
            width = 18 - name.len()
        )?;
    }
    Ok(())
}

/// `vmstat`: counts of pages now, and of events since boot.
pub fn vmstat(out: &mut Text) -> Result<()> {
    let s = mm::stats();
    let rows = [
        ("nr_free_pages", s.free),
        ("nr_zone_active_anon", s.anon + s.shmem),
        ("nr_zone_active_file", s.cached - s.shmem),
        ("nr_mlock", s.mlocked),
        ("nr_anon_pages", s.anon),
        ("nr_mapped", s.mapped),
        ("nr_file_pages", s.cached),
        ("nr_shmem", s.shmem),
        ("nr_anon_transparent_hugepages", s.anon_huge / 512),
        ("nr_slab_unreclaimable", s.slab),
        ("nr_page_table_pages", s.page_tables),
        ("pgfault", s.faults),
        ("pgmajfault", s.major_faults),
        ("oom_kill", s.oom_kills),
    ];
    for (name, value) in rows {
        writeln!(out, "{name} {value}")?;
    }
    Ok(())
}

/// `zoneinfo`: all memory is one zone of one node.
pub fn zoneinfo(out: &mut Text) -> Result<()> {
    let (s, reserve) = (mm::stats(), mm::stats::reserve());
    writeln!(out, "Node 0, zone   Normal\n  per-node stats")?;
    for (name, pages) in [
        ("nr_active_anon", s.anon + s.shmem),
        ("nr_active_file", s.cached - s.shmem),
        ("nr_unevictable", s.mlocked),
        ("nr_anon_pages", s.anon),
        ("nr_mapped", s.mapped),
        ("nr_file_pages", s.cached),
        ("nr_shmem", s.shmem),
        ("nr_page_table_pages", s.page_tables),
    ] {
        writeln!(out, "      {name:<12} {pages}")?;
    }
    writeln!(out, "  pages free     {}", s.free)?;
    for (name, pages) in [("min", reserve), ("low", reserve), ("high", reserve)] {
        writeln!(out, "        {name:<8} {pages}")?;
    }
    writeln!(out, "        managed  {}", s.total)
}

/// `slabinfo`: the heap's classes of objects, under the names of Linux's general caches.
pub fn slabinfo(out: &mut Text) -> Result<()> {
    out.bytes(
        b"slabinfo - version: 2.1\n\
          # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> \
          <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    )?;
    for class in mm::stats::heap_classes() {
        let start = out.len();
        write!(out, "kmalloc-{}", class.size)?;
        out.pad(start, 17)?;
        let (slabs, per_slab) = (class.slabs, class.per_slab);
        writeln!(
            out,
            " {:6} {:6} {:6} {per_slab:4} {:4} : tunables {:4} {:4} {:4} : slabdata {slabs:6} {slabs:6} {:6}",
            class.used,
            slabs * per_slab,
            class.size,
            1,
            0,
            0,
            0,
            0
        )?;
    }
    Ok(())
}

/// `swaps`: there are none.
pub fn swaps(out: &mut Text) -> Result<()> {
    out.bytes(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
}

/// `buddyinfo`: free blocks of each order; all memory is one zone here.
pub fn buddyinfo(out: &mut Text) -> Result<()> {
    write!(out, "Node 0, zone {:>8} ", "Normal")?;
    for blocks in mm::stats::free_blocks() {
        write!(out, "{blocks:6} ")?;
    }
    out.bytes(b"\n")
}
