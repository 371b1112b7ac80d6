//! The bytes of one file, from the hub to a blob of the cache: gone on with where they stopped, never more than
//! announced, and whole only when their hash is right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::answers::{FileInfo, content_range, text};
use super::cache::{RepoCache, io_error, open_plain};
use super::client::{Answer, Ask, Client, HttpError, LINKED_ETAG, describe};
use super::error::HubError;
use super::intact::{self, Hasher};
use super::location::Location;
use super::names::{Etag, FileName, HubId};
use super::patience::Tries;
use super::report::{OnReport, Report};
use crate::text::shown::shown;

/// Bytes that count as progress: a hub that sends less between two failures uses up its tries.
const PROGRESS: u64 = 64 << 10;
/// Slowest body, over as long as a stall may take twice: a byte now and then is a stall as well.
const SLOWEST: u64 = 1 << 10;

/// One file on its way.
pub struct Transfer<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// Where the bytes go.
    pub cache: &'a RepoCache,
    /// The repository, for messages.
    pub id: &'a HubId,
    /// The file.
    pub file: &'a FileName,
    /// Its address.
    pub url: Location,
    /// What it must be.
    pub info: &'a FileInfo,
    /// Who is told.
    pub on_report: OnReport<'a>,
}

/// What is there of it.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    done: u64,
    /// Bytes that an earlier run left.
    resumed: u64,
}

