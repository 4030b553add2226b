//! The UDP sockets under QUIC and under LAN datagrams: they count bytes, and apply injected faults to what leaves.

use crate::{
    count::{Counts, Dropped, Kind},
    fault::{Plan, Port},
};
use quinn::{
    AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::net::UdpSocket;

/// A LAN datagram socket.
///
/// Sending and receiving ask the system itself, not tokio's idea of readiness: that is as old as the last look at the
/// reactor, and after a pause it would hide the answers that lie in the socket.
#[derive(Clone, Debug)]
pub(crate) struct LanSocket {
    socket: Arc<UdpSocket>,
    raw: Arc<std::net::UdpSocket>,
    port: Option<Arc<Port>>,
    counts: Arc<Counts>,
}

impl LanSocket {
    pub(crate) fn new(
        raw: std::net::UdpSocket,
        port: Option<Arc<Port>>,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        raw.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(raw.try_clone()?)?);
        Ok(Self {
            socket,
            raw: Arc::new(raw),
            port,
            counts,
        })
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// The next datagram that lies in the socket, if there is one.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        loop {
            let received = match self.raw.recv_from(buffer) {
                // Tells tokio, so that it waits for the next one.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.try_recv_from(buffer)
                }
                received => received,
            };
            match received {
                Ok((length, from)) => {
                    self.counts.arrived(Kind::LanDatagram, length);
                    return Some((length, from));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // Errors of earlier sends surface here and concern no packet; anything persistent blocks next.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    self.counts.lose(Dropped::Send, error);
                    return None;
                }
            }
        }
    }

    /// Sends now, later or never, as the faults say. What the system does not take at once is lost, and counted.
    pub(crate) fn send(&self, to: SocketAddr, datagram: Vec<u8>) {
        match self.port.as_ref().map(|p| p.plan(to)) {
            None | Some(Plan::Send) => self.send_now(to, &datagram),
            Some(Plan::Lose) => {}
            Some(Plan::Later(held)) => {
                let socket = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(held.wait).await;
                    socket.send_now(to, &datagram);
                });
            }
        }
    }

    fn send_now(&self, to: SocketAddr, datagram: &[u8]) {
        self.copy(to, datagram);
        match self.raw.send_to(datagram, to) {
            Ok(_) => self.counts.sent(Kind::LanDatagram, datagram.len()),
            Err(error) => self
                .counts
                .lose(Dropped::Send, format_args!("{to}: {error}")),
        }
    }

    /// For whoever records what leaves.
    pub(crate) fn copy(&self, to: SocketAddr, datagram: &[u8]) {
        if let Some(port) = &self.port {
            port.tap().copy(to, datagram);
        }
    }

    /// Whether the faults let a packet from a fresh socket of this node through.
    pub(crate) async fn passes(&self, to: SocketAddr) -> bool {
        match self.port.as_ref().map(|p| p.plan(to)) {
            None | Some(Plan::Send) => true,
            Some(Plan::Lose) => false,
            Some(Plan::Later(held)) => {
                tokio::time::sleep(held.wait).await;
                true
            }
        }
    }
}

/// The socket under a QUIC endpoint.
#[derive(Debug)]
pub(crate) struct QuicSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    port: Option<Arc<Port>>,
    counts: Arc<Counts>,
    kind: Kind,
}

impl QuicSocket {
    /// Wraps a bound socket.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        port: Option<Port>,
        counts: Arc<Counts>,
        kind: Kind,
    ) -> io::Result<Self> {
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Self {
            inner,
            port: port.map(Arc::new),
            counts,
            kind,
        })
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.port.as_ref().map(|p| p.plan(transmit.destination)) {
            None | Some(Plan::Send) => self.inner.try_send(transmit)?,
            Some(Plan::Lose) => {}
            Some(Plan::Later(held)) => {
                let inner = self.inner.clone();
                let (destination, ecn, src_ip) =
                    (transmit.destination, transmit.ecn, transmit.src_ip);
                let (contents, segment_size) = (transmit.contents.to_vec(), transmit.segment_size);
                tokio::spawn(async move {
                    tokio::time::sleep(held.wait).await;
                    let late = Transmit {
                        destination,
                        ecn,
                        contents: &contents,
                        segment_size,
                        src_ip,
                    };
                    // A full socket loses it, as a full router would.
                    let _ = inner.try_send(&late);
                });
            }
        }
        self.counts.sent(self.kind, transmit.contents.len());
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for meta in meta.iter().take(received) {
            let packets = meta.len.div_ceil(meta.stride.max(1)).max(1);
            self.counts.packets_in.add(self.kind, packets as u64);
            self.counts.bytes_in.add(self.kind, meta.len as u64);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        // One packet, one fate.
        1
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
