//! What systemd, or whoever speaks its protocol, is told of the server: `sd_notify(3)` over a datagram socket.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::sentiment::classify::Classifier;
use crate::text::shown::shown_path;

/// Who started the server and wants to know how it is. Without one, nothing is sent.
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// Time without a sign of life after which the supervisor ends the server.
    patience: Option<Duration>,
}

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` names, with the patience of `WATCHDOG_USEC`.
    ///
    /// # Errors
    /// The socket cannot be reached; the supervisor would wait for it in vain.
    pub fn from_environment() -> io::Result<Self> {
        let ours = match std::env::var("WATCHDOG_PID") {
            Ok(pid) => pid == std::process::id().to_string(),
            Err(_) => true,
        };
        let patience = std::env::var("WATCHDOG_USEC").ok().filter(|_| ours);
        let patience = patience.and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        Self::new(std::env::var_os("NOTIFY_SOCKET"), patience.map(Duration::from_micros))
    }

    fn new(name: Option<OsString>, patience: Option<Duration>) -> io::Result<Self> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(Self { socket: None, patience: None });
        };
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address(&name)?)?;
            // A supervisor that reads nothing holds nothing up.
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = connect().map_err(|e: io::Error| {
            let text = format!("cannot reach NOTIFY_SOCKET {}: {e}; unset it", shown_path(Path::new(&name)));
            io::Error::new(e.kind(), text)
        })?;
        Ok(Self { socket: Some(socket), patience })
    }

    /// The server takes calls.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving");
    }

    /// The server takes no more calls.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Finishing running calls");
    }

    /// Sends signs of life twice in the supervisor's patience, each only after the engine has given one: a
    /// server whose engine hangs is ended and started again, however well its sockets answer.
    pub fn spawn_watchdog(self: Arc<Self>, classifier: Arc<Classifier>) -> Option<AbortOnDropHandle<()>> {
        let patience = self.patience?;
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            // If the engine ends, so does the server.
            while classifier.engine().pulse().await.is_ok() {
                self.send("WATCHDOG=1");
                tokio::time::sleep(patience / 2).await;
            }
        })))
    }

    fn send(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            warn!(%error, state, "cannot notify the supervisor");
        }
    }
}

/// A path, or the name of a socket without a file, which begins with `@`.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)
        }
        _ => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_without_a_file_is_reached_too() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("ko-sentiment-supervisor-{}", std::process::id());
        let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Supervisor::new(Some(format!("@{name}").into()), None).unwrap().ready();
        let mut bytes = [0; 64];
        let length = heard.recv(&mut bytes).unwrap();
        assert!(bytes[..length].starts_with(b"READY=1\n"));
    }

    #[test]
    fn a_supervisor_that_cannot_be_reached_is_an_error() {
        let error = Supervisor::new(Some("/nowhere/notify".into()), None).err().unwrap().to_string();
        assert!(error.contains("NOTIFY_SOCKET /nowhere/notify"), "{error}");
        Supervisor::new(Some("".into()), None).unwrap().ready();
    }
}