impl Transfer<'_> {
    /// Downloads what is missing, checks it and gives the blob its name. The blob's lock is held meanwhile.
    ///
    /// # Errors
    /// Any [`HubError`].
    pub fn run(&self) -> Result<(), HubError> {
        let mut partial = self.open()?;
        loop {
            self.fill(&mut partial)?;
            let Partial { hasher, resumed, path, .. } = &mut partial;
            if std::mem::replace(hasher, Hasher::None).is(&self.info.etag) {
                break;
            }
            if *resumed == 0 {
                let _gone = fs::remove_file(path);
                return Err(self.damaged("their hash is another"));
            }
            // What an earlier run left may be of other bytes.
            self.clear(&mut partial)?;
        }
        let blob = self.cache.blob(&self.info.etag);
        partial.file.sync_all().map_err(|e| io_error(&partial.path, e))?;
        fs::rename(&partial.path, &blob).map_err(|e| io_error(&blob, e))?;
        intact::note(self.cache, &self.info.etag, &blob);
        self.report(self.info.size);
        Ok(())
    }

    fn open(&self) -> Result<Partial, HubError> {
        let (path, earlier) = (self.cache.incomplete(&self.info.etag), self.cache.part(&self.info.etag));
        if fs::symlink_metadata(&path).is_err() && fs::symlink_metadata(&earlier).is_ok_and(|m| m.is_file()) {
            fs::rename(&earlier, &path).map_err(|e| io_error(&path, e))?;
        }
        let mut options = OpenOptions::new();
        let file = open_plain(options.read(true).write(true).create(true), &path);
        let file = file.map_err(|e| io_error(&path, e))?;
        let hasher = Hasher::new(&self.info.etag, self.info.size);
        let mut partial = Partial { path, file, hasher, done: 0, resumed: 0 };
        let n_bytes = partial.file.metadata().map_err(|e| io_error(&partial.path, e))?.len();
        // Bytes without a hash can't be told from others: they come anew.
        if n_bytes > self.info.size || self.info.etag.hash().is_none() {
            self.clear(&mut partial)?;
        } else {
            let read = intact::read_into(&mut partial.file, &mut partial.hasher);
            partial.done = read.map_err(|e| io_error(&partial.path, e))?;
            partial.resumed = partial.done;
        }
        Ok(partial)
    }

    fn clear(&self, partial: &mut Partial) -> Result<(), HubError> {
        let cleared = partial.file.set_len(0).and_then(|()| partial.file.seek(SeekFrom::Start(0)));
        cleared.map_err(|e| io_error(&partial.path, e))?;
        partial.hasher = Hasher::new(&self.info.etag, self.info.size);
        (partial.done, partial.resumed) = (0, 0);
        Ok(())
    }

    /// Asks until all bytes are there, as long as some come.
    fn fill(&self, partial: &mut Partial) -> Result<(), HubError> {
        let mut tries = Tries::new(self.client.patience());
        self.report(partial.done);
        while partial.done < self.info.size {
            let before = partial.done;
            let broken = match self.once(partial) {
                Ok(()) => None,
                Err(Fault::Http(error)) if error.is_transient() => Some(error),
                Err(Fault::Http(source)) => {
                    return Err(HubError::Download { id: self.id.clone(), source });
                }
                Err(Fault::Hub(error)) => return Err(error),
            };
            if partial.done >= self.info.size {
                break;
            }
            if partial.done >= before + PROGRESS {
                tries.reset();
            }
            if tries.wait(None).is_err() {
                return Err(broken.map_or_else(
                    || self.short(partial.done),
                    |source| HubError::Download { id: self.id.clone(), source },
                ));
            }
        }
        Ok(())
    }

    /// One request for all that is missing, as far as it comes.
    fn once(&self, partial: &mut Partial) -> Result<(), Fault> {
        let if_range = (partial.done > 0).then_some(&self.info.etag);
        let ask = Ask { range: Some((partial.done, None)), if_range, only_about: false };
        let mut answer = self.client.get(&self.url, ask, self.on_report).map_err(Fault::Http)?;
        self.check(&answer, partial)?;
        let mut body = answer.body.as_reader();
        let mut buffer = vec![0; 256 << 10];
        let mut window = (Instant::now(), partial.done);
        while partial.done < self.info.size {
            let most = (self.info.size - partial.done).min(buffer.len() as u64) as usize;
            let n = io::Read::read(&mut body, &mut buffer[..most])
                .map_err(|error| Fault::Http(describe(&answer.at, error.into())))?;
            if n == 0 {
                break;
            }
            let written = partial.file.write_all(&buffer[..n]);
            written.map_err(|e| Fault::Hub(io_error(&partial.path, e)))?;
            partial.hasher.update(&buffer[..n]);
            partial.done += n as u64;
            self.report(partial.done);
            if window.0.elapsed() >= self.stall() {
                if partial.done < window.1 + SLOWEST {
                    return Err(Fault::Http(self.too_slow(&answer.at)));
                }
                window = (Instant::now(), partial.done);
            }
        }
        Ok(())
    }

    /// Refuses an answer that isn't the missing bytes; one that has all of them starts the file anew.
    fn check(&self, answer: &Answer, partial: &mut Partial) -> Result<(), Fault> {
        let wrong = |reason: &str| Fault::Hub(self.wrong(reason));
        if answer.is_from_hub
            && let Some(etag) = text(&answer.headers, LINKED_ETAG).or_else(|| text(&answer.headers, "etag"))
            && Etag::parse(etag).as_ref() != Some(&self.info.etag)
        {
            return Err(wrong("the file changes while it is downloaded"));
        }
        match answer.status {
            206 => match content_range(&answer.headers) {
                Some((first, _, size)) if (first, size) == (partial.done, self.info.size) => Ok(()),
                _ => Err(wrong("the hub sends another range than it was asked for")),
            },
            200 => {
                if text(&answer.headers, "content-length").is_some_and(|n| n != self.info.size.to_string()) {
                    return Err(wrong("the hub sends another number of bytes than it announced"));
                }
                self.clear(partial).map_err(Fault::Hub)
            }
            416 if partial.done > 0 => self.clear(partial).map_err(Fault::Hub),
            404 | 410 => {
                Err(Fault::Hub(HubError::NoFile { id: self.id.clone(), file: self.file.to_string() }))
            }
            status => Err(Fault::Hub(HubError::Status { id: self.id.clone(), status })),
        }
    }

    fn stall(&self) -> Duration {
        self.client.patience().stall * 2
    }

    fn report(&self, done: u64) {
        (self.on_report)(Report::Bytes { file: &shown(self.file.as_str()), size: self.info.size, done });
    }

    fn wrong(&self, reason: &str) -> HubError {
        let file = shown(self.file.as_str());
        HubError::Answer { id: self.id.clone(), file, reason: reason.to_owned() }
    }

    fn damaged(&self, what: &'static str) -> HubError {
        HubError::Damaged { id: self.id.clone(), file: shown(self.file.as_str()), what }
    }

    fn short(&self, got: u64) -> HubError {
        HubError::Short { id: self.id.clone(), file: shown(self.file.as_str()), got, size: self.info.size }
    }

    fn too_slow(&self, at: &Location) -> HttpError {
        HttpError::Broken { host: at.authority(), reason: "sends almost nothing".to_owned(), timed_out: true }
    }
}

/// What ends one request.
enum Fault {
    Http(HttpError),
    Hub(HubError),
}
