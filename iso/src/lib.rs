//! Builds bootable images: one ISO that boots by BIOS and UEFI, from a CD or a USB stick.
//!
//! | module | what it does |
//! |---|---|
//! | [`layout`] | what the images carry: `iso/layout.toml` |
//! | [`menu`] | the boot menu: reads `limine.conf`, writes it for Limine and for GRUB |
//! | [`stage`] | the folder that becomes the image |
//! | [`loader`] | the two ways to make it boot: Limine, and GRUB from Debian's packages |
//!
//! With Limine the same inputs give the same bytes: all dates are the caller's, and nothing is
//! random. `grub-mkrescue` writes the time of its run into the image, and looks for it at boot.

#![forbid(unsafe_code)]

pub mod layout;
pub mod loader;
pub mod menu;
mod stage;

use std::path::Path;

use anyhow::Result;

pub use self::layout::Layout;
pub use self::loader::Loader;
pub use self::menu::Menu;

/// What an image is made of.
pub struct Contents<'a> {
    pub kernel: &'a Path,
    /// The archives that the kernel unpacks, by their names below `/boot`.
    pub modules: &'a [(&'a str, &'a Path)],
    pub menu: &'a Menu,
    pub volume: &'a str,
    /// The date of everything, in seconds since 1970.
    pub date: u64,
}

/// Makes the image `out`; `work` is a folder for what lies between, which the caller deletes.
pub fn build(contents: &Contents, loader: &Loader, work: &Path, out: &Path) -> Result<()> {
    let root = work.join("root");
    stage::boot_folder(contents, &root)?;
    match loader {
        Loader::Limine(limine) => loader::limine::build(contents, limine, &root, out),
        Loader::Grub => loader::grub::build(contents, &root, out),
    }
}
