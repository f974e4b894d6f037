//! What an area shows.

use alloc::sync::Arc;

use vm::{Content, Vma};

use crate::mm::object::{MappedFile, MemoryObject};

/// The file of an area. It hears of each area that comes and goes.
pub struct AreaFile(Arc<dyn MappedFile>);

impl AreaFile {
    pub fn new(file: Arc<dyn MappedFile>) -> AreaFile {
        file.area_added();
        AreaFile(file)
    }

    pub fn get(&self) -> &Arc<dyn MappedFile> {
        &self.0
    }
}

impl Clone for AreaFile {
    fn clone(&self) -> AreaFile {
        AreaFile::new(self.0.clone())
    }
}

impl Drop for AreaFile {
    fn drop(&mut self) {
        self.0.area_removed();
    }
}

/// A place in an object.
#[derive(Clone)]
pub struct ObjectPlace {
    pub object: Arc<dyn MemoryObject>,
    /// Bytes, page-aligned.
    pub offset: u64,
    pub file: Option<AreaFile>,
}

/// What an area shows.
#[derive(Clone)]
pub enum Shown {
    /// Zeros until written.
    Anon,
    Object(ObjectPlace),
}

/// An area of this kernel.
pub type Area = Vma<Shown>;

/// Whether two references name the same object.
pub fn same_object(a: &Arc<dyn MemoryObject>, b: &Arc<dyn MemoryObject>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

pub fn same_file(a: &Option<AreaFile>, b: &Option<AreaFile>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => core::ptr::addr_eq(Arc::as_ptr(&a.0), Arc::as_ptr(&b.0)),
        (None, None) => true,
        _ => false,
    }
}

impl Content for Shown {
    fn advanced(&self, bytes: usize) -> Self {
        match self {
            Shown::Anon => Shown::Anon,
            Shown::Object(place) => Shown::Object(ObjectPlace {
                offset: place.offset + bytes as u64,
                ..place.clone()
            }),
        }
    }

    fn retreated(&self, bytes: usize) -> Self {
        match self {
            Shown::Anon => Shown::Anon,
            Shown::Object(place) => Shown::Object(ObjectPlace {
                offset: place.offset.saturating_sub(bytes as u64),
                ..place.clone()
            }),
        }
    }

    fn continues(&self, len: usize, next: &Self) -> bool {
        match (self, next) {
            (Shown::Anon, Shown::Anon) => true,
            (Shown::Object(a), Shown::Object(b)) => {
                a.offset + len as u64 == b.offset
                    && same_object(&a.object, &b.object)
                    && same_file(&a.file, &b.file)
            }
            _ => false,
        }
    }
}

/// The page index in the object of the page at `address`.
#[inline(always)]
pub fn object_index(area: &Area, place: &ObjectPlace, address: usize) -> u64 {
    (place.offset + (address - area.start) as u64) >> 12
}
