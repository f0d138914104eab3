//! The thread, its runtime, and the listeners: one per address.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::connections::{Connections, Place};
use super::routes::{Routes, timed_out};
use super::stream::ClientStream;
use crate::background;

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Open connections; beyond them the longest idle one is closed.
    pub(crate) connections: usize,
    /// For a request's head to arrive, and for a connection to be idle between two requests.
    pub(crate) head_timeout: Duration,
    /// For an answer to be made.
    pub(crate) answer_timeout: Duration,
    /// For an answer to be taken.
    pub(crate) write_timeout: Duration,
    /// Bytes of a request's line and headers together.
    pub(crate) head_bytes: usize,
    /// Between two tries to bind an address.
    pub(crate) bind_again: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            head_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            bind_again: Duration::from_secs(1),
        }
    }
}

/// Connections that the system may hold for us until we accept them, as tokio's own listeners have it.
const BACKLOG: u32 = 1024;

/// How long a server that stops waits for a client that is in the middle of its request or of its answer: one that hangs
/// must not hold up the end of the service.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// What became of the first try to bind an address; later tries follow while it fails.
#[derive(Debug)]
pub(crate) struct FirstBind {
    /// The address as it was asked for.
    pub(crate) asked: SocketAddr,
    /// The address as it is bound: with a port where 0 was asked for.
    pub(crate) bound: io::Result<SocketAddr>,
}

/// The running server. Dropped without [`Self::shutdown`], it stops at once.
#[derive(Debug)]
pub(crate) struct Server {
    first: Vec<FirstBind>,
    stop: watch::Sender<Option<Duration>>,
    ended: mpsc::Receiver<bool>,
}

impl Server {
    /// Starts the server and waits for the first try to bind each address.
    ///
    /// An address that cannot be bound is tried again every second; [`Self::unbound`] says so to whoever must not start
    /// without it, and [`Self::tell_unbound`] to the log, once there is one.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread or no runtime.
    pub(crate) fn start(addresses: Vec<SocketAddr>, routes: Arc<Routes>, limits: Limits) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopping) = watch::channel(None);
        let (first_sender, first_receiver) = mpsc::channel();
        let (ended_sender, ended) = mpsc::channel();
        background::spawn("telemetry-http", move || {
            let clean = runtime.block_on(serve(addresses, routes, limits, stopping, first_sender));
            drop(runtime); // with it the last sockets close
            let _ = ended_sender.send(clean); // nobody waits after a drop
        })?;
        let first = first_receiver.iter().collect();
        Ok(Self { first, stop, ended })
    }

    /// The addresses that the first try bound.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.first.iter().filter_map(|first| first.bound.as_ref().ok().copied()).collect()
    }

    /// The addresses that it did not, and why.
    pub(crate) fn unbound(&self) -> impl Iterator<Item = (SocketAddr, &io::Error)> {
        self.first.iter().filter_map(|first| Some((first.asked, first.bound.as_ref().err()?)))
    }

    /// Writes an error line for each address that is tried again.
    pub(crate) fn tell_unbound(&self) {
        for (address, error) in self.unbound() {
            tracing::error!(
                target: "trading_telemetry",
                address = %address,
                error = %error,
                hint = format!("{}; it is tried again every second", remedy(error)),
                "metrics_port_unavailable"
            );
        }
    }

    /// Takes no more connections, lets open requests end until the deadline, then closes them. Whether all were answered.
    pub(crate) fn shutdown(self, deadline: Duration) -> bool {
        self.stop.send_replace(Some(deadline));
        // The thread never blocks; the margin is for a machine that is busy.
        self.ended.recv_timeout(deadline.saturating_add(Duration::from_secs(1))).unwrap_or(false)
    }
}

/// What to write in place of an address that cannot be bound.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "name an address of this machine in SA_MONITORING__PROMETHEUS_HOST (monitoring.prometheus_host)"
        }
        io::ErrorKind::PermissionDenied => {
            "set SA_MONITORING__PROMETHEUS_PORT (monitoring.prometheus_port) to one that this user may open, such as 8001"
        }
        _ => "set SA_MONITORING__PROMETHEUS_PORT (monitoring.prometheus_port) to a free port",
    }
}

