//! The network between the sites: connections whose frames are late, lost, doubled, out of order, or cut off.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::chance::{chance, within};
use super::disk;
use crate::membership::Candidate;
use crate::network::{Hello, Identity};

thread_local! {
    static WIRES: RefCell<Wires> = RefCell::default();
}

/// What a connection's end hears.
#[derive(Debug)]
pub(crate) enum Signal {
    Opened(Hello),
    Refused(String),
    Frame(Bytes),
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) delay_us_min: u64,
    pub(super) delay_us_max: u64,
    pub(super) lost: f64,
    pub(super) doubled: f64,
    pub(super) cut: f64,
    /// Frames of one connection may pass each other.
    pub(super) unordered: bool,
}

impl Weather {
    pub(super) const FAIR: Weather = Weather {
        delay_us_min: 200,
        delay_us_max: 5_000,
        lost: 0.0,
        doubled: 0.0,
        cut: 0.0,
        unordered: false,
    };
}

#[derive(Clone, Debug)]
enum Content {
    Open(Hello),
    Opened(Hello),
    Refused(String),
    Frame(Bytes),
    Closed,
}

#[derive(Clone, Debug)]
pub(super) struct Packet {
    from: usize,
    to: usize,
    connection: u64,
    content: Content,
}

struct Wires {
    now_us: u64,
    sent: u64,
    connections: u64,
    weather: Weather,
    /// By time of arrival and number.
    under_way: BTreeMap<usize, BinaryHeap<Reverse<(u64, u64)>>>,
    packets: BTreeMap<u64, Packet>,
    /// By connection and sending end: when its last frame arrives.
    last_arrival_us: BTreeMap<(u64, usize), u64>,
    ends: BTreeMap<(usize, u64), UnboundedSender<Signal>>,
    blocked: BTreeSet<(usize, usize)>,
    /// What a running site says that it is.
    present: BTreeMap<usize, Candidate>,
}

impl Default for Wires {
    fn default() -> Wires {
        Wires {
            now_us: 0,
            sent: 0,
            connections: 0,
            weather: Weather::FAIR,
            under_way: BTreeMap::new(),
            packets: BTreeMap::new(),
            last_arrival_us: BTreeMap::new(),
            ends: BTreeMap::new(),
            blocked: BTreeSet::new(),
            present: BTreeMap::new(),
        }
    }
}

fn with<T>(f: impl FnOnce(&mut Wires) -> T) -> T {
    WIRES.with_borrow_mut(f)
}

/// One end of a connection; dropped, the connection is closed.
pub(crate) struct Wire {
    here: usize,
    there: usize,
    connection: u64,
}

impl Wire {
    pub(crate) fn send(&self, bytes: Bytes) {
        with(|wires| wires.send(self.here, self.there, self.connection, Content::Frame(bytes)));
    }

