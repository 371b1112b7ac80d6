//! Any pieces of a request's body: each is passed on as it came until the bound is reached, what is held never exceeds
//! the bound of its connection, and all of it is given back.
#![no_main]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Frame};
use ko_sentiment_fuzz::grpc::unfinished::Unfinished;
use libfuzzer_sys::fuzz_target;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

const MESSAGE: usize = 64;
const LIMIT: usize = 1024;

struct Pieces(VecDeque<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fuzz_target!(|input: &[u8]| {
    // The first byte says how long the pieces are.
    let Some((length, rest)) = input.split_first() else { return };
    let pieces: Vec<&[u8]> = rest.chunks(usize::from(*length) + 1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let own = Arc::new(AtomicUsize::new(0));
    let all = Unfinished::new(LIMIT, MESSAGE, Duration::from_secs(60), Arc::default());
    let given: VecDeque<Bytes> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    let mut body = all.bound(Body::new(Pieces(given)), own.clone());
    let mut context = Context::from_waker(Waker::noop());
    for piece in &pieces {
        let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) else {
            panic!("a piece is not passed on");
        };
        match frame {
            Ok(frame) => {
                assert_eq!(frame.data_ref().expect("data"), *piece);
                assert!(own.load(Ordering::Relaxed) <= LIMIT / 4);
            }
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                break;
            }
        }
    }
    drop(body);
    assert_eq!(own.load(Ordering::Relaxed), 0);
});