async fn serve(
    addresses: Vec<SocketAddr>,
    routes: Arc<Routes>,
    limits: Limits,
    mut stopping: watch::Receiver<Option<Duration>>,
    first: mpsc::Sender<FirstBind>,
) -> bool {
    let connections = Connections::new(limits.connections);
    let beside_ipv4 = addresses.iter().any(SocketAddr::is_ipv4);
    let listeners: Vec<_> = {
        let mut listeners = Vec::with_capacity(addresses.len());
        for asked in addresses {
            let listener = bind(asked, beside_ipv4);
            let bound = listener.as_ref().map_err(copy).and_then(TcpListener::local_addr);
            let _ = first.send(FirstBind { asked, bound }); // the starter waits for the last
            let connections = Arc::clone(&connections);
            let host = Host { routes: Arc::clone(&routes), limits, beside_ipv4, connections };
            listeners.push(tokio::spawn(host.listen(asked, listener.ok(), stopping.clone())));
        }
        listeners
    };
    drop(first);

    // An error means that the server was dropped.
    let deadline = match stopping.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    };
    for listener in &listeners {
        listener.abort();
    }
    let stopped = Instant::now();
    while !connections.is_empty() {
        if stopped.elapsed() >= deadline {
            return !connections.are_owed(Duration::ZERO);
        }
        if stopped.elapsed() >= LEAVE_TIME && !connections.are_owed(LEAVE_TIME) {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

/// Ends too when the server has been dropped.
async fn until_stopped(stopping: &mut watch::Receiver<Option<Duration>>) {
    let _ = stopping.wait_for(Option::is_some).await;
}

/// A listener of the address. An IPv6 one beside an IPv4 one takes IPv6 alone: `::` would take the port of every IPv4
/// address too, and the two could not be had together.
fn bind(address: SocketAddr, beside_ipv4: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    #[cfg(unix)]
    socket.set_reuseaddr(true)?; // connections of the process before linger on the port
    if beside_ipv4 && address.ip().to_canonical().is_ipv6() {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// What every listener shares.
#[derive(Clone)]
struct Host {
    routes: Arc<Routes>,
    limits: Limits,
    beside_ipv4: bool,
    connections: Arc<Connections>,
}

impl Host {
    async fn listen(
        self,
        address: SocketAddr,
        mut listener: Option<TcpListener>,
        stopping: watch::Receiver<Option<Duration>>,
    ) {
        let listener = loop {
            if let Some(listener) = listener.take() {
                break listener;
            }
            sleep(self.limits.bind_again).await;
            listener = bind(address, self.beside_ipv4).ok();
            if listener.is_some() {
                tracing::info!(target: "trading_telemetry", address = %address, "metrics_port_bound");
            }
        };
        let mut told = false;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.admit(stream, stopping.clone()),
                Err(error) => {
                    // Out of file descriptors, most likely: a pause lets others close theirs.
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(target: "trading_telemetry", address = %address, error = %error, "metrics_port_accept_failed");
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, stopping: watch::Receiver<Option<Duration>>) {
        let _ = stream.set_nodelay(true); // only a matter of speed
        let place = self.connections.admit();
        let slot = Arc::clone(&place.slot);
        let task = tokio::spawn(self.clone().converse(stream, place, stopping));
        slot.set_abort(task.abort_handle());
    }

    async fn converse(
        self,
        stream: TcpStream,
        place: Place,
        mut stopping: watch::Receiver<Option<Duration>>,
    ) {
        let Self { routes, limits, .. } = self;
        let service = service_fn(|request| {
            let (routes, slot) = (Arc::clone(&routes), Arc::clone(&place.slot));
            async move {
                slot.set_serving(true);
                let response = timeout(limits.answer_timeout, routes.handle(request)).await;
                slot.set_serving(false);
                Ok::<_, Infallible>(response.unwrap_or_else(|_| timed_out()))
            }
        });
        let stream = ClientStream::new(stream, Arc::clone(&place.slot), limits.write_timeout);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.head_bytes)
            .half_close(true) // `printf … | nc` sends its end of file before it reads
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // An error is the client's: it went away, sent no HTTP (and was told), or was too slow.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = until_stopped(&mut stopping) => {
                place.slot.set_leaving();
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
        drop(place);
    }
}
