//! `cargo distro iso`: the bootable image, for people and for guests that are booted from one.
//!
//! The image itself is made by the crate `iso`; here it is decided what goes in, and [`loader`]
//! decides which boot loader it carries.

mod loader;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use iso::{Contents, Layout, Menu};

use crate::guest::System;
use crate::paths::Paths;
use crate::run::{self, Root, SystemArgs};
use crate::scratch::Scratch;
use crate::setup::{self, Need};
use crate::ui::Ui;
use crate::{cmd, kernel};

/// The archive's name on the image.
const INITRAMFS: &str = "initramfs.cpio";
/// The name of what a guest gets in addition.
const OVERLAY: &str = "overlay.cpio";

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Wanted {
    Limine,
    Grub,
}

#[derive(Args, Clone, Debug)]
pub struct IsoArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// The boot loader [default: Limine where it can be had, else GRUB]
    #[arg(long, value_enum)]
    pub loader: Option<Wanted>,
    /// Where to write it
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "target/ironbark.iso"
    )]
    pub output: PathBuf,
}

/// What the image carries; fewer options than `run` has, as an image is always ours.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// Build the kernel with debug assertions
    #[arg(long)]
    pub debug: bool,
    /// Use this cpio archive instead of the built userland
    #[arg(long, value_name = "FILE")]
    pub initramfs: Option<PathBuf>,
    /// Put these packages into the userland as well, `all` for each that there is
    #[arg(
        long,
        value_name = "PACKAGE",
        value_delimiter = ',',
        conflicts_with = "initramfs"
    )]
    pub with: Vec<String>,
}

pub fn command(args: &IsoArgs, paths: &Paths, ui: &Ui) -> Result<i32> {
    let source = SystemArgs {
        root: Root::Ironbark,
        kernel: run::Which::Ironbark,
        boot: run::BootWay::Iso,
        debug: args.source.debug,
        append: None,
        initramfs: args.source.initramfs.clone(),
        with: args.source.with.clone(),
    };
    let system = run::system(&source, paths, ui)?;
    let output = paths.root.join(&args.output);
    let name = build(&system, args.loader, &output, paths, ui)?;
    let size = fs::metadata(&output)?.len();
    let size = format!("{}.{} MiB", size >> 20, ((size % (1 << 20)) * 10) >> 20);
    ui.note(&format!("Boots by {name}, BIOS and UEFI, {size}:"));
    println!("{}", output.display());
    Ok(0)
}

/// Makes the image that ships; answers the boot loader's name.
pub fn build(
    system: &System,
    wanted: Option<Wanted>,
    output: &Path,
    paths: &Paths,
    ui: &Ui,
) -> Result<&'static str> {
    let menu = menu(paths, ui)?;
    let modules = [(INITRAMFS, system.initramfs.as_path())];
    let plan = Plan {
        kernel: &system.kernel,
        modules: &modules,
        menu: &menu,
        wanted,
    };
    make(&plan, output, paths, ui)
}

/// Makes an image that boots straight into one guest's work.
pub fn for_guest(
    system: &System,
    overlay: Option<&Path>,
    cmdline: &str,
    image: &Path,
    paths: &Paths,
    ui: &Ui,
) -> Result<()> {
    let mut modules = vec![(INITRAMFS, system.initramfs.as_path())];
    modules.extend(overlay.map(|path| (OVERLAY, path)));
    let names: Vec<&str> = modules.iter().map(|(name, _)| *name).collect();
    let menu = menu(paths, ui)?.single(cmdline, &names);
    let plan = Plan {
        kernel: &system.kernel,
        modules: &modules,
        menu: &menu,
        wanted: None,
    };
    make(&plan, image, paths, ui).map(drop)
}

/// What goes into one image.
struct Plan<'a> {
    kernel: &'a Path,
    modules: &'a [(&'a str, &'a Path)],
    menu: &'a Menu,
    wanted: Option<Wanted>,
}

fn make(plan: &Plan, output: &Path, paths: &Paths, ui: &Ui) -> Result<&'static str> {
    setup::ensure(&[Need::Image], ui)?;
    let loader = loader::choose(plan.wanted, paths, ui)?;
    let _step = ui.spinner("Making the image");
    let layout = Layout::read(&paths.root.join("iso/layout.toml"))?;
    let contents = Contents {
        kernel: plan.kernel,
        modules: plan.modules,
        menu: plan.menu,
        volume: &layout.iso.volume,
        date: kernel::source_date(paths, ui),
    };
    let scratch = Scratch::new(paths)?;
    let made = scratch.path().join("image.iso");
    iso::build(&contents, &loader, scratch.path(), &made)?;
    cmd::move_file(&made, output)
        .with_context(|| format!("cannot put the image at {}", output.display()))?;
    Ok(loader.name())
}

fn menu(paths: &Paths, ui: &Ui) -> Result<Menu> {
    let text =
        fs::read_to_string(paths.root.join("limine.conf")).context("cannot read limine.conf")?;
    let version = format!("{} ({})", kernel::VERSION, kernel::build_id(paths, ui));
    Menu::parse(&text, &[("VERSION", &version)])
}
