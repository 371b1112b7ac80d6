//! The sockets that a server listens on.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::address::Listen;
use crate::text::shown::shown_path;

/// First descriptor that systemd passes on (`SD_LISTEN_FDS_START`).
const FIRST_PASSED: i32 = 3;

/// A bound socket.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket, and the file to remove at the end.
    Unix(UnixListener, SocketFile),
}

/// A connection as it was accepted.
pub enum Accepted {
    /// TCP.
    Tcp(TcpStream),
    /// From the same machine.
    Unix(UnixStream),
}

/// The file of a Unix socket. Removed when dropped, unless it is another's by then.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, if it is ours to remove.
    made: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.made.is_some() && self.made == identity(&self.path) {
            // It is gone, or cannot be removed: nothing to be done at the end.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

impl Listener {
    /// The next connection.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }

    /// The TCP address, if it has one.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(..) => None,
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(_, address) => write!(f, "{address}"),
            Self::Unix(_, file) => write!(f, "unix:{}", shown_path(&file.path)),
        }
    }
}

/// Binds every socket that `listen` stands for. A Unix socket's file gets the permissions `unix_mode`.
///
/// # Errors
/// The operating system's.
pub async fn bind(listen: &Listen, unix_mode: u32) -> io::Result<Vec<Listener>> {
    match listen {
        Listen::Tcp(host, port) => bind_tcp(host, *port).await,
        Listen::Unix(path) => Ok(vec![bind_unix(path, unix_mode)?]),
        Listen::Systemd => passed(),
    }
}

/// All addresses of a host. With port 0, each gets the port that the first one took.
async fn bind_tcp(host: &str, port: u16) -> io::Result<Vec<Listener>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in tokio::net::lookup_host((host, port)).await? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let mut bound: Vec<Listener> = Vec::new();
    let mut failed = None;
    for mut address in addresses {
        if let Some(first) = bound.first().and_then(Listener::tcp_address) {
            address.set_port(first.port());
        }
        match TcpListener::bind(address).await.and_then(|l| l.local_addr().map(|a| (l, a))) {
            Ok((listener, address)) => bound.push(Listener::Tcp(listener, address)),
            // `localhost` may have an IPv6 address where IPv6 is turned off.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    match failed.filter(|_| bound.is_empty()) {
        Some(error) => Err(error),
        None if bound.is_empty() => Err(io::Error::other("the name has no address")),
        None => Ok(bound),
    }
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), made: identity(path) };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(Listener::Unix(listener, file))
}

/// Removes a socket that nobody listens on any more; a server that was killed leaves one.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Whether systemd passed sockets to this process.
pub fn sockets_are_passed() -> bool {
    passed_count().is_some()
}

fn passed_count() -> Option<i32> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    let ours = number("LISTEN_PID")? == i32::try_from(std::process::id()).ok()?;
    number("LISTEN_FDS").filter(|count| ours && (1..=64).contains(count))
}

fn passed() -> io::Result<Vec<Listener>> {
    let count = passed_count().ok_or_else(|| io::Error::other("systemd passed no socket to this process"))?;
    (FIRST_PASSED..FIRST_PASSED + count).map(passed_socket).collect()
}

fn passed_socket(descriptor: i32) -> io::Result<Listener> {
    // SAFETY: fcntl on a number; a descriptor that is not open is an error.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the protocol gives this open descriptor to this process, and each is taken once: `bind` runs
    // once in a process that systemd started.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut family = zeroed_address();
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
    // SAFETY: `family` has room for any address, and `length` says so.
    let named = unsafe {
        libc::getsockname(socket.as_raw_fd(), (&raw mut family).cast::<libc::sockaddr>(), &raw mut length)
    };
    if named != 0 {
        return Err(io::Error::last_os_error());
    }
    if i32::from(family.ss_family) == libc::AF_UNIX {
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default();
        return Ok(Listener::Unix(UnixListener::from_std(listener)?, SocketFile { path, made: None }));
    }
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok(Listener::Tcp(TcpListener::from_std(listener)?, address))
}

fn zeroed_address() -> libc::sockaddr_storage {
    // SAFETY: a C struct of integers, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_bound_at_one_port_on_all_its_addresses() {
        let bound = bind(&"localhost:0".parse().unwrap(), 0o660).await.unwrap();
        let ports: std::collections::BTreeSet<u16> =
            bound.iter().map(|l| l.tcp_address().unwrap().port()).collect();
        assert_eq!(ports.len(), 1);
        assert!(bound.iter().all(|l| l.tcp_address().unwrap().ip().is_loopback()));
    }

    #[tokio::test]
    async fn a_socket_is_taken_over_only_from_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listen = Listen::Unix(path.clone());
        let first = bind(&listen, 0o600).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = bind(&listen, 0o600).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "the socket is gone after the stop");
        // A server that was killed leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(bind(&listen, 0o660).await.unwrap());
        fs::write(&path, "not a socket").unwrap();
        assert!(bind(&listen, 0o660).await.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"not a socket");
    }
}
