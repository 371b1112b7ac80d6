//! One connection: its bytes, who is at its other end, and how long it may take to begin.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::x509::Certificate;

/// Bytes that an HTTP/2 client begins with (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// Who is at the other end, as far as the connection says.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Names of the client's certificate.
    pub names: Arc<[String]>,
    /// Bytes of unfinished messages that the connection holds.
    pub unfinished: Arc<AtomicUsize>,
}

/// How the bytes travel.
pub enum Io {
    /// TCP, in plain text.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

/// How a connection ends, seen from outside.
pub struct Ends {
    /// Cut it, whatever it is doing.
    pub cut: CancellationToken,
    /// It is gone.
    pub gone: CancellationToken,
}

/// A connection. Its place among the server's connections is free again when it is dropped.
pub struct Connection {
    io: Io,
    peer: Peer,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until the preface is there: the bytes that are missing, and until when.
    opening: Option<(usize, Pin<Box<Sleep>>)>,
    _gone: DropGuard,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A connection whose client must begin within `opening`; and the ends of it.
    pub fn new(io: Io, opening: Duration, place: OwnedSemaphorePermit) -> (Self, Ends) {
        let ends = Ends { cut: CancellationToken::new(), gone: CancellationToken::new() };
        let connection = Self {
            peer: peer(&io),
            io,
            cut: Box::pin(ends.cut.clone().cancelled_owned()),
            opening: Some((PREFACE, Box::pin(tokio::time::sleep(opening)))),
            _gone: ends.gone.clone().drop_guard(),
            _place: place,
        };
        (connection, ends)
    }
}

fn peer(io: &Io) -> Peer {
    let Io::Tls(tls) = io else { return Peer::default() };
    let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.and_then(|c| Certificate::read(c));
    Peer { names: certificate.map_or_else(Arc::default, |c| c.names.into()), ..Peer::default() }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = match &mut this.io {
            Io::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
            Io::Unix(io) => Pin::new(io).poll_read(cx, buf),
        };
        if let Some((missing, until)) = &mut this.opening {
            *missing = missing.saturating_sub(buf.filled().len() - before);
            if *missing == 0 {
                this.opening = None;
            } else if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Tls(io) => Pin::new(io).poll_write(cx, bytes),
            Io::Unix(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Io::Unix(io) => Pin::new(io).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
            Io::Unix(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
            Io::Unix(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Io::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
