//! A network namespace a site, all on one bridge. A direction is cut by giving the sender a wrong hardware address for
//! the receiver: its packets go nowhere, and nobody tells it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const PORT: u16 = 7_000;

pub struct Namespaces {
    prefix: String,
    sites: usize,
}

impl Namespaces {
    /// Why not, where this machine or this user cannot have them.
    pub fn build(sites: usize) -> Result<Namespaces, String> {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let namespaces = Namespaces { prefix: format!("mdl{}-{number}-", std::process::id()), sites };
        namespaces.set_up().map(|()| namespaces)
    }

    fn set_up(&self) -> Result<(), String> {
        let hub = self.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "hub", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "hub", "up"])?;
        for site in 0..self.sites {
            let (name, port) = (self.name(site), format!("port{site}"));
            ip(&["netns", "add", &name])?;
            let link = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name];
            ip(&[&["-n", &hub][..], &link].concat())?;
            ip(&["-n", &hub, "link", "set", &port, "master", "hub", "up"])?;
            ip(&["-n", &name, "link", "set", "eth0", "address", &hardware(site)])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", host(site)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        self.try_heal()
    }

    fn hub(&self) -> String {
        format!("{}hub", self.prefix)
    }

    fn name(&self, site: usize) -> String {
        format!("{}{site}", self.prefix)
    }

    /// What starts a process there.
    pub fn through(&self, site: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(site)].map(str::to_owned).into()
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.point(from, to, "02:00:00:00:ff:ff").unwrap();
    }

    pub fn heal(&self) {
        self.try_heal().unwrap();
    }

    fn try_heal(&self) -> Result<(), String> {
        for (from, to) in (0..self.sites).flat_map(|from| (0..self.sites).map(move |to| (from, to))) {
            if from != to {
                self.point(from, to, &hardware(to))?;
            }
        }
        Ok(())
    }

    fn point(&self, from: usize, to: usize, hardware: &str) -> Result<(), String> {
        let (name, host) = (self.name(from), host(to));
        let at = ["lladdr", hardware, "dev", "eth0", "nud", "permanent"];
        ip(&[&["-n", &name, "neigh", "replace", &host][..], &at].concat())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in (0..self.sites).map(|site| self.name(site)).chain([self.hub()]) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

pub fn host(site: usize) -> String {
    format!("10.77.0.{}", site + 1)
}

pub fn address(site: usize) -> String {
    format!("{}:{PORT}", host(site))
}

fn hardware(site: usize) -> String {
    format!("02:00:00:00:00:{:02x}", site + 1)
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(arguments).output().map_err(|error| format!("no `ip`: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(format!("ip {}: {said}", arguments.join(" "))) }
}
