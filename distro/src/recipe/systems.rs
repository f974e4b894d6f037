//! What each build system does in a phase for which a recipe has no script of its own.

use super::model::{Build, System};
use super::phase::Phase;

/// The crates come from `/vendor`. Paths of the build would stay in panic messages.
const CARGO_CONFIG: &str = r#"mkdir -p "$HOME/.cargo"
cat > "$HOME/.cargo/config.toml" <<END
[source.crates-io]
replace-with = "vendor"
[source.vendor]
directory = "/vendor"
[target.x86_64-unknown-linux-musl]
rustflags = ["--remap-path-prefix=/build=.", "--remap-path-prefix=/vendor=vendor"]
[profile.release]
strip = true
debug = 0
incremental = false
END"#;
const CARGO_BUILD: &str =
    "cargo build --release --locked --offline --target x86_64-unknown-linux-musl";
const CARGO_INSTALL: &str = r#"mkdir -p "$DESTDIR/usr/bin"
find target/x86_64-unknown-linux-musl/release -maxdepth 1 -type f -perm -100 \
    -exec install -m 755 -t "$DESTDIR/usr/bin" {} +"#;

/// The script of `phase`, or nothing if the system does nothing then.
pub fn script(build: &Build, phase: Phase) -> Option<String> {
    let args: String = build
        .args
        .iter()
        .map(|arg| format!(" {}", quoted(arg)))
        .collect();
    let text = match (build.system, phase) {
        (System::Autotools, Phase::Configure) => {
            format!(
                "./configure --build=x86_64-pc-linux-gnu --host=x86_64-linux-musl --prefix=/usr{args}"
            )
        }
        (System::Autotools, Phase::Compile) => "make".to_owned(),
        (System::Autotools, Phase::Install) => "make DESTDIR=\"$DESTDIR\" install".to_owned(),
        (System::Make, Phase::Compile) => format!("make CC=\"$CC\"{args}"),
        (System::Make, Phase::Install) => {
            format!("make CC=\"$CC\"{args} PREFIX=/usr DESTDIR=\"$DESTDIR\" install")
        }
        (System::Cmake, Phase::Configure) => format!(
            "cmake -S . -B out -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
             -DCMAKE_FIND_ROOT_PATH=/sysroot{args}"
        ),
        (System::Cmake, Phase::Compile) => "cmake --build out".to_owned(),
        (System::Cmake, Phase::Install) => "cmake --install out".to_owned(),
        (System::Meson, Phase::Configure) => {
            format!("meson setup out --buildtype=release --prefix=/usr{args}")
        }
        (System::Meson, Phase::Compile) => "meson compile -C out".to_owned(),
        (System::Meson, Phase::Install) => "meson install -C out --no-rebuild".to_owned(),
        (System::Cargo, Phase::Compile) => format!("{CARGO_CONFIG}\n{CARGO_BUILD}{args}"),
        (System::Cargo, Phase::Install) => CARGO_INSTALL.to_owned(),
        _ => return None,
    };
    Some(text)
}

fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%$".contains(c);
    // Variables of the sandbox ($CC, $VERSION) are meant to be filled in.
    if !arg.is_empty() && arg.chars().all(plain) {
        return arg.to_owned();
    }
    format!("'{}'", arg.replace('\'', "'\\''"))
}
