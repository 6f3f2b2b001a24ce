//! TCP over Ethernet, in blocking streams. There is no heap and nothing runs in the background: the
//! network moves on whenever somebody waits for it.
//!
//! No peer can stop the board or keep a socket: a peer that is silent, or does not close, is given
//! up after some time.

use core::cell::RefCell;
use core::mem::MaybeUninit;
use core::net::Ipv4Addr;

use embedded_io::{ErrorType, Read, Write};
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketSet, SocketStorage,
};
use smoltcp::phy::Device;
use smoltcp::socket::AnySocket;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};

use crate::stream::{Broken, Clock, Link};

/// The board, as QEMU's user networking has it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The router. It is also the machine that QEMU runs on: its 127.0.0.1 seen from the board.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// How long a connection may take to come about.
const CONNECT_MS: u64 = 5_000;
/// How long the last connection of our own may take to close when the next one is wanted.
const RECONNECT_MS: u64 = 200;
/// How long a stream lasts unless it is told otherwise.
const TIMEOUT_MS: u64 = 10_000;
/// How long a client may say nothing at all.
const SILENCE_MS: u64 = 5_000;
/// The same, while no socket is left for the next client.
const CROWDED_MS: u64 = 500;
/// How long a peer may take to receive what is left and to close its side, once we have closed ours.
const LINGER_MS: u64 = 2_000;
/// So many frames are taken in at a time: a flood of them must not keep the board from its work.
const FRAMES: usize = 16;
/// Ports below this are not for connections of our own.
const FIRST_PORT: u16 = 49152;

/// The memory of `SOCKETS` sockets, with buffers of `RX` and `TX` bytes each. The first one makes
/// connections, the others take them.
pub struct Storage<const SOCKETS: usize, const RX: usize, const TX: usize> {
    /// [`Net::new`] fills it. Here it would be the one thing that is not all zeros, and put the whole
    /// of the storage into the flash.
    sockets: MaybeUninit<[SocketStorage<'static>; SOCKETS]>,
    slots: [Slot; SOCKETS],
    rx: [[u8; RX]; SOCKETS],
    tx: [[u8; TX]; SOCKETS],
}

impl<const SOCKETS: usize, const RX: usize, const TX: usize> Storage<SOCKETS, RX, TX> {
    /// Free memory.
    pub const fn new() -> Self {
        const { assert!(SOCKETS > 0) };
        Storage {
            sockets: MaybeUninit::uninit(),
            slots: [const { Slot { phase: Phase::Idle, since: 0 } }; SOCKETS],
            rx: [[0; RX]; SOCKETS],
            tx: [[0; TX]; SOCKETS],
        }
    }
}

impl<const SOCKETS: usize, const RX: usize, const TX: usize> Default for Storage<SOCKETS, RX, TX> {
    fn default() -> Self {
        Self::new()
    }
}

/// The owner of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody: the client's is closed; a server's listens, or has a client that waits.
    Idle,
    /// A [`TcpStream`].
    Taken,
    /// Nobody any more: it sends what is left and closes.
    Closing,
}

struct Slot {
    phase: Phase,
    /// When its connection began, or began to close.
    since: u64,
}

/// The network.
pub struct Net<D: Device, C: Clock> {
    inner: RefCell<Inner<D>>,
    clock: C,
    idle: fn(),
}

struct Inner<D> {
    device: D,
    interface: Interface,
    sockets: SocketSet<'static>,
    slots: &'static mut [Slot],
    /// The port to listen on.
    listen: Option<u16>,
    /// The next port for a connection of our own.
    port: u16,
}

impl<D: Device, C: Clock> Net<D, C> {
    /// The network over `device`, whose hardware address is `hardware`. `seed` is to be random: it
    /// keeps others from guessing sequence numbers and ports. `idle` is called when there is nothing
    /// to do but to wait; it may sleep for a millisecond or until a frame comes.
    pub fn new<const SOCKETS: usize, const RX: usize, const TX: usize>(
        mut device: D,
        hardware: [u8; 6],
        clock: C,
        idle: fn(),
        seed: u64,
        storage: &'static mut Storage<SOCKETS, RX, TX>,
    ) -> Self {
        let mut config = Config::new(EthernetAddress(hardware).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, instant(clock.millis()));
        interface.update_ip_addrs(|addresses| {
            // There is room for the first one.
            let _ = addresses.push(IpCidr::new(ADDRESS.into(), 24));
        });
        // The same for routes.
        let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);

