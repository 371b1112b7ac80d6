//! Files that take effect without a restart: on SIGHUP, and when they change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{info, warn};

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// For how long a changed file must look the same before it is read: its writer may not be done.
const SETTLED: Duration = Duration::from_millis(100);

/// What is made of files and can be made anew.
pub trait Reload: Send + Sync {
    /// What it is, for the log.
    fn name(&self) -> &'static str;

    /// The files.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files again. What was there before stays if they cannot be used.
    ///
    /// # Errors
    /// Why not, in words.
    fn reload(&self) -> Result<(), String>;
}

/// What a file looks like from outside. A swapped symbolic link, as Kubernetes' secrets have, shows in the inode.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look(Option<(u64, u64, u64, i64, i64)>);

impl Look {
    fn at(path: &Path) -> Self {
        let look = std::fs::metadata(path).ok();
        Self(look.map(|m| (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec())))
    }
}

fn look(files: &[PathBuf]) -> Vec<Look> {
    files.iter().map(|path| Look::at(path)).collect()
}

/// What is reloaded, and what its files looked like before they were read.
pub struct Watched {
    what: Arc<dyn Reload>,
    seen: Vec<Look>,
}

impl Watched {
    /// Loads something from files, and watches these from just before.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn load<T: Reload + 'static, E>(
        files: &[PathBuf],
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Arc<T>, Self), E> {
        let seen = look(files);
        let what = Arc::new(load()?);
        Ok((what.clone(), Self { what, seen }))
    }

    async fn refresh(&mut self, nudged: bool) {
        let files = self.what.files();
        let mut now = look(&files);
        if now == self.seen && !nudged {
            return;
        }
        let mut settled = nudged;
        while !settled {
            tokio::time::sleep(SETTLED).await;
            let before = std::mem::replace(&mut now, look(&files));
            settled = before == now;
        }
        self.seen = now;
        match self.what.reload() {
            Ok(()) => info!(what = self.what.name(), "reloaded"),
            Err(error) => warn!(what = self.what.name(), error, "not reloaded; what was there stays"),
        }
    }
}

/// Reloads for ever: each of `all` when its files change, and all of them at a `nudge`.
pub async fn keep_current(mut all: Vec<Watched>, nudge: Arc<Notify>) {
    loop {
        let nudged = tokio::select! {
            () = nudge.notified() => true,
            () = tokio::time::sleep(INTERVAL) => false,
        };
        for one in &mut all {
            one.refresh(nudged).await;
        }
    }
}
