//! How results are written and where they are kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// The top of this repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace member").into()
}

/// Where the programs of `benches/peers` are built: not beside the workspace's own, of which some
/// have the same name.
pub fn peers_target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), PathBuf::from)
        .join("peers")
}

/// The results of a measurement: tables for people and raw figures for charts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// GitHub Markdown.
    pub markdown: String,
    /// Tab-separated lines, the first of them the names of columns.
    pub tsv: String,
}

impl Results {
    /// Writes them to `benches/results/NAME.md` and `NAME.tsv`.
    ///
    /// # Errors
    /// The file system's error.
    pub fn save(&self, name: &str) -> Result<(), String> {
        let folder = root().join("benches/results");
        let write = |ending: &str, text: &str| {
            let file = folder.join(format!("{name}.{ending}"));
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))
        };
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        write("md", &self.markdown)?;
        write("tsv", &self.tsv)
    }
}

/// The compiler, as it calls itself.
///
/// # Errors
/// There is none.
pub fn compiler() -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(output(Command::new(rustc).arg("--version"))?.trim().into())
}

/// Returns the output of a command.
///
/// # Errors
/// It cannot be run, or it fails: then its status.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `12 345`.
pub fn grouped(figure: u64) -> String {
    let digits = figure.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