    pub(crate) fn close(&self) {
        with(|wires| {
            if wires.ends.remove(&(self.here, self.connection)).is_some() {
                wires.send(self.here, self.there, self.connection, Content::Closed);
            }
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn dial(from: usize, to: usize, hello: Hello) -> (Wire, UnboundedReceiver<Signal>) {
    with(|wires| {
        wires.connections += 1;
        let connection = wires.connections;
        let signals = wires.end(from, connection);
        wires.send(from, to, connection, Content::Open(hello));
        (Wire { here: from, there: to, connection }, signals)
    })
}

impl Wires {
    fn end(&mut self, site: usize, connection: u64) -> UnboundedReceiver<Signal> {
        let (end, signals) = unbounded_channel();
        self.ends.insert((site, connection), end);
        signals
    }

    fn send(&mut self, from: usize, to: usize, connection: u64, content: Content) {
        if disk::is_dead(from) || self.blocked.contains(&(from, to)) || chance(self.weather.lost) {
            return;
        }
        if chance(self.weather.cut) {
            self.cut(from, connection);
            self.cut(to, connection);
            return;
        }
        let packet = Packet { from, to, connection, content };
        if chance(self.weather.doubled) && matches!(packet.content, Content::Frame(_)) {
            self.post(packet.clone());
        }
        self.post(packet);
    }

    fn post(&mut self, packet: Packet) {
        let delay = within(self.weather.delay_us_min..self.weather.delay_us_max + 1);
        let mut arrival = self.now_us + delay;
        if !self.weather.unordered {
            let last = self.last_arrival_us.entry((packet.connection, packet.from)).or_default();
            arrival = arrival.max(*last);
            *last = arrival;
        }
        self.sent += 1;
        self.under_way.entry(packet.to).or_default().push(Reverse((arrival, self.sent)));
        self.packets.insert(self.sent, packet);
    }

    fn cut(&mut self, site: usize, connection: u64) {
        if let Some(end) = self.ends.remove(&(site, connection)) {
            let _ = end.send(Signal::Closed);
        }
    }
}

pub(super) fn begin() {
    WIRES.set(Wires::default());
}

pub(super) fn set_now(now_us: u64) {
    with(|wires| wires.now_us = now_us);
}

pub(super) fn set_weather(weather: Weather) {
    with(|wires| wires.weather = weather);
}

pub(super) fn block(from: usize, to: usize) {
    with(|wires| wires.blocked.insert((from, to)));
}

pub(super) fn heal() {
    with(|wires| wires.blocked.clear());
}

/// The site's process is gone: its connections end, without a word to the peers.
pub(super) fn forget(site: usize) {
    let gone: Vec<_> = with(|wires| {
        wires.present.remove(&site);
        let of_site: Vec<_> = wires.ends.keys().filter(|(end, _)| *end == site).copied().collect();
        of_site.iter().filter_map(|end| wires.ends.remove(end)).collect()
    });
    drop(gone);
}

pub(super) fn is_present(site: usize, as_this: Candidate) {
    with(|wires| wires.present.insert(site, as_this));
}

/// Who answers at a site.
pub(super) fn probe(from: usize, to: usize) -> Option<Candidate> {
    with(|wires| {
        let cut = wires.blocked.contains(&(from, to)) || wires.blocked.contains(&(to, from));
        wires.present.get(&to).cloned().filter(|_| !cut)
    })
}

/// What has arrived at a site, in order.
pub(super) fn arrived(site: usize) -> Vec<Packet> {
    with(|wires| {
        let mut arrived = Vec::new();
        let Some(under_way) = wires.under_way.get_mut(&site) else { return arrived };
        while let Some(Reverse((at, number))) = under_way.peek().copied() {
            if at > wires.now_us {
                break;
            }
            under_way.pop();
            arrived.extend(wires.packets.remove(&number));
        }
        arrived
    })
}

/// Hands a packet to the site that it has reached; `accept` begins to serve a new connection of the site that is
/// `identity`. One that does not serve yet refuses it.
pub(super) fn deliver(
    packet: Packet,
    identity: Option<&Identity>,
    accept: impl FnOnce(Wire, UnboundedReceiver<Signal>, Hello),
) {
    let Packet { from, to, connection, content } = packet;
    let content_kind = match &content {
        Content::Open(_) => 1,
        Content::Opened(_) | Content::Refused(_) => 2,
        Content::Frame(bytes) => 3 + ((bytes.len() as u64) << 8) + (u64::from(bytes[0]) << 2),
        Content::Closed => 4,
    };
    super::event(1, &[from as u64, to as u64, connection, content_kind]);
    let signal = match content {
        Content::Open(hello) => {
            let Some(identity) = identity else {
                return with(|wires| wires.send(to, from, connection, Content::Closed));
            };
            if let Err(refused) = identity.admit(&hello) {
                with(|wires| wires.send(to, from, connection, Content::Refused(refused.to_string())));
                return;
            }
            let own = identity.hello();
            let signals = with(|wires| {
                wires.send(to, from, connection, Content::Opened(own));
                wires.end(to, connection)
            });
            accept(Wire { here: to, there: from, connection }, signals, hello);
            return;
        }
        Content::Opened(hello) => Signal::Opened(hello),
        Content::Refused(why) => Signal::Refused(why),
        Content::Frame(bytes) => Signal::Frame(bytes),
        Content::Closed => Signal::Closed,
    };
    let closes = matches!(signal, Signal::Closed);
    let end = with(|wires| match closes {
        true => wires.ends.remove(&(to, connection)),
        false => wires.ends.get(&(to, connection)).cloned(),
    });
    match end {
        Some(end) => drop(end.send(signal)),
        // Nobody knows the connection: the process that did is gone.
        None if !closes => with(|wires| wires.send(to, from, connection, Content::Closed)),
        None => {}
    }
}

/// Answers for a site that does not run: the connection is refused.
pub(super) fn refuse(packet: Packet) {
    if !matches!(packet.content, Content::Closed) {
        with(|wires| wires.send(packet.to, packet.from, packet.connection, Content::Closed));
    }
}
