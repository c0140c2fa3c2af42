//! What the tests of this crate share.

use std::path::{Path, PathBuf};

/// The folder with the real recordings: `INTONE_DATA`, or `../shared/data` beside the checkout.
///
/// Where it is missing the test says so and is to return; under `CI=true` it must not be missing.
pub(crate) fn real_data(test: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder =
        std::env::var_os("INTONE_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    if folder.join("CREMA-D").is_dir() && folder.join("RAVDESS").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: no speech data in {}", folder.display());
    println!("skipped: {test}, because there is no speech data in {}", folder.display());
    None
}

/// Writes files into a folder, making the folders in between: `(path below it, content)`.
pub(crate) fn tree<'a>(root: &Path, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    for (path, content) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}
