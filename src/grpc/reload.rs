//! Files that take effect without a restart: on SIGHUP, and when they change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{info, warn};

use crate::meter::Counter;

/// How often files are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// For how long a changed file must look the same before it is read: its writer may not be done.
const SETTLED: Duration = Duration::from_millis(100);

/// What is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// Certificates, their keys and roots.
    Certificates,
    /// The tokens file.
    Tokens,
}

impl Reloaded {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Certificates, Self::Tokens];

    /// Name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::Tokens => "tokens",
        }
    }
}

/// How often files were read again.
#[derive(Debug, Default)]
pub struct Reloads([[Counter; 2]; Reloaded::ALL.len()]);

impl Reloads {
    /// Times that it was done.
    pub fn done(&self, kind: Reloaded) -> &Counter {
        &self.0[kind as usize][0]
    }

    /// Times that the files could not be used, and nothing changed.
    pub fn failed(&self, kind: Reloaded) -> &Counter {
        &self.0[kind as usize][1]
    }
}

/// What is made of files and can be made anew.
pub trait Reload: Send + Sync {
    /// What it is.
    fn kind(&self) -> Reloaded;

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

    async fn refresh(&mut self, nudged: bool, reloads: &Reloads) {
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
        let kind = self.what.kind();
        match self.what.reload() {
            Ok(()) => {
                reloads.done(kind).one();
                info!(what = kind.name(), "reloaded");
            }
            Err(error) => {
                reloads.failed(kind).one();
                warn!(what = kind.name(), error, "not reloaded; what was there stays");
            }
        }
    }
}

/// Reloads for ever: each of `all` when its files change, and all of them at a `nudge`.
pub async fn keep_current(mut all: Vec<Watched>, nudge: Arc<Notify>, reloads: Arc<Reloads>) {
    loop {
        let nudged = tokio::select! {
            () = nudge.notified() => true,
            () = tokio::time::sleep(INTERVAL) => false,
        };
        for one in &mut all {
            one.refresh(nudged, &reloads).await;
        }
    }
}
