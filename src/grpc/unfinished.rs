//! Bounds on messages that have not arrived whole. A method sees a message when its last byte is there; until then the
//! server holds what has come, for nobody's benefit.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

use super::meters::ServerMeters;
use super::status;

/// What a message may bring as fast as it comes, in bytes. What exceeds it is paced.
const UNPACED: usize = 256 << 10;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What all connections may hold of unfinished messages.
pub struct Unfinished {
    held: AtomicUsize,
    limit: usize,
    per_connection: usize,
    patience: Duration,
    pace: Mutex<Pace>,
    meters: Arc<ServerMeters>,
}

impl Unfinished {
    /// At most `limit` bytes for all connections and a quarter of them for one, but always room for one message of
    /// `message` bytes. A message that stops arriving is given up after `patience`.
    pub fn new(limit: usize, message: usize, patience: Duration, meters: Arc<ServerMeters>) -> Arc<Self> {
        let one = message.saturating_add(PREFIX);
        let limit = limit.max(one);
        let per_connection = one.max(limit / 4);
        let pace = Mutex::new(Pace { paid: Instant::now() });
        Arc::new(Self { held: AtomicUsize::new(0), limit, per_connection, patience, pace, meters })
    }

    /// A request's body within these bounds; `own` counts what its connection holds.
    pub fn bound(self: &Arc<Self>, inner: Body, own: Arc<AtomicUsize>) -> Body {
        let (all, framing) = (self.clone(), Framing::default());
        Body::new(Bounded { inner, all, own, framing, held: 0, until: None, pause: None })
    }
}

/// How fast large messages may arrive, all together. The engine takes minutes for one of the largest, so nobody waits for
/// this; a flood of them leaves the cores to calls. It is the generic cell rate algorithm (ITU-T I.371, annex A).
#[derive(Debug)]
struct Pace {
    /// When all bytes so far would have arrived at the rate.
    paid: Instant,
}

impl Pace {
    const BYTES_PER_SECOND: f64 = (32 << 20) as f64;
    /// How far ahead of the rate the sum may be.
    const BURST: Duration = Duration::from_millis(50);

    /// Takes `bytes` that have come `now`, and returns until when no more should.
    fn take(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        self.paid = self.paid.max(now) + Duration::from_secs_f64(bytes as f64 / Self::BYTES_PER_SECOND);
        self.paid.checked_sub(Self::BURST).filter(|&until| until > now)
    }
}

/// Where in the stream of messages a body is.
#[derive(Debug, Default)]
struct Framing {
    /// Bytes of the message that is arriving, with its prefix.
    arrived: usize,
    /// Its length with the prefix, as far as the prefix has arrived.
    length: usize,
}

impl Framing {
    /// Takes bytes and returns how many of the last message are there, if it is not whole.
    fn take(&mut self, mut bytes: &[u8]) -> usize {
        while !bytes.is_empty() {
            if self.arrived < PREFIX {
                if self.arrived > 0 {
                    self.length = self.length << 8 | usize::from(bytes[0]);
                }
                self.arrived += 1;
                bytes = &bytes[1..];
            } else {
                let n = self.missing().min(bytes.len());
                self.arrived += n;
                bytes = &bytes[n..];
            }
            if self.arrived >= PREFIX && self.missing() == 0 {
                *self = Self::default();
            }
        }
        self.arrived
    }

    fn missing(&self) -> usize {
        (self.length + PREFIX).saturating_sub(self.arrived)
    }
}

