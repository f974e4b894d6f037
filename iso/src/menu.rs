//! The boot menu. `limine.conf` is the source; for GRUB it is translated.
//!
//! What is read is the part of Limine's format that the file uses: `key: value`, `/Title` for an
//! entry, `${NAME}=value` for a macro, `#` for a comment. Anything else is an error with its
//! line. Reference: Limine's CONFIG.md.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

/// The menu's entries, and what holds for all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Menu {
    /// Limine's global keys, in the file's order.
    globals: Vec<(String, String)>,
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    title: String,
    keys: Vec<(String, String)>,
}

/// Where a file on the image is, as `limine.conf` spells it.
const BOOT_VOLUME: &str = "boot():";

impl Menu {
    /// Reads `limine.conf`. `macros` take the place of the file's own definitions.
    pub fn parse(text: &str, macros: &[(&str, &str)]) -> Result<Self> {
        let mut known: Vec<(String, String)> = macros
            .iter()
            .map(|(name, value)| (format!("${{{name}}}"), (*value).to_owned()))
            .collect();
        let mut menu = Self {
            globals: Vec::new(),
            entries: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            menu.line(line.trim(), &mut known)
                .with_context(|| format!("limine.conf, line {}", number + 1))?;
        }
        if menu.entries.is_empty() {
            bail!("limine.conf has no entry");
        }
        Ok(menu)
    }

    fn line(&mut self, line: &str, known: &mut Vec<(String, String)>) -> Result<()> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.starts_with("${") {
            let (name, value) = line.split_once('=').context("a macro is ${NAME}=value")?;
            if !known.iter().any(|(other, _)| other == name) {
                known.push((name.to_owned(), value.to_owned()));
            }
            return Ok(());
        }
        let line = known.iter().fold(line.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
        if line.contains("${") {
            bail!("a macro that nothing defines: {line}");
        }
        if let Some(title) = line.strip_prefix('/') {
            self.entries.push(Entry {
                title: title.to_owned(),
                keys: Vec::new(),
            });
            return Ok(());
        }
        let (key, value) = line
            .split_once(':')
            .context("neither `key: value` nor `/Title`")?;
        let pair = (key.trim().to_owned(), value.trim().to_owned());
        match self.entries.last_mut() {
            Some(entry) => entry.keys.push(pair),
            None => self.globals.push(pair),
        }
        Ok(())
    }

    /// The menu of an image that boots one thing at once: the first entry, with this command line
    /// and these modules (names below `/boot`).
    pub fn single(&self, cmdline: &str, modules: &[&str]) -> Self {
        let globals = vec![("timeout".to_owned(), "0".to_owned())];
        let mut entries = self.entries[..1].to_vec();
        for entry in &mut entries {
            entry
                .keys
                .retain(|(key, _)| key != "cmdline" && key != "module_path");
            entry.keys.push(("cmdline".to_owned(), cmdline.to_owned()));
            for name in modules {
                entry.keys.push((
                    "module_path".to_owned(),
                    format!("{BOOT_VOLUME}/boot/{name}"),
                ));
            }
        }
        Self { globals, entries }
    }

    /// The menu in Limine's own format, macros replaced. Without `serial`: Limine takes what an absent port reads as for
    /// a key, stops the countdown and waits for ever.
    pub fn for_limine(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.globals.iter().filter(|(key, _)| key != "serial") {
            let _ = writeln!(text, "{key}: {value}");
        }
        for entry in &self.entries {
            let _ = writeln!(text, "\n/{}", entry.title);
            for (key, value) in &entry.keys {
                let _ = writeln!(text, "    {key}: {value}");
            }
        }
        text
    }

    /// The same menu as GRUB's `grub.cfg`, booting by Multiboot2.
    pub fn for_grub(&self) -> Result<String> {
        let mut text = String::from(GRUB_HEAD);
        let global = |name: &str| self.globals.iter().find(|(key, _)| key == name);
        let timeout = global("timeout").map_or("3", |(_, value)| value);
        let _ = writeln!(text, "set timeout={timeout}\nset default=0");
        if global("serial").is_some_and(|(_, value)| value == "yes") {
            text.push_str(GRUB_SERIAL);
        }
        for entry in &self.entries {
            entry.write_grub(&mut text)?;
        }
        Ok(text)
    }
}

const GRUB_HEAD: &str = "insmod all_video\ninsmod multiboot2\n";
// On a machine without a serial port the first line fails, and the rest is skipped.
const GRUB_SERIAL: &str = "if serial --unit=0 --speed=115200; then
    terminal_input console serial
    terminal_output console serial