        let sockets = storage.sockets.write([const { SocketStorage::EMPTY }; SOCKETS]);
        let mut sockets = SocketSet::new(&mut sockets[..]);
        for (rx, tx) in storage.rx.iter_mut().zip(&mut storage.tx) {
            let mut socket =
                Socket::new(SocketBuffer::new(&mut rx[..]), SocketBuffer::new(&mut tx[..]));
            // Requests and answers are written at once; waiting for more only makes them late.
            socket.set_nagle_enabled(false);
            socket.set_ack_delay(None);
            sockets.add(socket);
        }
        let port = FIRST_PORT + (seed % u64::from(u16::MAX - FIRST_PORT)) as u16;
        let slots = &mut storage.slots[..];
        let inner = Inner { device, interface, sockets, slots, listen: None, port };
        Net { inner: RefCell::new(inner), clock, idle }
    }

    /// The way to a server.
    pub fn link(&self, address: Ipv4Addr, port: u16) -> TcpLink<'_, D, C> {
        TcpLink { net: self, address, port }
    }

    /// From now on, takes connections to `port` with all sockets but the first.
    pub fn listen(&self, port: u16) {
        let mut inner = self.inner.borrow_mut();
        inner.listen = Some(port);
        inner.step(self.clock.millis());
    }

    /// The next client that has said something: the one that connected first. `None` if there is
    /// none for `wait_ms`.
    pub fn accept(&self, wait_ms: u64) -> Option<TcpStream<'_, D, C>> {
        let index = self.wait(wait_ms, |inner| Ok(inner.take_client())).ok()?;
        Some(self.stream(index))
    }

    /// Moves the network on until something comes of it; after `ms` milliseconds it is too late.
    fn wait<T>(
        &self,
        ms: u64,
        mut attempt: impl FnMut(&mut Inner<D>) -> Result<Option<T>, Broken>,
    ) -> Result<T, Broken> {
        let start = self.clock.millis();
        loop {
            let now = self.clock.millis();
            let mut inner = self.inner.borrow_mut();
            let moved = inner.step(now);
            if let Some(value) = attempt(&mut inner)? {
                return Ok(value);
            }
            if now.saturating_sub(start) >= ms {
                return Err(Broken);
            }
            drop(inner);
            if !moved {
                (self.idle)();
            }
        }
    }

    fn stream(&self, index: usize) -> TcpStream<'_, D, C> {
        TcpStream { net: self, index, deadline: self.clock.millis() + TIMEOUT_MS }
    }

    /// A connection of our own.
    fn connect(&self, address: Ipv4Addr, port: u16) -> Result<TcpStream<'_, D, C>, Broken> {
        // The last connection may still be closing; if its server dawdles, it is cut off.
        let _ = self.wait(RECONNECT_MS, |inner| Ok(inner.client_is_over().then_some(())));
        self.inner.borrow_mut().start(address, port, self.clock.millis())?;
        // From here on it is the stream's business to close the socket.
        let mut stream = self.stream(0);
        stream.set_deadline(CONNECT_MS);
        stream.wait(|socket| match socket.state() {
            State::Closed => Err(Broken),
            _ => Ok(socket.may_send().then_some(())),
        })?;
        stream.set_deadline(TIMEOUT_MS);
        Ok(stream)
    }
}

impl<D: Device> Inner<D> {
    /// Moves packets, then looks after the sockets that nobody has. Says whether there were any.
    fn step(&mut self, now: u64) -> bool {
        let moved = self.poll(now);
        let crowded = !self.each().skip(1).any(|(socket, _)| socket.is_listening());
        let listen = self.listen;
        for (index, (socket, slot)) in self.each().enumerate() {
            match index {
                0 => slot.tend(socket, None, false, now),
                _ => slot.tend(socket, listen, crowded, now),
            }
        }
        moved
    }