struct Bounded {
    inner: Body,
    all: Arc<Unfinished>,
    own: Arc<AtomicUsize>,
    framing: Framing,
    /// Bytes counted at present.
    held: usize,
    /// Until when the rest of a message must go on arriving.
    until: Option<Pin<Box<Sleep>>>,
    /// Until when nothing more is taken of a large one. HTTP/2's flow control makes the sender wait.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    /// Counts what has arrived. An error if it is too much.
    fn count(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let now = self.framing.take(bytes);
        let (more, less) = (now.saturating_sub(self.held), self.held.saturating_sub(now));
        self.held = now;
        let add = |counter: &AtomicUsize| {
            counter.fetch_sub(less, Relaxed);
            counter.fetch_add(more, Relaxed) + more
        };
        let (all, own) = (add(&self.all.held), add(&self.own));
        if more > 0 && (all > self.all.limit || own > self.all.per_connection) {
            let refusal = status::too_much_unfinished();
            self.all.meters.refuse(&refusal);
            return Err(refusal);
        }
        if now == 0 {
            self.until = None;
            return Ok(());
        }
        let time = Instant::now();
        if now > UNPACED {
            let mut pace = self.all.pace.lock().unwrap_or_else(PoisonError::into_inner);
            self.pause = pace.take(time, bytes.len()).map(|until| Box::pin(tokio::time::sleep_until(until)));
        }
        let until = time + self.all.patience;
        self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until))).as_mut().reset(until);
        Ok(())
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.all.held.fetch_sub(self.held, Relaxed);
        self.own.fetch_sub(self.held, Relaxed);
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let counted = frame.data_ref().map_or(Ok(()), |bytes| this.count(bytes));
                Poll::Ready(Some(counted.map(|()| frame)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => match this.until.as_mut().map(|until| until.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(Some(Err(status::stopped_arriving()))),
                _ => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        [&[0][..], &(length as u32).to_be_bytes(), &vec![7; length]].concat()
    }

    #[test]
    fn what_is_not_whole_is_counted() {
        let check = |pieces: &[&[u8]], expect: &[usize]| {
            let mut framing = Framing::default();
            let found: Vec<usize> = pieces.iter().map(|piece| framing.take(piece)).collect();
            assert_eq!(found, expect);
        };
        let (empty, small) = (message(0), message(300));
        check(&[&empty, &small, &small[..305]], &[0, 0, 0]);
        check(&[&small[..1], &small[1..4], &small[4..6], &small[6..], &empty[..2]], &[1, 4, 6, 0, 2]);
        let two = [small.clone(), small.clone()].concat();
        check(&[&two[..304], &two[304..400], &two[400..]], &[304, 95, 0]);
    }

    #[test]
    fn large_messages_arrive_at_a_rate() {
        const MIB: usize = 1 << 20;
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace { paid: start };
        let mut check = |now: u64, bytes: usize, until: Option<u64>| {
            assert_eq!(pace.take(at(now), bytes), until.map(at), "{bytes} bytes after {now} ms");
        };
        check(0, MIB, None);
        check(0, 7 * MIB, Some(200));
        check(0, 8 * MIB, Some(450));
        check(450, 8 * MIB, Some(700));
        check(10_000, MIB, None);
        check(10_000, 7 * MIB, Some(10_200));
    }

    #[test]
    fn a_connection_holds_a_quarter_and_gives_it_back() {
        let all = Unfinished::new(1000, 100, Duration::from_secs(1), Arc::default());
        let body = |own: &Arc<AtomicUsize>| Bounded {
            inner: Body::empty(),
            all: all.clone(),
            own: own.clone(),
            framing: Framing::default(),
            held: 0,
            until: None,
            pause: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let part = &message(200)[..100];
        let one = Arc::new(AtomicUsize::new(0));
        let mut held: Vec<Bounded> = (0..2).map(|_| body(&one)).collect();
        held.iter_mut().for_each(|body| body.count(part).unwrap());
        body(&one).count(part).unwrap_err();
        assert_eq!((one.load(Relaxed), all.held.load(Relaxed)), (200, 200), "a refused body holds nothing");
        let others: Vec<(Arc<AtomicUsize>, Bounded)> = (0..8)
            .map(|_| {
                let own = Arc::new(AtomicUsize::new(0));
                let mut other = body(&own);
                other.count(part).unwrap();
                (own, other)
            })
            .collect();
        body(&Arc::default()).count(part).unwrap_err();
        // A whole message needs no room, however full it is.
        body(&Arc::default()).count(&message(5000)).unwrap();
        drop((held, others));
        assert_eq!((one.load(Relaxed), all.held.load(Relaxed)), (0, 0));
    }
}
