//! Listening until the process is asked to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::HOST;
use axum::http::{StatusCode, Version};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::ServiceExt;
use x402_std::seller::ConnectionEnd;

use crate::{Exit, Failure, Outcome, talk};

/// Longest wait for the head of a request, and for the next one on a connection.
const HEAD: Duration = Duration::from_secs(15);

/// An address to listen on, and its limits.
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Connections at once; more wait.
    pub(crate) connections: usize,
    /// Time for requests that were begun, once the process is asked to stop.
    pub(crate) shutdown: Duration,
}

impl Listen {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connections: 4096, shutdown: Duration::from_secs(120) }
    }

    /// Serves until Ctrl-C or SIGTERM, then finishes the requests that were begun, and `rest` last. A
    /// second signal ends that too.
    pub(crate) async fn serve(self, router: Router, rest: impl Future<Output = ()>) -> Outcome {
        let address = self.address;
        let cannot = |error: io::Error| {
            Failure::refused(format_args!("cannot listen on {address}: {error}"))
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let mut stop = Stop::new().map_err(cannot)?;
        talk(format_args!("listening on http://{}", listener.local_addr().map_err(cannot)?));
        let (connections, graceful) =
            (Arc::new(Semaphore::new(self.connections)), GracefulShutdown::new());
        loop {
            let accepted = async {
                let place = Arc::clone(&connections).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                accepted = accepted => accepted,
                () = stop.asked() => break,
            };
            let Ok((stream, peer)) = accepted else {
                // No peer caused this: the process has no more file descriptors, say.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let router = router.clone();
            let end = ConnectionEnd::default();
            let known = end.clone();
            // Requests carry the address of their sender, and the end of their connection.
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                request.extensions_mut().insert(known.clone());
                let (router, is_named) = (router.clone(), has_one_host(&request));
                async move {
                    match is_named {
                        true => router.oneshot(request).await,
                        false => Ok((StatusCode::BAD_REQUEST, "a request needs one Host header")
                            .into_response()),
                    }
                }
            });
            let stream = Watched { stream, end: end.clone(), linger: None, slow: None };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // A connection that breaks off is no fault of this process.
                match connection.await {
                    Ok(()) => end.closed(),
                    Err(_) => end.broke(),
                }
                drop(place);
            });
        }
        drop(listener);
        let finished = timeout(self.shutdown, async {
            graceful.shutdown().await;
            rest.await;
        });
        tokio::select! {
            finished = finished => {
                finished.map_err(|_| Failure::refused("stopped before all requests were finished"))?;
            }
            () = stop.asked() => return Err(Failure::refused("stopped before all requests were finished")),
        }
        Ok(Exit::Yes)
    }
}

/// Whether a request has one `Host` header, as HTTP/1.1 requires (RFC 9112 §3.2).
fn has_one_host(request: &Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() < Version::HTTP_11
}

/// A connection that notes when it breaks. A peer that leaves before it has read everything resets it.
struct Watched {
    stream: TcpStream,
    end: ConnectionEnd,
    linger: Option<Linger>,
    /// While the peer is slow to read: the end of its time, and the bytes that it must still read by then.
    slow: Option<(Pin<Box<Sleep>>, usize)>,
}

/// A peer that reads less than this in this time has given up its connection.
const SLOW: Duration = Duration::from_secs(10);
const SLOW_BYTES: usize = 4 << 10;

/// The wait for a peer once nothing more is written.
struct Linger {
    time: Pin<Box<Sleep>>,
    /// Its end in any case.
    until: Instant,
    /// Bytes from the peer that may still be read and thrown away.
    left: usize,
    /// Whether the peer has closed.
    closed: bool,
}

/// Longest waits for the peer to close after this side has: since its last bytes, and in all; and most
/// bytes that are read meanwhile. Only then it shows whether the peer has read everything. In this way a
/// client that sends a long body without a payment gets the challenge, however slow the body is.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_IN_ALL: Duration = Duration::from_secs(60);
/// Longest time until a reset shows that the peer closed before it read everything.
const RESET: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 64 << 20;

impl Watched {
    fn note<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &poll {
            self.end.broke();
        }
        poll
    }

    /// Looks at the time while nothing can be written.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Ready(Ok(bytes)) => {
                if let Some((_, left)) = &mut self.slow {
                    *left = left.saturating_sub(*bytes);
                }
                if self.slow.as_ref().is_some_and(|(_, left)| *left == 0) {
                    self.slow = None;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let slow = || (Box::pin(sleep(SLOW)), SLOW_BYTES);
                let (time, _) = self.slow.get_or_insert_with(slow);
                ready!(time.as_mut().poll(context));
                return self.note(Poll::Ready(Err(io::ErrorKind::TimedOut.into())));
            }
        }
        self.note(poll)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(poll)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.written(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Everything is written.
        self.slow = None;
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.note(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            let poll = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.note(poll))?;
            this.linger = Some(Linger {
                time: Box::pin(sleep(LINGER)),
                until: Instant::now() + LINGER_IN_ALL,
                left: LINGER_BYTES,
                closed: false,
            });
        }
        let mut scratch = [0; 4096];
        while let Some(linger) = &mut this.linger {
            if linger.time.as_mut().poll(context).is_ready() || linger.left == 0 {
                break;
            }
            if linger.closed {
                return Poll::Pending;
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => {
                    // It may have closed without having read: then a reset follows.
                    (linger.closed, linger.time) = (true, Box::pin(sleep(RESET)));
                }
                Ok(()) => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len());
                    let next = (Instant::now() + LINGER).min(linger.until);
                    linger.time.as_mut().reset(next);
                }
                Err(_) => {
                    this.end.broke();
                    break;
                }
            }
        }
        if !matches!(this.stream.take_error(), Ok(None)) {
            this.end.broke();
        }
        Poll::Ready(Ok(()))
    }
}

/// Signals that ask the process to stop, from the moment this is made.
#[cfg(unix)]
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Stop;

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn asked(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