    /// Takes in some frames and sends what there is to send. Says whether there were any.
    fn poll(&mut self, now: u64) -> bool {
        let now = instant(now);
        let Inner { device, interface, sockets, .. } = self;
        let none = PollIngressSingleResult::None;
        let frames = (0..FRAMES)
            .take_while(|_| interface.poll_ingress_single(now, device, sockets) != none)
            .count();
        let sent = (0..FRAMES)
            .take_while(|_| interface.poll_egress(now, device, sockets) != PollResult::None)
            .count();
        frames + sent > 0
    }

    fn each(&mut self) -> impl Iterator<Item = (&mut Socket<'static>, &mut Slot)> {
        each(&mut self.sockets, self.slots)
    }

    /// Whether the first socket has nothing left to do.
    fn client_is_over(&mut self) -> bool {
        let over = |socket: &Socket<'_>| matches!(socket.state(), State::Closed | State::TimeWait);
        self.each().next().is_some_and(|(socket, _)| over(socket))
    }

    /// Takes the first socket and has it connect.
    fn start(&mut self, address: Ipv4Addr, port: u16, now: u64) -> Result<(), Broken> {
        let over = self.client_is_over();
        let (socket, slot) = self.each().next().ok_or(Broken)?;
        if slot.phase == Phase::Taken {
            return Err(Broken);
        }
        socket.abort();
        if !over {
            // The server is told.
            self.poll(now);
        }
        // A new port each time: the server may still wait for late packets to the last one.
        self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
        let Inner { interface, sockets, slots, port: local, .. } = self;
        let (socket, slot) = each(sockets, slots).next().ok_or(Broken)?;
        socket.connect(interface.context(), (address, port), *local).map_err(|_| Broken)?;
        slot.phase = Phase::Taken;
        Ok(())
    }

    /// Takes the socket of the client that has waited longest, of those that have said something.
    fn take_client(&mut self) -> Option<usize> {
        let clients = self.each().enumerate().skip(1).filter(|(_, (socket, slot))| {
            slot.phase == Phase::Idle && socket.is_active() && socket.can_recv()
        });
        let (index, (_, slot)) = clients.min_by_key(|(_, (_, slot))| slot.since)?;
        slot.phase = Phase::Taken;
        Some(index)
    }
}

/// The sockets, the client's first.
fn each<'a>(
    sockets: &'a mut SocketSet<'static>,
    slots: &'a mut [Slot],
) -> impl Iterator<Item = (&'a mut Socket<'static>, &'a mut Slot)> {
    sockets.iter_mut().filter_map(|(_, socket)| Socket::downcast_mut(socket)).zip(slots)
}

impl Slot {
    /// Looks after a socket, unless somebody has it: it listens on `port` whenever it is free, and
    /// a peer that does not go along is given up.
    fn tend(&mut self, socket: &mut Socket<'_>, port: Option<u16>, crowded: bool, now: u64) {
        let late = |ms| now.saturating_sub(self.since) > ms;
        let silence = if crowded { CROWDED_MS } else { SILENCE_MS };
        match (self.phase, socket.state()) {
            (Phase::Taken, _) => {}
            (_, State::Closed) => self.free(socket, port, now),
            (Phase::Idle, State::Listen) => self.since = now,
            (Phase::Idle, _) if socket.can_recv() => {}
            // It has left without a word.
            (Phase::Idle, State::CloseWait) => self.close(socket, now),
            // An aborted socket is closed, and resets its peer when it is polled next.
            (Phase::Idle, _) if late(silence) => socket.abort(),
            (Phase::Idle, _) => {}
            // Everything has arrived and both sides are done. Standing by for late packets would keep
            // the next client out; so would a peer that has its answer and does not close.
            (Phase::Closing, State::TimeWait) if port.is_none() => {}
            (Phase::Closing, state)
                if state == State::TimeWait || crowded && state == State::FinWait2 =>
            {
                socket.abort();
                self.free(socket, port, now);
            }
            (Phase::Closing, _) if late(LINGER_MS) => socket.abort(),
            (Phase::Closing, _) => {
                // Unread bytes would hold up the end that comes after them.
                let _ = socket.recv(|bytes| (bytes.len(), ()));
            }
        }
    }

