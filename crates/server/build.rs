//! Collects the project's own documentation for the demo's MCP server: `README.md`,
//! `ARCHITECTURE.md` and `docs/*.md`, those that are there, as one table of texts.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = here.join("../..");
    let mut table = String::from("&[\n");
    for path in pages(&root)? {
        let name = path
            .strip_prefix(&root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let text = fs::read_to_string(&path)?;
        let _infallible = writeln!(table, "({name:?}, {text:?}),");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("pages.rs"), table)?;
    let mut cargo = io::stdout();
    for watched in [
        "build.rs",
        "../../README.md",
        "../../ARCHITECTURE.md",
        "../../docs",
    ] {
        writeln!(cargo, "cargo:rerun-if-changed={watched}")?;
    }
    Ok(())
}

fn pages(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md"]
        .map(|name| root.join(name))
        .into();
    found.retain(|path| path.is_file());
    let Ok(folder) = fs::read_dir(root.join("docs")) else {
        return Ok(found);
    };
    let mut docs = Vec::new();
    for entry in folder {
        docs.push(entry?.path());
    }
    docs.retain(|path| path.extension().is_some_and(|end| end == "md"));
    docs.sort();
    found.extend(docs);
    Ok(found)
}
