//! Notices that a served model's file is no longer what was loaded.

use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{error, warn};

use crate::files::watch::{Change, Watched};
use crate::gguf::check;
use crate::text::shown::shown_path;

/// Time between looks at the file.
const PERIOD: Duration = Duration::from_secs(1);

/// The files of a model that is being served.
pub struct ModelWatch {
    files: Vec<Watched>,
    modified: AtomicBool,
    replaced: AtomicBool,
}

impl ModelWatch {
    /// Opens the model's file, or all of its parts. To be called before the model is loaded.
    ///
    /// # Errors
    /// The file's path and why it can't be opened.
    pub fn open(path: &Path) -> Result<Self, String> {
        let open = |path: &Path| {
            Watched::open(path).map_err(|e| format!("cannot read the model file {}: {e}", shown_path(path)))
        };
        let mut files = vec![open(path)?];
        // A part that is missing is the loader's to name.
        files.extend(check::other_parts(path).iter().filter_map(|part| Watched::open(part).ok()));
        Ok(Self { files, modified: AtomicBool::new(false), replaced: AtomicBool::new(false) })
    }

    /// Makes sure that what was loaded is what was opened.
    ///
    /// # Errors
    /// Names the file that was changed or replaced meanwhile.
    pub fn check_loaded(&self) -> Result<(), String> {
        match self.files.iter().find(|file| file.change() != Change::None) {
            Some(file) => Err(changed(shown_path(file.path()))),
            None => Ok(()),
        }
    }

    /// Returns once a file was written to or cut off. A replaced one is only logged: the server keeps the
    /// old one.
    pub async fn modified(&self) {
        loop {
            for file in &self.files {
                match file.change() {
                    Change::None => {}
                    Change::Modified => {
                        let first = !self.modified.swap(true, Ordering::Relaxed);
                        if first {
                            error!("{}", changed(shown_path(file.path())));
                        }
                        return;
                    }
                    Change::Replaced if !self.replaced.swap(true, Ordering::Relaxed) => {
                        warn!(path = %shown_path(file.path()), "the model file was replaced; this server keeps the one that it loaded until it is started again");
                    }
                    Change::Replaced => {}
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// What to end with after [`ModelWatch::modified`].
    ///
    /// # Errors
    /// The same message, if a file was modified.
    pub fn verdict(&self) -> Result<(), String> {
        match self.modified.load(Ordering::Relaxed) {
            true => Err("stopped because the model file was changed while it was served".to_owned()),
            false => Ok(()),
        }
    }
}

fn changed(path: impl Display) -> String {
    format!("the model file {path} was changed while it was in use; put the whole file back and start again")
}