fi
";

impl Entry {
    fn value(&self, name: &str) -> Option<&str> {
        self.keys
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn write_grub(&self, text: &mut String) -> Result<()> {
        let path = |value: &str| match value.strip_prefix(BOOT_VOLUME) {
            Some(path) => Ok(path.to_owned()),
            None => bail!("{}: {value} does not begin with {BOOT_VOLUME}", self.title),
        };
        let kernel = self.value("kernel_path").or(self.value("path"));
        let kernel = kernel.with_context(|| format!("{}: no kernel_path", self.title))?;
        let mode = self.value("resolution").map_or("auto", |value| value);
        let _ = writeln!(text, "menuentry \"{}\" {{", quoted(&self.title));
        let _ = writeln!(text, "    set gfxpayload={mode}");
        let cmdline = quoted(self.value("cmdline").unwrap_or(""));
        let _ = writeln!(text, "    multiboot2 {} {cmdline}", path(kernel)?);
        for (key, value) in &self.keys {
            match key.as_str() {
                "module_path" => {
                    let path = path(value)?;
                    let name = path.rsplit('/').next().unwrap_or_default();
                    let _ = writeln!(text, "    module2 {path} {name}");
                }
                "kernel_path" | "path" | "cmdline" | "resolution" | "protocol" | "comment" => {}
                other => bail!(
                    "{}: no translation of `{other}` for GRUB is known",
                    self.title
                ),
            }
        }
        text.push_str("}\n");
        Ok(())
    }
}

/// Keeps GRUB's shell from reading more than plain words into a text.
fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '"' | '\\' | '$' | '`' | ';' | '{' | '}'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Menu;

    const SAMPLE: &str = "# A comment\ntimeout: 3\nserial: yes\n${VERSION}=development\n\n\
        /Ironbark ${VERSION}\n    protocol: limine\n    kernel_path: boot():/boot/kernel\n    \
        cmdline: quiet\n    module_path: boot():/boot/initramfs.cpio\n\
        /Text\n    protocol: limine\n    kernel_path: boot():/boot/kernel\n    resolution: 800x600x32\n";

    #[test]
    fn macros_are_replaced_by_the_callers() {
        let menu = Menu::parse(SAMPLE, &[("VERSION", "0.1.0 (abc)")]).unwrap();
        assert!(
            menu.for_limine()
                .contains("\n/Ironbark 0.1.0 (abc)\n    protocol: limine\n")
        );
        let own = Menu::parse(SAMPLE, &[]).unwrap();
        assert!(own.for_limine().contains("/Ironbark development\n"));
        let again = Menu::parse(&menu.for_limine(), &[]).unwrap();
        assert_eq!(again.entries, menu.entries);
    }

    #[test]
    fn only_grub_is_told_of_the_serial_port() {
        let menu = Menu::parse(SAMPLE, &[]).unwrap();
        assert!(!menu.for_limine().contains("serial"));
        assert!(menu.for_grub().unwrap().contains("serial --unit=0"));
    }

    #[test]
    fn grub_gets_the_same_entries() {
        let text = Menu::parse(SAMPLE, &[]).unwrap().for_grub().unwrap();
        assert!(text.contains("set timeout=3\n"));
        assert!(text.contains("menuentry \"Ironbark development\" {\n"));
        assert!(text.contains("    multiboot2 /boot/kernel quiet\n"));
        assert!(text.contains("    module2 /boot/initramfs.cpio initramfs.cpio\n"));
        assert!(text.contains("    set gfxpayload=800x600x32\n"));
    }

    #[test]
    fn a_single_entry_has_the_given_words_and_modules() {
        let menu = Menu::parse(SAMPLE, &[])
            .unwrap()
            .single("a=b", &["initramfs.cpio", "extra.cpio"]);
        let text = menu.for_limine();
        assert!(text.starts_with("timeout: 0\n"));
        assert!(text.contains("cmdline: a=b\n"));
        assert!(text.contains("module_path: boot():/boot/extra.cpio\n"));
        assert!(!text.contains("/Text"));
    }

    #[test]
    fn errors_name_the_line() {
        let error = Menu::parse("timeout: 3\nnonsense\n", &[]).unwrap_err();
        assert!(format!("{error:#}").contains("line 2"));
        assert!(Menu::parse("/A ${NOTHING}\n", &[]).is_err());
        assert!(Menu::parse("timeout: 3\n", &[]).is_err());
    }
}