    /// For the next one.
    fn free(&mut self, socket: &mut Socket<'_>, port: Option<u16>, now: u64) {
        *self = Slot { phase: Phase::Idle, since: now };
        if let Some(port) = port {
            // It fails for port 0 alone.
            let _ = socket.listen(port);
        }
    }

    /// Our side is done.
    fn close(&mut self, socket: &mut Socket<'_>, now: u64) {
        *self = Slot { phase: Phase::Closing, since: now };
        socket.close();
    }
}

/// The way to a server over TCP.
pub struct TcpLink<'n, D: Device, C: Clock> {
    net: &'n Net<D, C>,
    address: Ipv4Addr,
    port: u16,
}

impl<'n, D: Device, C: Clock> Link for TcpLink<'n, D, C> {
    type Stream<'s>
        = TcpStream<'n, D, C>
    where
        Self: 's;

    /// Connects. There is one connection of our own at a time.
    fn open(&mut self) -> Result<TcpStream<'n, D, C>, Broken> {
        self.net.connect(self.address, self.port)
    }
}

/// A connection. Dropped, it is closed once what was written has arrived.
pub struct TcpStream<'n, D: Device, C: Clock> {
    net: &'n Net<D, C>,
    /// Which socket.
    index: usize,
    deadline: u64,
}

impl<D: Device, C: Clock> TcpStream<'_, D, C> {
    /// From `ms` milliseconds from now on, everything fails.
    pub fn set_deadline(&mut self, ms: u64) {
        self.deadline = self.net.clock.millis().saturating_add(ms);
    }

    /// Moves the network on until something comes of it or it is too late.
    fn wait<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Socket<'static>) -> Result<Option<T>, Broken>,
    ) -> Result<T, Broken> {
        let left = self.deadline.checked_sub(self.net.clock.millis()).ok_or(Broken)?;
        self.net.wait(left, |inner| {
            let (socket, _) = inner.each().nth(self.index).ok_or(Broken)?;
            attempt(socket)
        })
    }
}

impl<D: Device, C: Clock> ErrorType for TcpStream<'_, D, C> {
    type Error = Broken;
}

impl<D: Device, C: Clock> Read for TcpStream<'_, D, C> {
    /// 0 is the end: the peer has closed its side in good order.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        self.wait(|socket| {
            if socket.can_recv() || buffer.is_empty() {
                return socket.recv_slice(buffer).map(Some).map_err(|_| Broken);
            }
            match socket.state() {
                State::Closed => Err(Broken),
                _ => Ok((!socket.may_recv()).then_some(0)),
            }
        })
    }
}

impl<D: Device, C: Clock> Write for TcpStream<'_, D, C> {
    /// Waits for room to keep the bytes until they have arrived.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.wait(|socket| {
            let written = socket.send_slice(bytes).map_err(|_| Broken)?;
            Ok((written > 0 || bytes.is_empty()).then_some(written))
        })
    }

    /// Sends what the peer has room for. The rest follows by and by, even after the stream is
    /// dropped; that it arrives is not waited for, as a peer can take its time.
    fn flush(&mut self) -> Result<(), Broken> {
        self.wait(|socket| if socket.may_send() { Ok(Some(())) } else { Err(Broken) })
    }
}

impl<D: Device, C: Clock> Drop for TcpStream<'_, D, C> {
    fn drop(&mut self) {
        let now = self.net.clock.millis();
        let mut inner = self.net.inner.borrow_mut();
        if let Some((socket, slot)) = inner.each().nth(self.index) {
            slot.close(socket, now);
        }
        inner.step(now);
    }
}

fn instant(ms: u64) -> Instant {
    Instant::from_millis(ms.min(i64::MAX as u64) as i64)
}
